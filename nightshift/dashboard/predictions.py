"""Answers rows with registered bundles, by the edge runtime alone, as a device does."""

from __future__ import annotations

import math
import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nightshift.dashboard.history import History
from nightshift.dashboard.models import ModelId, chosen_version
from nightshift.edge.manifest import Interface, sha256_bytes
from nightshift.edge.rows import RUN, TIME, Rows, clock, find_columns, read_csv, rows_of, zone_of
from nightshift.edge.runtime import Model
from nightshift.errors import UsageError
from nightshift.files import write_atomic
from nightshift.settings import Home

#: What one request may bring: more is a batch's work, for which there is `nightshift predict`.
MAX_ROWS, MAX_BYTES = 5_000, 4_000_000
#: Models that are held ready; each takes some ten megabytes.
_HELD = 8
_BATCH = "`nightshift predict --bundle FOLDER --input FILE` answers files of any length."

Cell = float | int | str | None


class PredictRequest(BaseModel):
    """Rows to answer.

    Attributes:
        rows: oldest first, each a value by column; null or left out = missing. `time` and `run` may be among them.
        time: of the last row, where rows have none of their own: ISO 8601 or epoch seconds. The others lie before it.
    """

    model_config = ConfigDict(extra="forbid")

    rows: list[dict[str, Cell]] = Field(min_length=1, max_length=MAX_ROWS)
    time: float | str | None = None


class OutputAnswer(BaseModel):
    """One output of a model.

    Attributes:
        columns: names of its last axis, () where it has none.
        values: for each answered row; of a forecast steps by sensors. null = no number.
    """

    name: str
    unit: str
    meaning: str
    columns: tuple[str, ...]
    values: list[Any]


class Answer(BaseModel):
    """What a model says of rows.

    Attributes:
        bundle_id: SHA-256 of the bundle's `bundle.json`.
        rows: that were given.
        first_answered: place of the first row with an answer: a forecast is made from the last row alone.
        window_rows: rows that each answer looks back on, itself included.
        classes: names of the classes that `label` counts and `probability` has columns of.
        thresholds: that the graph has applied already.
        times: of the answers; of a forecast of its steps, on the machine's own clock. () without a clock.
        summary: one line.
        latency_ms: of all answers together.
        id: in the history of predictions, None where it could not be kept.
    """

    machine: str
    family: str
    target: str
    version: int
    bundle_id: str
    rows: int
    first_answered: int
    window_rows: int
    outputs: tuple[OutputAnswer, ...]
    classes: tuple[str, ...]
    thresholds: dict[str, float]
    times: tuple[str, ...]
    summary: str
    latency_ms: float
    id: int | None = None

    def output(self, name: str) -> OutputAnswer | None:
        """Return an output by name, None where the model has none such."""
        return next((output for output in self.outputs if output.name == name), None)


@dataclass(frozen=True)
class Ready:
    """A model that is held ready.

    Attributes:
        version: in the registry.
        model: verified against the id that was registered.
    """

    asked: ModelId
    version: int
    model: Model


