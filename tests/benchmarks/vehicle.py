"""Vehicles: how fast trips are simulated."""

from __future__ import annotations

import time

from nightshift.simulate.vehicle.cycles import read_cycles
from nightshift.simulate.vehicle.episodes import Plan, simulate
from tests.benchmarks._published import shared_data
from tests.benchmarks._rows import Row, row


def simulator() -> Row:
    """10,000 trips of an hour on published cycles, every column and label; reading and writing not counted.

    Processor time of this one process, all its threads together: what one core takes when nothing else runs on it.
    """
    plan = Plan(10_000, 3600, 7, read_cycles(shared_data() / "drive_cycles"))
    began = time.process_time()
    rows = sum(trips.driving.size for trips in simulate(plan))
    took_s = time.process_time() - began
    assert rows == 36_000_000
    return row("vehicle", "10,000 simulated trips of an hour, one core", took_s, "s", 60.0, "lower")
