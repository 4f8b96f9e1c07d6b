"""`nightshift prune`: what a person reads before and after, and what a script gets."""

from __future__ import annotations

import json
import os
import time

import pytest
from support.datasets import calendar_rows, describe

from nightshift.cli import main
from nightshift.data.importers.landing import split_and_land
from nightshift.data.store import versions
from nightshift.errors import EXIT_OK, EXIT_USAGE
from nightshift.files import write_atomic
from nightshift.settings import Home

NO_SERVER = "Prefect's old runs are left: no server is up (`nightshift up` starts it)"


@pytest.fixture
def landed(home: Home) -> tuple[str, ...]:
    """Three versions of a machine's data, of which fleet.yaml keeps two, and a result that Prefect has forgotten."""
    write_atomic(home.configs / "fleet.yaml", b"retention: {data_versions: 2}\n")
    for seed in range(3):
        split_and_land(home, calendar_rows(seed=seed), describe("pump_1"))
    write_atomic(home.prefect / "storage" / "0123", b"x" * 100)
    then = time.time() - 61 * 86_400
    os.utime(home.prefect / "storage" / "0123", (then, then))
    return versions(home, "pump_1")


def test_a_person_is_told_what_would_go_what_went_and_that_nothing_is_left(
    home: Home, landed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", "--dry-run"]) == EXIT_OK
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("data versions: 1 would go, ")
    assert told[1].startswith(f"  pump_1 {landed[0]}: ")
    assert told[1].endswith("older than the last 2, and no kept model was made from it")
    assert told[-2] == NO_SERVER
    assert told[-1].endswith(" would be freed.")
    assert versions(home, "pump_1") == landed
    assert main(["prune"]) == EXIT_OK
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == ["looking ...", "removing files ...", "clearing DVC and the registry ..."]
    assert "results: 1 removed, 4.1 kB" in told
    assert told[-1].endswith(" freed.")
    assert versions(home, "pump_1") == landed[1:]
    assert main(["prune"]) == EXIT_OK
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing to remove."
    assert not home.mlflow_db.exists()


def test_a_script_gets_each_thing_with_its_bytes(
    home: Home, landed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", "--dry-run", "--json"]) == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"] is True
    assert [(one["kind"], one["name"]) for one in told["removed"]] == [
        ("data", f"pump_1 {landed[0]}"),
        ("result", "1 results of Prefect runs"),
    ]
    assert told["bytes"] == sum(one["bytes"] for one in told["removed"]) > 0
    assert told["remarks"] == [NO_SERVER]


@pytest.mark.parametrize("number", ["0", "-1", "some"])
def test_keeping_none_is_refused(home: Home, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", f"--keep={number}"]) == EXIT_USAGE
    assert "expected a whole number from 1" in capsys.readouterr().err
