"""What the batches' ends make of the cells of a run; on a real server in `tests/flows/test_fleet_flow.py`."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from nightshift.errors import UsageError
from nightshift.plan.batch import BatchOutcome
from nightshift.plan.fanout import FleetBatch
from nightshift.plan.fleet_config import DeadSettings, FleetConfig
from nightshift.plan.fleet_run import FleetFailedError, FleetOutcome, FleetStart
from nightshift.plan.outcome import CellOutcome
from nightshift.plan.state import make_cell
from tasks.fleet import _gone_on_with, cells_of, settled
from tasks.fleet_batches import BatchEnd, key_of
from tasks.fleet_progress import progress_of
from tests.plan.trained import leave_trained


def told(start: FleetStart, *endings: str) -> BatchOutcome:
    cells = [
        CellOutcome.model_validate(
            {"subject": c.subject, "family": c.family, "target": c.target, "ending": ending, "cell_key": c.cell_key}
        )
        for c, ending in zip(start.plan.cells, endings, strict=False)
    ]
    return BatchOutcome(cells=tuple(cells), processes=1)


def endings(start: FleetStart, end: BatchEnd, *, stopped: bool = False) -> list[tuple[str | None, str]]:
    found = cells_of(start, [end], stopped=stopped)
    return [(c.outcome.ending, c.outcome.reason) if c.outcome else (None, "") for c in found]


def test_what_a_batch_has_told_is_how_its_cells_ended(start):
    [batch] = start.batches
    cells = cells_of(start, [BatchEnd(batch, 1, told(start, "trained", "not applicable"))], stopped=False)
    assert [c.outcome.ending for c in cells if c.outcome] == ["trained", "not applicable"]
    assert {(c.batch, c.attempts) for c in cells} == {("pi-pool 1 of 1", 1)}


def test_a_cell_of_which_nobody_has_told_has_failed_with_the_batchs_reason_unless_the_run_was_stopped(start):
    [batch] = start.batches
    end = BatchEnd(batch, 3, told(start, "trained"), "its worker died.", "nightshift resume")
    assert endings(start, end) == [("trained", ""), ("failed", "its worker died.")]
    assert endings(start, end, stopped=True) == [("trained", ""), (None, "")]


def test_a_cell_that_an_earlier_attempt_has_registered_was_trained_in_this_run(home, start):
    [batch] = start.batches
    again = BatchEnd(batch, 2, told(start, "up to date", "up to date"))
    assert [ending for ending, _ in endings(start, again)] == ["up to date", "up to date"]
    before, after = start.started_at - timedelta(hours=1), start.started_at + timedelta(seconds=5)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), 2, at=after.isoformat(), train_s=60)
    leave_trained(home, make_cell(home, "pump_1", "rul"), 1, at=before.isoformat())
    assert [ending for ending, _ in endings(start, again)] == ["trained", "up to date"]
    [cell, _] = cells_of(start, [again], stopped=False)
    assert (cell.outcome.version, cell.outcome.seconds) == (2, 66)
    # The first attempt's own "up to date" is what it says.
    assert [ending for ending, _ in endings(start, BatchEnd(batch, 1, again.outcome))] == ["up to date", "up to date"]
    refused = BatchEnd(batch, 2, told(start, "failed", "failed").model_copy(update={"processes": 0}))
    assert [ending for ending, _ in endings(start, refused)] == ["trained", "failed"]
    untold = BatchEnd(batch, 3, None, "it crashed.")
    assert [ending for ending, _ in endings(start, untold)] == ["trained", "failed"]


def test_the_key_of_a_batch_is_the_same_for_every_try_of_its_run_and_another_for_each_attempt(start):
    [batch] = start.batches
    keys = {key_of(start, batch, attempt) for attempt in (1, 2, 3)}
    assert len(keys) == 3
    assert key_of(start.model_copy(update={"tries": 2}), batch, 1) in keys
    assert key_of(start.model_copy(update={"started_at": datetime.now(UTC)}), batch, 1) not in keys
    other = FleetBatch(**{**batch.model_dump(), "cells": batch.cells[:1]})
    assert key_of(start, other, 1) not in keys


def test_a_run_that_crashes_again_and_again_is_not_gone_on_with_for_ever(start):
    fleet = FleetConfig(dead=DeadSettings(tries=2))
    again = _gone_on_with(start, fleet)
    assert again == start.model_copy(update={"tries": 2})
    with pytest.raises(UsageError, match="was begun 2 times and never came to its end") as caught:
        _gone_on_with(again, fleet)
    assert "nightshift resume" in caught.value.hint


def test_what_is_left_is_reckoned_by_the_pool_that_needs_longest(start):
    [batch] = start.batches
    two = batch.model_copy(update={"name": "gpu-pool 1 of 1", "pool": "gpu-pool", "estimated_s": 900.0})
    both = start.model_copy(update={"batches": (batch.model_copy(update={"estimated_s": 600.0}), two)})
    assert progress_of(both, [], [], time.time()).left_s == 900
    at = progress_of(both, [two], [], time.time() - 90)
    assert (at.cells, at.done, at.batches, at.ended) == (4, 2, 2, 1)
    # 900 of 1,500 s of work took 90 s: this run's own pace counts by now.
    assert at.left_s == pytest.approx(60, abs=2)


def test_a_run_with_a_bad_cell_fails_with_all_outcomes_and_a_stopped_one_is_cancelled(start):
    [batch] = start.batches
    cells = cells_of(start, [BatchEnd(batch, 1, told(start, "trained", "failed"))], stopped=False)
    outcome = FleetOutcome(
        run_id="r", started_at=start.started_at, ended_at=start.started_at, filters=start.filters, cells=cells
    )
    with pytest.raises(FleetFailedError, match=r"1 of 2 cells .*: pump_1\.rul\.pi failed") as caught:
        settled(outcome)
    assert caught.value.outcome == outcome
    stopped = settled(outcome.model_copy(update={"ended": "cancelled"}))
    assert stopped.is_cancelled()
    good = outcome.model_copy(update={"cells": cells[:1]})
    assert settled(good) is good
