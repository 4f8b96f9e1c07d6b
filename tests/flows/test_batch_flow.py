"""The flow `train-batch` on real, small data and a real server: a task to each cell, a matrix, and a stop."""

from __future__ import annotations

import re
from typing import Any

import pytest

from nightshift.plan.batch import BatchOutcome
from nightshift.plan.records import read_record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NO_ROOM = r"a model may need 1\S* MB of disk; [\d,]+ MB are free"


@pytest.fixture(scope="module")
def runs(served) -> dict[str, dict[str, Any]]:
    return dict(zip(("first", "again", "no room", "for a run", "once more"), served.run("batch"), strict=True))


def told(served, run: dict[str, Any]) -> BatchOutcome | None:
    """The batch's outcome as another run reads it."""
    from tasks.batch import outcome_of_run

    with served.inside():
        return outcome_of_run(run["id"])


def endings(run: dict[str, Any]) -> list[str]:
    return [cell["ending"] for cell in run["outcome"]["cells"]]


def test_every_cell_is_a_task_and_its_ending_is_returned(served, runs):
    first = runs["first"]
    assert (first["state"], endings(first)) == ("Completed", ["trained", "not applicable", "trained"])
    tasks = dict(served.task_runs(first["id"]))
    names = ("pump_one.anomaly.pi", "pump_one.forecast.pi", "pump_two.anomaly.pi")
    assert {name: tasks[name] for name in names} == dict.fromkeys(names, "Completed")
    assert tasks["version"] == "Completed"
    for subject in ("pump_one", "pump_two"):
        assert (served.home.models / "anomaly" / subject / "pi" / "v1" / "model.onnx").is_file()


def test_the_matrix_is_shown(served, runs):
    shown = served.artifacts(runs["first"]["id"])["batch-matrix"]["data"]
    assert "| machine | anomaly (pi) | forecast (pi) |" in shown
    assert "| pump_one | **trained**" in shown
    assert "no clock time" in shown


def test_a_batch_leaves_one_bar_that_is_full_and_names_no_cell_any_more(served, runs):
    shown = served.artifacts(runs["first"]["id"])["batch-progress"]
    assert (shown["type"], float(shown["data"])) == ("progress", 100.0)
    assert shown["description"] == "batch"


def test_a_second_run_trains_nothing_again_and_a_bad_cell_fails_it_after_all_were_tried(served, runs):
    again = runs["again"]
    assert (again["state"], again["error"], again["exit_code"]) == ("Failed", "BatchFailedError", 1)
    assert endings(again) == ["up to date", "failed", "up to date"]
    assert dict(served.task_runs(again["id"]))["pump_one.forecast.pi"] == "Failed"
    assert "forecast_h" in again["message"]
    assert "Traceback" not in served.log(again["id"])


def test_a_batch_without_room_is_refused_with_the_figures_before_anything_starts(served, runs):
    refused = runs["no room"]
    assert (refused["state"], refused["error"]) == ("Failed", "CapacityError")
    assert re.search(NO_ROOM, refused["message"])
    assert served.task_runs(refused["id"]) == []


def test_another_run_reads_how_the_cells_ended_of_a_failed_batch_too(served, runs):
    for name in ("first", "again"):
        outcome = told(served, runs[name])
        assert outcome is not None
        assert outcome.model_dump() == BatchOutcome.model_validate(runs[name]["outcome"]).model_dump()


def test_of_a_refused_batch_another_run_reads_the_refusal_with_its_figures_for_every_cell(served, runs):
    refused = told(served, runs["no room"])
    assert refused is not None
    assert {(c.ending, c.reason in runs["no room"]["message"]) for c in refused.cells} == {("failed", True)}
    assert re.search(NO_ROOM, refused.cells[0].reason)
    assert "disk_mb_per_model" in refused.cells[0].hint
    assert refused.processes == 0


def test_a_batch_for_another_run_versions_nothing_and_forces_a_cell_once_in_all_its_tries(served, runs):
    assert (endings(runs["for a run"]), endings(runs["once more"])) == (["trained"], ["up to date"])
    assert "version" not in dict(served.task_runs(runs["for a run"]["id"]))


def test_cells_take_turns_at_a_gpu_and_a_limit_that_is_missing_is_named_with_what_mends_it(served):
    (told,) = served.run("gpu")
    assert told["ended"][:3] == ["held"] * 3
    assert told["most"] == 1
    assert told["ended"][3].startswith("InterruptedTraining: It was stopped while it waited for a GPU")
    assert "no concurrency limit 'gpu:none'" in told["missing"]
    assert "configs/pools.yaml" in told["missing"]
    assert "nightshift deploy" in told["missing"]
    assert "'gpu:off' has no slots" in told["empty"]
    assert told["outside"] is None


def test_sigterm_stops_the_cells_and_ends_as_cancelled(served):
    run, work = served.stopped("stop-batch", "slow_batch_pump", '"stage":"train"')
    assert run["state"] == "Cancelled"
    assert read_record(served.home, work.name, "validate") is not None
    assert read_record(served.home, work.name, "train") is None
    partial = told(served, run)
    assert partial is not None
    assert partial.cells == ()
    assert dict(served.task_runs(run["id"])) == {"slow_batch_pump.anomaly.pi": "Cancelled"}
