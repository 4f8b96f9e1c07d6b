"""Cells into batches: by pool and queue, of the wanted duration, the same every time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.plan.fanout import MOST_CELLS, duration_s, fan_out, to_run
from nightshift.plan.fleet import GPU_POOL, PI_POOL, FleetPlan, PlannedCell
from nightshift.plan.state import State


def a_cell(number: int, estimated_s: float, pool: str = PI_POOL, state: State = State.STALE) -> PlannedCell:
    return PlannedCell(
        subject=f"pump_{number}",
        family="anomaly",
        target="pi",
        name=f"pump_{number}.anomaly.pi",
        cell_key=f"k{number}",
        state=state,
        reasons=("new data",),
        estimated_s=estimated_s,
        pool=pool,
        queue="train" if pool == PI_POOL else "default",
    )


def test_a_batch_is_of_one_pool_and_queue_and_its_name_says_which_of_how_many():
    cells = [a_cell(n, 100, GPU_POOL if n % 2 else PI_POOL) for n in range(4)]
    batches = fan_out(cells, 1_800, 1)
    assert [(b.name, b.queue, b.estimated_s) for b in batches] == [
        ("gpu-pool 1 of 1", "default", 200),
        ("pi-pool 1 of 1", "train", 200),
    ]
    assert [b.cells for b in batches] == [
        ("pump_1.anomaly.pi", "pump_3.anomaly.pi"),
        ("pump_0.anomaly.pi", "pump_2.anomaly.pi"),
    ]


def test_more_than_the_wanted_duration_is_cut_into_even_parts_in_order():
    batches = fan_out([a_cell(n, 60) for n in range(70)], 1_800, 1)
    assert [len(b.cells) for b in batches] == [23, 24, 23]
    assert [name for b in batches for name in b.cells] == [f"pump_{n}.anomaly.pi" for n in range(70)]


def test_as_many_cells_at_once_as_there_are_processes_make_a_batch_so_much_larger():
    cells = [a_cell(n, 60) for n in range(100)]
    [one] = fan_out(cells, 1_800, 4)
    assert one.estimated_s == 1_500
    assert duration_s(cells[:2], 4) == 60


def test_a_cell_that_takes_longer_than_a_batch_has_one_of_its_own():
    batches = fan_out([a_cell(0, 9_000), a_cell(1, 10), a_cell(2, 10)], 1_800, 1)
    assert [b.cells for b in batches] == [("pump_0.anomaly.pi",), ("pump_1.anomaly.pi", "pump_2.anomaly.pi")]


def test_cells_without_an_estimate_go_together_and_no_batch_grows_beyond_what_prefect_takes():
    batches = fan_out([a_cell(n, 0.0) for n in range(MOST_CELLS + 1)], 1_800, 1)
    assert [len(b.cells) for b in batches] == [MOST_CELLS, 1]
    assert fan_out([], 1_800, 1) == ()


def test_a_run_trains_what_is_stale_or_failed_and_waits_for_what_another_trains():
    cells = tuple(a_cell(n, 1, state=state) for n, state in enumerate(State))
    found = to_run(FleetPlan(made_at=datetime.now(UTC), cells=cells))
    assert {c.state for c in found} == {State.STALE, State.FAILED, State.TRAINING}


@given(
    st.lists(st.floats(0, 5_000), max_size=60),
    st.floats(60, 4_000),
    st.integers(1, 8),
)
@pytest.mark.timeout(60)
def test_every_cell_is_in_one_batch_and_none_lasts_much_longer_than_wanted(durations, target_s, processes):
    cells = [a_cell(n, s) for n, s in enumerate(durations)]
    batches = fan_out(cells, target_s, processes)
    assert [name for b in batches for name in b.cells] == [c.name for c in cells]
    assert len({b.name for b in batches}) == len(batches)
    longest = max(durations, default=0)
    assert all(b.estimated_s <= target_s + longest + 0.1 for b in batches)
    assert batches == fan_out(cells, target_s, processes)
