"""Forms of a sequence network for a vehicle's computer and its DSP: quantised, and pruned and trained a little more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.edge.window import build_windows
from nightshift.families._sequence import Held, SequenceConfig, SequenceModel, train_net
from nightshift.families._vehicle import matrix_of, window_ends
from nightshift.family import GraphVariant, RunContext
from nightshift.progress import ProgressEvent

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset
    from nightshift.graphs.build import Graph

#: Windows of train that the ranges of 8 and 16 bits are taken from; those of a DSP graph run one by one.
_CALIBRATED, _CALIBRATED_DSP = 512, 128
_DSP = (
    "16-bit activations, 8-bit weights, static shapes for one row, for a DSP; missing readings must be filled before "
    "(the graph's own metadata, `nightshift.fill`, says with what)"
)


@dataclass(frozen=True)
class Forms:
    """What the forms of one model are made from.

    Attributes:
        graph: (network, size of the batch) -> its graph.
        fill: `(columns,)` train's mean of every column, NaN of a category.
        windows: `(n, window_rows, columns)` of train.
    """

    graph: Callable[[Any, int | str], Graph]
    fill: NDArray[np.float32]
    windows: NDArray[np.float32]

    def static(self, net: Any) -> onnx.ModelProto:
        """Return the graph in 8 bits."""
        from nightshift.graphs.quantise import int8_static

        return int8_static(self.graph(net, "batch").build(), {"window": self.windows})

    def dynamic(self, net: Any, products: tuple[str, ...]) -> onnx.ModelProto:
        """Return the graph with 8-bit weights, activations quantised while it runs."""
        from nightshift.graphs.quantise import int8_dynamic

        return int8_dynamic(self.graph(net, "batch").build(), products=products)

    def dsp(self, net: Any) -> GraphVariant:
        """Return the graph for a DSP."""
        from nightshift.graphs.dlc_fix import fix
        from nightshift.graphs.quantise import a16w8

        filled = np.where(np.isfinite(self.windows), self.windows, self.fill)
        step = max(1, len(filled) // _CALIBRATED_DSP)
        model = a16w8(fix(self.graph(net, 1).build()), {"window": filled[::step].astype(np.float32)})
        return GraphVariant("a16w8", _DSP, model, self.fill)


def forms_of(fitted: SequenceModel, data: Dataset, graph: Callable[[Any, int | str], Graph]) -> Forms:
    """Take windows of train, evenly, and the mean of every column."""
    face = fitted.interface
    values = matrix_of(data, "train", face.columns)
    ends = window_ends(data, "train", window_rows=face.window_rows, stride_rows=max(1, face.window_rows // 2))
    chosen = ends[:: max(1, len(ends) // _CALIBRATED)]
    known = np.isfinite(values)
    mean = np.where(known, values, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)
    fill = np.where([bool(c.categories) for c in face.columns], -1.0, mean).astype(np.float32)
    return Forms(graph, fill, build_windows(values, data.runs("train"), face.window_rows, chosen))


def trained_more(
    narrow: Any,
    loss_of: Callable[[Any, Any, Any], Any],
    held: tuple[Held, Held],
    config: SequenceConfig,
    epochs: int,
    data: Dataset,
    ctx: RunContext,
) -> Any:
    """Train a pruned network for a few epochs at a tenth of the rate, stopped early by the same windows of val.

    Its epochs are shown as steps of the stage: as epochs they would be taken for those of the model itself.
    """
    gentle = config.model_copy(update={"epochs": epochs, "learning_rate": config.learning_rate / 10.0})

    def told(event: ProgressEvent) -> None:
        ctx.step(2, 4, f"pruned form · {event.message}")

    quiet = replace(ctx, checkpoints=ctx.checkpoints / "pruned", progress=told)

    def make() -> Any:
        return narrow.train().requires_grad_(True)

    net, _ = train_net(make, loss_of, held, gentle, quiet, data)
    return net


def tcn_variants(forms: Forms, net: Any, narrow: Callable[[], Any | None]) -> Iterator[GraphVariant]:
    """Yield the forms of a TCN.

    Args:
        forms: what they are made from.
        net: the network.
        narrow: makes the pruned one; None where nothing is to be pruned.
    """
    yield GraphVariant("int8_static", "8-bit integers, ranges from windows of train", forms.static(net))
    told = "8-bit weights, ranges taken while it runs"
    yield GraphVariant("int8_dynamic", told, forms.dynamic(net, ("Conv", "Gemm")))
    pruned = narrow()
    if pruned is not None:
        told = f"inner channels {list(net.shape.inner)} pruned to {list(pruned.shape.inner)}, trained a little more"
        yield GraphVariant("pruned", told, forms.graph(pruned, "batch").build())
        yield GraphVariant("pruned_int8", f"{told}; then 8-bit integers as int8_static", forms.static(pruned))
    yield forms.dsp(net)


def lstm_variants(forms: Forms, net: Any, narrow: Callable[[], Any | None]) -> Iterator[GraphVariant]:
    """Yield the forms of an LSTM autoencoder; see `tcn_variants`."""
    told = "8-bit weights, ranges taken while it runs; onnxruntime's own DynamicQuantizeLSTM"
    yield GraphVariant("int8_dynamic", told, forms.dynamic(net, ("LSTM",)))
    yield GraphVariant("int8_static", "not made: onnxruntime has no LSTM of fixed ranges and would run floats", None)
    pruned = narrow()
    if pruned is not None:
        more = f"{net.shape.hidden} units pruned to {pruned.shape.hidden}, trained a little more"
        yield GraphVariant("pruned", more, forms.graph(pruned, "batch").build())
        yield GraphVariant("pruned_int8", f"{more}; then {told}", forms.dynamic(pruned, ("LSTM",)))
    yield forms.dsp(net)
