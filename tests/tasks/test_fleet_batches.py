"""Batches and a server that is away; with one that is there in `tests/flows/test_fleet_flow.py`."""

from __future__ import annotations

import time

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from support.away import answering

from deployments.api import API_VARIABLE
from nightshift.errors import ServiceError
from nightshift.plan.batch import BatchOutcome, CapacityError, CellRef
from nightshift.plan.fleet_config import FleetConfig
from nightshift.plan.fleet_run import FleetStart
from tasks import fleet_batches
from tasks.batch import refused
from tasks.fleet_batches import BatchRuns, _Given
from tasks.signals import StopOnSignal

FULL = CapacityError("a model may need 500 MB of disk; 20 MB are free.", hint="Free space.")


def runs_of(start: FleetStart, *, stopped: bool = False) -> BatchRuns:
    stop = StopOnSignal()
    if stopped:
        stop.wish()
    return BatchRuns(start, FleetConfig(), stop)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    for name in ("POLL_S", "STOP_S", "STOP_ON_WORKER_S"):
        monkeypatch.setattr(fleet_batches, name, 0.05)


def test_a_server_that_goes_away_while_batches_are_given_is_waited_for(start, monkeypatch):
    losses = ["nothing", "half"]
    with answering(lambda _: (404, {}), losses) as url:
        monkeypatch.setenv(API_VARIABLE, url)
        runs = runs_of(start)
        [end] = runs.run()
    assert losses == []
    assert (end.attempts, end.outcome, end.reason) == (0, None, "the Prefect server has no work pool 'pi-pool'.")
    assert "nightshift up" in end.hint
    assert len(runs.remarks) == 1


def test_a_server_that_stays_away_ends_the_run_with_its_reason(start, monkeypatch):
    monkeypatch.setenv(API_VARIABLE, "http://127.0.0.1:9/api")
    monkeypatch.setattr(fleet_batches, "OUTAGE_S", 0.2)
    with pytest.raises(ServiceError, match="does not answer"):
        runs_of(start).run()


def test_a_stop_ends_although_the_server_is_away(start, monkeypatch):
    monkeypatch.setenv(API_VARIABLE, "http://127.0.0.1:9/api")
    runs = runs_of(start, stopped=True)
    [batch] = start.batches
    runs._left.clear()
    runs._open[batch.name] = _Given(batch, 1, "00000000-0000-0000-0000-000000000001")
    began = time.monotonic()
    [end] = runs.run()
    assert (end.attempts, end.outcome, end.reason) == (1, None, "")
    assert runs.remarks == [f"{batch.name} had not stopped when this run ended."]
    assert time.monotonic() - began < 5


def test_a_deployment_that_is_gone_when_a_batch_is_given_fails_its_cells_with_what_mends_it(start, monkeypatch):
    with answering(lambda path: (404, {"detail": "no such deployment"})) as url:
        monkeypatch.setenv(API_VARIABLE, url)
        runs = runs_of(start)
        with temporary_settings({PREFECT_API_URL: url}):
            runs._give(start.batches[0], 2)
    [end] = runs._ends.values()
    assert (end.attempts, end.outcome) == (1, None)
    assert "nightshift up" in end.hint


def test_a_refused_batch_ends_with_its_own_words_and_one_that_crashed_is_given_again(start, monkeypatch):
    [batch] = start.batches
    refs = [CellRef(subject=c.subject, family=c.family, target=c.target) for c in start.plan.cells]
    told: dict[str, BatchOutcome] = {"one": refused(refs, FULL)}
    given: list[int] = []
    monkeypatch.setattr(fleet_batches, "outcome_of_run", told.get)
    monkeypatch.setattr(BatchRuns, "_give", lambda _self, _batch, attempt, _earlier=(): given.append(attempt))
    runs = runs_of(start)
    failed = {"state_type": "FAILED", "state": {"message": "Flow run encountered an exception: CapacityError"}}
    runs._settle(_Given(batch, 1, "one", state=failed))
    end = runs._ends[batch.name]
    assert (end.attempts, given) == (1, [])
    assert end.outcome is not None
    assert {(c.ending, c.reason, c.hint) for c in end.outcome.cells} == {("failed", FULL.what, FULL.hint)}
    runs._settle(_Given(batch, 1, "two", state={**failed, "state_type": "CRASHED"}))
    assert given == [2]
    of_a_service = _Given(batch, 1, "two", state=failed)
    runs._settle(of_a_service)
    assert given == [2]
    monkeypatch.setattr(fleet_batches, "AGAIN_S", 0)
    runs._settle(of_a_service)
    assert given == [2, 2]


def test_what_an_earlier_attempt_has_trained_is_not_failed_by_a_refusal(start, monkeypatch):
    [batch] = start.batches
    refs = [CellRef(subject=c.subject, family=c.family, target=c.target) for c in start.plan.cells]
    newest = refused(refs, FULL)
    first = BatchOutcome(cells=(newest.cells[0].model_copy(update={"ending": "trained"}),), processes=1)
    monkeypatch.setattr(fleet_batches, "outcome_of_run", {"two": newest, "one": first}.get)
    outcome = fleet_batches._told(_Given(batch, 2, "two", earlier=("one",)))
    assert outcome is not None
    assert [c.ending for c in outcome.cells] == ["trained", "failed"]
