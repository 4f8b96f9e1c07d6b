"""A result's scores as a frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nightshift.trainer.records import Scores
from nightshift.trainer.results.result import CVResult, TrainResult

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("part", "fold", "seed", "metric", "score", "spread")


def to_frame(result: TrainResult | CVResult) -> pd.DataFrame:
    """Return a row per part, fold and metric.

    Columns: part; fold, 0 where the row is of no single one; seed; metric; score; spread, the standard deviation over
    the folds of a mean over them. Further seeds have rows of their own.
    """
    import pandas as pd

    return pd.DataFrame(list(_rows(result)), columns=list(COLUMNS))


def _rows(result: TrainResult | CVResult) -> Iterator[tuple[Any, ...]]:
    seed = result.settings.seed
    folded = result if isinstance(result, CVResult) else result.cv
    for fold in folded.folds if folded is not None else ():
        yield from _of("train", fold.number, fold.seed, fold.train_scores)
        yield from _of("held_out", fold.number, fold.seed, fold.scores)
    if folded is not None and folded is not result:
        yield from _of("held_out", 0, seed, folded.scores["held_out"], folded.spread)
    for part, scores in result.scores.items():
        deviation = result.spread if isinstance(result, CVResult) and part == "held_out" else {}
        yield from _of(part, 0, seed, scores, deviation)
    for one in result.by_seed[1:]:
        for part, scores in one.scores.items():
            yield from _of(part, 0, one.seed, scores)


def _of(part: str, fold: int, seed: int, scores: Scores, spread: Any = None) -> Iterator[tuple[Any, ...]]:
    for metric, value in scores.items():
        yield part, fold, seed, metric, value, (spread or {}).get(metric)
