"""Pictures of a result: rounds, folds, learning curve, and what was taken for what."""

from __future__ import annotations

import numpy as np

from nightshift.problems.evaluation import Figure, Series
from nightshift.trainer.contract import Round
from nightshift.trainer.records import Floats
from nightshift.trainer.results.result import CurvePoint, CVResult, TrainResult

#: Classes that a confusion matrix can still show, and points that can be told apart.
_MOST_CLASSES, _MOST_POINTS = 12, 1_500


def figures(result: TrainResult | CVResult) -> tuple[Figure, ...]:
    """Return the pictures that there is something for; `nightshift.problems.charts.draw` makes an SVG file of one."""
    folded = result if isinstance(result, CVResult) else result.cv
    made = [_rounds(result.history)]
    if folded is not None:
        made += [_folds(folded), _learning_curve(folded.learning_curve, folded.about.primary)]
    made.append(_answers(result))
    return tuple(one for one in made if one is not None)


def _rounds(history: tuple[Round, ...]) -> Figure | None:
    """Return each round's losses; figures of another size would flatten them, and stand in only where there is none."""
    if len(history) < 2:
        return None
    names = list(dict.fromkeys(name for one in history for name in one.metrics))
    losses = [name for name in names if name.endswith("loss")] or names
    series = [
        Series(
            label=name.replace("_", " "),
            x=[float(one.number) for one in history],
            y=[one.metrics.get(name) for one in history],
        )
        for name in losses
    ]
    return Figure(key="rounds", title="Rounds of the fit", x_label="round", y_label="loss", series=series)


def _folds(result: CVResult) -> Figure | None:
    primary = result.about.primary
    names: list[float | str] = [str(fold.number) for fold in result.folds]
    held: list[float | None] = [fold.scores.get(primary) for fold in result.folds]
    if all(one is None for one in held):
        return None
    train: list[float | None] = [fold.train_scores.get(primary) for fold in result.folds]
    series = [
        Series(label="train", x=names, y=train, style="bars"),
        Series(label="held out", x=names, y=held, style="bars"),
    ]
    return Figure(key="folds", title="Folds", x_label="fold", y_label=primary, series=series)


def _learning_curve(points: tuple[CurvePoint, ...], primary: str) -> Figure | None:
    if len(points) < 2:
        return None
    rows: list[float | str] = [float(one.rows) for one in points]
    held = [one.held_out for one in points]
    series = [
        Series(label="train", x=rows, y=[one.train for one in points]),
        Series(label="held out", x=rows, y=held),
        Series(
            label="spread over the folds",
            x=rows,
            y=[_beside(one, -1) for one in points],
            y2=[_beside(one, 1) for one in points],
            style="band",
        ),
    ]
    return Figure(key="learning_curve", title="Learning curve", x_label="train rows", y_label=primary, series=series)


def _beside(point: CurvePoint, side: int) -> float | None:
    return None if point.held_out is None else point.held_out + side * (point.spread or 0.0)


def _answers(result: TrainResult | CVResult) -> Figure | None:
    """Return the answers on rows that no model behind them saw, against the truth."""
    told = result.predictions
    parts = ("held_out", "test", "validation") if isinstance(result, CVResult) else ("test", "validation")
    part = next((one for one in parts if np.any(told.part == one)), None)
    if part is None:
        return None
    own = told.part == part
    truth, answer, where = told.truth[own], told.value[own], f" ({part.replace('_', ' ')})"
    if not result.about.classes:
        return _against(truth.astype(np.float64), answer.astype(np.float64), where)
    if len(result.about.classes) > _MOST_CLASSES:
        return None
    classes = result.about.classes
    place, many = {one: at for at, one in enumerate(classes)}, len(classes)
    pairs = zip(truth.tolist(), answer.tolist(), strict=True)
    at = np.fromiter((place[true] * many + place[said] for true, said in pairs), np.int64, len(truth))
    cells = np.bincount(at, minlength=many * many).reshape(many, many).astype(np.float64).tolist()
    return Figure(
        key="confusion",
        title=f"Confusion{where}",
        x_label="predicted",
        y_label="true",
        cells=cells,
        ticks=[str(one) for one in classes],
    )


def _against(truth: Floats, answer: Floats, where: str) -> Figure:
    keep = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), _MOST_POINTS)).astype(np.int64))
    ends = [float(truth.min()), float(truth.max())]
    series = [
        Series(label="perfect", x=list(ends), y=list(ends)),
        Series(label="rows", x=truth[keep].tolist(), y=answer[keep].tolist(), style="points"),
    ]
    return Figure(
        key="predicted", title=f"Predicted against true{where}", x_label="true", y_label="predicted", series=series
    )
