"""Frames become the same rows one by one on a device as all at once in training."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from support.bundles import interface, manifest, sum_graph

from nightshift.edge import can
from nightshift.edge.can import COLUMNS, EXTENDED, FrameReader, Frames, id_text, read_frames
from nightshift.edge.manifest import Column
from nightshift.edge.stream import Stream
from nightshift.errors import DtypeError, OrderError, ShapeError


def periodic(seconds: float, periods_s: dict[int, float], seed: int = 0) -> Frames:
    """Ids that come in their periods, a little late by turns; byte 0 counts, byte 7 is noise."""
    rng = np.random.default_rng(seed)
    pieces = []
    for can_id, period in periods_s.items():
        at = np.arange(0.0, seconds, period)
        data = np.zeros((len(at), 8), np.uint8)
        data[:, 0], data[:, 7] = np.arange(len(at)) % 256, rng.integers(0, 256, len(at))
        stamps = np.sort(at + 0.02 * period * rng.random(len(at)))
        pieces.append((stamps, np.full(len(at), can_id, np.uint32), np.full(len(at), 8, np.uint8), data))
    return in_order(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def in_order(
    stamps: NDArray[np.float64], ids: NDArray[np.uint32], dlc: NDArray[np.uint8], data: NDArray[np.uint8]
) -> Frames:
    order = np.argsort(stamps, kind="stable")
    return Frames(stamps[order], ids[order], dlc[order], data[order])


def together(one: Frames, other: Frames) -> Frames:
    names = ("time_s", "can_id", "dlc", "data")
    return in_order(*(np.concatenate([getattr(one, n), getattr(other, n)]) for n in names))


def injected(stamps: NDArray[np.float64], can_id: int, byte: int = 0xAA) -> Frames:
    n = len(stamps)
    return Frames(stamps, np.full(n, can_id, np.uint32), np.full(n, 8, np.uint8), np.full((n, 8), byte, np.uint8))


def pushed(frames: Frames) -> NDArray[np.float32]:
    reader = FrameReader()
    rows = [
        reader.push(float(t), int(i), data.tobytes(), int(dlc))
        for t, i, dlc, data in zip(frames.time_s, frames.can_id, frames.dlc, frames.data, strict=True)
    ]
    return np.array([[row[name] for name in COLUMNS] for row in rows], np.float32)


def column(rows: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    return rows[:, COLUMNS.index(name)]


def messy() -> Frames:
    """Periods, floods, random ids of 11 and 29 bits, equal times, a silence, short frames."""
    rng = np.random.default_rng(5)
    bus = periodic(40.0, {0x10: 0.02, 0x1A0: 0.05, 0x400: 0.5, 0x12345 | EXTENDED: 0.1})
    silent = (bus.can_id == 0x1A0) & (bus.time_s > 20) & (bus.time_s < 25)
    bus = Frames(bus.time_s[~silent], bus.can_id[~silent], bus.dlc[~silent], bus.data[~silent])
    bus = together(bus, injected(np.arange(12.0, 14.0, 0.003), 0x10))
    n = 600
    random = Frames(
        np.repeat(np.sort(rng.uniform(15.0, 38.0, n // 2)), 2),
        (rng.integers(0, 90, n) * 16 + rng.integers(0, 2, n) * EXTENDED).astype(np.uint32),
        rng.integers(0, 9, n).astype(np.uint8),
        rng.integers(0, 256, (n, 8)).astype(np.uint8),
    )
    return together(bus, random)


def test_one_by_one_gives_the_rows_of_the_whole_trace_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = messy()
    whole = read_frames(frames)
    assert np.isfinite(whole).any(axis=0).all()
    assert column(whole, "overdue_ids").max() >= 1
    np.testing.assert_array_equal(pushed(frames), whole)
    moved = replace(frames, time_s=frames.time_s + 1_436_509_052.249713)
    np.testing.assert_array_equal(pushed(moved), read_frames(moved))
    # More ids than are kept: those that come later stay new.
    monkeypatch.setattr(can, "MAX_IDS", 20)
    few = read_frames(frames)
    np.testing.assert_array_equal(pushed(frames), few)
    assert np.isnan(column(few, "changed_bits")).sum() > np.isnan(column(whole, "changed_bits")).sum()


def test_a_clock_that_stands_still_costs_no_memory_and_one_by_one_still_agrees() -> None:
    many = 3_000
    still = Frames(
        np.full(many, 7.0), np.full(many, 5, np.uint32), np.full(many, 8, np.uint8), np.zeros((many, 8), np.uint8)
    )
    whole = read_frames(still)
    assert column(whole, "frames_20ms").max() == 1_000
    np.testing.assert_array_equal(pushed(still), whole)


def test_a_frame_between_the_due_ones_stands_out_and_teaches_nothing() -> None:
    bus = periodic(20.0, {0x10: 0.02, 0x20: 0.05})
    flood = np.arange(10.0, 12.0, 0.0031)
    frames = together(bus, injected(flood, 0x10))
    rows = read_frames(frames)
    of_id = frames.can_id == 0x10
    false = of_id & np.isin(frames.time_s, flood)
    assert np.median(column(rows, "id_rate")[false]) > 4
    after = column(rows, "id_rate")[of_id & (frames.time_s > 12.1)]
    assert (np.abs(after - 1) < 0.1).all()
    first = np.flatnonzero(false)[0]
    assert column(rows, "signal_residual")[first] > 5
    assert np.nanmax(column(rows, "early_residual")[false]) > 20
    usual = read_frames(bus)
    assert np.nanmax(column(usual, "early_residual")) == 0
    # What was usual stays so: the true frames after the flood are read as without it.
    late = slice(-100, None)
    np.testing.assert_array_equal(column(rows, "changed_bits")[late], column(usual, "changed_bits")[late])


def test_a_silent_id_is_overdue_until_it_comes_back() -> None:
    bus = periodic(30.0, {0x10: 0.02, 0x20: 0.1})
    gone = (bus.can_id == 0x20) & (bus.time_s > 10.05) & (bus.time_s < 15.05)
    frames = Frames(bus.time_s[~gone], bus.can_id[~gone], bus.dlc[~gone], bus.data[~gone])
    overdue, at = column(read_frames(frames), "overdue_ids"), frames.time_s
    last = at[(frames.can_id == 0x20) & (at < 11)].max()
    back = at[(frames.can_id == 0x20) & (at > 15)].min()
    assert (overdue[at < last + 0.29] == 0).all()
    assert (overdue[(at > last + 0.32) & (at < back)] == 1).all()
    assert (overdue[at >= back] == 0).all()


def test_an_attackers_own_id_is_new_and_never_overdue() -> None:
    bus = periodic(30.0, {0x10: 0.02, 0x20: 0.1})
    bursts = np.concatenate([np.arange(t, t + 0.5, 0.0005) for t in (12.0, 15.0, 20.0)])
    frames = together(bus, injected(bursts, 0x0))
    rows = read_frames(frames)
    false = frames.can_id == 0
    assert column(rows, "id_age")[false].max() < 0.5
    assert column(rows, "id_age")[~false].min() > 0.9
    assert column(rows, "frames_20ms")[false].max() >= 40
    assert (column(rows, "overdue_ids") == 0).all()


def test_a_row_goes_into_a_bundles_window() -> None:
    columns = (Column(name="can_id", categories=("010", "1A0"), unseen_code=-1), *(Column(name=n) for n in COLUMNS))
    face = interface(columns=columns)
    stream, reader = Stream(manifest(sum_graph(n_columns=len(columns)), interface=face)), FrameReader()
    for i, can_id in enumerate((0x1A0, 0x10, 0x77)):
        row = reader.push(0.25 * i, can_id, b"\x01\x02")
        window = stream.push(row)["window"]
        assert window[0, -1, 0] == (1, 0, -1)[i]
        assert window[0, -1, 1 + COLUMNS.index("dlc")] == 2
    assert window[0, -1, 1] == 250
    assert [id_text(i) for i in (0x7, 0x1A0, 0x7FF, 0x7 | EXTENDED)] == ["007", "1A0", "7FF", "00000007"]


def test_what_is_no_frame_is_refused_and_changes_nothing() -> None:
    reader = FrameReader()
    reader.push(5.0, 0x10, b"\x01")
    with pytest.raises(OrderError, match=r"the frame at 4\.000000 s comes after one at 5\.000000 s"):
        reader.push(4.0, 0x10, b"\x01")
    with pytest.raises(DtypeError, match="is no CAN id"):
        reader.push(5.0, 0x2000_0000, b"\x01")
    with pytest.raises(DtypeError, match="something else than bytes"):
        reader.push(5.0, 0x10, [300])
    with pytest.raises(DtypeError, match="no time of a frame"):
        reader.push(float("nan"), 0x10, b"\x01")
    assert reader.push(5.5, 0x10, [1])["changed_bits"] == 0
    frames = periodic(1.0, {0x10: 0.1})
    with pytest.raises(OrderError, match="at frame 2"):
        read_frames(replace(frames, time_s=frames.time_s[::-1].copy()))
    with pytest.raises(ShapeError, match="Give n of each"):
        replace(frames, dlc=frames.dlc[1:])
    assert read_frames(Frames(*(v[:0] for v in (frames.time_s, frames.can_id, frames.dlc, frames.data)))).shape == (
        0,
        9,
    )


def test_a_quarter_of_a_million_frames_take_seconds_and_one_frame_less_than_a_bus_needs_for_it() -> None:
    frames = periodic(125.0, {0x10 + i: 0.02 for i in range(40)})
    begin = time.process_time()
    assert len(read_frames(frames)) == 250_000
    assert time.process_time() - begin < 5
    some = Frames(*(v[:10_000] for v in (frames.time_s, frames.can_id, frames.dlc, frames.data)))
    begin = time.process_time()
    pushed(some)
    # A frame of 8 bytes lasts 0.23 ms at 500 kbit/s.
    assert (time.process_time() - begin) / len(some) < 0.0002
