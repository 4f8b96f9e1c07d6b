"""Quantised graphs answer as the float ones, in standard operators, with the scaling of readings left in float."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from support.sequence_graphs import answers, lstm_model, tcn, tcn_model, windows

from nightshift.edge.wire import CONTRIB_OPS, OLDEST_RUNTIME, check_self_contained
from nightshift.errors import UnknownOpError
from nightshift.graphs.quantise import a16w8, int8_dynamic, int8_static

CALIBRATION = {"window": windows(200, seed=7)}


@pytest.fixture(scope="module")
def float_model() -> onnx.ModelProto:
    return tcn_model(tcn())


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    return {t.name: t.data_type for t in model.graph.initializer}


def test_static_int8_answers_as_the_float_graph_for_any_batch(float_model: onnx.ModelProto) -> None:
    given, before = windows(300, seed=3), float_model.SerializeToString(deterministic=True)
    model = int8_static(float_model, CALIBRATION)
    said, wanted = answers(model, given), answers(float_model, given)
    assert wanted.std() > 0.1
    assert np.abs(said - wanted).max() < 0.25 * wanted.std()
    assert np.corrcoef(said, wanted)[0, 1] > 0.999
    assert float_model.SerializeToString(deterministic=True) == before


def test_static_int8_is_of_standard_operators_and_one_scale_a_channel(float_model: onnx.ModelProto) -> None:
    model = int8_static(float_model, CALIBRATION)
    assert not check_self_contained(model.SerializeToString()).beyond(OLDEST_RUNTIME)
    made = {o: n for n in model.graph.node for o in n.output}
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
    assert len(convolutions) == 7
    for conv in convolutions:
        activation, weight, bias = (made[name] for name in conv.input)
        assert {activation.op_type, weight.op_type, bias.op_type} == {"DequantizeLinear"}
        assert constants[activation.input[2]].dtype == np.uint8
        assert constants[weight.input[0]].dtype == np.int8
        assert constants[weight.input[1]].shape == (len(constants[weight.input[0]]),)
        assert constants[bias.input[0]].dtype == np.int32


def test_scaling_before_and_unit_after_stay_in_float(float_model: onnx.ModelProto) -> None:
    ops = [n.op_type for n in int8_static(float_model, CALIBRATION).graph.node]
    first, last = ops.index("QuantizeLinear"), len(ops) - ops[::-1].index("QuantizeLinear")
    assert {"Where", "Sub", "Mul", "Max", "Min"} <= set(ops[:first])
    assert not {"Where", "Sub", "Mul", "Max", "Min"} & set(ops[first:])
    assert ops[last:].count("Gemm") == 2


def test_a_wild_reading_does_not_reach_the_integers_unlimited(float_model: onnx.ModelProto) -> None:
    given = windows(4)
    given[0, 5, 2], given[1, 0, 3], given[2, :, 1] = 1e30, np.nan, np.inf
    said, wanted = answers(int8_static(float_model, CALIBRATION), given), answers(float_model, given)
    assert np.isfinite(said).all()
    assert np.abs(said[1:] - wanted[1:]).max() < 0.2 * answers(float_model, windows(300)).std()


def test_a_channel_of_zeros_keeps_its_bias() -> None:
    net = tcn()
    net.blocks[0].first_norm.weight[:6] = 0.0  # type: ignore[union-attr, index, operator]
    net.blocks[0].first_norm.bias[:6] = 1.5  # type: ignore[union-attr, index, operator]
    model, given = tcn_model(net), windows(300, seed=3)
    wanted = answers(model, given)
    assert np.corrcoef(answers(int8_static(model, CALIBRATION), given), wanted)[0, 1] > 0.998


def test_a16w8_is_standard_at_opset_21_and_nearer_in_its_activations() -> None:
    float_model, given = tcn_model(tcn(), 1), windows(60, seed=3)
    model = a16w8(float_model, CALIBRATION)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 21)]
    assert not check_self_contained(model.SerializeToString()).beyond(OLDEST_RUNTIME)
    assert {TensorProto.UINT16, TensorProto.INT8, TensorProto.INT32} <= set(kinds(model).values())
    assert TensorProto.UINT8 not in kinds(model).values()
    said, wanted = (answers(m, given, one_by_one=True) for m in (model, float_model))
    assert np.abs(said - wanted).max() < 0.05 * wanted.std()


def test_dynamic_int8_of_an_lstm_is_smaller_and_only_a_variant_may_hold_its_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    float_model, given = lstm_model(), windows(50, seed=3)
    model = int8_dynamic(float_model, products=("LSTM",))
    assert os.listdir(tmp_path) == []
    assert logging.root.manager.disable == logging.NOTSET
    said, wanted = answers(model, given), answers(float_model, given)
    assert np.abs(said - wanted).max() < 0.05 * wanted.std()
    graph = model.SerializeToString()
    constants = [t for t in model.graph.initializer if t.data_type == TensorProto.INT8]
    assert sum(np.prod(t.dims) for t in constants if len(t.dims) == 3) == 32 * (5 + 8 + 4 + 8)
    with pytest.raises(UnknownOpError, match=r"com\.microsoft"):
        check_self_contained(graph)
    assert not check_self_contained(graph, CONTRIB_OPS).beyond(OLDEST_RUNTIME)
    with pytest.raises(UnknownOpError, match="DynamicQuantizeLSTM"):
        check_self_contained(graph, frozenset({"FusedMatMul"}))
