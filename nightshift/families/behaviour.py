"""How is the car driven? One LightGBM booster on window features tells the kind of driving over the window.

A window is of the kind that most of its rows are of. Parts are split by vehicle and trip: rows of one trip in two parts
would let the model know the trip in place of the driving. Each kind counts alike (macro-F1), however rare it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import PARTS
from nightshift.edge.manifest import Interface, Output
from nightshift.errors import DataError
from nightshift.families._boosted import (
    BoostedConfig,
    BoostedModel,
    add_booster,
    drawn,
    features_of,
    importance_figure,
    load_model,
    member_of,
    save_model,
    settings_of,
    window_spec,
)
from nightshift.families._consumption import note_left_out
from nightshift.families._vehicle import early_half, inputs_of, window_ends
from nightshift.families._windows import hard_windows
from nightshift.family import Arrays, RunContext
from nightshift.graphs.build import ELEMENT_TYPES, Graph
from nightshift.problems import kinds_judge as judge
from nightshift.problems.classification import PROBLEM
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.problem import Samples
from nightshift.trainer.boosted import BoostedTable, fit_boosted
from nightshift.trainer.samples import window_samples

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset

Ints = NDArray[np.int64]


class BehaviourConfig(BoostedConfig):
    """What can be tuned.

    Attributes:
        balanced: whether each kind weighs alike in training, however many windows are of it.
    """

    balanced: bool = False


class BehaviourFamily:
    """The family; see the module."""

    name = "behaviour"
    config = BehaviourConfig
    problem = "classification"
    group = "vehicle"
    needs: frozenset[str] = frozenset({"behaviour", "runs"})
    libraries = ("lightgbm", "numpy", "onnx")
    checkpoints = False

    def train(self, data: Dataset, config: BehaviourConfig, ctx: RunContext) -> BoostedModel:
        """Fit on training windows of a known kind, stop early by validation's first half.

        Raises:
            DataError: when train holds one kind only, no kind is known, no trip is long enough, or no input says
                anything.
            ConfigError: for columns that the data does not have.
            InterruptedTraining: when asked to stop.
        """
        note_left_out(data, "train", "behaviour", ctx)
        classes = classes_of(data)
        known = _known(data, "train", config.window_rows, config.stride_rows, classes)
        chosen = drawn(len(known.ends), config, ctx)
        kind = known.kind[chosen]
        if len(np.unique(kind)) < 2:
            raise DataError(
                f"the train part of '{data.subject}' holds one kind of driving only: {classes[int(kind[0])]}.",
                hint="Land trips of two kinds or more.",
            )
        spec, interface = window_spec(data, config), _interface(data, config, classes)
        features = features_of(data, "train", interface, spec, known.ends[chosen])
        tuning = _known(data, "val", config.window_rows, config.stride_rows, classes)
        if len(np.setdiff1d(kind, tuning.kind)):  # T018, told with the judging
            held = held_back(data.runs("train")[known.ends[chosen]], kind)
            tuned, tuned_kind = features[held], kind[held]
            features, kind = features[~held], kind[~held]
        else:
            rows = _tuning(data, tuning, config, ctx)
            tuned, tuned_kind = features_of(data, "val", interface, spec, tuning.ends[rows]), tuning.kind[rows]
        weight = _weights(kind, len(classes)) if config.balanced else None
        table = BoostedTable(spec.feature_names, features, kind, weight, tuned, tuned_kind)
        boosted = fit_boosted(table, config.settings(), ctx, objective="kinds", n_kinds=len(classes))
        return BoostedModel(interface, spec, boosted, settings_of(config, spec, boosted, len(kind)))

    def predict(self, fitted: BoostedModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with LightGBM: `probability` float32 `(n, classes)`, `label` int64 `(n,)`."""
        return _decided(fitted.answer(inputs["window"]))

    def evaluate(self, fitted: BoostedModel, data: Dataset, config: BehaviourConfig, ctx: RunContext) -> Evaluation:
        """Judge the model, the rule of one feature and the majority on all parts."""
        classes = fitted.interface.classes
        rows, counts, outputs = [], {}, {}
        rule: judge.OneRule | None = None
        for step, part in enumerate(PARTS):
            known = _known(data, part, config.window_rows, config.stride_rows, classes)
            counts[part] = np.bincount(known.kind, minlength=len(classes))
            features = features_of(data, part, fitted.interface, fitted.spec, known.ends)
            rule = rule or judge.OneRule.fit(features, known.kind, len(classes))
            outputs = _decided(fitted.boosted.answer(features))
            said = judge.Judged("model", "model", outputs["probability"].astype(np.float64), outputs["label"])
            shares = counts["train"] / counts["train"].sum()
            answers = [said, rule.answers(features), judge.majority(shares, len(known.ends))]
            rows += [answer.row(part, known.kind, classes) for answer in answers]
            ctx.step(step + 1, len(PARTS), f"{part} judged")
        judged = judge.evaluation(rows)
        found = judge.findings(
            judged,
            max_gap=config.max_gap,
            wanted=config.wanted,
            counts=counts,
            classes=classes,
            try_next=_try_next(config),
        )
        units = data.units("test")[known.ends]
        samples = Samples({}, {"kind": known.kind}, units, np.full(len(units), np.nan))
        return judged.model_copy(
            update={
                "figures": [*judge.figures(known.kind, answers, classes), importance_figure(fitted)],
                "findings": found,
                "members": [member_of(fitted, judged.score("test"))],
                "statistics": PROBLEM.statistics(outputs, samples),
                "notes": _notes(fitted, fitted.spec.feature_names[rule.feature] if rule else "", known.left_out),
            }
        )

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return the windows of a known kind, each beginning half a window after the one before."""
        stride = max(1, interface.window_rows // 2)
        known = _known(data, part, interface.window_rows, stride, interface.classes)
        return window_samples(data, part, interface, known.ends, {"kind": known.kind})

    def save(self, fitted: BoostedModel, folder: Path) -> None:
        """Write features, interface and LightGBM's own file."""
        save_model(fitted, folder)

    def load(self, folder: Path) -> BoostedModel:
        """Read what `save` wrote, from our own work folder."""
        return load_model(folder)

    def export(self, fitted: BoostedModel, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: window, features, trees, the likeliest kind."""
        graph = Graph("behaviour")
        probability = graph.add("Cast", add_booster(graph, fitted), to=ELEMENT_TYPES["float32"])
        graph.output(probability, "probability", "float32", ("batch", len(fitted.interface.classes)))
        graph.output(graph.add("ArgMax", probability, axis=1, keepdims=0), "label", "int64", ("batch",))
        return graph.build()

    def parity_inputs(self, fitted: BoostedModel, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return windows of val and adversarial ones."""
        return hard_windows(fitted.spec, fitted.interface, self.export(fitted, ctx), data)

    def tolerances(self, fitted: BoostedModel) -> Mapping[str, float]:
        """The graph sums leaves in float32, up to a thousand for each kind: 1.1e-6 was seen at 548."""
        return {"probability": 5e-6}


FAMILY = BehaviourFamily()


class _Known(NamedTuple):
    """Windows of a known kind: the rows at which they end `(n,)`, their kinds `(n,)`, and how many are left out."""

    ends: NDArray[np.intp]
    kind: Ints
    left_out: int


def classes_of(data: Dataset) -> tuple[str, ...]:
    """Return the kinds of driving that the data know.

    Raises:
        DataError: when they know fewer than two.
    """
    column = data.metadata.truth("behaviour")
    if column is None or len(column.classes) < 2:
        known = ", ".join(column.classes) if column else "none"
        raise DataError(f"'{data.subject}' knows too few kinds of driving: {known}.", hint="Land trips of two kinds.")
    return column.classes


def window_kinds(
    code: NDArray[np.float64], ends: NDArray[np.intp], window_rows: int, n_classes: int
) -> NDArray[np.float64]:
    """Return the kind that more rows of each window are of than of any other, `(n,)`.

    Args:
        code: `(rows,)` code of each row's kind, NaN where it is not known.
        ends: `(n,)` rows at which the windows end.
        window_rows: of one window.
        n_classes: number of kinds.

    Returns:
        The first of equally frequent ones; NaN where most rows are not known.
    """
    first = ends - window_rows + 1
    held = np.empty((len(ends), n_classes))
    for kind in range(n_classes):
        so_far = np.concatenate([[0], np.cumsum(code == kind)])
        held[:, kind] = so_far[ends + 1] - so_far[first]
    enough = 2 * held.sum(axis=1) > window_rows
    return np.where(enough, held.argmax(axis=1), np.nan)


def _known(data: Dataset, part: str, window_rows: int, stride_rows: int, classes: tuple[str, ...]) -> _Known:
    """Return a part's windows of a kind that is among the classes.

    Raises:
        DataError: when there is none.
    """
    ends = window_ends(data, part, window_rows=window_rows, stride_rows=stride_rows)
    own = classes_of(data)
    # A model may be judged on data that name their kinds in another order, or know more of them.
    place = np.array([classes.index(name) if name in classes else np.nan for name in own])
    code = data.truth(part, "behaviour")
    known = np.isfinite(code)
    told = np.full(len(code), np.nan)
    told[known] = place[code[known].astype(np.intp)]
    kind = window_kinds(told, ends, window_rows, len(classes))
    rows = np.flatnonzero(np.isfinite(kind))
    if not len(rows):
        raise DataError(
            f"no window of the {part} part of '{data.subject}' has a known kind of driving.",
            hint="Label the trips, or train other families.",
        )
    return _Known(ends[rows], kind[rows].astype(np.int64), len(ends) - len(rows))


def held_back(trip: NDArray[np.int64], kind: Ints) -> NDArray[np.bool_]:
    """Return which windows are held back from training, `(n,)`: those of every fourth trip of each kind.

    Of a kind with one trip they are the last quarter of its windows: next best, where no other trip is there.

    Args:
        trip: `(n,)`, in order.
        kind: `(n,)`; a trip counts as one of the kind of its first window.
    """
    trips, first = np.unique(trip, return_index=True)
    held = np.zeros(len(trip), dtype=np.bool_)
    for each in np.unique(kind[first]):
        own = trips[kind[first] == each]
        if len(own) > 1:
            held |= np.isin(trip, own[1::4])
            continue
        windows = np.flatnonzero(trip == own[0])
        held[windows[len(windows) - len(windows) // 4 :]] = True
    if not held.any():
        held[-1] = True
    return held


def _tuning(data: Dataset, known: _Known, config: BehaviourConfig, ctx: RunContext) -> NDArray[np.bool_]:
    """Return which windows of val are for early stopping; the whole where the first half lacks a kind of the part."""
    first = early_half(data, known.ends, config, ctx=ctx)
    whole = len(np.unique(known.kind[first])) < len(np.unique(known.kind))
    return np.ones(len(known.ends), np.bool_) if whole else first


def _weights(kind: Ints, n_classes: int) -> NDArray[np.float64]:
    size = np.bincount(kind, minlength=n_classes)
    return len(kind) / (np.count_nonzero(size) * size[kind].astype(np.float64))


def _interface(data: Dataset, config: BehaviourConfig, classes: tuple[str, ...]) -> Interface:
    shape = ("batch", len(classes))
    return Interface(
        columns=inputs_of(data, config),
        window_rows=config.window_rows,
        classes=classes,
        outputs=(
            Output(name="probability", dtype="float32", shape=shape, meaning="of each kind of driving"),
            Output(name="label", dtype="int64", shape=("batch",), meaning="the likeliest kind"),
        ),
    )


def _decided(probability: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    rounded = probability.astype(np.float32)
    return {"probability": rounded, "label": rounded.argmax(axis=1).astype(np.int64)}


def _notes(fitted: BoostedModel, feature: str, left_out: int) -> list[str]:
    unknown = f" {left_out} windows of test without a known kind are left out." if left_out else ""
    return [
        f"A window of {fitted.spec.window_rows} rows is of the kind that most of its rows are of.{unknown}",
        f"Each kind counts alike in macro-F1. The rule of one feature looks at {feature}.",
        f"{fitted.boosted.rounds} of {fitted.boosted.rounds_tried} rounds are kept.",
    ]


def _try_next(config: BehaviourConfig) -> str:
    rounds, rate = round(1.5 * config.n_estimators), config.learning_rate / 2
    return f"Try `nightshift train behaviour --n-estimators {rounds} --learning-rate {rate:g}`, or land more vehicles."