class Predictor:
    """Answers with the models of a home; the ones used last are held ready.

    Args:
        home: whose.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._held: OrderedDict[str, Model] = OrderedDict()
        self._lock = Lock()

    @cached_property
    def history(self) -> History:
        """What was answered before."""
        return History(self._home.machinery / "dashboard" / "predictions.db")

    def ready(self, asked: ModelId, number: int | None = None) -> Ready:
        """Return a version that can answer: the one asked for, else the champion, else the newest.

        It is looked up anew each time: one that was registered a moment ago is found.

        Raises:
            UnknownNameError: when there is none.
            BundleError: when its bundle is not what was registered.
        """
        version = chosen_version(self._home, asked, number)
        folder = asked.folder(self._home, version.version)
        bundle_id = version.bundle_id or _id_of(folder)
        with self._lock:
            model = self._held.pop(bundle_id, None)
            if model is None:
                # One that is known by its id needs no signature: the key may be younger than the bundle.
                model = Model.load(folder, bundle_id=bundle_id, require_signature=not version.bundle_id)
            self._held[bundle_id] = model
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        return Ready(asked, version.version, model)

    def answer_rows(self, ready: Ready, request: PredictRequest) -> tuple[Answer, Rows]:
        """Answer rows given by column.

        Raises:
            BundleError: when they are not what the model takes.
        """
        return self._answer(ready, rows_of(_columns(ready.model, request), ready.model.manifest))

    def answer_csv(self, ready: Ready, content: bytes) -> tuple[Answer, Rows]:
        """Answer the rows of a CSV file.

        Raises:
            UsageError: for more rows than one request may bring.
            BundleError: when they are not what the model takes.
        """
        _hold_rows(content.count(b"\n") - 1)
        self._home.tmp.mkdir(parents=True, exist_ok=True)
        # The device's own reader takes a file, and names it in what it says.
        with tempfile.TemporaryDirectory(dir=self._home.tmp) as folder:
            path = Path(folder) / "rows.csv"
            write_atomic(path, content)
            rows = read_csv(path, ready.model.manifest)
        _hold_rows(len(rows.values))
        return self._answer(ready, rows)

    def _answer(self, ready: Ready, rows: Rows) -> tuple[Answer, Rows]:
        model, n_rows = ready.model, len(rows.values)
        face = model.interface
        first = n_rows - 1 if face.sensors else 0
        began = time.perf_counter()
        parts = [model.run(inputs) for inputs in model.windows(rows, np.arange(first, n_rows))]
        latency_ms = (time.perf_counter() - began) * 1e3
        values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Answer(
            machine=ready.asked.machine,
            family=ready.asked.family,
            target=ready.asked.target,
            version=ready.version,
            bundle_id=model.bundle_id,
            rows=n_rows,
            first_answered=first,
            window_rows=face.window_rows,
            outputs=tuple(
                OutputAnswer(
                    name=output.name,
                    unit=output.unit,
                    meaning=output.meaning,
                    columns=_names(output.name, face),
                    values=_plain(values[output.name]),
                )
                for output in face.outputs
            ),
            classes=face.classes,
            thresholds=face.thresholds,
            times=_times(rows, face),
            summary=_summary(values, face),
            latency_ms=round(latency_ms, 3),
        ), rows


def _id_of(folder: Path) -> str:
    try:
        return sha256_bytes((folder / "bundle.json").read_bytes())
    except OSError:
        return ""


def _hold_rows(count: int) -> None:
    if count > MAX_ROWS:
        raise UsageError(f"{count:,} rows are more than the {MAX_ROWS:,} that one request may bring.", hint=_BATCH)


def _columns(model: Model, request: PredictRequest) -> dict[str, list[Cell]]:
    """Return rows as the columns that a model takes; without times, that of the last is carried back step by step.

    Raises:
        BundleError: when a column is missing or in another unit.
    """
    manifest = model.manifest
    given = dict.fromkeys(name for row in request.rows for name in row)
    # What the model does not take is left out: each row may name columns of its own, thousands of them.
    taken = (*find_columns(list(given), manifest.interface.columns).values(), *(n for n in (TIME, RUN) if n in given))
    table: dict[str, list[Cell]] = {name: [row.get(name) for row in request.rows] for name in taken}
    if request.time is not None and TIME not in table and manifest.time_kind == "calendar":
        _, instant = clock(str(request.time).strip(), zone_of(manifest.timezone))
        last, step = datetime.fromtimestamp(instant, UTC), timedelta(seconds=manifest.sampling_s or 0.0)
        before = range(len(request.rows) - 1, -1, -1)
        table[TIME] = [(last - k * step).isoformat().replace("+00:00", "Z") for k in before]
    return table


def _names(output: str, face: Interface) -> tuple[str, ...]:
    """Return what the last axis of an output holds."""
    if face.sensors:
        return face.sensors
    named: Mapping[str, tuple[str, ...]] = {
        "probability": face.classes,
        "score": face.members,
        "action": face.actions,
    }
    return named.get(output, ())


def _plain(values: NDArray[Any]) -> list[Any]:
    """Return an array as JSON takes it, floats to the digits that a float32 has."""
    if np.issubdtype(values.dtype, np.integer):
        found: list[Any] = values.tolist()
        return found
    flat = [float(f"{v:.7g}") if math.isfinite(v) else None for v in values.ravel().tolist()]
    return _shaped(flat, values.shape)


def _shaped(flat: Sequence[Any], shape: tuple[int, ...]) -> list[Any]:
    if len(shape) <= 1:
        return list(flat)
    size = len(flat) // shape[0] if shape[0] else 0
    return [_shaped(flat[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]


def _times(rows: Rows, face: Interface) -> tuple[str, ...]:
    if not face.sensors:
        return rows.time
    if rows.civil_s is None or not face.steps:
        return ()
    origin = int(rows.civil_s[-1])
    ahead = [round((step + 1) * (face.step_s or 0.0)) for step in range(face.steps)]
    return tuple(datetime.fromtimestamp(origin + s, UTC).replace(tzinfo=None).isoformat() for s in ahead)


def _summary(values: Mapping[str, NDArray[Any]], face: Interface) -> str:
    """Say what the answers come to, the last row's before all."""
    if face.sensors and "yhat" in values:
        last = values["yhat"][-1][-1]
        hours = (face.steps or 0) * (face.step_s or 0.0) / 3600
        told = ", ".join(f"{name} {value:.4g}" for name, value in zip(face.sensors[:3], last, strict=False))
        return f"in {hours:g} h: {told}"
    if "vote" in values:
        odd, n_rows = int((values["vote"] == 1).sum()), len(values["vote"])
        return f"{odd:,} of {n_rows:,} rows odd, the last one {'odd' if values['vote'][-1] == 1 else 'normal'}"
    if "probability" in values and face.classes:
        last = values["probability"][-1]
        at = int(values["label"][-1]) if "label" in values else int(np.argmax(last))
        return f"last row: {face.classes[at]} ({float(last[at]):.0%})"
    name, column = next(iter(values.items()))
    unit = next((output.unit for output in face.outputs if output.name == name), "")
    numbers = np.atleast_1d(column[-1]).ravel()[:4]
    named = face.actions if name == "action" else ()
    told = ", ".join(
        f"{named[i]} {float(v):.4g}" if i < len(named) else f"{float(v):.4g}" for i, v in enumerate(numbers)
    )
    return f"last row: {name if not named else ''} {told} {unit}".replace("  ", " ").strip()
