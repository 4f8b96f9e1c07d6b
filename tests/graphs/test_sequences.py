"""Sequence networks as graphs: the same answers as torch for every kind of column and batch, in ops a vehicle takes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from nightshift.graphs.build import Graph
from nightshift.graphs.sequences import lstm_ae_graph, tcn_graph, weights_of
from nightshift.nets.lstm_ae import LstmAe, LstmAeShape
from nightshift.nets.scaling import ColumnPlan, fit_scaling
from nightshift.nets.tcn import Tcn, TcnShape

ROWS, COLUMNS = 16, 4
KEYED = ColumnPlan(numbers=(1, 2, 3), unseen=((0, 5),), key=(0, 5))
#: A converter for vehicles takes these, scaling included; Shape, Slice and ConstantOfShape serve free batches alone.
ALLOWED = {
    *("Abs", "Add", "AveragePool", "Cast", "Concat", "Conv", "Flatten", "Gather", "Gemm", "GlobalAveragePool"),
    *("GlobalMaxPool", "Greater", "Identity", "LSTM", "LessOrEqual", "MatMul", "Max", "Min", "Mul", "ReduceMean"),
    *("Relu", "Slice", "Sqrt", "Squeeze", "Sub", "Transpose", "Where"),
}


def table(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(3.0, 5.0, (rows, COLUMNS)).astype(np.float32)
    values[:, 0] = rng.integers(-1, 5, rows)
    return values


def hard(batch: int) -> np.ndarray:
    windows = table(batch * ROWS, seed=1).reshape(batch, ROWS, COLUMNS)
    windows[::3, 2, 1:] = np.nan
    windows[::4, 5, :] = np.inf
    windows[1::4, 7, 0] = -np.inf
    windows[2::5, 9, 1:] = [1e30, -3e38, 1e-45]
    return windows


def tcn() -> Tcn:
    torch.manual_seed(0)
    plan = ColumnPlan(numbers=(1, 2, 3), classes=((0, 5),))
    net = Tcn(TcnShape(plan=plan, channels=6, inner=(5, 7, 6), kernel=3, head=4))
    net.scaling.load_state_dict(fit_scaling(plan, table(500)).state_dict())
    net.centre.fill_(4.0)
    net.spread.fill_(2.0)
    net.train()(torch.from_numpy(table(640).reshape(40, ROWS, COLUMNS)))  # statistics to fold
    return net.eval().requires_grad_(False)


def lstm_ae(span_rows: int = 5) -> LstmAe:
    torch.manual_seed(0)
    net = LstmAe(LstmAeShape(plan=KEYED, hidden=7, latent=3, span_rows=span_rows))
    net.scaling.load_state_dict(fit_scaling(KEYED, table(500), least=0.1).state_dict())
    net.weight.copy_(torch.tensor([0.5, 2.0, 1.0, 3.0]))
    return net.eval().requires_grad_(False)


def answers(graph: Graph, windows: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(graph.build().SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"window": windows})


@pytest.mark.parametrize("batch", [0, 1, 13])
def test_the_convolutional_graph_answers_as_torch(batch: int) -> None:
    net, windows = tcn(), hard(batch)
    (value,) = answers(tcn_graph(net.shape, weights_of(net.state_dict()), ROWS, COLUMNS), windows)
    np.testing.assert_allclose(value, net(torch.from_numpy(windows)).numpy(), rtol=1e-5, atol=1e-5)
    assert batch < 2 or len(np.unique(value)) > 5


@pytest.mark.parametrize("batch", [0, 1, 13])
@pytest.mark.parametrize("span_rows", [1, 5, ROWS])
def test_the_autoencoders_graph_answers_as_torch(batch: int, span_rows: int) -> None:
    net, windows = lstm_ae(span_rows), hard(batch)
    threshold = 1.5
    score, vote = answers(lstm_ae_graph(net.shape, weights_of(net.state_dict()), ROWS, COLUMNS, threshold), windows)
    want = net(torch.from_numpy(windows)).numpy()
    assert score.shape == (batch, 1)
    np.testing.assert_allclose(score, want, rtol=1e-5, atol=1e-5)
    assert vote.tolist() == (want[:, 0] > threshold).tolist()


def graphs(batch: int | str) -> list[onnx.ModelProto]:
    one, other = tcn(), lstm_ae()
    return [
        tcn_graph(one.shape, weights_of(one.state_dict()), ROWS, COLUMNS, batch=batch).build(),
        lstm_ae_graph(other.shape, weights_of(other.state_dict()), ROWS, COLUMNS, 1.0, batch=batch).build(),
    ]


def test_a_fixed_batch_makes_every_shape_static_in_ops_that_vehicles_take() -> None:
    for model in graphs(1):
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        for value in (*inferred.input, *inferred.value_info, *inferred.output):
            assert all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim), value.name
        assert {node.op_type for node in model.graph.node} <= ALLOWED


def test_scaling_stands_in_front_of_everything_that_was_learned() -> None:
    """One value alone leads from the scaling to the network: it can be cut there."""
    for model in graphs("batch"):
        kinds = [node.op_type for node in model.graph.node]
        learned = min(i for i, kind in enumerate(kinds) if kind in ("Conv", "LSTM"))
        assert "LessOrEqual" in kinds[:learned]
        assert not {"LessOrEqual", "Where"} & set(kinds[learned:])
