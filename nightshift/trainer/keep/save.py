"""Saving: a folder with the model, its manifest and its summary, there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nightshift.errors import TrainingError, UsageError
from nightshift.files import fsync
from nightshift.settings import home
from nightshift.trainer.keep import joblib_file, manifest, native, trust
from nightshift.trainer.keep.manifest import Manifest
from nightshift.trainer.options import Format

if TYPE_CHECKING:
    from nightshift.trainer.results.result import CVResult, TrainResult

SKOPS, SUMMARY = "model.skops", "summary.txt"
_ALWAYS = ("scikit-learn",)
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
_PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class _Kept:
    """What was written of a model.

    Attributes:
        needs: distributions that it is read by.
    """

    layout: Literal["skops", "native", "joblib"]
    needs: tuple[str, ...]
    steps: tuple[str, ...] = ()


def save(result: TrainResult | CVResult, path: str | Path | None = None, format: Format = "skops") -> Path:
    """Write a result's model with its manifest into a new folder.

    Boosters and nets are written in their own formats by "skops" too, and only the steps before them by skops.

    Args:
        path: the folder; None: `<save_path>/<estimator>_<YYYYMMDD_HHMMSS>`, UTC. Where it is taken, `_2` is added.
        format: `joblib` can be read in this home alone.

    Returns:
        The folder.

    Raises:
        UsageError: for a format that the estimator has not, or a model with types that are not trusted.
        TrainingError: for a folder that cannot be written to.
    """
    if format not in ("skops", "native", "joblib"):
        raise UsageError(f"format: expected 'skops', 'native' or 'joblib', got {format!r}.")
    # "." and ".." have no name that a number could be added to.
    place = Path(os.path.abspath(_default(result) if path is None else Path(path).expanduser()))
    made = place.parent / f".{place.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        made.mkdir(parents=True)
    except OSError as error:
        raise TrainingError(
            f"no model can be saved in '{place.parent}': {error.strerror}.", hint="Give a folder that you may write to."
        ) from None
    try:
        kept = _write_model(result.model, made, format)
        (made / SUMMARY).write_text(f"{replace(result, saved=place).summary()}\n", encoding="utf-8")
        told = _manifest(result, kept, format, made)
        (made / manifest.NAME).write_bytes(told.written())
        for file in (*made.rglob("*"), made):
            fsync(file)
        return _moved(made, place)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _default(result: TrainResult | CVResult) -> Path:
    given = result.settings.save_path
    folder = Path(given).expanduser() if given else home().root / "experiments" / "tables"
    return folder / f"{result.about.name}_{datetime.now(UTC):%Y%m%d_%H%M%S}"


def _moved(made: Path, place: Path) -> Path:
    """Give a whole folder its name, or the next one that is free; two that save at once get two."""
    for number in range(1, 10_000):
        name = place if number == 1 else place.with_name(f"{place.name}_{number}")
        try:
            made.rename(name)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        else:
            fsync(name.parent)
            return name
    raise UsageError(f"{place} and its next 9,999 names are taken.", hint="Give another path.")


def _write_model(model: Any, folder: Path, format: Format) -> _Kept:
    if format == "joblib":
        data = joblib_file.dumps(model)
        (folder / joblib_file.FILE).write_bytes(data)
        joblib_file.vouch(data)
        more = tuple(name for word, name in joblib_file.LIBRARIES.items() if word in data)
        return _Kept("joblib", (*_ALWAYS, *more))
    peeled = native.peel(model)
    needs = tuple(dict.fromkeys((*_ALWAYS, *peeled.kind.libraries)))
    if format == "skops" and peeled.kind.name == "sklearn":
        _write_skops(model, folder / SKOPS)
        return _Kept("skops", needs)
    try:
        native.write(peeled, folder)
    except UsageError as error:
        if format == "native":
            raise
        raise UsageError(error.what, hint="Give format='joblib', which this project alone can read.") from error
    if peeled.front is not None:
        _write_skops(peeled.front, folder / native.FRONT)
    return _Kept("native", needs, peeled.steps)


def _write_skops(model: Any, path: Path) -> None:
    from skops.io import dumps
    from skops.io.exceptions import UnsupportedTypeException

    try:
        data = dumps(model)
    except (UnsupportedTypeException, TypeError, AttributeError) as error:
        raise UsageError(
            f"{type(model).__name__} cannot be kept by skops: {str(error).splitlines()[0]}",
            hint="Give format='joblib', which this project alone can read.",
        ) from error
    if strangers := trust.unlisted(data):
        raise UsageError(
            f"the model holds {', '.join(strangers[:3])}, which the list of trusted types does not.",
            hint="Give format='joblib', which this project alone can read.",
        )
    path.write_bytes(data)


def _manifest(result: TrainResult | CVResult, kept: _Kept, format: Format, folder: Path) -> Manifest:
    about, provenance = result.about, result.provenance
    return Manifest(
        saved_as=format,
        layout=kept.layout,
        estimator=about.name,
        kind=native.peel(result.model).kind.name,
        task=about.task,
        primary=about.primary,
        classes=tuple(_plain(one) for one in about.classes),
        columns=about.columns,
        dtypes=dict(about.dtypes),
        frame=about.frame,
        y_name=about.y_name,
        versions={**provenance.versions, **manifest.versions_of(kept.needs)},
        needs=kept.needs,
        data=provenance.data,
        config=provenance.config,
        seed=result.fitted.seed,
        commit=provenance.commit,
        threshold=result.fitted.threshold,
        scores={part: _finite(scores) for part, scores in result.scores.items()},
        steps=kept.steps,
        holds_training_rows=trust.holds_rows(result.model),
        project=joblib_file.project().id,
        saved_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        files={
            file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    )


def _plain(label: Any) -> Any:
    plain = label.item() if hasattr(label, "item") else label
    return plain if isinstance(plain, _PLAIN) else str(plain)


def _finite(scores: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None or not math.isfinite(value) else float(value) for name, value in scores.items()}
