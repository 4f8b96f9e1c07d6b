"""The part of a plan that a run is about: what has landed, what the last run left."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.datasets import calendar_rows, describe

from nightshift.data.importers.landing import split_and_land
from nightshift.errors import ConfigError
from nightshift.files import write_atomic
from nightshift.plan.fanout import fan_out, to_run
from nightshift.plan.fleet import Filters, FleetPlan, make_plan
from nightshift.plan.fleet_config import FleetConfig
from nightshift.plan.fleet_run import (
    FleetCell,
    FleetOptions,
    FleetOutcome,
    FleetStart,
    keep_outcome,
    keep_start,
    newest_start,
    note_going_on,
    read_start,
    run_folder,
)
from nightshift.plan.only import left_over
from nightshift.plan.options import TrainOptions
from nightshift.plan.outcome import CellOutcome
from nightshift.plan.state import make_cell, remember, state
from nightshift.settings import Home
from tests.plan.trained import leave_record, leave_trained

FLEET = FleetConfig(families=("anomaly", "rul"))


def land(home: Home, subject: str, seed: int = 0) -> None:
    split_and_land(home, calendar_rows(seed=seed), describe(subject))


def trained(home: Home, subject: str) -> None:
    for family in FLEET.chosen_families:
        leave_trained(home, make_cell(home, subject, family))


def names(plan: FleetPlan) -> list[str]:
    return sorted(c.name for c in to_run(plan))


def only(home: Home, which: str, **asked: object) -> list[str]:
    return names(make_plan(home, FLEET, Filters.model_validate({"only": which, **asked})))


def start_of(plan: FleetPlan, run_id: str = "run-1") -> FleetStart:
    batches = fan_out(to_run(plan), 1_800, 1)
    return FleetStart(
        run_id=run_id, started_at=plan.made_at, filters=Filters(), options=FleetOptions(), plan=plan, batches=batches
    )


def outcome_of(start: FleetStart, endings: dict[str, str]) -> FleetOutcome:
    cells = []
    for planned in start.plan.cells:
        ending = endings.get(planned.name)
        names = {"subject": planned.subject, "family": planned.family, "target": planned.target}
        told = CellOutcome.model_validate({**names, "ending": ending}) if ending else None
        cells.append(FleetCell(planned=planned, outcome=told))
    now = datetime.now(UTC)
    return FleetOutcome(
        run_id=start.run_id, started_at=start.started_at, ended_at=now, filters=Filters(), cells=tuple(cells)
    )


def test_landed_is_every_cell_of_machines_with_data_that_no_run_has_seen(home: Home):
    for subject in ("pump_1", "pump_2"):
        land(home, subject)
    assert only(home, "landed") == ["pump_1.anomaly.pi", "pump_1.rul.pi", "pump_2.anomaly.pi", "pump_2.rul.pi"]
    trained(home, "pump_1")
    trained(home, "pump_2")
    assert only(home, "landed") == []
    write_atomic(home.configs / "machines" / "pump_1.yaml", b"families: {rul: {cap: 90}}")
    assert only(home, "everything") == ["pump_1.rul.pi"]
    assert only(home, "landed") == []
    land(home, "pump_2", seed=1)
    assert only(home, "landed") == ["pump_2.anomaly.pi", "pump_2.rul.pi"]


def test_landed_is_also_what_was_cut_off_and_not_what_failed(home: Home):
    for subject in ("pump_1", "pump_2"):
        land(home, subject)
        trained(home, subject)
        land(home, subject, seed=1)
        for family in FLEET.chosen_families:
            leave_trained(home, make_cell(home, subject, family))
    for subject, status in (("pump_1", "failed"), ("pump_2", "done")):
        cell = make_cell(home, subject, "rul", params={})
        for path in (home.work / cell.key).glob("*.json"):
            path.unlink()
        remember(home, cell)
        leave_record(home, cell, "load", status=status)
    assert only(home, "landed") == ["pump_2.rul.pi"]


def test_failed_is_what_failed_or_was_cut_off_and_what_the_last_run_did_not_come_to(home: Home):
    for subject in ("pump_1", "pump_2", "pump_3"):
        land(home, subject)
    failed = make_cell(home, "pump_1", "rul")
    remember(home, failed)
    leave_record(home, failed, "train", status="failed", error="no memory")
    # Nobody has run yet: what was never trained is no remainder of anything.
    assert only(home, "failed") == ["pump_1.rul.pi"]
    start = start_of(make_plan(home, FLEET, Filters(machines=("pump_1", "pump_2"))))
    keep_start(home, start)
    assert only(home, "failed") == ["pump_1.anomaly.pi", "pump_1.rul.pi", "pump_2.anomaly.pi", "pump_2.rul.pi"]
    keep_outcome(home, outcome_of(start, {"pump_1.anomaly.pi": "trained", "pump_2.rul.pi": "failed"}))
    assert only(home, "failed") == ["pump_1.rul.pi", "pump_2.anomaly.pi", "pump_2.rul.pi"]
    trained(home, "pump_2")
    assert only(home, "failed") == ["pump_1.rul.pi"]
    # By force, what the last run has trained is not trained once more.
    assert only(home, "failed", force=True) == ["pump_1.rul.pi", "pump_2.anomaly.pi", "pump_2.rul.pi"]


def test_what_a_night_left_undone_is_not_forgotten_for_a_run_of_another_part(home: Home):
    for subject in ("pump_1", "pump_2", "pump_3"):
        land(home, subject)
    older, night, landing = (
        start_of(make_plan(home, FLEET, filters), run_id).model_copy(update={"filters": filters})
        for run_id, filters in (
            ("older", Filters(machines=("pump_3",))),
            ("night", Filters(families=("anomaly",))),
            ("landing", Filters(only="landed", machines=("pump_2",))),
        )
    )
    keep_start(home, older)
    keep_start(home, night)
    keep_outcome(home, outcome_of(night, {"pump_3.anomaly.pi": "trained"}))
    keep_start(home, landing)
    keep_outcome(home, outcome_of(landing, {"pump_2.anomaly.pi": "trained", "pump_2.rul.pi": "failed"}))
    left = {"pump_1.anomaly.pi": "night", "pump_2.rul.pi": "landing", "pump_3.rul.pi": "older"}
    assert left_over(home) == left
    assert only(home, "failed") == sorted(left)
    # A run of everything says of every cell how it stands: what came before counts no more.
    keep_start(home, night.model_copy(update={"filters": Filters()}))
    keep_start(home, landing)
    assert left_over(home) == {name: run_id for name, run_id in left.items() if run_id != "older"}
    # The same run, begun anew: its old outcome is not of this plan.
    keep_start(home, landing.model_copy(update={"started_at": datetime.now(UTC)}))
    assert left_over(home)["pump_2.anomaly.pi"] == "landing"


@pytest.mark.parametrize("name", ["outcome.json", "plan.json"])
def test_a_damaged_outcome_tells_of_no_cell_and_a_damaged_plan_is_passed_over(home: Home, name: str):
    land(home, "pump_1")
    start = start_of(make_plan(home, FLEET))
    keep_start(home, start)
    keep_outcome(home, outcome_of(start, {"pump_1.rul.pi": "trained"}))
    assert only(home, "failed") == ["pump_1.anomaly.pi"]
    write_atomic(home.work / "fleet" / "run-1" / name, b"{}")
    assert only(home, "failed") == (["pump_1.anomaly.pi", "pump_1.rul.pi"] if name == "outcome.json" else [])


def test_to_go_on_with_a_forced_run_forces_whole_records_alone(home: Home):
    for subject in ("pump_1", "pump_2"):
        land(home, subject)
        trained(home, subject)
    keep_start(home, start_of(make_plan(home, FLEET, Filters(force=True))))
    begun = make_cell(home, "pump_1", "rul")
    for path in (home.work / begun.key).glob("*.json"):
        path.unlink()
    remember(home, begun)
    plan = make_plan(home, FLEET, Filters(only="failed", force=True))
    forced = {c.name: bool(c.forced) for c in plan.to_train}
    assert forced == {
        "pump_1.anomaly.pi": True,
        "pump_1.rul.pi": False,
        "pump_2.anomaly.pi": True,
        "pump_2.rul.pi": True,
    }
    again = {c.name: bool(c.forced) for c in make_plan(home, FLEET, Filters(force=True)).to_train}
    assert again == dict.fromkeys(forced, True)


def test_a_cell_cut_off_in_its_first_stage_is_one_of_the_landed_and_of_the_cut_off(home: Home):
    land(home, "pump_1")
    trained(home, "pump_1")
    land(home, "pump_1", seed=1)
    for family in FLEET.chosen_families:
        remember(home, make_cell(home, "pump_1", family))
    assert {c.reasons for c in make_plan(home, FLEET).to_train} == {("stopped before load ended",)}
    assert only(home, "landed") == only(home, "failed") == ["pump_1.anomaly.pi", "pump_1.rul.pi"]
    # What has left a record that cannot be read was not cut off.
    cell = make_cell(home, "pump_1", "rul")
    write_atomic(home.work / cell.key / "load.json", b"{")
    assert state(home, cell).reason == "records missing"


@pytest.mark.parametrize("run_id", ["../../../elsewhere", "..", ".", "", "a/b", "a\n"])
def test_what_is_no_id_of_a_run_leads_to_no_folder(home: Home, run_id: str):
    with pytest.raises(ValueError, match="is no id of a run"):
        run_folder(home, run_id)
    assert read_start(home, run_id) is None
    write_atomic(home.work / "fleet" / "run-1" / "goes_on_with", b"../../elsewhere")
    assert read_start(home, "run-1") is None


def test_a_run_that_goes_on_has_the_plan_of_the_one_that_crashed_and_so_has_the_next(home: Home):
    land(home, "pump_1")
    start = start_of(make_plan(home, FLEET))
    keep_start(home, start)
    note_going_on(home, "run-2", start)
    note_going_on(home, "run-1", start)
    assert read_start(home, "run-2") == read_start(home, "run-1") == newest_start(home) == start
    assert read_start(home, "run-3") is None


def test_a_plan_is_made_for_the_settings_that_a_run_trains_with(home: Home):
    land(home, "pump_1")
    trained(home, "pump_1")
    plan = make_plan(home, FLEET, train=TrainOptions(settings={"cap": 90}))
    assert [(c.name, c.reasons) for c in plan.to_train] == [("pump_1.rul.pi", ("config change (cap)",))]
    with pytest.raises(ConfigError, match="unknown setting 'capp'"):
        make_plan(home, FLEET, train=TrainOptions(settings={"capp": 90}))
