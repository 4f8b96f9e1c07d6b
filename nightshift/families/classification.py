"""Will the machine fail soon? An AutoGluon ensemble of trees on window features, with a threshold of its own.

Early stopping and ensemble weights use the first half of validation, the decision threshold the second. Labels are
given, or follow ahead of time from remaining life; where they were made from sensor thresholds, the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightshift.data.schema import PARTS
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
from nightshift.findings import finding
from nightshift.graphs.build import Graph
from nightshift.problems import classification_judge as judge
from nightshift.problems.classification import PROBLEM, ThresholdRule, choose_threshold
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.problem import Samples
from nightshift.trainer.samples import window_samples

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset

CLASSES = ("well", "failing")


class ClassificationConfig(WindowedConfig):
    """What can be tuned.

    Attributes:
        threshold: `false_alarm_budget` (best F1 within `false_alarm_rate`) or `best_f1`, on validation.
        false_alarm_rate: share of well rows that may be called failing.
    """

    threshold: ThresholdRule = "false_alarm_budget"
    false_alarm_rate: float = Field(default=0.05, ge=0, le=1)


class ClassificationFamily:
    """The family; see the module."""

    name = "classification"
    config = ClassificationConfig
    problem = "classification"
    group = "machine"
    needs: frozenset[str] = frozenset({"labels"})
    libraries = ("autogluon.tabular", "catboost", "lightgbm", "numpy", "onnx", "scikit-learn", "xgboost")
    checkpoints = False

    def train(self, data: Dataset, config: ClassificationConfig, ctx: RunContext) -> WindowedModel:
        """Fit on labelled training rows, weigh on validation's first half, choose the threshold on its second.

        Raises:
            DataError: when a class or every sensor value is missing.
            ConfigError: for a model type or preset that the target does not allow.
            InterruptedTraining: when asked to stop.
        """
        train, label = _labelled(data, "train")
        if len(np.unique(label)) < 2:
            raise DataError(f"the train part of '{data.subject}' holds one class only.", hint="Land both classes.")
        spec = fit_spec(data, config, ctx)
        halves = _validation(data)
        if halves.overlap:
            ctx.note(finding("T014", f"The val part has too few failures: {halves.said}"))
        tuning, deciding = halves.tuning, halves.deciding
        table = training_table(data, spec, (train, label), (tuning, _labels(data, "val", tuning)))
        tabular = fit_ensemble(table, config, ctx, problem="binary")
        fitted = WindowedModel(_interface(data, spec.window_rows), spec, tabular, settings_of(config))
        probability = fitted.answer_rows(data, "val", deciding)[:, 1]
        chosen = choose_threshold(
            _labels(data, "val", deciding), probability, config.threshold, config.false_alarm_rate
        )
        interface = fitted.interface.model_copy(update={"thresholds": {"probability": chosen}})
        return WindowedModel(interface, spec, tabular, fitted.settings)

    def predict(self, fitted: WindowedModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with AutoGluon: `probability` float32 `(n, 2)`, `label` int64 `(n,)`."""
        return _decided(fitted, fitted.answer(inputs["window"]))

    def evaluate(
        self, fitted: WindowedModel, data: Dataset, config: ClassificationConfig, ctx: RunContext
    ) -> Evaluation:
        """Judge model and baselines on all parts."""
        train, train_label = _labelled(data, "train")
        newest = data.matrix("train")[train]
        single, alarms = judge.best_single_threshold(newest, train_label), judge.alarm_rule(_alarm_limits(data))
        rules = [rule for rule in (alarms, single) if rule is not None]
        rows, answers, outputs = [], [], {}
        for step, part in enumerate(PARTS):
            index, label = _labelled(data, part)
            outputs = _decided(fitted, fitted.answer_rows(data, part, index))
            said = outputs["probability"][:, 1].astype(np.float64)
            values = data.matrix(part)[index]
            answers = [judge.Judged("model", "model", said, outputs["label"])]
            answers += [rule.answers(values) for rule in rules]
            answers.append(judge.majority(float(train_label.mean()), len(index)))
            rows += [answer.row(part, label) for answer in answers]
            ctx.step(step + 1, len(PARTS), f"{part} judged")
        judged, chosen = judge.evaluation(rows), fitted.interface.thresholds["probability"]
        source = data.metadata.label_source.value
        found = judge.findings(judged, max_gap=config.max_gap, wanted=config.wanted, source=source, threshold=chosen)
        return judged.model_copy(
            update={
                "figures": judge.figures(label, answers),
                "findings": list(found),
                "members": list(fitted.tabular.notes.members),
                "statistics": PROBLEM.statistics(outputs, _truth_only(data, "test", index, label)),
                "notes": [*_notes(data, config, chosen), *fitted.tabular.notes.remarks],
            }
        )

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return the labelled rows of a part."""
        rows, label = _labelled(data, part)
        return window_samples(data, part, interface, rows, {"label": label})

    def save(self, fitted: WindowedModel, folder: Path) -> None:
        """Write features, interface and AutoGluon's files."""
        save_model(fitted, folder)

    def load(self, folder: Path) -> WindowedModel:
        """Read what `save` wrote, from our own work folder."""
        return load_model(folder)

    def export(self, fitted: WindowedModel, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: window, features, ensemble, threshold."""
        graph = Graph("classification")
        probability = add_answer(graph, fitted)
        failing = graph.add("Gather", probability, graph.const(1, "int64"), axis=1)
        limit = graph.const(fitted.interface.thresholds["probability"], "float32")
        label = graph.add("Cast", graph.add("GreaterOrEqual", failing, limit), to=_INT64)
        graph.output(probability, "probability", "float32", ("batch", len(CLASSES)))
        graph.output(label, "label", "int64", ("batch",))
        return graph.build()

    def parity_inputs(self, fitted: WindowedModel, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return windows of val and adversarial ones."""
        return hard_windows(fitted.spec, fitted.interface, self.export(fitted, ctx), data)

    def tolerances(self, fitted: WindowedModel) -> Mapping[str, float]:
        """Members answer in float32, so that their mean may differ in the last place; a network's layers in several."""
        return {"probability": NETWORK_TOLERANCE if has_network(fitted) else 1e-6}


FAMILY = ClassificationFamily()

#: ONNX's number for int64.
_INT64 = 7


def _labelled(data: Dataset, part: str) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return indices of the rows whose label is known, and the labels."""
    rows = np.flatnonzero(np.isfinite(data.labels(part)))
    return rows, _labels(data, part, rows)


def _labels(data: Dataset, part: str, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    return data.labels(part)[rows].astype(np.int64)


class _Halves(NamedTuple):
    """Labelled rows of val for fitting and for the threshold, and which of them are of the whole part."""

    tuning: NDArray[np.intp]
    deciding: NDArray[np.intp]
    tuning_whole: bool
    deciding_whole: bool

    @property
    def overlap(self) -> bool:
        """Whether rows serve twice."""
        return self.tuning_whole or self.deciding_whole

    @property
    def said(self) -> str:
        """One sentence for people."""
        first = "the whole" if self.tuning_whole else "the first half"
        second = "the whole" if self.deciding_whole else "the second half"
        return f"ensemble weights and early stopping used {first} of validation, the threshold {second}."


def _validation(data: Dataset) -> _Halves:
    """Return labelled rows of validation's halves; a half without both classes gives way to the whole.

    Raises:
        DataError: when the whole of validation holds one class.
    """
    labels = data.labels("val")
    whole = np.flatnonzero(np.isfinite(labels))
    if len(np.unique(labels[whole])) < 2:
        raise DataError(f"the val part of '{data.subject}' holds one class only.", hint="Land more runs.")
    halves = [np.flatnonzero(half & np.isfinite(labels)) for half in data.validation_halves()]
    one_class = [len(np.unique(labels[half])) < 2 for half in halves]
    first, second = (whole if alone else half for half, alone in zip(halves, one_class, strict=True))
    return _Halves(first, second, *one_class)


def _interface(data: Dataset, window_rows: int) -> Interface:
    return Interface(
        columns=interface_columns(data),
        window_rows=window_rows,
        classes=CLASSES,
        outputs=(
            Output(name="probability", dtype="float32", shape=("batch", 2), meaning="of each class"),
            Output(name="label", dtype="int64", shape=("batch",), meaning="1 = failing"),
        ),
    )


def _decided(fitted: WindowedModel, probability: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    limit = np.float32(fitted.interface.thresholds["probability"])
    return {"probability": probability, "label": (probability[:, 1] >= limit).astype(np.int64)}


def _alarm_limits(data: Dataset) -> NDArray[np.float64]:
    sensors = data.metadata.sensors
    return np.array([[np.nan if v is None else v for v in (s.alarm_below, s.alarm_above)] for s in sensors])


def _truth_only(data: Dataset, part: str, rows: NDArray[np.intp], label: NDArray[np.int64]) -> Samples:
    """Samples without windows, which the statistics do not need."""
    return Samples({}, {"label": label}, data.units(part)[rows], np.full(len(rows), np.nan))


def _notes(data: Dataset, config: ClassificationConfig, chosen: float) -> list[str]:
    meta = data.metadata
    ahead = f", {meta.horizon:g} {meta.time_unit} ahead" if meta.horizon and meta.label_source == "from_rul" else ""
    budget = f" within a false-alarm rate of {config.false_alarm_rate:g}"
    halves = _validation(data)
    where = "the whole" if halves.deciding_whole else "the second half"
    overlap = [f"A half of validation holds one class: {halves.said}"] if halves.overlap else []
    return [
        f"Labels are {judge.SOURCES.get(meta.label_source.value, meta.label_source.value)}{ahead}.",
        f"Threshold {chosen:.4g}: best F1{budget if config.threshold == 'false_alarm_budget' else ''} on {where} "
        "of validation.",
        *overlap,
    ]
