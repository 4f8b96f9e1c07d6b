"""Where runs stand, from records and progress files: every kind of run, however it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.machine import SUBJECT
from support.machines import SMALL, write_machine

from nightshift.dashboard import standing as reading
from nightshift.dashboard.jobs import JobBoard
from nightshift.dashboard.prefect_api import PrefectApi
from nightshift.dashboard.reading import Told
from nightshift.dashboard.runs import NO_BARS, Bar, JobStatus, Run, refs_of
from nightshift.dashboard.standing import Desk
from nightshift.dashboard.together import is_silent, of_batches, shows_as
from nightshift.plan.outcome import CellOutcome
from nightshift.plan.records import StageRecord, read_record, work_folder, write_record
from nightshift.plan.shown import events_in
from nightshift.plan.state import make_cell, remember
from nightshift.plan.synthesis import SynthesisOptions, plan_synthesis
from nightshift.plan.synthesis import remember as remember_synthesis
from nightshift.progress import FileSink, ProgressEvent
from nightshift.settings import Home

ID = "11111111-2222-4333-8444-555555555555"
NOW = datetime.now(UTC)


def a_run(flow: str = "train", state: str = "COMPLETED", **facts: Any) -> Run:
    given = {"subject": SUBJECT, "family": "anomaly", "target": "pi"}
    start = facts.pop("start", NOW - timedelta(hours=1))
    end = facts.pop("end", NOW + timedelta(hours=1) if state not in ("RUNNING", "PENDING", "CANCELLING") else None)
    return Run(ID, "a run", flow, state, parameters=facts.pop("parameters", given), start=start, end=end, **facts)


def standing(
    home: Home,
    run: Run,
    parts: Mapping[str, Run] | None = None,
    outcomes: Mapping[str, CellOutcome] | None = None,
    bars: Mapping[str, Bar] = NO_BARS,
) -> JobStatus:
    return Desk(home).standing(run, parts or {}, outcomes or {}, NOW, bars)


def bar(percent: float, *lines: str) -> Bar:
    """What a run on another machine shows in Prefect."""
    return Bar(percent, events_in("\n".join(lines), NOW.timestamp()))


def trained_at(home: Home) -> datetime:
    record = read_record(home, make_cell(home, SUBJECT, "anomaly").key, "load")
    assert record is not None
    return datetime.fromisoformat(record.started_at)


def test_a_run_that_trained_is_done_with_metrics_and_bundle(own: Home) -> None:
    found = standing(own, a_run(start=trained_at(own)))
    assert (found.status, found.progress, found.current_step) == ("completed", 100, "Done")
    assert found.model_path == f"models/anomaly/{SUBJECT}/pi/v1"
    assert found.metrics["pr_auc"] > 0
    assert found.cells[0].job_id == f"{ID}.{make_cell(own, SUBJECT, 'anomaly').key[:12]}"


def test_a_later_run_found_it_up_to_date(own: Home) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    found = standing(own, a_run(start=later, end=later + timedelta(minutes=1)))
    assert found.current_step == "Up to date: nothing had to be done"
    assert found.metrics


def test_what_runs_is_told_by_the_progress_of_its_own_time_alone(own: Home) -> None:
    run = a_run(state="RUNNING", start=datetime.now(UTC) + timedelta(seconds=5))
    assert standing(own, run).current_step == "Starting"
    params = {"subject": SUBJECT, "family": "forecast", "target": "pi", "options": {"seed": 11}}
    cell = make_cell(own, SUBJECT, "forecast", params={"seed": 11})
    sink, began = FileSink(work_folder(own, cell.key) / "progress.jsonl"), datetime.now(UTC).timestamp()
    sink(ProgressEvent(cell.key, "train", at=began - 3600, step=9, total=10))
    sink(ProgressEvent(cell.key, "train", at=began - 10))
    sink(ProgressEvent(cell.key, "train", at=began, step=5, total=10, message="member 5"))
    found = standing(own, a_run(state="RUNNING", parameters=params, start=NOW - timedelta(seconds=20)))
    assert (found.status, found.progress, found.current_step) == ("running", 38, "Training 5/10 member 5")
    assert found.remaining_s is not None
    assert 8 < found.remaining_s < 60
    stopping = standing(own, a_run(state="CANCELLING", parameters=params, start=NOW - timedelta(seconds=20)))
    assert (stopping.status, stopping.current_step) == ("running", "Stopping: what is done is kept")


def test_a_failure_is_told_by_the_record_with_its_hint(own: Home) -> None:
    params = {"subject": SUBJECT, "family": "rul", "target": "pi", "options": {"seed": 12}}
    cell = make_cell(own, SUBJECT, "rul", params={"seed": 12})
    remember(own, cell)
    write_record(
        own,
        StageRecord(
            stage="load",
            cell_key=cell.key,
            status="blocked",
            started_at=NOW.isoformat(),
            seconds=1,
            error=f"no labels at s3://me:secret@store/x, nor in {own.root}/data.",
            hint="Land some.",
        ),
    )
    run = a_run(state="FAILED", parameters=params, message="Flow run encountered an exception: BlockedError: other")
    board = JobBoard(own, PrefectApi("http://127.0.0.1:9/api"))
    found = board._read(run, Told(), NOW, NO_BARS, {})
    assert found.cells[0].error == found.error
    told = "no labels at s3://store/x, nor in $NIGHTSHIFT_HOME/data."
    assert (found.status, found.error, found.hint) == ("failed", told, "Land some.")
    earlier = a_run(
        state="FAILED",
        parameters=params,
        start=NOW - timedelta(hours=3),
        end=NOW - timedelta(hours=2),
        message=run.message,
    )
    assert standing(own, earlier).error == "other"


@pytest.mark.parametrize(
    ("state", "name", "status", "step"),
    [
        ("SCHEDULED", "Late", "pending", "Waiting for a worker"),
        ("PENDING", "Pending", "pending", "Starting"),
        ("CANCELLED", "Cancelled", "cancelled", "Stopped on request"),
        ("CRASHED", "Crashed", "failed", "Failed"),
    ],
)
def test_states_of_prefect_in_our_words(own: Home, state: str, name: str, status: str, step: str) -> None:
    params = {"subject": SUBJECT, "family": "rul", "options": {"seed": 13}}
    run = a_run(state=state, state_name=name, parameters=params, start=None, message="its worker was killed\nand more")
    found = standing(own, run)
    assert (found.status, found.current_step) == (status, step)
    assert found.error == ("its worker was killed" if status == "failed" else "")


def batch(*families: str, state: str = "RUNNING", **facts: Any) -> Run:
    cells = [{"subject": SUBJECT, "family": family, "target": "pi"} for family in families]
    return a_run("train-batch", state, parameters={"cells": cells, "options": {}}, **facts)


def test_a_batch_is_as_far_as_its_cells_together(own: Home) -> None:
    run = batch("anomaly", "timeseries")
    parts = {f"{SUBJECT}.anomaly.pi": a_run(state="COMPLETED"), f"{SUBJECT}.timeseries.pi": a_run(state="PENDING")}
    found = standing(own, run, parts)
    assert [(c.status, c.progress) for c in found.cells] == [("completed", 100), ("pending", 0)]
    assert (found.status, found.progress, found.current_step) == ("running", 50, "1 of 2 done")
    assert found.machine == SUBJECT


def test_what_is_at_work_on_another_machine_is_told_by_its_bar(own: Home) -> None:
    """Nothing of it lies here."""
    train = a_run(state="RUNNING", parameters={"subject": SUBJECT, "family": "rul", "options": {"seed": 14}})
    assert is_silent(train, silent := standing(own, train))
    assert (silent.progress, silent.current_step) == (0, "Starting")
    found = standing(own, train, bars={ID: bar(99, f"{SUBJECT}.rul.pi: train 5/10 member 5")})
    assert (found.status, found.progress, found.current_step) == ("running", 38, "Training 5/10 member 5")
    assert not is_silent(train, found)

    run = batch("anomaly", "rul", "forecast", "classification", start=datetime.now(UTC) + timedelta(seconds=5))
    parts = {f"{SUBJECT}.{name}.pi": a_run(state="RUNNING") for name in ("rul", "forecast", "classification")}
    parts[f"{SUBJECT}.anomaly.pi"] = a_run(state="COMPLETED")
    assert is_silent(run, standing(own, run, parts))
    bars = {ID: bar(41, f"- {SUBJECT}.rul.pi: train 5/10", f"- {SUBJECT}.forecast.pi: evaluate 1/2 origin 3")}
    found = standing(own, run, parts, bars=bars)
    assert {c.family: (c.status, c.progress) for c in found.cells} == {
        **{"anomaly": ("completed", 100), "rul": ("running", 38), "forecast": ("running", 76)},
        "classification": ("pending", 0),
    }
    assert (found.progress, found.current_step) == (
        53.5,
        "1 of 4 done; rul: Training 5/10; forecast: Evaluating 1/2 origin 3",
    )


def test_what_lies_here_counts_and_no_bar(own: Home) -> None:
    cell = make_cell(own, SUBJECT, "rul", params={"seed": 15})
    FileSink(work_folder(own, cell.key) / "progress.jsonl")(ProgressEvent(cell.key, "train", 1, 2))
    run = a_run(state="RUNNING", parameters={"subject": SUBJECT, "family": "rul", "options": {"seed": 15}})
    found = standing(own, run, bars={ID: bar(1, f"{SUBJECT}.rul.pi: load")})
    assert (found.current_step, is_silent(run, found)) == ("Training 1/2", False)


def test_models_of_one_machine_show_each_their_own_bar(own: Home) -> None:
    asked = {"subject": SUBJECT, "families": ["rul", "forecast"]}
    run = a_run("train-machine", "RUNNING", parameters=asked)
    parts = {f"{SUBJECT}.rul.pi": replace(a_run(state="RUNNING"), id="inner")}
    assert shows_as(run, parts) == ["inner"]
    found = standing(own, run, parts, bars={"inner": bar(38, f"{SUBJECT}.rul.pi: train 5/10")})
    assert [(c.status, c.progress) for c in found.cells] == [("running", 38), ("running", 0)]


def test_a_flow_without_cells_is_told_by_its_bar_with_its_step(own: Home) -> None:
    run = a_run("train-estimator", "RUNNING", parameters={"file": "x.csv"})
    assert is_silent(run, standing(own, run))
    found = standing(own, run, bars={ID: bar(30, "shop.table: table 3/10 fold 3")})
    assert (found.progress, found.current_step) == (30, "Training 3/10 fold 3")


def test_a_run_of_the_fleet_is_as_far_as_the_cells_of_its_batches(own: Home) -> None:
    """Batches are given as they stand in the plan; one has ended, of one nobody knows more than Prefect."""
    fleet = replace(a_run("train-fleet", "RUNNING", parameters={}), name="curious-otter")
    nothing = of_batches(fleet, [], {}, NOW)
    assert (nothing.progress, nothing.current_step, is_silent(fleet, nothing)) == (0, "Running", False)
    given = [
        replace(batch("anomaly", state=state), id=str(n), name=f"pi-pool {n} of 4")
        for n, state in enumerate(("COMPLETED", "RUNNING", "RUNNING", "PENDING"), 1)
    ]
    given[1].parameters["cells"] *= 5
    known = {
        "2": standing(own, given[1]).model_copy(
            update={"progress": 40.0, "current_step": "2 of 5 done", "remaining_s": 60}
        )
    }
    found = of_batches(fleet, given, known, NOW)
    assert found.remaining_s is None, "one has not begun"
    assert of_batches(fleet, given[:2], known, NOW).remaining_s == 60
    assert (found.progress, found.current_step) == (37.5, "1 of 4 batches")
    assert [(c.job_id, c.name, c.status, c.progress, c.current_step) for c in found.cells] == [
        ("1", "pi-pool 1 of 4", "completed", 100, "Done"),
        ("2", "pi-pool 2 of 4", "running", 40, "2 of 5 done"),
        ("3", "pi-pool 3 of 4", "running", 0, "Running"),
        ("4", "pi-pool 4 of 4", "pending", 0, "Starting"),
    ]
    ended = of_batches(replace(fleet, state="COMPLETED"), given, known, NOW)
    assert (ended.progress, ended.current_step, ended.name) == (100, "Done", "fleet")


def test_of_a_batch_what_has_ended_is_read_once(own: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        reading, "read_record", lambda home, key, stage: read.append(stage) or read_record(home, key, stage)
    )
    desk, run = Desk(own), batch("anomaly")
    parts = {f"{SUBJECT}.anomaly.pi": a_run(state="COMPLETED", start=trained_at(own))}
    first = desk.standing(run, parts, {}, NOW)
    once = len(read)
    assert (once > 0, first.cells[0].metrics["pr_auc"] > 0) == (True, True)
    assert desk.standing(run, parts, {}, NOW).cells == first.cells
    assert len(read) == once
    desk.standing(batch("anomaly", state="COMPLETED"), parts, {}, NOW)
    assert len(read) > once


def test_what_a_batch_told_of_its_cells_counts(own: Home) -> None:
    name = {family: f"{SUBJECT}.{family}.pi" for family in ("anomaly", "rul", "forecast")}
    facts = {"subject": SUBJECT, "target": "pi"}
    outcomes = {
        name["anomaly"]: CellOutcome(**facts, family="anomaly", ending="up to date", reason="unchanged"),
        name["rul"]: CellOutcome(**facts, family="rul", ending="failed", reason="s3://me:key@store/x.", hint="Less."),
        name["forecast"]: CellOutcome(**facts, family="forecast", ending="failed", reason="stopped"),
    }
    parts = {name["forecast"]: a_run(state="CANCELLED")}
    run = batch("anomaly", "rul", "forecast", state="FAILED", message="BatchFailedError: 2 of 3")
    found = standing(own, run, parts, outcomes)
    assert [c.status for c in found.cells] == ["completed", "failed", "cancelled"]
    assert found.cells[0].current_step == "Up to date: unchanged"
    assert (found.cells[1].error, found.cells[1].hint) == ("s3://store/x.", "Less.")
    assert (found.status, found.error) == ("failed", "2 of 3")


def test_parameters_that_make_no_sense_break_nothing(own: Home) -> None:
    for parameters in ({}, {"cells": 3}, {"cells": [{"x": 1}]}, {"subject": 3, "family": None}, {"options": "x"}):
        for flow in ("train", "train-machine", "train-batch", "synthesize-machine", "train-fleet", ""):
            run = a_run(flow, "RUNNING", parameters=parameters)
            assert standing(own, run).status == "running"
            assert isinstance(refs_of(run), tuple)


def test_a_machine_of_which_nothing_has_landed_is_told_of_all_the_same(own: Home) -> None:
    run = a_run(state="FAILED", parameters={"subject": "gone", "family": "anomaly"}, message="UnknownNameError: gone")
    found = standing(own, run)
    assert (found.name, found.cells[0].job_id, found.error) == ("gone.anomaly.pi", "", "gone")


def test_a_synthesis_is_found_again_after_its_profile_was_edited(tmp_path: Path) -> None:
    home = Home(tmp_path)
    job = plan_synthesis(home, write_machine(home), 5_000, 7, SynthesisOptions())
    remember_synthesis(home, job)
    FileSink(work_folder(home, job.key) / "progress.jsonl")(ProgressEvent(job.key, "physics", step=5, total=10))
    run = a_run("synthesize-machine", "RUNNING", parameters={"machine_id": SMALL, "rows": 5_000})
    before = standing(home, run)
    assert before.current_step.startswith("Simulating")
    write_machine(home, life={"mean_h": 120})
    after = standing(home, run)
    assert (after.current_step, after.cells[0].job_id) == (before.current_step, f"{ID}.{job.key[:12]}")
    earlier = a_run(
        "synthesize-machine", start=NOW - timedelta(hours=3), end=NOW - timedelta(hours=2), parameters=run.parameters
    )
    assert standing(home, earlier).cells[0].job_id != after.cells[0].job_id
