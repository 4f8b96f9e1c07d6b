"""`nightshift plan`: what a person reads and what a script gets."""

from __future__ import annotations

import json

import pytest
from support.datasets import calendar_rows, describe

from nightshift.cli import main
from nightshift.data.importers.landing import split_and_land
from nightshift.files import write_atomic
from nightshift.plan.state import make_cell, remember
from nightshift.settings import Home
from tests.plan.trained import leave_record, leave_trained


def fleet_of_two(home: Home) -> None:
    """One cell of each state but `training`."""
    write_atomic(home.configs / "fleet.yaml", b"machines: [pump_1, pump_9]\ntags: {hall_1: [pump_1]}\n")
    split_and_land(home, calendar_rows(), describe("pump_1"))
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), 4)
    for family, status, error in (("rul", "failed", "out of memory"), ("forecast", "blocked", "D017 too few rows.")):
        cell = make_cell(home, "pump_1", family)
        remember(home, cell)
        leave_record(home, cell, "validate", status=status, error=error)


def test_the_table_is_grouped_by_state_and_ends_with_the_sums(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    fleet_of_two(home)
    assert main(["plan"]) == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert [block.splitlines()[0] for block in blocks[:-1]] == [
        "to train (1)",
        "failed last time, to train again (1)",
        "blocked (2)",
        "fresh (1)",
    ]
    lines = [" ".join(block.splitlines()[2].split()) for block in blocks[:-1]]
    assert lines[0] == "pump_1 classification pi pi-pool 5 min 00 s never trained"
    assert lines[1] == "pump_1 rul pi pi-pool 5 min 00 s validate failed: out of memory"
    assert lines[2] == "pump_1 forecast pi pi-pool D017 too few rows."
    assert lines[3].startswith("pump_1 anomaly pi pi-pool version 4, trained ")
    assert "pump_9" in blocks[2]
    assert "no data has landed" in blocks[2]
    assert blocks[-1] == (
        "5 cells: 1 stale, 1 failed, 2 blocked, 1 fresh. 2 to train, about 0.2 h one after the other."
    )


def test_a_script_gets_the_sums_and_every_cell(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    fleet_of_two(home)
    assert main(["plan", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["to_train"] == 2
    counts = {"stale": 1, "failed": 1, "training": 0, "blocked": 2, "awaiting device check": 0, "fresh": 1}
    assert told["by_state"] == counts
    assert told["made_at"].endswith("Z")
    assert told["estimated_h"] == pytest.approx(600 / 3600, abs=1e-3)
    first = told["cells"][0]
    assert (first["name"], first["state"], first["reasons"]) == (
        "pump_1.classification.pi",
        "stale",
        ["never trained"],
    )
    assert first["cell_key"] == make_cell(home, "pump_1", "classification").key


def test_filters_may_be_given_again_and_force_takes_what_is_fresh(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet_of_two(home)
    words = ["plan", "--tag", "hall_1", "--machine", "pump_1", "--family", "anomaly", "--family", "regression"]
    assert main([*words, "--target", "pi", "--force", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert {(c["family"], c["state"], c["forced"]) for c in cells} == {
        ("anomaly", "stale", "asked for (force)"),
        ("rul", "failed", "asked for (force)"),
    }


def test_of_a_large_fleet_a_page_of_what_is_fresh_is_shown(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    data = split_and_land(home, calendar_rows(), describe("pump_1"))
    for i in range(1, 25):
        write_atomic(home.data / "current" / f"pump_{i}", f"{data.fingerprint}\n".encode())
        leave_trained(home, make_cell(home, f"pump_{i}", "anomaly"))
    assert main(["plan", "--family", "anomaly"]) == 0
    shown = capsys.readouterr().out
    assert "fresh (24)" in shown
    assert "… and 4 more; --json lists all" in shown
    assert "24 cells: 24 fresh. Nothing to train." in shown


def test_an_empty_home_says_how_to_begin(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan"]) == 0
    assert "nightshift demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--machine", "pmp_9"], "unknown machine of the fleet 'pmp_9'. Did you mean 'pump_9'?"),
        (["--family", "anomly"], "Did you mean 'anomaly'?"),
        (["--target", "server"], "unknown target of the fleet 'server'."),
        (["--tag", "hall"], "Did you mean 'hall_1'?"),
        (["--forse"], "Did you mean '--force'?"),
    ],
)
def test_a_wrong_name_is_one_line_with_the_nearest(
    home: Home, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet_of_two(home)
    assert main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
