"""When will the machine fail? Remaining useful life by an AutoGluon ensemble of trees on window features.

The cap is the family's, never the data's: far from the end sensors say nothing of the life left, and a model that is
asked for it anyway learns the length of the training runs. Trees cannot answer beyond what they have seen, and the
graph keeps answers between 0 and the cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightshift.data.schema import PARTS, RUL, TimeKind
from nightshift.edge.manifest import Interface, Output
from nightshift.errors import DataError
from nightshift.families._tabular import (
    NETWORK_TOLERANCE,
    WindowedConfig,
    WindowedModel,
    add_answer,
    fit_ensemble,
    fit_spec,
    has_network,
    load_model,
    save_model,
    settings_of,
    training_table,
)
from nightshift.families._windows import hard_windows, interface_columns
from nightshift.family import Arrays, RunContext
from nightshift.graphs.build import Graph
from nightshift.problems import regression_judge as judge
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.problem import Samples
from nightshift.problems.regression import PROBLEM
from nightshift.trainer.samples import window_samples

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset

_HOUR_S = 3600.0


class RulConfig(WindowedConfig):
    """What can be tuned.

    Attributes:
        cap: remaining life above this counts as this, in the dataset's time unit; None for no cap.
    """

    cap: float | None = Field(default=None, gt=0)
    min_leaf_rows: int = Field(default=50, ge=1)
    # Neighbouring windows of a run are nearly the same row: trees of a forest differ only if splits see few features.
    boost_features: float = Field(default=0.6, gt=0, le=1)
    forest_features: float = Field(default=0.33, gt=0, le=1)


class RulFamily:
    """The family; see the module."""

    name = "rul"
    config = RulConfig
    problem = "regression"
    group = "machine"
    needs: frozenset[str] = frozenset({"rul", "runs"})
    libraries = ("autogluon.tabular", "catboost", "lightgbm", "numpy", "onnx", "scikit-learn", "xgboost")
    checkpoints = False

    def train(self, data: Dataset, config: RulConfig, ctx: RunContext) -> WindowedModel:
        """Fit on training rows whose remaining life is known, weigh on validation's first half.

        Raises:
            DataError: when no remaining life is known in train or val, or every sensor value is missing.
            ConfigError: for a model type or preset that the target does not allow.
            InterruptedTraining: when asked to stop.
        """
        cap = np.inf if config.cap is None else config.cap
        train, tuning = _known(data, "train"), _tuning_rows(data)
        if not len(train) or not len(tuning):
            empty = "val" if len(train) else "train"
            raise DataError(
                f"no row of the {empty} part of '{data.subject}' has a known remaining life.",
                hint="Land runs that end in a failure, or train other families.",
            )
        spec = fit_spec(data, config, ctx)
        target = np.minimum(_stored(data, "train")[train], cap)
        table = training_table(data, spec, (train, target), (tuning, np.minimum(_stored(data, "val")[tuning], cap)))
        tabular = fit_ensemble(table, config, ctx, problem="regression")
        # The longest life seen, up to the cap: an answer beyond it would come from rounding alone.
        top = float(np.float32(target.max()))
        thresholds = {"largest_answer": top} | ({"cap": config.cap} if config.cap is not None else {})
        return WindowedModel(_interface(data, spec.window_rows, thresholds), spec, tabular, settings_of(config))

    def predict(self, fitted: WindowedModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with AutoGluon: `value` float32 `(n,)` in the dataset's time unit."""
        return {"value": _clipped(fitted, fitted.answer(inputs["window"]))}

    def evaluate(self, fitted: WindowedModel, data: Dataset, config: RulConfig, ctx: RunContext) -> Evaluation:
        """Judge model and baselines on all parts; on a published test, on the last row of each run."""
        cap = np.inf if config.cap is None else config.cap
        train, whole = _truth(data, "train", _known(data, "train"), cap), not _cuts_runs(data)
        baselines = judge.LifeBaselines.fit(train, cap, whole_runs=whole)
        rows, notes = [], _notes(data, config)
        if not whole:
            notes.append("No elapsed-time baseline: the parts cut through runs, so their rows' age is not known.")
        for step, part in enumerate(PARTS):
            index = _known(data, part)
            every, said = _truth(data, part, index, cap), _clipped(fitted, fitted.answer_rows(data, part, index))
            headline = _headline(data, part)[index]
            truth, predicted = every.at(headline), said[headline].astype(np.float64)
            rows += [judge.score_row("model", "model", part, truth, predicted), *baselines.rows(part, truth)]
            ctx.step(step + 1, len(PARTS), f"{part} judged")
        if not headline.all():
            rest = judge.score_row("model", "model", "test", every, said.astype(np.float64)).metrics["rmse"]
            notes.append(f"Test figures are of the last row of each of its {len(predicted)} runs, as published.")
            notes.append(f"RMSE over every row of the test part: {rest:.4g} {data.metadata.time_unit}.")
        judged = judge.evaluation(rows)
        return judged.model_copy(
            update={
                "figures": judge.figures(truth, predicted, every, said.astype(np.float64), data.metadata.time_unit),
                "findings": list(judge.findings(judged, max_gap=config.max_gap, wanted=config.wanted)),
                "members": list(fitted.tabular.notes.members),
                "statistics": PROBLEM.statistics({"value": said}, _truth_only(data, "test", index, every, headline)),
                "notes": [*notes, *fitted.tabular.notes.remarks],
            }
        )

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return the rows whose remaining life is known, capped as the model is."""
        rows = _known(data, part)
        stored = _stored(data, part)[rows]
        truth = {
            "rul": np.minimum(stored, interface.thresholds.get("cap", np.inf)),
            "rul_uncapped": stored,
            "headline": _headline(data, part)[rows],
        }
        return window_samples(data, part, interface, rows, truth)

    def save(self, fitted: WindowedModel, folder: Path) -> None:
        """Write features, interface and AutoGluon's files."""
        save_model(fitted, folder)

    def load(self, folder: Path) -> WindowedModel:
        """Read what `save` wrote, from our own work folder."""
        return load_model(folder)

    def export(self, fitted: WindowedModel, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: window, features, ensemble, bounds."""
        graph = Graph("rul")
        value = graph.add("Squeeze", add_answer(graph, fitted), graph.const([1], "int64"))
        top = graph.const(fitted.interface.thresholds["largest_answer"], "float32")
        graph.output(graph.add("Clip", value, graph.const(0.0, "float32"), top), "value", "float32", ("batch",))
        return graph.build()

    def parity_inputs(self, fitted: WindowedModel, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return windows of val and adversarial ones."""
        return hard_windows(fitted.spec, fitted.interface, self.export(fitted, ctx), data)

    def tolerances(self, fitted: WindowedModel) -> Mapping[str, float]:
        """Members answer in float32: a few of its steps at the largest answer, some more for a network's layers."""
        steps = NETWORK_TOLERANCE if has_network(fitted) else 2e-6
        return {"value": max(1e-5, steps * fitted.interface.thresholds["largest_answer"])}


FAMILY = RulFamily()


def _stored(data: Dataset, part: str) -> NDArray[np.float64]:
    return data.frame(part)[RUL].to_numpy(np.float64)


def _known(data: Dataset, part: str) -> NDArray[np.intp]:
    """Return indices of the rows whose remaining life is known."""
    return np.flatnonzero(np.isfinite(_stored(data, part)))


def _tuning_rows(data: Dataset) -> NDArray[np.intp]:
    """Return rows of validation's first half with a known life; of the whole where that half has none."""
    known = np.isfinite(_stored(data, "val"))
    rows = np.flatnonzero(known & data.validation_halves()[0])
    return rows if len(rows) else np.flatnonzero(known)


def _headline(data: Dataset, part: str) -> NDArray[np.bool_]:
    """Return the rows that the headline figures count, `(rows,)`: on a published test, the last of each run."""
    run = data.runs(part)
    if not (data.metadata.official_test and part == "test"):
        return np.ones(len(run), dtype=np.bool_)
    return np.append(run[1:] != run[:-1], True) if len(run) else np.zeros(0, dtype=np.bool_)


def _truth(data: Dataset, part: str, rows: NDArray[np.intp], cap: float) -> judge.Truth:
    stored, run = _stored(data, part)[rows], data.runs(part)
    return judge.Truth(np.minimum(stored, cap), stored, _elapsed(data, part)[rows], run[rows])


def _elapsed(data: Dataset, part: str) -> NDArray[np.float64]:
    """Return the time since each row's run began, in the dataset's time unit."""
    times, run = data.times_s(part), data.runs(part)
    begins = np.append(True, run[1:] != run[:-1]) if len(run) else np.zeros(0, dtype=np.bool_)
    start = times[np.maximum.accumulate(np.where(begins, np.arange(len(run)), 0))]
    return (times - start) / (_HOUR_S if data.metadata.time_kind is TimeKind.CALENDAR else 1.0)


def _cuts_runs(data: Dataset) -> bool:
    """Return whether parts hold pieces of one run, which then end in a failure at the same moment.

    With fewer than three calendar runs the split is by time, and each part's piece of a run has a number of its own.
    """
    if data.metadata.time_kind is not TimeKind.CALENDAR:
        return False
    slack_s = data.metadata.sampling_s or 1.0
    before = np.zeros(0)
    for part in PARTS:
        rows = _known(data, part)
        failure_s, run = data.times_s(part)[rows] + _HOUR_S * _stored(data, part)[rows], data.runs(part)[rows]
        last = np.append(run[1:] != run[:-1], True) if len(run) else np.zeros(0, dtype=np.bool_)
        ends = failure_s[last]
        if (np.abs(ends[:, None] - before[None, :]) <= slack_s).any():
            return True
        before = np.append(before, ends)
    return False


def _interface(data: Dataset, window_rows: int, thresholds: dict[str, float]) -> Interface:
    unit = data.metadata.time_unit
    return Interface(
        columns=interface_columns(data),
        window_rows=window_rows,
        outputs=(Output(name="value", dtype="float32", shape=("batch",), unit=unit, meaning="remaining useful life"),),
        thresholds=thresholds,
    )


def _clipped(fitted: WindowedModel, value: NDArray[np.float32]) -> NDArray[np.float32]:
    top = np.float32(fitted.interface.thresholds["largest_answer"])
    return np.clip(value, np.float32(0.0), top)


def _truth_only(
    data: Dataset, part: str, rows: NDArray[np.intp], truth: judge.Truth, headline: NDArray[np.bool_]
) -> Samples:
    """Samples without windows, which the statistics do not need."""
    known = {"rul": truth.capped, "headline": headline}
    return Samples({}, known, data.units(part)[rows], np.full(len(rows), np.nan))


def _notes(data: Dataset, config: RulConfig) -> list[str]:
    unit = data.metadata.time_unit
    if config.cap is None:
        return [f"Remaining life is not capped; figures are in {unit}."]
    return [
        f"Remaining life is capped at {config.cap:g} {unit}, in training and in the truth of every figure but the "
        "uncapped one and the NASA score."
    ]
