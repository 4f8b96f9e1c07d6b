"""Traces are cut into blocks of time; normal traffic is learnt from, and no drive's moment stands in two parts."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.data.importers.can.parts import Block, cut, drives
from nightshift.data.importers.can.trace import Trace
from nightshift.edge.can import Frames
from nightshift.errors import DataError


def normal(name: str, seed: int, seconds: float = 100.0) -> Trace:
    rng = np.random.default_rng(seed)
    at = np.arange(0.0, seconds, 0.01)
    n = len(at)
    data = rng.integers(0, 256, (n, 8)).astype(np.uint8)
    frames = Frames(at, rng.integers(0, 9, n).astype(np.uint32), np.full(n, 8, np.uint8), data)
    return Trace(name, frames, np.zeros(n, bool), "other")


def attacked(base: Trace, name: str, kind: str) -> Trace:
    """The same traffic with a false frame after each tenth one."""
    rows = np.sort(np.concatenate([np.arange(len(base.frames)), np.arange(0, len(base.frames), 10)]))
    false = np.append(False, rows[1:] == rows[:-1])
    data = base.frames.data[rows].copy()
    data[false] = 0xFF
    frames = Frames(base.frames.time_s[rows], base.frames.can_id[rows], base.frames.dlc[rows], data)
    return Trace(name, frames, false, kind)


def span(block: Block) -> tuple[float, float]:
    time = block.trace.frames.time_s
    return float(time[block.first]), float(time[block.last - 1])


def test_a_trace_with_injected_frames_is_the_same_drive_and_cut_at_the_same_times() -> None:
    base, other = normal("a", 1), normal("b", 2)
    traces = [attacked(base, "a_dos", "dos"), base, other, attacked(base, "a_replay", "replay")]
    assert [sorted(t.name for t in d.traces) for d in drives(traces)] == [["a", "a_dos", "a_replay"], ["b"]]
    parts = cut(traces)
    of_a = {p: [span(b) for b in blocks if b.trace.name.startswith("a")] for p, blocks in parts.items()}
    train_end = max(end for _, end in of_a["train"])
    val = min(a for a, _ in of_a["val"]), max(b for _, b in of_a["val"])
    test_begin = min(begin for begin, _ in of_a["test"])
    assert train_end + 1.9 < val[0]
    assert val[1] + 1.9 < test_begin


def test_normal_traffic_alone_is_in_train_and_in_both_halves_of_val() -> None:
    base = normal("a", 1)
    parts = cut([base, attacked(base, "a_dos", "dos"), attacked(base, "a_spoof", "spoof")])
    assert [b.trace.name for b in parts["train"]] == ["a"]
    assert [b.trace.name for b in parts["val"]] == ["a", "a", "a_dos", "a_spoof"]
    assert [b.trace.name for b in parts["test"]] == ["a_dos", "a_spoof"]
    for blocks in parts.values():
        assert all(b.last > b.first for b in blocks)


def test_attacked_drives_of_their_own_serve_val_and_test_whole() -> None:
    parts = cut([normal("calm", 1), attacked(normal("x", 2), "DoS", "dos")])
    assert [b.trace.name for b in parts["val"]] == ["calm", "calm", "DoS"]
    assert [b.trace.name for b in parts["test"]] == ["calm", "DoS"]
    assert [span(b)[0] for b in parts["val"] if b.trace.name == "DoS"] == [0.0]


def test_without_normal_traffic_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(DataError, match=r"every trace holds an attack .x_dos.*Import them together with a log"):
        cut([attacked(normal("x", 2), "x_dos", "dos")])
