"""The flow `synthesize-machine` on a real, small machine and a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.machines import SMALL, SMALL_ROWS

from nightshift.data.store import current, subjects
from nightshift.plan.records import read_record
from nightshift.plan.synthesis import STAGES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def runs(served) -> dict[str, dict[str, Any]]:
    return dict(zip(("first", "again", "refused", "few", "unknown"), served.run("synthesize"), strict=True))


def test_a_first_run_goes_through_every_stage_and_lands(served, runs):
    first = runs["first"]
    assert (first["state"], first["outcome"]["ending"], first["exit_code"]) == ("Completed", "landed", 0)
    assert [s for s in served.task_runs(first["id"]) if s[0] != "version"] == [(name, "Completed") for name in STAGES]
    assert first["outcome"]["rows"] == SMALL_ROWS
    assert (served.home.data / "synthetic" / SMALL / "train.parquet").is_file()


def test_what_lands_is_versioned(served, runs):
    assert dict(served.task_runs(runs["first"]["id"]))["version"] == "Completed"
    assert (served.home.dvc / "datasets" / f"{runs['first']['outcome']['dataset']}.dvc").is_file()


def test_a_second_run_makes_nothing_and_says_so(served, runs):
    again = runs["again"]
    assert again["outcome"]["ending"] == "up to date"
    states = dict(served.task_runs(again["id"]))
    assert {name: states[name] for name in STAGES} == dict.fromkeys(STAGES, "Cached")


def test_refused_data_block_the_run_and_leave_the_last_landed_in_place(served, runs):
    refused = runs["refused"]
    assert (refused["state"], refused["error"], refused["exit_code"]) == ("Failed", "BlockedError", 3)
    assert "column shapes is 0." in refused["message"]
    assert "synthesis_refused.html" in refused["message"]
    assert "land" not in dict(served.task_runs(refused["id"]))
    assert current(served.home, SMALL) == runs["first"]["outcome"]["dataset"]


def test_too_few_rows_and_an_unknown_machine_fail_in_one_line(served, runs):
    for name, said in (("few", "needs at least 3,300"), ("unknown", SMALL)):
        assert (runs[name]["state"], runs[name]["exit_code"]) == ("Failed", 2)
        assert said in runs[name]["message"]
        assert "Traceback" not in served.log(runs[name]["id"])


def test_the_ui_shows_the_quality_even_of_refused_data_and_a_finished_bar(served, runs):
    for name, verdict in (("first", "passed"), ("refused", "REFUSED")):
        shown = served.artifacts(runs[name]["id"])
        assert verdict in shown["motor-small-synthesis-quality"]["data"]
        table = json.loads(shown["motor-small-synthesis-quality-table"]["data"])
        assert {"column shapes", "physics violations", "gate"} <= {row["figure"] for row in table}
    assert served.artifacts(runs["first"]["id"])["motor-small-synthesis-progress"]["data"] == 100


def test_the_demo_is_one_run_from_profile_to_model(served):
    good, refused = served.run("demo")
    assert (good["state"], good["exit_code"]) == ("Completed", 0)
    assert [(c["family"], c["ending"]) for c in good["outcome"]["cells"]] == [("anomaly", "trained")]
    children = served.ask("flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [good["id"]]}})
    assert {c["name"] for c in children} == {"motor_demo.synthesis", "motor_demo.pi"}
    assert [name for name, _ in served.task_runs(good["id"])].count("version") == 1
    assert not list((served.home.machinery / "outbox").glob("motor_demo*"))
    assert (refused["error"], refused["exit_code"]) == ("BlockedError", 3)
    assert len(served.ask("flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [refused["id"]]}})) == 1


def test_sigterm_while_the_tvae_learns_keeps_its_checkpoint_and_lands_nothing(served):
    run, work = served.stopped("stop-synthesis", "motor_stopped", "tvae")
    assert run["state"] == "Cancelled"
    assert read_record(served.home, work.name, "physics") is not None
    assert read_record(served.home, work.name, "generate") is None
    assert [p for p in (work / "checkpoints").rglob("*") if p.is_file()]
    assert "motor_stopped" not in subjects(served.home)
