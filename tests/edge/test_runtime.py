"""Opening a bundle, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.bundles import interface, manifest, parity, sum_check, sum_graph, write_bundle

from nightshift.edge.bench import measure
from nightshift.edge.faces import InputsKnown, check_inputs
from nightshift.edge.manifest import MODEL_FILE, sha256_bytes
from nightshift.edge.rows import rows_of
from nightshift.edge.runtime import Model
from nightshift.edge.wire import check_self_contained
from nightshift.errors import BundleError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "v1")


def test_inputs_are_answered(folder: Path) -> None:
    model = Model.load(folder)
    answer = model.predict({"window": np.array([[[0, 0, 0], [1, 2, 0]], [[0, 0, 0], [8, 4, 1]]], np.float32)})
    np.testing.assert_array_equal(answer["value"], [3, 13])
    np.testing.assert_array_equal(answer["label"], [0, 1])
    assert model.bundle_id == sha256_bytes((folder / "bundle.json").read_bytes())


def test_no_rows_are_answered_by_no_rows(folder: Path) -> None:
    answer = Model.load(folder).predict({"window": np.zeros((0, 2, 3), np.float32)})
    assert answer["value"].shape == (0,)


def test_rows_become_windows(folder: Path) -> None:
    model = Model.load(folder)
    rows = rows_of({"temperature": [1, 2, None], "speed": [5, 6, 7], "grade": ["L", "H", "?"]}, model.manifest)
    answer = model.predict(rows)["value"]
    np.testing.assert_array_equal(answer, [6, 10, np.nan])


def test_an_altered_graph_is_refused(folder: Path) -> None:
    graph = folder / MODEL_FILE
    graph.write_bytes(graph.read_bytes() + b"\x00")
    with pytest.raises(BundleError, match=r"model\.onnx of the bundle is not what bundle\.json says"):
        Model.load(folder)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/hostname"])
def test_a_file_outside_the_bundle_is_refused(folder: Path, name: str) -> None:
    (folder / "bundle.json").write_text(
        manifest(sum_graph(), hashes={MODEL_FILE: sha256_bytes(sum_graph()), name: "0" * 64}).model_dump_json()
    )
    with pytest.raises(BundleError, match="outside the bundle"):
        Model.load(folder)


def test_a_graph_without_a_hash_is_refused(folder: Path) -> None:
    (folder / "bundle.json").write_text(manifest(sum_graph(), hashes={}).model_dump_json())
    with pytest.raises(BundleError, match=r"no hash of model\.onnx"):
        Model.load(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "cannot be read"), ("[]", "cannot be read"), ('{"format": 2}', "format 2"), ('{"format": 1}', "subject")],
)
def test_a_damaged_manifest_is_refused(folder: Path, content: str, words: str) -> None:
    (folder / "bundle.json").write_text(content)
    with pytest.raises(BundleError, match=words):
        Model.load(folder)


def test_an_unknown_key_is_named(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": 1}))
    with pytest.raises(BundleError, match="colour"):
        Model.load(folder)


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle: it has no bundle\.json"):
        Model.load(tmp_path)


def test_a_manifest_of_another_graph_is_refused(tmp_path: Path) -> None:
    face = interface(outputs=(interface().outputs[0], interface().outputs[1].model_copy(update={"name": "vote"})))
    with pytest.raises(BundleError, match="'vote'"):
        Model.load(write_bundle(tmp_path / "a", interface=face))
    with pytest.raises(BundleError, match="time_s"):
        Model.load(write_bundle(tmp_path / "b", interface=interface(uses_time=True)))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"windows": np.zeros((1, 2, 3), np.float32)}, "no input 'windows'.*'window'"),
        ({}, "'window' is missing"),
        ({"window": np.zeros((1, 2, 3))}, "float64, expected float32"),
        ({"window": np.zeros((1, 3, 3), np.float32)}, r"shape \(1, 3, 3\), expected \('batch', 2, 3\)"),
        ({"window": np.zeros((2, 3), np.float32)}, "shape"),
        ({"window": [[[0.0] * 3] * 2]}, "list, expected a numpy array"),
    ],
)
def test_wrong_inputs_are_named(folder: Path, inputs: dict[str, object], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        Model.load(folder).predict(inputs)  # type: ignore[arg-type]


def external(tensor: onnx.TensorProto) -> onnx.TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    return tensor


def with_constant(attribute: bool, domain: str = "") -> onnx.ModelProto:
    weights = external(numpy_helper.from_array(np.ones(3, np.float32), "w"))
    nodes = [helper.make_node("Constant", [], ["w"], value=weights)] if attribute else []
    nodes.append(helper.make_node("Add", ["x", "w"], ["y"], domain=domain))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy")
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], [] if attribute else [weights]))


@pytest.mark.parametrize("attribute", [False, True])
def test_data_in_other_files_is_refused(tmp_path: Path, attribute: bool) -> None:
    graph = with_constant(attribute).SerializeToString()
    with pytest.raises(BundleError, match="data in other files"):
        Model.load(write_bundle(tmp_path / "v1", graph))


def test_the_word_location_alone_is_no_other_file() -> None:
    model = onnx.load_from_string(sum_graph())
    model.graph.doc_string = "location location"
    check_self_contained(model.SerializeToString())


def test_foreign_operators_are_refused() -> None:
    model = onnx.load_from_string(sum_graph())
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(BundleError, match=r"'com\.example'"):
        check_self_contained(model.SerializeToString())


@pytest.mark.parametrize(
    ("given", "columns", "words"),
    [
        ([1], (), "the model was given a list, expected arrays by name"),
        (np.ones((1, 2, 3), np.float32), (), "the model was given a ndarray"),
        (None, (), "the model was given a NoneType"),
        ({1: np.ones(1)}, (), "the model takes no input '1'"),
        ({"window": np.ones((1, 2, 3), np.float32)}, (1, "temperature", "grade"), "a column is named 1, a int"),
    ],
)
def test_what_is_no_input_at_all_is_one_line(folder: Path, given: Any, columns: Any, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        Model.load(folder).predict(given, columns=columns)


def test_functions_are_refused() -> None:
    model = onnx.load_from_string(sum_graph())
    node = helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(helper.make_function("", "Twice", ["a"], ["b"], [node], [helper.make_opsetid("", 18)]))
    with pytest.raises(BundleError, match="functions"):
        check_self_contained(model.SerializeToString())


@pytest.mark.parametrize("graph", [b"", b"not a model", b"\x0a\xff\xff\xff\xff\x0f", sum_graph()[:-5]])
def test_bytes_that_are_no_graph_are_refused(tmp_path: Path, graph: bytes) -> None:
    with pytest.raises(BundleError):
        Model.load(write_bundle(tmp_path / "v1", graph))


def test_latency_is_measured(folder: Path) -> None:
    latency = measure(Model.load(folder), runs=20)
    assert latency.runs == 20
    assert 0 < latency.p50_ms <= latency.p99_ms


def test_nothing_but_the_base_install_is_imported(folder: Path) -> None:
    code = (
        "import sys; from nightshift.edge.cli import main; main(['verify', '--runs=5', sys.argv[1]])\n"
        "heavy = {'onnx', 'pandas', 'pydantic', 'torch', 'sklearn', 'scipy', 'autogluon', 'prefect', 'mlflow'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    checked = write_bundle(folder.with_name("v2"), check=sum_check(), parity=parity(value=1e-5))
    done = subprocess.run([sys.executable, "-c", code, str(checked)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_the_first_answer_does_not_need_is_not_loaded(folder: Path) -> None:
    """Each takes milliseconds of a device's start; `_hashlib` is OpenSSL, 4 MB."""
    code = (
        "import sys; from nightshift.edge.runtime import Model; from nightshift.edge.bench import middle_row\n"
        "model = Model.load(sys.argv[1]); model.predict(middle_row(model))\n"
        "late = {'_hashlib', 'argparse', 'csv', 'difflib', 'hmac', 'pydantic', 'subprocess', 'zoneinfo'}\n"
        "print(sorted(late & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("uses_time", [False, True])
def test_the_short_check_passes_only_what_the_long_one_does(uses_time: bool) -> None:
    face = interface(uses_time=uses_time)
    known = InputsKnown(face)
    time = {"time_s": np.zeros(1, np.int64)} if uses_time else {}
    window = np.zeros((1, 2, 3), np.float32)
    assert known.fit({"window": window} | time)
    wrong: list[Any] = [
        {"window": window.astype(">f4")} | time,
        {"window": window.astype(np.float64)} | time,
        {"window": window[0]} | time,
        {"window": window[:, :, :2]} | time,
        {"window": window.tolist()} | time,
        {"windows": window} | time,
        {"window": window, "time_s": np.zeros(2, np.int64)},
        {"window": window, "time_s": np.zeros(1)},
        {"window": window, "time": np.zeros(1, np.int64)},
        [window],
        None,
    ]
    for inputs in wrong:
        assert not known.fit(inputs)
        with pytest.raises(BundleError):
            check_inputs(inputs, face)


def test_inputs_that_are_no_plain_dict_are_answered_too(folder: Path) -> None:
    model = Model.load(folder)
    window = np.array([[[0, 0, 0], [1, 2, 0]]], np.float32)
    given = MappingProxyType({"window": window.view(np.memmap)})
    assert model.predict(given)["value"].tolist() == model.predict({"window": window})["value"].tolist()
