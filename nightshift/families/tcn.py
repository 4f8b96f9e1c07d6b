"""How much fuel does it use? A temporal convolutional network on a minute of driving; judged as a number.

It answers for the window it is given (`estimate`), or for the one that follows (`forecast`), which is much harder: what
the driver will do next is in no sensor. Fuel itself and the air that it was computed from are never inputs; nor, unless
the config is told otherwise, is the pressure in the intake, which with the engine's speed is that air again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightshift.edge.manifest import Interface, Output
from nightshift.families._consumption import judged_parts, known_windows, note_left_out
from nightshift.families._sequence import (
    Held,
    SequenceConfig,
    SequenceModel,
    hard_windows,
    load_sequence,
    more_training,
    plan_of,
    raw_train,
    save_sequence,
    train_net,
)
from nightshift.families._vehicle import early_half, inputs_of, matrix_of, summary_of, window_ends
from nightshift.family import Arrays, GraphVariant, RunContext
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.problem import Samples
from nightshift.trainer.samples import window_samples

if TYPE_CHECKING:
    import onnx
    from torch import Tensor

    from nightshift.data.dataset import Dataset
    from nightshift.graphs.build import Graph
    from nightshift.nets.tcn import Tcn

_PARITY_WINDOWS = 500


class TcnConfig(SequenceConfig):
    """What can be tuned.

    Attributes:
        answers: `estimate`: the mean rate over the window itself; `forecast`: over the window that follows.
        channels: of each convolution.
        blocks: residual blocks; each looks back twice as far as the one before.
        kernel: rows that a convolution looks at.
        head: units between the window's summary and the answer.
        dropout: share of channels silenced while training.
        prune: share of each block's inner channels that the pruned form does without; 0 makes none.
        prune_epochs: that it is trained for, at a tenth of the rate.
    """

    answers: Literal["estimate", "forecast"] = "estimate"
    channels: int = Field(default=64, ge=1, le=1_024)
    blocks: int = Field(default=5, ge=1, le=12)
    kernel: int = Field(default=3, ge=2, le=15)
    head: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    prune: float = Field(default=0.25, ge=0, lt=1)
    prune_epochs: int = Field(default=5, ge=1)

    @property
    def ahead_rows(self) -> int:
        """Rows after the window that its truth covers; 0 for the window itself."""
        return self.window_rows if self.answers == "forecast" else 0


class TcnFamily:
    """The family; see the module."""

    name = "tcn"
    config = TcnConfig
    problem = "regression"
    group = "vehicle"
    needs: frozenset[str] = frozenset({"fuel", "runs"})
    libraries = ("numpy", "onnx", "torch")
    checkpoints = True

    def train(self, data: Dataset, config: TcnConfig, ctx: RunContext) -> SequenceModel:
        """Fit on windows of train whose fuel is known, stop early by validation's first half.

        Raises:
            DataError: when no trip is long enough, no fuel is known, or every input is missing.
            ConfigError: for a column that the data do not have.
            InterruptedTraining: when asked to stop; the next call goes on.
        """
        from nightshift.nets.scaling import fit_scaling
        from nightshift.nets.tcn import Tcn, TcnShape, parameters_of

        columns = inputs_of(data, config)
        note_left_out(data, "train", "fuel", ctx)
        values = raw_train(data, columns)
        plan = plan_of(columns, keyed=False)
        scaling = fit_scaling(plan, values)
        ends, truth = _windows(data, "train", config)
        stops, stop_truth = _windows(data, "val", config)
        kept = early_half(data, stops, config, ahead_rows=config.ahead_rows, ctx=ctx)
        centre, spread = float(truth.mean()), float(truth.std()) or 1.0
        shape = TcnShape(
            plan=plan,
            channels=config.channels,
            inner=(config.channels,) * config.blocks,
            kernel=config.kernel,
            head=config.head,
        )

        def make() -> Tcn:
            net = Tcn(shape, config.dropout)
            net.scaling.load_state_dict(scaling.state_dict())
            net.centre.fill_(centre)
            net.spread.fill_(spread)
            return net

        def held(part: str, table: NDArray[np.float32], at: NDArray[np.intp], true: NDArray[np.float64]) -> Held:
            return Held(scaling.table(table), at, ((true - centre) / spread).astype(np.float32))

        parts = (
            held("train", values, ends, truth),
            held("val", matrix_of(data, "val", columns), stops[kept], stop_truth[kept]),
        )
        share = spread / float(np.abs(stop_truth[kept]).mean() or 1.0)
        net, chose = train_net(
            make, _loss, parts, config, ctx, data, lambda loss: {"accuracy_pct": 100.0 * (1.0 - loss * share)}
        )
        settings = summary_of(
            config, **chose, parameters=parameters_of(net), reach_rows=shape.reach_rows, train_windows=len(ends)
        )
        return SequenceModel(_interface(data, config), net, settings)

    def predict(self, fitted: SequenceModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with torch: `value` float32 `(n,)` in the fuel column's unit."""
        return {"value": fitted.answer(inputs["window"])}

    def evaluate(self, fitted: SequenceModel, data: Dataset, config: TcnConfig, ctx: RunContext) -> Evaluation:
        """Judge model and baselines on all parts."""
        return judged_parts(
            data,
            config,
            ctx,
            "fuel",
            lambda part, ends: fitted.answer_rows(data, part, ends).astype(np.float64),
            what="fuel rate",
            try_next=_try_next(config, fitted),
            ahead_rows=config.ahead_rows,
        )

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return windows that overlap by half, with the fuel rate that the model of this interface is asked for."""
        rows = interface.window_rows
        ends, truth = known_windows(
            data, part, "fuel", window_rows=rows, stride_rows=max(1, rows // 2), ahead_rows=interface.steps or 0
        )
        return window_samples(data, part, interface, ends, {"value": truth.value})

    def save(self, fitted: SequenceModel, folder: Path) -> None:
        """Write weights, shape, interface and settings."""
        save_sequence(fitted, folder)

    def load(self, folder: Path) -> SequenceModel:
        """Read what `save` wrote, from our own work folder."""
        from nightshift.nets.tcn import Tcn, TcnShape

        return load_sequence(folder, lambda shape: Tcn(TcnShape.model_validate(shape)))

    def export(self, fitted: SequenceModel, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: window, scaling, network, unit."""
        from nightshift.graphs.sequences import tcn_graph, weights_of

        interface, net = fitted.interface, fitted.net
        weights = weights_of(net.state_dict())
        return tcn_graph(net.shape, weights, interface.window_rows, len(interface.columns)).build()

    def variants(
        self, fitted: SequenceModel, data: Dataset, config: TcnConfig, ctx: RunContext
    ) -> Iterator[GraphVariant]:
        """Yield it quantised, pruned, and for a DSP."""
        from nightshift.families._optimised import forms_of, tcn_variants, trained_more
        from nightshift.graphs.sequences import tcn_graph, weights_of
        from nightshift.nets.prune import prune_tcn

        face = fitted.interface

        def graph(net: Tcn, batch: int | str) -> Graph:
            weights = weights_of(net.state_dict())
            return tcn_graph(net.shape, weights, face.window_rows, len(face.columns), batch=batch)

        def narrow() -> Tcn | None:
            if not config.prune:
                return None
            pruned, held = prune_tcn(fitted.net, config.prune), _held(data, config, fitted)
            trained: Tcn = trained_more(pruned, _loss, held, config, config.prune_epochs, data, ctx)
            return trained

        yield from tcn_variants(forms_of(fitted, data, graph), fitted.net, narrow)

    def parity_inputs(self, fitted: SequenceModel, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return windows of val, and the same with readings missing, infinite or extreme."""
        rows = fitted.interface.window_rows
        ends = window_ends(data, "val", window_rows=rows, stride_rows=max(1, rows // 2))
        return hard_windows(data, fitted.interface, ends, _PARITY_WINDOWS)

    def tolerances(self, fitted: SequenceModel) -> Mapping[str, float]:
        """Convolutions in float32 add up in another order: a share of the truth's spread."""
        return {"value": 1e-4 * max(1.0, float(fitted.net.spread))}


FAMILY = TcnFamily()


def _windows(data: Dataset, part: str, config: TcnConfig) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    ends, truth = known_windows(
        data,
        part,
        "fuel",
        window_rows=config.window_rows,
        stride_rows=config.stride_rows,
        ahead_rows=config.ahead_rows,
    )
    return ends, truth.value


def _held(data: Dataset, config: TcnConfig, fitted: SequenceModel) -> tuple[Held, Held]:
    """Return the windows that a trained network learned from, and those that stopped it, in its own units."""
    net = fitted.net

    def held(part: str) -> Held:
        ends, truth = _windows(data, part, config)
        kept = np.ones(len(ends), np.bool_)
        if part == "val":
            kept = early_half(data, ends, config, ahead_rows=config.ahead_rows)
        target = (truth[kept] - float(net.centre)) / float(net.spread)
        table = net.scaling.table(matrix_of(data, part, fitted.interface.columns))
        return Held(table, ends[kept], target.astype(np.float32))

    return held("train"), held("val")


def _loss(net: Tcn, windows: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute error: what `accuracy_pct` counts."""
    return (net.core(windows) - truth).abs().mean()


def _interface(data: Dataset, config: TcnConfig) -> Interface:
    column = data.metadata.truth("fuel")
    unit = column.unit if column else ""
    asked = "the window that follows" if config.ahead_rows else "the window"
    return Interface(
        columns=inputs_of(data, config),
        window_rows=config.window_rows,
        steps=config.ahead_rows or None,
        outputs=(
            Output(name="value", dtype="float32", shape=("batch",), unit=unit, meaning=f"mean fuel rate over {asked}"),
        ),
    )


def _try_next(config: TcnConfig, fitted: SequenceModel) -> str:
    """Say the next command to try."""
    more = more_training(config, fitted.settings)
    easier = " A forecast knows nothing of what the driver will do: `--answers estimate`." if config.ahead_rows else ""
    return f"Try `nightshift train tcn {more}`, or land more trips.{easier}"
