"""What both trainings end with: means and spreads, predictions, findings, a saved model, a logged result."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from nightshift.errors import NightshiftError
from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import Ints, Scored
from nightshift.trainer.options import Settings, Track
from nightshift.trainer.ready import Ready
from nightshift.trainer.records import Floats, Predictions, Scores, Values
from nightshift.trainer.results.result import CVResult, TrainResult

Result = TypeVar("Result", TrainResult, CVResult)

#: Logs a result; it lies in a layer above, which is asked by name alone and only where `track=` was given.
_TRACKER, _LOG = "nightshift.tracking.estimator_runs", "log_result"


def seeds_of(settings: Settings) -> tuple[int, ...]:
    """Return the seed, and others after it: the same ones each time."""
    more = np.random.SeedSequence(settings.seed).generate_state(settings.seeds - 1) if settings.seeds > 1 else ()
    return (settings.seed, *(int(one) >> 1 for one in more))


def mean_of(figures: Sequence[Scores]) -> dict[str, float | None]:
    """Return each metric's mean over those that have it; None where none has."""
    return {name: _reckoned(np.mean, figures, name, 1) for name in (figures[0] if figures else ())}


def spread_of(figures: Sequence[Scores]) -> dict[str, float | None]:
    """Return each metric's standard deviation (n - 1); None below two figures."""
    return {name: _reckoned(_deviation, figures, name, 2) for name in (figures[0] if figures else ())}


def _deviation(values: Floats) -> float:
    return float(np.std(values, ddof=1))


def _reckoned(how: Any, figures: Iterable[Scores], name: str, least: int) -> float | None:
    values = [value for one in figures if (value := one.get(name)) is not None]
    return float(how(np.array(values))) if len(values) >= least else None


def predictions(parts: Sequence[tuple[Ints, str, int, Scored]], y: Values) -> Predictions:
    """Put together answers on parts.

    Args:
        parts: (rows, name of the part, number of the fold, what was scored).
        y: (n,) of the whole table.
    """
    if not parts:
        none = np.empty(0, np.int64)
        return Predictions(none, np.empty(0, np.str_), none, np.empty(0), None, y[:0].copy())
    told = [scored.probability for _, _, _, scored in parts]
    return _kept(
        Predictions(
            index=np.concatenate([rows for rows, _, _, _ in parts]),
            part=np.concatenate([np.full(len(rows), part) for rows, part, _, _ in parts]),
            fold=np.concatenate([np.full(len(rows), fold, np.int64) for rows, _, fold, _ in parts]),
            value=np.concatenate([scored.prediction for _, _, _, scored in parts]),
            probability=_joined(told),
            truth=y[np.concatenate([rows for rows, _, _, _ in parts])],
        )
    )


def joined(first: Predictions, second: Predictions) -> Predictions:
    """Return both, one after the other."""
    return _kept(
        Predictions(
            index=np.concatenate([first.index, second.index]),
            part=np.concatenate([first.part, second.part]),
            fold=np.concatenate([first.fold, second.fold]),
            value=np.concatenate([first.value, second.value]),
            probability=_joined([first.probability, second.probability]),
            truth=np.concatenate([first.truth, second.truth]),
        )
    )


def _joined(parts: Sequence[Floats | None]) -> Floats | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None


def _kept(made: Predictions) -> Predictions:
    """Return them as arrays that nobody changes by mistake."""
    for array in (made.index, made.part, made.fold, made.value, made.probability, made.truth):
        if array is not None:
            array.setflags(write=False)
    return made


def metrics_of(scored: Mapping[Any, Scored]) -> dict[str, Scores]:
    """Return the metrics by part."""
    return {str(part): one.metrics for part, one in scored.items()}


def finished(result: Result, made: Ready) -> Result:
    """Save and log a result as was asked for; a fault in either costs no result.

    Returns:
        The result, with the folder of the saved model.
    """
    settings = made.settings
    if settings.save_model or settings.save_path:
        try:
            result = replace(result, saved=result.save())
        except (NightshiftError, OSError, ImportError) as error:
            warnings.warn(f"the model was not saved: {error}", stacklevel=4)
    if made.asked.track is not None:
        _track(result, made.asked.track)
    where = f", saved in {result.saved}" if result.saved else ""
    made.tell(ProgressEvent("", "train", message=f"{result.about.name}: done{where}.", line=True))
    return result


def _track(result: TrainResult | CVResult, track: Track | Any) -> None:
    if not isinstance(track, Track):
        try:
            track(result)
        except Exception as error:  # the caller's own code: anything may come
            warnings.warn(f"the result was not logged: {type(error).__name__}: {error}", stacklevel=5)
        return
    getattr(importlib.import_module(_TRACKER), _LOG)(result, track)
