"""Judges estimators on tables: the model, the commonest answer and a linear model, on all parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import PARTS
from nightshift.errors import NightshiftError
from nightshift.families._estimator import (
    EstimatorConfig,
    EstimatorModel,
    Float32,
    Role,
    frame_of,
    samples_of,
)
from nightshift.family import Arrays, RunContext, rng_of
from nightshift.findings import Finding, finding
from nightshift.problems import kinds_judge, table_judge
from nightshift.problems import problem as problems
from nightshift.problems.evaluation import Evaluation, Figure, Member, ScoreRow, Series

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset

Answers = Callable[[Float32], dict[str, NDArray[Any]]]

_PROBLEM = {"class": "classification", "value": "regression"}
_TRUTH = {"class": "kind", "value": "value"}
_LINEAR = {"class": "logistic", "value": "ridge"}
#: Train rows by which the linear baseline is fitted.
_LINEAR_ROWS = 20_000


def evaluate(
    fitted: EstimatorModel,
    data: Dataset,
    config: EstimatorConfig,
    ctx: RunContext,
    role: Role,
    predict: Callable[[EstimatorModel, Arrays], dict[str, NDArray[Any]]],
) -> Evaluation:
    """Judge a model beside its baselines on train, val and test."""
    problem, classes = _PROBLEM[role], fitted.interface.classes
    samples = {part: samples_of(fitted.interface, data, part, role) for part in PARTS}
    truths = {part: samples[part].truth[_TRUTH[role]] for part in PARTS}
    methods: dict[str, Answers] = _baselines(fitted, samples["train"].inputs["window"], truths["train"], ctx, role)
    rows, said = [], {}
    for step, part in enumerate(PARTS):
        said = predict(fitted, samples[part].inputs)
        rows.append(_row("model", "model", part, truths[part], said, classes))
        window = samples[part].inputs["window"]
        rows += [_row(who, "baseline", part, truths[part], answer(window), classes) for who, answer in methods.items()]
        ctx.step(step + 1, len(PARTS), f"{part} judged")
    judged = table_judge.evaluation(problem, rows)
    truth = data.metadata.truth(role)
    if role == "class":
        model = kinds_judge.Judged("model", "model", said["probability"].astype(np.float64), said["label"])
        figures = kinds_judge.figures(truths["test"], [model], classes)
    else:
        figures = table_judge.value_figures(truths["test"], said["value"], truth.name if truth else "")
    return judged.model_copy(
        update={
            "figures": [*figures, *_folds(fitted)],
            "findings": [
                *table_judge.findings(judged, max_gap=config.max_gap, wanted=config.wanted),
                *_unknown(data, truths, classes, role),
            ],
            "members": [Member(name=str(fitted.summary["estimator"]), score=judged.score("test"), weight=1.0)],
            "statistics": problems.get(problem).statistics(said, samples["test"]),
            "notes": _notes(data, fitted),
        }
    )


def _folds(fitted: EstimatorModel) -> Iterator[Figure]:
    """Yield what each fold of a cross-validation scored, where there was one."""
    for metric, scores in fitted.folds.items():
        known = [score for score in scores if score is not None]
        mean = f", {np.mean(known):.4g} in the mean" if known else ""
        bars = Series(label=metric, x=[f"fold {i + 1}" for i in range(len(scores))], y=scores, style="bars")
        yield Figure(key="folds", title=f"Cross-validation{mean}", y_label=metric, series=[bars])


def _row(
    who: str,
    kind: Literal["model", "baseline"],
    part: str,
    truth: NDArray[Any],
    said: dict[str, NDArray[Any]],
    classes: tuple[str, ...],
) -> ScoreRow:
    if "value" in said:
        return table_judge.value_row(who, kind, part, truth, said["value"].astype(np.float64))
    judged = kinds_judge.Judged(who, kind, said["probability"].astype(np.float64), said["label"])
    return judged.row(part, truth, classes)


def _baselines(
    fitted: EstimatorModel, window: Float32, truth: NDArray[Any], ctx: RunContext, role: Role
) -> dict[str, Answers]:
    """Return what always gives the commonest class or the mean, and a linear model where the model is none itself."""
    found: dict[str, Answers] = {}
    if role == "class":
        shares = np.bincount(truth, minlength=len(fitted.interface.classes)) / len(truth)
        common = int(shares.argmax())
        found["majority class"] = lambda rows: {
            "probability": np.tile(shares, (len(rows), 1)),
            "label": np.full(len(rows), common, np.int64),
        }
    else:
        mean = float(truth.mean())
        found["mean"] = lambda rows: {"value": np.full(len(rows), mean)}
    if not _is_linear(fitted.model):
        linear = _linear(fitted, window, truth, ctx, role)
        if linear is not None:
            found["linear model"] = linear
    return found


def _is_linear(model: Any) -> bool:
    from nightshift.trainer.keep.native import peel
    from nightshift.trainer.keep.onnx_graph import bare_of

    return type(bare_of(peel(model).estimator)).__module__.startswith("sklearn.linear_model")


def _linear(
    fitted: EstimatorModel, window: Float32, truth: NDArray[Any], ctx: RunContext, role: Role
) -> Answers | None:
    """Fit the linear model by the trainer; None where it cannot be fitted: it is a yardstick, no result."""
    from nightshift.trainer.api import train_model

    columns, n_classes = fitted.interface.columns, len(fitted.interface.classes)
    chosen = np.sort(rng_of(ctx).permutation(len(truth))[:_LINEAR_ROWS])
    parts = (np.arange(len(chosen)), chosen[:0], chosen[:0])
    frame = frame_of(window[chosen], columns, fitted.fill)
    told: dict[str, Any] = {"checks": "off", "progress": False, "seed": ctx.seed, "encode": {"always_impute": True}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it may not converge, and is a yardstick all the same
            model = train_model(_LINEAR[role], frame, truth[chosen], split=parts, **told).model
    except NightshiftError:
        return None

    def answers(rows: Float32) -> dict[str, NDArray[Any]]:
        table = frame_of(rows, columns, fitted.fill)
        if role == "value":
            return {"value": np.asarray(model.predict(table), np.float64).ravel()}
        probability = np.zeros((len(rows), n_classes))
        probability[:, model.classes_] = model.predict_proba(table)
        return {"probability": probability, "label": probability.argmax(axis=1).astype(np.int64)}

    return answers


def _unknown(data: Dataset, truths: dict[str, NDArray[Any]], classes: tuple[str, ...], role: Role) -> Iterator[Finding]:
    """Tell of classes that stand in a part and that the model has not learnt: means over classes leave them out."""
    truth = data.metadata.truth(role)
    for part in ("val", "test"):
        rows = int((truths[part] < 0).sum()) if role == "class" and truth else 0
        if truth and rows:
            names = ", ".join(sorted(set(data.frame(part)[truth.name].map(str)) - set(classes)))
            yield finding(
                "T018",
                f"The model has learnt no row of {names}: {rows} rows of {part}, which accuracy counts as wrong and "
                "macro-F1 leaves out.",
                remedy="Get more rows of it, or part the rows so that train holds some.",
            )


def _notes(data: Dataset, fitted: EstimatorModel) -> list[str]:
    details = data.metadata.provenance.details
    notes = [f"Rows were parted as {details['parted']}."] if details.get("parted") else []
    if details.get("joined"):
        notes.append(
            "The model was fitted on train and val together, as cross-validation ends: test alone is new to it."
        )
    coded = [place for place, column in enumerate(fitted.interface.columns) if column.categories]
    if (data.matrix("train")[:, coded] < 0).any():
        notes.append("A missing word is taken for one that was never seen, by the bundle as in these figures.")
    if np.isfinite(fitted.fill).any():
        notes.append("The model takes no gaps: a missing number is taken for the train rows' median.")
    return notes
