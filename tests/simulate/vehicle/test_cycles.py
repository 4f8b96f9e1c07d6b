"""Speed cycles: what is read, what is left out and why, and that kin stay together."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from nightshift.errors import DataError, UsageError
from nightshift.simulate.vehicle.cycles import made_cycles, read_cycles, turning_points
from nightshift.simulate.vehicle.routes import routes, share_out, stretches_of


def wave(seconds: int, period: float, height: float = 10.0) -> np.ndarray:
    return np.maximum(height * np.sin(2 * np.pi * np.arange(seconds) / period), 0)


def write(folder: Path, name: str, header: str, rows: list[str]) -> None:
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")


def three(folder: Path) -> None:
    """Three cycles, in three spellings: m/s, km/h twice a second with semicolons, mph with a pause."""
    first, second, third = wave(200, 61), wave(150, 83), wave(300, 97)
    write(folder, "a.csv", "cycSecs,cycMps", [f"{t},{v:.4f}" for t, v in enumerate(first)])
    write(folder, "b.csv", "time_s;speed_kmh", [f"{t / 2};{np.interp(t / 2, range(150), second) * 3.6:.4f}" for t in range(299)])  # fmt: skip  # noqa: E501
    write(folder, "c.csv", "cycle_sec,speed_mph", [f"{t + 500 * (t >= 100)},{v / 0.44704:.4f}" for t, v in enumerate(third)])  # fmt: skip  # noqa: E501


def test_units_rates_and_pauses_are_read(tmp_path: Path) -> None:
    three(tmp_path)
    found = {c.name: c for c in read_cycles(tmp_path).cycles}
    assert set(found) == {"a", "b", "c_0", "c_1"}
    np.testing.assert_allclose(found["a"].speed_mps, wave(200, 61), atol=1e-3)
    np.testing.assert_allclose(found["b"].speed_mps, wave(150, 83), atol=1e-3)
    np.testing.assert_allclose(found["c_1"].speed_mps, wave(300, 97)[100:], atol=1e-3)
    assert found["c_0"].kin == found["c_1"].kin


def test_what_holds_no_cycle_is_left_out_with_its_reason(tmp_path: Path) -> None:
    three(tmp_path)
    write(tmp_path, "notes.csv", "who,what", ["me,nothing"])
    write(tmp_path, "sprint.csv", "cycSecs,cycMps", [f"{t},{40 * (t > 0)}" for t in range(100)])
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "large.csv").touch()
    os.truncate(tmp_path / "large.csv", 20_000_001)
    write(tmp_path, "short.csv", "cycSecs,cycMps", [f"{t},3" for t in range(20)])
    told = " ".join(read_cycles(tmp_path).left_out)
    assert "notes.csv is left out: it has no column of seconds" in told
    assert "sprint.csv is left out: its speed changes by 40.0 m/s in a second" in told
    assert "pipe.csv is left out: it is no plain file" in told
    assert "large.csv is left out: it has more than 20 MB" in told
    assert "short.csv is left out: no stretch of it lasts 60 s" in told


def test_too_few_cycles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder 'none'"):
        read_cycles(tmp_path / "none")
    with pytest.raises(UsageError, match=r"holds no \.csv file"):
        read_cycles(tmp_path)
    three(tmp_path)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(DataError, match="holds 2 different drive cycles"):
        read_cycles(tmp_path)


def test_published_cycles_and_their_phases_are_kin(shared_data: Path) -> None:
    found = read_cycles(shared_data / "drive_cycles")
    kin = {c.name: c.kin for c in found.cycles}
    assert len(set(kin.values())) == 10
    assert len({kin[n] for n in kin if n.startswith("wltc")}) == 1
    assert len({kin[n] for n in kin if n.startswith("wmtc")}) == 1
    assert [line.split()[0] for line in found.left_out] == ["accel.csv"]
    shared = share_out(found.cycles)
    assert sum(map(len, shared.values())) == len(found.cycles)
    assert all(shared.values())


def test_no_kin_lies_in_two_parts_and_slow_and_fast_lie_in_all() -> None:
    cycles = made_cycles(30).cycles
    shared = share_out(cycles)
    kins = {part: {c.kin for c in own} for part, own in shared.items()}
    assert not kins["train"] & kins["val"]
    assert not (kins["train"] | kins["val"]) & kins["test"]
    means = [np.concatenate([c.speed_mps for c in own]).mean() for own in shared.values()]
    assert max(means) < 1.3 * min(means)
    assert [c.name for c in share_out(cycles)["test"]] == [c.name for c in shared["test"]]


def test_turning_points_see_through_wobble_and_stand_at_stops() -> None:
    speed = np.concatenate([np.zeros(10), np.linspace(0, 10, 11), 10 + 0.4 * np.sin(np.arange(20)), np.linspace(10, 0, 11), np.zeros(9)])  # fmt: skip  # noqa: E501
    points = turning_points(speed.astype(np.float32))
    assert points.tolist()[:2] == [0, 9 + 1]
    inner = [p for p in points if 11 < p < len(speed) - 10]
    assert all(speed[p] > 9 or speed[p] < 0.4 for p in inner)
    assert len(inner) <= 3


def test_trips_are_chained_from_whole_stretches_and_stand_at_stops() -> None:
    stretches = stretches_of(made_cycles(6).cycles)
    route = routes(stretches, 5, 700, np.random.default_rng(0))
    assert route.shape == (5, 700)
    joins = np.flatnonzero(np.diff(route[0]) != 1) + 1
    assert set(route[0][[0, *joins.tolist()]].tolist()) <= set(stretches.first.tolist())
    assert (stretches.left_s >= 1).all()
    assert stretches.aim_mps.min() == 0
