"""The folder of a training that can be gone on with: what it follows from, and one record for each job that has ended.

Numbers and text alone: nothing in it runs when it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from nightshift.errors import TrainingError
from nightshift.files import disk_full, write_atomic, write_first
from nightshift.findings import Finding
from nightshift.nets.differences import differences
from nightshift.trainer.contract import Done, Fitted, Round, Scored, Values

#: Raised when a field changes its meaning; another one's folder is refused.
FORMAT = 1

_RUN, _JOBS, _RECORD, _ARRAYS, _CHECKPOINT = "run.json", "jobs", "record.json", "predictions.npz", "epoch.pt"
#: An error names so many differences.
_SHOWN = 8


@dataclass(frozen=True)
class Run:
    """A training's folder.

    Attributes:
        folder: holds `run.json`, and `jobs/<key>/` with `record.json` and `predictions.npz`.
        fingerprint: of settings and data; a job's checkpoint must have it.
    """

    folder: Path
    fingerprint: str

    @classmethod
    def open(cls, folder: Path, config: str, data: str, resume: bool, facts: Mapping[str, Any] | None = None) -> Self:
        """Begin a run there, or go on with the one that is there.

        Args:
            folder: made where it is not there.
            config: fingerprint of settings and model.
            data: fingerprint of the table.
            resume: whether a run that is there is gone on with.
            facts: what `config` was made of, JSON-able, to say in what another run's differs.

        Raises:
            TrainingError: when a run is there and `resume` is not set, or it is another one's, or it cannot be written.
        """
        now = {"format": FORMAT, "config": config, "data": data, "facts": dict(facts or {})}
        path = folder / _RUN
        with _written(folder):
            first = write_first(path, json.dumps(now, indent=1, ensure_ascii=False).encode())
        if not first:
            if not resume:
                raise TrainingError(
                    f"'{folder}' holds a run already: expected a new folder.",
                    hint="Give resume=True to go on with it, or another run_dir.",
                )
            _check(path, now)
        return cls(folder, hashlib.sha256(f"{config} {data}".encode()).hexdigest())

    def checkpoint(self, key: str) -> Path:
        """Return where a job keeps its state after each epoch; a fit may add its seed to the name."""
        return self._place(key) / _CHECKPOINT

    def done(self, key: str) -> Done | None:
        """Return how a job ended in this or an earlier call, its model left out; None when it has not.

        A record that was cut off while it was written counts as none.
        """
        try:
            record = json.loads((self._place(key) / _RECORD).read_bytes())
            content = (self._place(key) / _ARRAYS).read_bytes()
            if record["format"] != FORMAT or record["sha256"] != hashlib.sha256(content).hexdigest():
                return None
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return _done(record, {name: arrays[name] for name in arrays.files})
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None

    def keep(self, done: Done) -> None:
        """Write how a job ended, all but its model; its checkpoint goes.

        Raises:
            TrainingError: for classes that are neither text, numbers nor flags, or when it cannot be written.
        """
        arrays: dict[str, Values] = {}
        told = {
            "key": done.key,
            "seconds": done.seconds,
            "best_round": done.best_round,
            "seed": done.seed,
            "findings": [finding.model_dump(mode="json") for finding in done.findings],
            "scored": {part: _scored_told(part, scored, arrays) for part, scored in done.scored.items()},
            "fitted": None if done.fitted is None else _fitted_told(done.fitted),
        }
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        content = buffer.getvalue()
        record = {"format": FORMAT, "sha256": hashlib.sha256(content).hexdigest(), **told}
        # The record last: with it, and only with it, the job counts as ended.
        text = json.dumps(record, indent=1, ensure_ascii=False, default=_plain)
        with _written(self.folder):
            write_atomic(self._place(done.key) / _ARRAYS, content)
            write_atomic(self._place(done.key) / _RECORD, text.encode())
        for state in self._place(done.key).glob(f"{Path(_CHECKPOINT).stem}*{Path(_CHECKPOINT).suffix}"):
            state.unlink(missing_ok=True)

    def forget(self, key: str) -> None:
        """Remove a job's record and checkpoint."""
        shutil.rmtree(self._place(key), ignore_errors=True)

    def _place(self, key: str) -> Path:
        return self.folder / _JOBS / key


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Tell in one line why a run cannot be written there.

    Raises:
        TrainingError: then.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"'{folder}' cannot hold a run: {disk_full(error) or error.strerror or error}.",
            hint="Free space, or give another run_dir.",
        ) from error


