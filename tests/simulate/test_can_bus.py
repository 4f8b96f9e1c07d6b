"""The simulated bus keeps its periods and checksums, and each attack is what its name says and is marked."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from nightshift.edge.can import COLUMNS, Frames, read_frames
from nightshift.errors import UsageError
from nightshift.settings import Home
from nightshift.simulate.can_attacks import KINDS
from nightshift.simulate.can_bus import CanOptions, land_can, simulate_can, simulate_drive
from nightshift.simulate.can_drives import make_drives
from nightshift.simulate.can_signals import MESSAGES, crc8
from nightshift.simulate.vehicle.cycles import made_cycles

pytestmark = pytest.mark.slow


@cache
def drive(seed: int = 3, attacked: bool = False) -> tuple[Frames, NDArray[np.uint8]]:
    return simulate_drive(60.0, seed, attacked=attacked)


def test_units_keep_their_periods_and_frames_share_one_wire() -> None:
    frames, kind = drive()
    assert not kind.any()
    assert (np.diff(frames.time_s) > 0.0001).all()
    for message in MESSAGES:
        steps = np.diff(frames.time_s[frames.can_id == message.can_id])
        assert abs(steps.mean() / message.period_s - 1) < 0.002
        assert (frames.dlc[frames.can_id == message.can_id] == message.dlc).all()


def test_counters_count_checksums_hold_and_signals_move() -> None:
    frames, _ = drive()
    checked = 0
    for message in MESSAGES:
        data = frames.data[frames.can_id == message.can_id]
        if message.counter is not None:
            assert (np.diff(data[:, message.counter].astype(int) & 0xF) % 16 == 1).all()
        if message.checksum is not None:
            others = np.delete(data[:, : message.dlc], message.checksum, axis=1)
            np.testing.assert_array_equal(data[:, message.checksum], crc8(others))
            checked += 1
    assert checked > 5
    # SAE J1850's check value.
    assert crc8(np.frombuffer(b"123456789", np.uint8)[None]).tolist() == [0x4B]
    rpm = frames.data[frames.can_id == 0x0A6][:, :2] @ np.array([256, 1]) * 0.25
    assert 600 < rpm.min() < 1200 < rpm.max() < 6000


def test_the_bus_carries_what_the_simulated_vehicle_does() -> None:
    """What two units say of the same quantity is one truth, and the gears and the fuel are that car's."""
    trip = next(make_drives({"train": 1}, 60.0, 3)).drive
    frames, _ = drive()

    def words(can_id: int, byte: int, scale: float, offset: float = 0.0) -> tuple[NDArray[np.float64], ...]:
        own = frames.can_id == can_id
        pair = frames.data[own][:, byte : byte + 2].astype(np.float64) @ np.array([256.0, 1.0])
        return frames.time_s[own], pair * scale + offset

    for can_id, byte, scale, offset, signal, close in (
        (0x0A6, 0, 0.25, 0.0, "rpm", 10.0),
        (0x18F, 1, 0.25, 0.0, "rpm", 10.0),
        (0x153, 0, 0.01, 0.0, "speed_mps", 0.05),
        (0x1F1, 2, 0.1, -100.0, "torque_nm", 3.0),
    ):
        at, told = words(can_id, byte, scale, offset)
        assert np.abs(told - trip.at(signal, at - 0.001))[1:].mean() < close
    assert set(np.unique(trip.signals["gear"])) <= set(range(1, 7))
    assert 3 < np.ptp(trip.signals["speed_mps"]) < 60
    assert (np.diff(trip.signals["fuel_l"]) <= 0).all()


def test_a_seed_gives_one_drive_and_another_gives_another() -> None:
    one, again = simulate_drive(40.0, 3, attacked=True), simulate_drive(40.0, 3, attacked=True)
    np.testing.assert_array_equal(one[0].data, again[0].data)
    np.testing.assert_array_equal(one[0].time_s, again[0].time_s)
    assert len(one[0]) != len(simulate_drive(40.0, 4, attacked=True)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_an_attack_shows_where_it_says(kind: str) -> None:
    frames, code = drive(attacked=True)
    marked = code == 1 + KINDS.index(kind)
    rows = dict(zip(COLUMNS, read_frames(frames).T, strict=True))
    time, quiet = frames.time_s, code == 0
    begin, end = time[marked][0], time[marked][-1]
    assert 10 < begin < end < 60
    assert 3 < end - begin < 5
    inside = (time > begin + 0.5) & (time < end)
    known = np.isin(frames.can_id, [m.can_id for m in MESSAGES])
    if kind == "dos":
        assert (frames.can_id[marked] == 0).all()
        assert np.median(rows["frames_20ms"][marked]) > 2 * np.median(rows["frames_20ms"][quiet])
    elif kind == "fuzzy":
        assert len(np.unique(frames.can_id[marked])) > 100
        assert np.median(rows["id_age"][marked]) < 0.5
    elif kind == "spoof":
        assert set(frames.can_id[marked]) <= {0x0A6, 0x18F, 0x316}
        assert np.median(rows["id_rate"][marked]) > 1.8
    elif kind == "replay":
        assert known[marked].all()
        assert np.nanmax(rows["id_rate"][marked]) > 3
    elif kind == "suspension":
        assert marked[inside].all()
        assert (rows["overdue_ids"][inside] >= 1).mean() > 0.8
        assert len(np.unique(frames.can_id[inside])) < len(np.unique(frames.can_id[quiet & known]))
    else:
        # The hard one: no frame too many or too few, counter and checksum right.
        assert len(set(frames.can_id[marked])) == 1
        assert np.abs(rows["id_rate"][marked] - 1).max() < 0.5


def test_drives_land_with_normal_train_and_every_attack_in_val_and_test(home: Home) -> None:
    options = CanOptions(drives=8, seconds=40.0)
    data = land_can(home, options, event=False)
    assert data.subject == "can_synthetic"
    assert "made traffic" in data.metadata.provenance.details["cycles"]
    assert (data.truth("train", "odd") == 0).all()
    for part in ("val", "test"):
        assert set(np.unique(data.truth(part, "odd"))) == set(range(7))
    vehicles = [set(data.vehicles(part).tolist()) for part in data.parts]
    assert len(set.union(*vehicles)) == sum(map(len, vehicles))
    again = simulate_can(options, made_cycles())["test"][0][0]
    assert again.frames.dlc[:50].tolist() == data.frame("test")["dlc"].to_list()[:50]
    with pytest.raises(UsageError, match="--drives is 2, expected 8 to 1000"):
        CanOptions(drives=2)
    with pytest.raises(UsageError, match="--seconds is 5, expected 40 to 3600"):
        CanOptions(seconds=5)
    with pytest.raises(UsageError, match="--seed is -1, expected a whole number from 0"):
        CanOptions(seed=-1)
