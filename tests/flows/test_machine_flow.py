"""The flow `train-machine`: every cell is tried, and the whole tells what became of each."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def runs(served) -> dict[str, dict[str, Any]]:
    return dict(zip(("good", "wrong"), served.run("machine"), strict=True))


def endings(run: dict[str, Any]) -> dict[str, str]:
    return {cell["family"]: cell["ending"] for cell in run["outcome"]["cells"]}


def test_a_family_that_cannot_apply_does_not_stop_the_others(runs):
    good = runs["good"]
    assert endings(good) == {"forecast": "not applicable", "anomaly": "trained"}
    assert (good["state"], good["exit_code"]) == ("Completed", 0)


def test_a_cell_that_fails_does_not_stop_the_others_and_the_run_ends_failed(runs):
    wrong = runs["wrong"]
    assert endings(wrong) == {"forecast": "failed", "anomaly": "up to date"}
    assert (wrong["state"], wrong["error"], wrong["exit_code"]) == ("Failed", "CellsFailedError", 1)
    assert "forecast_h" in wrong["message"]


def test_the_matrix_is_an_artifact_of_the_run(served, runs):
    matrix = served.artifacts(runs["wrong"]["id"])["pump-machine-pi-matrix"]["data"]
    assert "| forecast | pi | **failed** |" in matrix
    assert "| anomaly | pi | **up to date** |" in matrix


def test_each_cell_is_a_run_of_its_own_and_data_is_versioned_once(served, runs):
    parent = runs["good"]["id"]
    names = [name for name, _ in served.task_runs(parent)]
    assert names.count("version") == 1
    children = served.ask("flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [parent]}})
    assert {c["name"] for c in children} == {"pump_machine.forecast.pi", "pump_machine.anomaly.pi"}
    assert all("version" not in dict(served.task_runs(c["id"])) for c in children)
