"""`nightshift report --fleet`: the newest run's morning report, written again."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.cli import main
from nightshift.files import write_atomic
from nightshift.plan.fleet_run import keep_outcome
from nightshift.settings import Home
from tests.tracking.nights import a_night, failed, fresh


def test_the_newest_run_s_report_is_written_again_and_named(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write_atomic(home.configs / "fleet.yaml", b"timezone: Europe/Berlin\n")
    for outcome in (a_night(fresh("pump_7"), run_id="one"), a_night(failed("pump_8"), run_id="two")):
        keep_outcome(home, outcome)
    assert main(["report", "--fleet"]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == home.reports / "fleet" / "2026-11-21.html"
    assert "nightshift resume --machine pump_8" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["report", "--fleet"], 3, "No run of the fleet has ended yet. `nightshift train-fleet` starts one."),
        (["report"], 2, "expected a machine's id or --fleet, one of them."),
        (["report", "pump_7", "--fleet"], 2, "expected a machine's id or --fleet, one of them."),
    ],
)
def test_a_report_of_nothing_or_of_two_things_is_refused(
    home: Home, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(words) == code
    assert said in capsys.readouterr().err
