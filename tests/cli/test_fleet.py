"""`nightshift train-fleet` and `resume` up to the server; the rest stands in `tests/flows/test_fleet_flow.py`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.datasets import calendar_rows, describe

from nightshift.cli import main
from nightshift.cli.fleet import print_outcome
from nightshift.cli.running import ours
from nightshift.data.importers.landing import split_and_land
from nightshift.files import write_atomic
from nightshift.plan.fleet import Filters, make_plan
from nightshift.plan.fleet_config import load_fleet
from nightshift.plan.fleet_run import FleetCell, FleetOptions, FleetOutcome, FleetStart, keep_start
from nightshift.plan.options import TrainOptions
from nightshift.plan.outcome import CellOutcome
from nightshift.plan.state import make_cell
from nightshift.settings import Home
from tests.plan.trained import leave_trained


@pytest.fixture
def fleet(home: Home) -> Home:
    """A machine with two families."""
    write_atomic(home.configs / "fleet.yaml", b"families: [anomaly, rul]\n")
    split_and_land(home, calendar_rows(), describe("pump_1"))
    return home


def test_a_dry_run_is_the_plan_and_starts_nothing(fleet: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-fleet", "--dry-run", "--family", "rul"]) == 0
    shown = capsys.readouterr().out
    assert main(["plan", "--family", "rul"]) == 0
    assert capsys.readouterr().out == shown
    assert "pump_1" in shown
    assert not (fleet.run / "server.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "capp=90"], "unknown setting 'capp' for anomaly, rul. Did you mean 'cap'?"),
        (["--n-trees", "0"], "pump_1.anomaly.pi: anomaly config (from parameter): 'n_trees'"),
        (["--config", "none.yaml"], "there is no file none.yaml."),
        (["--processes", "0"], "--processes is 0, expected 1 or more."),
        (["--machine", "pump_2"], "unknown machine of the fleet 'pump_2'. Did you mean 'pump_1'?"),
        (["--only", "new"], "invalid choice: 'new'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_before_anything_starts(
    fleet: Home, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["train-fleet", *words]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1


def test_what_is_up_to_date_needs_no_server(fleet: Home, capsys: pytest.CaptureFixture[str]) -> None:
    from nightshift.tracking.unversioned import outstanding

    for family in ("anomaly", "rul"):
        leave_trained(fleet, make_cell(fleet, "pump_1", family))
    for wanted in outstanding(fleet, "pump_1"):
        write_atomic(fleet.dvc / wanted.kind / f"{wanted.fingerprint}.dvc", b"outs: []\n")
    assert main(["train-fleet"]) == 0
    assert "2 cells: 2 fresh. Nothing to train." in capsys.readouterr().out
    assert main(["resume"]) == 0
    assert "Nothing failed or was cut off." in capsys.readouterr().out
    assert main(["train-fleet", "--only", "landed"]) == 0
    assert "Every machine was trained on its present data." in capsys.readouterr().out


def test_resume_trains_as_the_last_run_was_asked_to(fleet: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for family in ("anomaly", "rul"):
        leave_trained(fleet, make_cell(fleet, "pump_1", family))
    asked, options = Filters(families=("rul",), force=True), FleetOptions(train=TrainOptions(settings={"cap": 90}))
    plan = make_plan(fleet, load_fleet(fleet), asked, options.train)
    keep_start(fleet, FleetStart(run_id="r", started_at=plan.made_at, filters=asked, options=options, plan=plan))
    assert main(["resume", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "config change (cap)" in shown
    assert "1 cells: 1 stale." in shown
    assert "different settings" not in shown
    assert main(["resume", "--dry-run", "--cap", "80", "--machine", "pump_1"]) == 0
    assert "1 cells: 1 stale." in capsys.readouterr().out


def test_resume_after_runs_with_different_settings_takes_those_of_the_most_cells_left(
    fleet: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    split_and_land(fleet, calendar_rows(), describe("pump_2"))
    for subject in ("pump_1", "pump_2"):
        leave_trained(fleet, make_cell(fleet, subject, "rul"))
    night, later = FleetOptions(train=TrainOptions(settings={"cap": 90})), FleetOptions(processes=1)
    for run_id, options, asked in (("night", night, Filters()), ("later", later, Filters(machines=("pump_1",)))):
        plan = make_plan(fleet, load_fleet(fleet), asked, options.train)
        keep_start(fleet, FleetStart(run_id=run_id, started_at=plan.made_at, filters=asked, options=options, plan=plan))
    assert main(["resume", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "those of the most, 3 of 4 cells, serve for all" in shown
    assert shown.count("config change (cap)") == 2
    assert "4 cells: 4 stale." in shown


def test_runs_of_the_command_bear_the_tag_that_the_automations_look_for() -> None:
    from prefect.context import TagsContext

    with ours():
        assert TagsContext.get().current_tags == {"nightshift"}


def test_the_end_counts_the_cells_and_names_each_cause_once(fleet: Home, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(fleet, load_fleet(fleet))
    cells = []
    for number in range(5):
        ending = "failed" if number < 4 else "trained"
        told = {"subject": f"pump_{number}", "family": "rul", "target": "pi", "ending": ending}
        told |= {"reason": "no memory.", "hint": "Raise it."} if ending == "failed" else {}
        cells.append(FleetCell(planned=plan.cells[0], outcome=CellOutcome.model_validate(told)))
    now = datetime.now(UTC)
    outcome = FleetOutcome(
        run_id="r",
        started_at=now,
        ended_at=now + timedelta(seconds=90),
        filters=Filters(),
        cells=tuple(cells),
        remarks=("gpu-pool 1 of 1 ended without its outcome.",),
    )
    print_outcome(fleet, outcome)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "4 failed, 1 trained, in 1 min 30 s",
        "  failed  pump_0.rul.pi, pump_1.rul.pi, pump_2.rul.pi and 1 more: no memory. Raise it.",
        "  gpu-pool 1 of 1 ended without its outcome.",
    ]
    assert outcome.exit_code == 1
