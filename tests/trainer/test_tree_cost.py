"""What trees cost a device is what a fresh process really holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nightshift.graphs.build import Graph
from nightshift.graphs.trees import LEAF, Tree, TreeModel, add_tree_models
from nightshift.trainer.tree_cost import BASE_MEMORY_MB, NODE_MEMORY_BYTES, memory_mb, room_nodes, size_mb

_HOLD = """
import sys
import numpy as np
from nightshift.edge.runtime import Model
from nightshift.edge.session import open_session

session = open_session(open(sys.argv[1], "rb").read())
session.run(None, {"features": np.zeros((1, 20), np.float32)})
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def forest(n_trees: int, depth: int) -> bytes:
    """Complete trees with random splits and leaves, as a graph."""
    rng = np.random.default_rng(0)
    n_nodes, n_inner = 2 ** (depth + 1) - 1, 2**depth - 1
    inner = np.arange(n_inner)
    leaves = np.full(n_nodes - n_inner, LEAF)
    trees = [
        Tree(
            feature=rng.integers(0, 20, n_nodes),
            threshold=rng.normal(size=n_nodes).astype(np.float32),
            left=np.concatenate([2 * inner + 1, leaves]),
            right=np.concatenate([2 * inner + 2, leaves]),
            nan_left=np.zeros(n_nodes, np.bool_),
            value=rng.normal(size=(n_nodes, 1)),
        )
        for _ in range(n_trees)
    ]
    graph = Graph("forest")
    features = graph.input("features", "float32", ["batch", 20])
    total = add_tree_models(graph, features, [TreeModel(trees, np.zeros(1), "sigmoid")])
    graph.output(total, "answer", "float64", ["batch", 1])
    made: bytes = graph.build().SerializeToString()
    return made


def test_size_and_memory_of_a_large_forest_are_as_estimated(tmp_path: Path) -> None:
    nodes = 200 * (2**10 - 1)
    graph = forest(200, 9)
    assert len(graph) / 1e6 == pytest.approx(size_mb(nodes), rel=0.15)
    (tmp_path / "model.onnx").write_bytes(graph)
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "model.onnx")]
    held_kib = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert int(held_kib) * 1024 / 1e6 == pytest.approx(memory_mb(nodes), rel=0.15)


def test_room_is_what_the_tighter_limit_leaves() -> None:
    assert room_nodes(250, None) == pytest.approx(250e6 / 35, rel=1e-6)
    room = room_nodes(250, 250)
    assert room == int((250 - BASE_MEMORY_MB) * 1e6 / NODE_MEMORY_BYTES)
    assert memory_mb(room) <= 250 < memory_mb(room + 2)
    assert room_nodes(1, 250) == pytest.approx(1e6 / 35, abs=1)
    assert room_nodes(250, 40) == 0
