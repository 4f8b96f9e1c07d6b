"""The flow `train` on real, small data and a real server: done once, kept, checked, done again when it must be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nightshift.plan.records import STAGES, read_record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CHAIN = [*STAGES, "version"]


@pytest.fixture(scope="module")
def runs(served) -> dict[str, dict[str, Any]]:
    ended = served.run("train")
    return dict(
        zip(("first", "again", "altered", "forced", "forecast", "unknown", "resumed", "other"), ended, strict=True)
    )


def states(served, run: dict[str, Any]) -> dict[str, str]:
    return dict(served.task_runs(run["id"]))


def test_a_first_run_goes_through_every_stage_in_order(served, runs):
    first = runs["first"]
    assert (first["state"], first["outcome"]["ending"], first["exit_code"]) == ("Completed", "trained", 0)
    assert served.task_runs(first["id"]) == [(name, "Completed") for name in CHAIN]
    assert first["outcome"]["version"] == 1
    assert (served.home.models / "anomaly" / "pump_train" / "pi" / "v1" / "model.onnx").is_file()


def test_a_second_run_does_no_training_and_says_so(served, runs):
    again = runs["again"]
    assert again["outcome"]["ending"] == "up to date"
    assert "no training was done" in again["outcome"]["reason"]
    assert states(served, again) == dict.fromkeys(STAGES, "Cached") | {"version": "Completed"}
    assert "train is up to date, nothing to do" in served.log(again["id"])


def test_a_cached_result_whose_record_is_altered_does_not_count(served, runs):
    """`evaluation.json` was overwritten: the model is kept, what follows from it is made again."""
    ended = states(served, runs["altered"])
    assert {name: ended[name] for name in ("load", "validate", "train")} == dict.fromkeys(
        ("load", "validate", "train"), "Cached"
    )
    assert ended["evaluate"] == "Completed"
    assert runs["altered"]["outcome"]["ending"] == "up to date"


def test_force_trains_again_and_is_recorded_as_the_reason(served, runs):
    forced = runs["forced"]
    assert forced["outcome"]["ending"] == "trained"
    assert states(served, forced) == dict.fromkeys(CHAIN, "Completed")
    cell = json.loads((served.home.work / forced["outcome"]["cell_key"] / "cell.json").read_text())
    assert "force" in cell["forced"]


def test_a_family_that_cannot_apply_is_no_failure(served, runs):
    forecast = runs["forecast"]
    assert (forecast["state"], forecast["exit_code"]) == ("Completed", 0)
    assert forecast["outcome"]["ending"] == "not applicable"
    assert "no clock time" in forecast["outcome"]["reason"]


def test_an_unknown_machine_fails_with_the_nearest_name_and_no_traceback(served, runs):
    unknown = runs["unknown"]
    assert (unknown["state"], unknown["error"], unknown["exit_code"]) == ("Failed", "UnknownNameError", 2)
    assert "pump_train" in unknown["message"]
    assert "Traceback" not in served.log(unknown["id"])


def test_a_run_goes_on_by_its_key_with_its_own_data_though_others_have_landed(served, runs):
    resumed = runs["resumed"]
    assert resumed["outcome"]["ending"] == "up to date"
    assert resumed["outcome"]["cell_key"] == runs["first"]["outcome"]["cell_key"]
    assert states(served, resumed) == dict.fromkeys(STAGES, "Cached") | {"version": "Completed"}


def test_a_run_that_was_begun_otherwise_is_refused_with_the_difference(runs):
    other = runs["other"]
    assert (other["state"], other["error"], other["exit_code"]) == ("Failed", "OtherRunError", 2)
    assert "n_trees is 10 there and 12 here" in other["message"]


def test_the_ui_shows_the_metrics_the_outcome_and_a_finished_progress_bar(served, runs):
    shown = served.artifacts(runs["first"]["id"])
    table = json.loads(shown["pump-train-anomaly-pi-metrics"]["data"])
    assert {row["kind"] for row in table} >= {"model", "baseline"}
    assert {"train", "val", "test"} <= {row["part"] for row in table}
    assert shown["pump-train-anomaly-pi-progress"]["data"] == 100
    assert "**trained**" in shown["pump-train-anomaly-pi-outcome"]["data"]


def test_the_findings_are_shown_with_what_to_do(served, runs):
    shown = served.artifacts(runs["first"]["id"])
    tables = [json.loads(a["data"]) for key, a in shown.items() if key.endswith("-findings")]
    rows = [row for table in tables for row in table]
    assert rows
    assert all(row["code"] and row["what"] and row["what to do"] and row["mute"] for row in rows)


def test_what_prefect_keeps_is_json_and_never_a_pickle(served, runs):
    kept = [p for p in (served.home.prefect / "storage").rglob("*") if p.is_file()]
    assert len(kept) >= len(STAGES)
    for path in kept:
        record = json.loads(path.read_bytes())
        # A task's result stands beside what is told of it; a flow's stands alone, and may be a number.
        told = record.get("metadata", {}) if isinstance(record, dict) else {}
        assert told.get("serializer", {"type": "json"})["type"] == "json", path.name
    for name in STAGES:
        assert any(f"-{name}-" in p.name for p in kept), f"no result of {name}"


def test_nothing_is_written_outside_of_the_home(served, runs):
    # Other files' scenarios share this home: some write its configs, and a table's model is kept among experiments.
    written = {p.name for p in served.home.root.iterdir()} - {"configs", "experiments"}
    assert written == {".nightshift", "data", "models", "reports"}


def test_sigterm_keeps_what_is_done_and_ends_as_cancelled(served):
    run, work = served.stopped("stop", "slow_pump", '"stage":"train"')
    assert run["state"] == "Cancelled"
    assert read_record(served.home, work.name, "validate") is not None
    assert read_record(served.home, work.name, "evaluate") is None
    assert "evaluate" not in dict(served.task_runs(run["id"]))
