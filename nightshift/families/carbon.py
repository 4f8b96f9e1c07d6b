"""How much CO2 does the car emit? One LightGBM booster on window features, in grams per second over the window.

CO2 is fuel times a constant, so that with the fuel rate as an input it would be an identity: truths of a vehicle's data
are never inputs. Trees cannot answer beyond what they have seen, and the graph keeps answers between 0 and the largest
training answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.edge.manifest import Interface, Output
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
from nightshift.families._consumption import judged_parts, known_windows, note_left_out
from nightshift.families._vehicle import early_half, inputs_of
from nightshift.families._windows import hard_windows
from nightshift.family import Arrays, RunContext
from nightshift.graphs.build import ELEMENT_TYPES, Graph
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.problem import Samples
from nightshift.trainer.boosted import BoostedTable, fit_boosted
from nightshift.trainer.samples import window_samples

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset

_ROLE: Literal["carbon"] = "carbon"


class CarbonConfig(BoostedConfig):
    """What can be tuned.

    Attributes:
        loss: `squared` or `absolute` error of a window.
    """

    loss: Literal["squared", "absolute"] = "squared"


class CarbonFamily:
    """The family; see the module."""

    name = "carbon"
    config = CarbonConfig
    problem = "regression"
    group = "vehicle"
    needs: frozenset[str] = frozenset({"carbon", "runs"})
    libraries = ("lightgbm", "numpy", "onnx")
    checkpoints = False

    def train(self, data: Dataset, config: CarbonConfig, ctx: RunContext) -> BoostedModel:
        """Fit on training windows of known emission, stop early by validation's first half.

        Raises:
            DataError: when no emission is known in train or val, no trip is long enough, or no input says anything.
            ConfigError: for columns that the data does not have.
            InterruptedTraining: when asked to stop.
        """
        note_left_out(data, "train", _ROLE, ctx)
        shape = {"window_rows": config.window_rows, "stride_rows": config.stride_rows}
        ends, truth = known_windows(data, "train", _ROLE, **shape)
        chosen = drawn(len(ends), config, ctx)
        tuning_ends, tuning_truth = known_windows(data, "val", _ROLE, **shape)
        tuned = early_half(data, tuning_ends, config, ctx=ctx)
        spec = window_spec(data, config)
        # The largest rate seen: an answer beyond it would come from rounding alone.
        interface = _interface(data, config, float(np.float32(truth.value[chosen].max())))
        table = BoostedTable(
            columns=spec.feature_names,
            train=features_of(data, "train", interface, spec, ends[chosen]),
            target=truth.value[chosen],
            weight=None,
            tuning=features_of(data, "val", interface, spec, tuning_ends[tuned]),
            tuning_target=tuning_truth.value[tuned],
        )
        boosted = fit_boosted(table, config.settings(), ctx, objective=config.loss)
        return BoostedModel(interface, spec, boosted, settings_of(config, spec, boosted, len(chosen)))

    def predict(self, fitted: BoostedModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with LightGBM: `value` float32 `(n,)` in g/s."""
        return {"value": _bounded(fitted, fitted.answer(inputs["window"]))}

    def evaluate(self, fitted: BoostedModel, data: Dataset, config: CarbonConfig, ctx: RunContext) -> Evaluation:
        """Judge model, mean and persistence on all parts, window by window and trip by trip."""

        def answer(part: str, ends: NDArray[np.intp]) -> NDArray[np.float64]:
            return _bounded(fitted, fitted.answer_rows(data, part, ends)).astype(np.float64)

        judged = judged_parts(data, config, ctx, _ROLE, answer, what="CO2 rate", try_next=_try_next(config))
        return judged.model_copy(
            update={
                "figures": [*judged.figures, importance_figure(fitted)],
                "members": [member_of(fitted, judged.score("test"))],
                "notes": [*judged.notes, "The fuel rate is no input: CO2 is that rate times a constant."],
            }
        )

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return the windows of known emission, each beginning half a window after the one before."""
        stride = max(1, interface.window_rows // 2)
        ends, truth = known_windows(data, part, _ROLE, window_rows=interface.window_rows, stride_rows=stride)
        return window_samples(data, part, interface, ends, {"value": truth.value})

    def save(self, fitted: BoostedModel, folder: Path) -> None:
        """Write features, interface and LightGBM's own file."""
        save_model(fitted, folder)

    def load(self, folder: Path) -> BoostedModel:
        """Read what `save` wrote, from our own work folder."""
        return load_model(folder)

    def export(self, fitted: BoostedModel, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: window, features, trees, bounds."""
        graph = Graph("carbon")
        value = graph.add("Cast", add_booster(graph, fitted), to=ELEMENT_TYPES["float32"])
        value = graph.add("Squeeze", value, graph.const([1], "int64"))
        top = graph.const(fitted.interface.thresholds["largest_answer"], "float32")
        graph.output(graph.add("Clip", value, graph.const(0.0, "float32"), top), "value", "float32", ("batch",))
        return graph.build()

    def parity_inputs(self, fitted: BoostedModel, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return windows of val and adversarial ones."""
        return hard_windows(fitted.spec, fitted.interface, self.export(fitted, ctx), data)

    def tolerances(self, fitted: BoostedModel) -> Mapping[str, float]:
        """The graph sums leaves in float32: a few of its steps at the largest answer."""
        return {"value": max(1e-6, 2e-6 * fitted.interface.thresholds["largest_answer"])}


FAMILY = CarbonFamily()


def _interface(data: Dataset, config: CarbonConfig, top: float) -> Interface:
    column = data.metadata.truth(_ROLE)
    unit = column.unit if column else ""
    return Interface(
        columns=inputs_of(data, config),
        window_rows=config.window_rows,
        outputs=(Output(name="value", dtype="float32", shape=("batch",), unit=unit, meaning="mean CO2 emission"),),
        thresholds={"largest_answer": top},
    )


def _bounded(fitted: BoostedModel, value: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.clip(value.astype(np.float32), np.float32(0), np.float32(fitted.interface.thresholds["largest_answer"]))


def _try_next(config: CarbonConfig) -> str:
    rounds, rate = round(1.5 * config.n_estimators), config.learning_rate / 2
    return f"Try `nightshift train carbon --n-estimators {rounds} --learning-rate {rate:g}`, or land more vehicles."
