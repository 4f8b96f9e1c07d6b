"""The converter's rules, each found with its fix or reason; what is mended answers as before."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.sequence_graphs import answers, lstm_model, tcn, tcn_model, windows

from nightshift.graphs.dlc import NOT_INSTALLED, _by_provider, convert, lint, verdict
from nightshift.graphs.dlc_fix import fix
from nightshift.graphs.quantise import a16w8, int8_dynamic

LSTM: dict[str, Any] = {"hidden_size": 1, "constants": {"w": np.ones((1, 4, 2), np.float32), "r": np.ones((1, 4, 1))}}


def one_node(op: str, *, opset: int = 18, domain: str = "", shape: tuple[Any, ...] = (1, 2), **more: Any) -> Any:
    constants = {name: np.asarray(value) for name, value in more.pop("constants", {}).items()}
    node = helper.make_node(op, ["x", *constants], ["y"], name="it", domain=domain, **more)
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(
        [node], "g", value[:1], value[1:], [onnx.numpy_helper.from_array(v, n) for n, v in constants.items()]
    )
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=imports)


@pytest.mark.parametrize(
    ("model", "rule", "fixable"),
    [
        (one_node("Relu", shape=("batch", 2)), "static-shapes", True),
        (one_node("Relu", shape=(8, 2)), "batch-1", False),
        (one_node("Relu", opset=23), "opset", False),
        (one_node("Clip", opset=13, constants={"low": np.float32(0)}), "opset", True),
        (one_node("Cast", opset=21, to=6), "opset", False),
        (one_node("Identity"), "identity", True),
        (one_node("IsNaN"), "missing-values", True),
        (one_node("DynamicQuantizeLinear"), "dynamic-int8", False),
        (one_node("QLinearConv"), "qoperator", False),
        (one_node("MatMulInteger"), "qoperator", False),
        (one_node("TreeEnsembleRegressor", domain="ai.onnx.ml"), "tree", False),
        (one_node("FusedMatMul", domain="com.microsoft"), "foreign-op", False),
        (one_node("Loop"), "control-flow", False),
        (one_node("BatchNormalization"), "batch-norm", False),
        (one_node("MatMul", constants={"w": np.ones((2, 2), np.float32)}), "a16w8", False),
        (one_node("LSTM", **LSTM, activations=["Relu", "Tanh", "Tanh"], shape=(1, 1, 2)), "lstm", False),
        (one_node("LSTM", **LSTM, layout=1, shape=(1, 1, 2)), "lstm", False),
        (one_node("LSTM", **LSTM, direction="reverse", shape=(1, 1, 2)), "lstm", False),
        (one_node("LSTM", **LSTM, shape=(5, 1, 2)), "lstm", True),
    ],
)
def test_each_rule_is_found_at_its_node(model: Any, rule: str, fixable: bool) -> None:
    found = [remark for remark in lint(model) if remark.rule == rule]
    assert found
    assert {remark.fixable for remark in found} == {fixable}
    assert all(remark.what and remark.then for remark in found)
    assert rule in verdict(lint(model))


def test_versions_that_are_taken_are_not_remarked() -> None:
    assert lint(one_node("Add", constants={"one": np.float32(1)})) == []
    assert lint(one_node("Cast", opset=18, to=1)) == []
    # Between two opsets in which an operator changed it is the older one.
    assert lint(one_node("Cast", opset=12, to=1)) == lint(one_node("Relu", opset=21)) == []
    assert lint(one_node("Clip", opset=12, constants={"low": np.float32(0)})) == []
    assert verdict([]) == "ready"


@pytest.mark.parametrize("made", ["tcn", "lstm"])
def test_a_network_mended_and_in_16_and_8_bits_is_ready_and_answers_as_before(made: str) -> None:
    given = windows(40, seed=3)
    free, one = (tcn_model(tcn(), b) if made == "tcn" else lstm_model(b) for b in ("batch", 1))
    assert {"static-shapes", "a16w8"} <= {r.rule for r in lint(free)}
    mended = fix(one)
    assert {r.rule for r in lint(mended)} == {"a16w8"}
    wanted = answers(free, given)
    np.testing.assert_allclose(answers(mended, given, one_by_one=True), wanted, rtol=1e-4, atol=1e-5)
    ready = a16w8(mended, {"window": windows(60, seed=7)})
    assert lint(ready) == []
    said = answers(ready, given, one_by_one=True)
    assert np.abs(said - wanted).max() < 0.05 * wanted.std()


def test_an_lstm_is_unrolled_a_node_for_each_step() -> None:
    nodes = [n for n in fix(lstm_model(1)).graph.node if n.op_type == "LSTM"]
    assert len(nodes) == 24  # 12 rows, encoder and decoder
    assert sum(len(n.input) > 5 and bool(n.input[5]) for n in nodes) == 22


def test_dynamic_integers_stay_rejected_after_mending() -> None:
    rules = {r.rule for r in lint(int8_dynamic(lstm_model(), products=("LSTM", "MatMul")))}
    assert {"dynamic-int8", "qoperator"} <= rules


def test_clip_of_a_new_opset_becomes_bounds_with_the_same_answers() -> None:
    clip = one_node("Clip", opset=13, constants={"low": np.float32(-1), "high": np.float32(0.5)})
    mended = fix(clip)
    assert [n.op_type for n in mended.graph.node] == ["Max", "Min"]
    from onnx.reference import ReferenceEvaluator

    given = {"x": np.array([[-3.0, 2.0]], np.float32)}
    assert ReferenceEvaluator(mended).run(None, given)[0].tolist() == [[-1.0, 0.5]]


def tool(folder: Path, script: str) -> None:
    folder.mkdir()
    path = folder / "snpe-onnx-to-dlc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_without_a_converter_nothing_is_pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = convert(tmp_path / "model.onnx", tmp_path / "model.dlc")
    assert (done.file, done.said) == (None, NOT_INSTALLED)
    assert NOT_INSTALLED == "not converted: converter not installed"


def test_an_installed_converter_is_run_and_its_complaint_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "model.onnx", tmp_path / "model.dlc"
    source.write_bytes(b"graph")
    tool(tmp_path / "bin", '[ "$1 $3" = "--input_network --output_path" ] && cat "$2" > "$4"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    done = convert(source, out)
    assert done.file == out
    assert out.read_bytes() == b"graph"
    tool(tmp_path / "bad", "echo 'Op GRU is not supported' >&2; exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bad'}:/usr/bin:/bin")
    assert convert(source, tmp_path / "other.dlc").said == "not converted: snpe-onnx-to-dlc: Op GRU is not supported"


def test_a_provider_that_compiles_nothing_leaves_no_file_and_says_so(tmp_path: Path) -> None:
    # This onnxruntime has no QNN: it falls back to the processor, as it does for a graph that the DSP refuses.
    source, out = tmp_path / "model.onnx", tmp_path / "model.dlc"
    onnx.save(one_node("Relu", opset=17), source)
    done = _by_provider(source, out)
    assert done.file is None
    assert done.said.startswith("not converted: ")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
