"""A policy's bundle: it takes an observation, not a window, and answers with an action in physical units."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import parity, write_bundle

from nightshift.cli import main as nightshift
from nightshift.edge import probe
from nightshift.edge.bench import measure, middle_row
from nightshift.edge.check import check_bundle
from nightshift.edge.check_rows import make_check
from nightshift.edge.cli import main as edge
from nightshift.edge.faces import check_inputs
from nightshift.edge.manifest import Column, Interface, Output
from nightshift.edge.rows import rows_of
from nightshift.edge.runtime import Model
from nightshift.errors import BundleError, ColumnError, DtypeError, ShapeError
from nightshift.graphs.build import Graph
from nightshift.tracking.gate import changed_inputs

COLUMNS = (
    Column(name="ego_speed", unit="20 m/s", minimum=0, maximum=1.5),
    Column(name="lead_gap", unit="50 m", minimum=-1.5, maximum=1.5),
    Column(name="route_1_y", unit="10 m"),
)
WEIGHTS = np.array([[-1.0, 0.0], [2.0, 0.0], [0.0, 0.5]], np.float32)


def policy_graph(batch: str | int = "batch", takes: str = "observation") -> bytes:
    """`action` = tanh(observation @ weights) * (3, 0.6): a real, small policy."""
    graph = Graph("policy")
    seen = graph.input(takes, "float32", [batch, 3])
    squashed = graph.add("Tanh", graph.add("MatMul", seen, graph.const(WEIGHTS, "float32")))
    graph.output(graph.add("Mul", squashed, graph.const([3.0, 0.6], "float32")), "action", "float32", [batch, 2])
    model: bytes = graph.build().SerializeToString()
    return model


def wanted(seen: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.tanh(seen @ WEIGHTS) * np.array([3.0, 0.6], np.float32)


FACE = Interface(
    columns=COLUMNS,
    window_rows=1,
    takes="observation",
    actions=("acceleration_mps2", "steering_rad"),
    outputs=(Output(name="action", dtype="float32", shape=("batch", 2), unit="m/s2, rad"),),
)


def write(folder: Path, graph: bytes | None = None, **changes: Any) -> Path:
    seen = np.random.default_rng(0).uniform(-1, 1, (40, 3)).astype(np.float32)
    graph = graph or policy_graph()
    check = make_check({"observation": seen}, {"action": wanted(seen)})
    given: dict[str, Any] = {
        "parity": parity(action=1e-5),
        "interface": FACE,
        "problem": "control",
        "family": "ppo",
        "subject": "adplanning",
        "time_kind": "none",
    }
    return write_bundle(folder, graph, check=check, **{**given, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "v1")


def test_observations_are_answered_in_any_batch(folder: Path) -> None:
    model = Model.load(folder)
    seen = np.random.default_rng(1).uniform(-1, 1, (5, 3)).astype(np.float32)
    many = model.run({"observation": seen})["action"]
    np.testing.assert_allclose(many, wanted(seen), atol=1e-6)
    one = np.concatenate([model.run({"observation": row[None]})["action"] for row in seen])
    np.testing.assert_allclose(one, many, atol=1e-6)
    assert model.run({"observation": seen[:0]})["action"].shape == (0, 2)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"window": np.zeros((1, 1, 3), np.float32)}, BundleError, "no input 'window'"),
        ({"observation": np.zeros((1, 1, 3), np.float32)}, ShapeError, r"expected \('batch', 3\)"),
        ({"observation": np.zeros((1, 4), np.float32)}, ShapeError, r"expected \('batch', 3\)"),
        ({"observation": np.zeros((1, 3))}, DtypeError, "float64, expected float32"),
        ({}, BundleError, "'observation' is missing"),
        (np.zeros((1, 3)), DtypeError, 'Give {"observation": array}'),
    ],
)
def test_other_inputs_are_refused(folder: Path, given: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Model.load(folder).run(given)


def test_rows_and_a_stream_of_rows_are_observations(folder: Path) -> None:
    model = Model.load(folder)
    table = {"lead_gap": [0.1, 0.2], "ego_speed": [1.0, 0.5], "route_1_y": [0.0, -0.3]}
    seen = np.array([[1.0, 0.1, 0.0], [0.5, 0.2, -0.3]], np.float32)
    np.testing.assert_allclose(model.predict(rows_of(table, model.manifest))["action"], wanted(seen), atol=1e-6)
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    told = [answer["action"] for answer in model.predict_stream(rows)]
    np.testing.assert_allclose(np.concatenate(told), wanted(seen), atol=1e-6)
    named = model.predict({"observation": seen}, columns=[c.name for c in COLUMNS])
    np.testing.assert_allclose(named["action"], wanted(seen), atol=1e-6)
    with pytest.raises(ColumnError, match="speed_kmh"):
        model.predict({"observation": seen}, columns=["speed_kmh", "lead_gap", "route_1_y"])


@pytest.mark.parametrize("gap", [None, "inf"])
def test_an_observation_with_a_gap_moves_nothing(folder: Path, gap: object) -> None:
    model = Model.load(folder)
    table = {"ego_speed": [1.0, 0.5], "lead_gap": [0.1, gap], "route_1_y": [0.0, 0.0]}
    with pytest.raises(DtypeError, match="row 2, column 'lead_gap'"):
        model.predict(rows_of(table, model.manifest))
    with pytest.raises(DtypeError, match="row 2, column 'lead_gap'"):
        list(model.predict_stream([{k: v[i] for k, v in table.items()} for i in range(2)]))


def test_the_commands_answer_measure_and_check_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = folder / "rows.csv"
    rows.write_text("run,ego_speed [20 m/s],lead_gap,route_1_y\n7,1,0.1,0\n7,0.5,0.2,-0.3\n")
    assert nightshift(["predict", "--bundle", str(folder), "--input", str(rows)]) == 0
    answers = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert list(answers[0]) == ["run", "action_acceleration_mps2", "action_steering_rad"]
    told = [[float(a["action_acceleration_mps2"]), float(a["action_steering_rad"])] for a in answers]
    np.testing.assert_allclose(told, wanted(np.array([[1, 0.1, 0], [0.5, 0.2, -0.3]], np.float32)), atol=1e-5)
    assert edge(["verify", str(folder), "--runs", "5"]) == 0
    assert "as the training library's on 40 rows" in capsys.readouterr().out


def test_a_device_checks_it_in_a_process_of_its_own(folder: Path) -> None:
    found = check_bundle(folder, runs=5)
    assert found.parity.ok
    assert found.parity.rows == 40
    assert found.footprint.memory_mb > 0
    assert found.latency.p99_ms > 0


def test_the_middle_of_its_ranges_is_measured(folder: Path) -> None:
    model = Model.load(folder)
    np.testing.assert_allclose(middle_row(model)["observation"], [[0.75, 0.0, 0.0]])
    assert measure(model, runs=5).p50_ms > 0
    assert probe.footprint(folder).start_s > 0


def test_a_graph_of_one_row_answers_many(tmp_path: Path) -> None:
    seen = np.random.default_rng(2).uniform(-1, 1, (4, 3)).astype(np.float32)
    model = Model.load(write(tmp_path / "one", policy_graph(batch=1)))
    np.testing.assert_allclose(model.run({"observation": seen})["action"], wanted(seen), atol=1e-6)


@pytest.mark.parametrize(
    ("graph", "face", "says"),
    [
        (policy_graph(takes="window"), FACE, r"the graph takes \['window'\], bundle.json says \['observation'\]"),
        (policy_graph(), FACE.model_copy(update={"window_rows": 2}), "an observation, which has neither"),
        (policy_graph(), FACE.model_copy(update={"actions": ("acceleration",)}), "names other columns of 'action'"),
        (policy_graph(), FACE.model_copy(update={"columns": COLUMNS[:2]}), "observation"),
    ],
)
def test_a_graph_that_is_not_what_the_manifest_says_is_refused(
    tmp_path: Path, graph: bytes, face: Interface, says: str
) -> None:
    with pytest.raises(BundleError, match=says):
        Model.load(write(tmp_path / "bad", graph, interface=face))


def test_a_window_and_an_observation_are_other_inputs_to_the_gate() -> None:
    window = FACE.model_copy(update={"takes": "window"})
    assert changed_inputs(window, FACE) == "takes"
    assert changed_inputs(FACE, FACE) == ""


def test_inputs_of_another_length_than_each_other_are_refused() -> None:
    clocked = Interface(columns=COLUMNS, window_rows=2, uses_time=True, outputs=FACE.outputs)
    inputs = {"window": np.zeros((2, 2, 3), np.float32), "time_s": np.zeros(3, np.int64)}
    with pytest.raises(ShapeError, match="time_s"):
        check_inputs(inputs, clocked)