def _check(path: Path, now: Mapping[str, Any]) -> None:
    """Refuse a run that follows from something else."""
    try:
        there = json.loads(path.read_bytes())
        found, fingerprints = there["format"], (there["config"], there["data"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"'{path}' cannot be read as a run.", hint="Give another run_dir.") from error
    if found != FORMAT:
        raise TrainingError(f"'{path}': expected a run of format {FORMAT}, got {found}.", hint="Give another run_dir.")
    if fingerprints == (now["config"], now["data"]):
        return
    told = differences(there["facts"], now["facts"])
    if fingerprints[0] != now["config"] and not told:
        told = ["the settings or the model differ"]
    if fingerprints[1] != now["data"]:
        told.insert(0, f"the data differ (fingerprint {fingerprints[1][:12]} there and {now['data'][:12]} here)")
    shown = "; ".join(told[:_SHOWN]) + (f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else "")
    raise TrainingError(
        f"'{path.parent}' holds another run: {shown}.",
        hint="Give the model, settings and data that it was begun with to go on with it, or another run_dir.",
    )


def _done(record: Mapping[str, Any], arrays: Mapping[str, Values]) -> Done:
    return Done(
        key=record["key"],
        fitted=None if record["fitted"] is None else _fitted(record["fitted"]),
        scored={part: _scored(part, told, arrays) for part, told in record["scored"].items()},
        seconds=record["seconds"],
        best_round=record["best_round"],
        seed=record["seed"],
        findings=_findings(record["findings"]),
        from_record=True,
    )


def _findings(told: list[Any]) -> tuple[Finding, ...]:
    return tuple(Finding.model_validate(finding) for finding in told)


def _scored_told(part: str, scored: Scored, arrays: dict[str, Values]) -> dict[str, Any]:
    told: dict[str, Any] = {"metrics": dict(scored.metrics), "seconds": scored.seconds, "undefined": scored.undefined}
    prediction = scored.prediction
    if prediction.dtype == object:
        # numpy writes objects by pickle alone.
        told["values"], prediction = _coded(prediction)
    arrays[f"{part}_prediction"] = prediction
    if scored.probability is not None:
        arrays[f"{part}_probability"] = scored.probability
    return told


def _scored(part: str, told: Mapping[str, Any], arrays: Mapping[str, Values]) -> Scored:
    prediction = arrays[f"{part}_prediction"]
    if "values" in told:
        values = np.empty(len(told["values"]), object)
        values[:] = told["values"]
        prediction = values[prediction]
    probability = arrays.get(f"{part}_probability")
    return Scored(told["metrics"], prediction, probability, told["seconds"], told.get("undefined", ""))


def _coded(objects: Values) -> tuple[list[Any], Values]:
    """Return the different values, JSON-able, and the number of each entry's."""
    known: dict[Any, int] = {}
    codes = np.empty(objects.shape, np.int32)
    for place, value in np.ndenumerate(objects):
        plain = value.item() if isinstance(value, np.generic) else value
        if not isinstance(plain, str | int | float | bool | None):
            raise TrainingError(
                f"a prediction of type {type(value).__name__} cannot be kept: expected text, numbers or flags.",
                hint="Give y such values, or leave run_dir out.",
            )
        codes[place] = known.setdefault((type(plain), plain), len(known))
    return [value for _, value in known], codes


def _fitted_told(fitted: Fitted) -> dict[str, Any]:
    told = {field.name: getattr(fitted, field.name) for field in fields(Fitted)}
    return told | {
        "model": None,
        "rounds": [vars(one) | {"metrics": dict(one.metrics)} for one in fitted.rounds],
        "counts_before": dict(fitted.counts_before),
        "counts_after": dict(fitted.counts_after),
        "findings": [finding.model_dump(mode="json") for finding in fitted.findings],
    }


def _fitted(told: Mapping[str, Any]) -> Fitted:
    given = {**told, "findings": _findings(told["findings"]), "tried": tuple(told["tried"])}
    given["rounds"] = tuple(Round(**one) for one in told["rounds"])
    return Fitted(**given)


def _plain(value: object) -> Any:
    """Return a numpy scalar's value, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON-able")
