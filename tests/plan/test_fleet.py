"""The fleet's plan: each state, each reason, and what part of the fleet was asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import tables, vehicles
from support.datasets import calendar_rows, describe

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import split_and_land
from nightshift.errors import UnknownNameError
from nightshift.files import write_atomic
from nightshift.plan import journal
from nightshift.plan.durations import DEFAULT_S, LEAST_S
from nightshift.plan.fleet import ASKED_FOR, NO_DATA, Filters, FleetPlan, PlannedCell, make_plan, pool_of
from nightshift.plan.fleet_config import FleetConfig
from nightshift.plan.records import work_folder
from nightshift.plan.state import State, make_cell, newest_names, remember
from nightshift.settings import Home
from tests.plan.trained import leave_record, leave_trained, set_aside

FAMILIES = ("anomaly", "classification", "forecast", "rul")
LONG_AGO = "2026-01-02T02:00:00Z"
HOLDER = """
import sys
from pathlib import Path
from nightshift.plan import lock
from nightshift.settings import Home
with lock.held(Home(Path(sys.argv[1])), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def land(home: Home, subject: str = "pump_1", seed: int = 0, hotter_k: float = 0.0) -> Dataset:
    rows = calendar_rows(seed=seed)
    return split_and_land(home, rows.assign(heat_c=rows["heat_c"] + hotter_k), describe(subject))


def plan_of(home: Home, config: FleetConfig | None = None, **asked: object) -> FleetPlan:
    return make_plan(home, config or FleetConfig(), Filters.model_validate(asked))


def one(home: Home, family: str = "anomaly", config: FleetConfig | None = None, **asked: object) -> PlannedCell:
    """Plan one cell of pump_1."""
    [cell] = plan_of(home, config, machines=("pump_1",), families=(family,), **asked).cells
    return cell


def test_what_was_never_trained_is_planned_for_every_family(home: Home) -> None:
    land(home)
    plan = plan_of(home)
    assert [(c.subject, c.family, c.target) for c in plan.cells] == [("pump_1", f, "pi") for f in FAMILIES]
    assert {(c.state, c.reasons) for c in plan.cells} == {(State.STALE, ("never trained",))}
    assert plan.to_train == plan.cells
    assert {c.cell_key for c in plan.cells} == {make_cell(home, "pump_1", f).key for f in FAMILIES}


def test_each_group_s_families_are_planned_for_its_own_data_and_devices_alone(home: Home) -> None:
    land(home)
    vehicles.small_vehicles(home)
    plan = plan_of(home)
    of_vehicle = ("behaviour", "carbon", "lstm_ae", "tcn")
    assert sorted((c.subject, c.family, c.target) for c in plan.cells) == [
        *(("pump_1", family, "pi") for family in FAMILIES),
        *((vehicles.SUBJECT, family, "vehicle") for family in of_vehicle),
    ]
    assert {c.pool for c in plan.cells if c.subject == vehicles.SUBJECT} == {"gpu-pool"}
    asked = plan_of(home, families=("tcn", "rul"), targets=("vehicle",))
    assert [(c.subject, c.family) for c in asked.cells] == [(vehicles.SUBJECT, "tcn")]
    tables.small_table(home)
    assert plan_of(home).cells == plan.cells, "nobody trains a table by night"
    named = FleetConfig(machines=("pump_1", vehicles.SUBJECT), families=("tcn",))
    assert [c.name for c in plan_of(home, named).cells] == [f"{vehicles.SUBJECT}.tcn.vehicle"]


def test_a_home_without_data_has_an_empty_plan(home: Home) -> None:
    plan = plan_of(home)
    assert plan.cells == ()
    assert set(plan.by_state()) == set(State)


def test_what_is_up_to_date_is_fresh_and_costs_nothing(home: Home) -> None:
    land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), 7)
    cell = one(home)
    assert cell.state is State.FRESH
    assert cell.reasons[0].startswith("version 7, trained ")
    assert (cell.priority, cell.estimated_s, cell.forced) == (0, 0.0, "")


def test_one_machine_s_new_data_make_exactly_its_cells_stale(home: Home) -> None:
    for subject in ("pump_1", "pump_2", "pump_3"):
        land(home, subject)
        for family in FAMILIES:
            leave_trained(home, make_cell(home, subject, family))
    assert plan_of(home).to_train == ()
    land(home, "pump_2", seed=1)
    plan = plan_of(home)
    assert [(c.subject, c.family) for c in plan.to_train] == [("pump_2", f) for f in FAMILIES]
    assert {c.reasons for c in plan.to_train} == {("new data",)}
    assert len(plan.by_state()[State.FRESH]) == 8


def test_drift_names_the_sensors_and_comes_before_everything_else(home: Home) -> None:
    for subject in ("pump_1", "pump_2"):
        land(home, subject)
        leave_trained(home, make_cell(home, subject, "anomaly"))
    land(home, "pump_1", seed=1)
    land(home, "pump_2", seed=1, hotter_k=40)
    first, second, *_ = plan_of(home, families=("anomaly",)).cells
    assert (first.subject, first.reasons) == ("pump_2", ("new data", "drift (heat_c)"))
    assert [(f.code, f.columns) for f in first.findings] == [("D022", ("heat_c",))]
    assert "heat_c (PSI " in first.findings[0].what
    assert (second.reasons, second.findings) == (("new data",), ())
    assert first.priority > second.priority > 0


def test_drift_is_measured_against_the_champion_s_data_and_not_those_of_a_refused_model(home: Home) -> None:
    land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), 1)
    land(home, seed=1, hotter_k=40)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), 2, promoted=False)
    land(home, seed=2, hotter_k=40)
    assert one(home).reasons == ("new data", "drift (heat_c)")
    leave_trained(home, make_cell(home, "pump_1", "rul"), 1, promoted=False)
    land(home, seed=3, hotter_k=40)
    assert one(home, "rul").reasons == ("new data",), "without a champion the newest version's data count"


def test_a_sketch_that_is_gone_keeps_no_cell_from_its_plan(home: Home) -> None:
    before = land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"))
    land(home, seed=1, hotter_k=40)
    (before.folder / "sketch.json").unlink()
    assert one(home).reasons == ("new data",)


def test_a_changed_config_names_its_keys(home: Home) -> None:
    land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"))
    write_atomic(home.configs / "machines" / "pump_1.yaml", b"families: {anomaly: {seed: 7, n_trees: 50}}\n")
    assert one(home).reasons == ("config change (n_trees, seed)",)


def test_changed_code_and_new_data_are_two_reasons(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"))
    land(home, seed=1)
    monkeypatch.setattr("nightshift.plan.state.code_fingerprint", lambda _family: "another")
    assert one(home).reasons == ("new data", "code change")


def test_a_champion_beyond_its_age_is_trained_again_by_force(home: Home) -> None:
    land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), 3, at=LONG_AGO)
    old = one(home)
    assert old.state is State.STALE
    assert old.reasons == ("champion older than 30 days (version 3, 2026-01-02)",)
    assert old.forced == old.reasons[0], "its records are whole: without force nothing would be trained"
    assert one(home, config=FleetConfig(champion_max_age_days=None)).state is State.FRESH
    assert one(home, config=FleetConfig(champion_max_age_days=36_500)).state is State.FRESH


def test_an_old_champion_is_left_alone_when_its_successor_was_refused_lately(home: Home) -> None:
    land(home)
    cell = make_cell(home, "pump_1", "anomaly")
    leave_trained(home, cell, 1, at=LONG_AGO)
    set_aside(home, cell)
    leave_trained(home, cell, 2, promoted=False)
    assert one(home).state is State.FRESH
    set_aside_twice = work_folder(home, cell.key)
    set_aside_twice.rename(set_aside_twice.with_name(f"{cell.key}.2"))
    leave_trained(home, cell, 3, promoted=False, at=LONG_AGO)
    assert one(home).reasons == ("champion older than 30 days (version 1, 2026-01-02)",)


def test_a_model_that_was_never_champion_is_not_trained_again_for_its_age(home: Home) -> None:
    land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), promoted=False, at=LONG_AGO)
    assert one(home).state is State.FRESH


def test_what_failed_last_time_is_tried_again_and_says_why(home: Home) -> None:
    land(home)
    cell = make_cell(home, "pump_1", "anomaly")
    remember(home, cell)
    leave_record(home, cell, "train", status="failed", error="out of memory")
    failed = one(home)
    assert (failed.state, failed.reasons) == (State.FAILED, ("train failed: out of memory",))
    assert plan_of(home, families=("anomaly",)).to_train == (failed,)


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        ("blocked", "D009 one class only.", "D009 one class only."),
        ("not_applicable", "there is no `rul` column.", "does not apply: there is no `rul` column."),
    ],
)
def test_what_is_blocked_says_the_finding_and_stays_so_under_force(
    home: Home, status: str, error: str, reason: str
) -> None:
    land(home)
    cell = make_cell(home, "pump_1", "rul")
    remember(home, cell)
    leave_record(home, cell, "validate", status=status, error=error)
    for force in (False, True):
        blocked = one(home, "rul", force=force)
        assert (blocked.state, blocked.reasons, blocked.estimated_s) == (State.BLOCKED, (reason,), 0.0)
    land(home, seed=1)
    assert one(home, "rul").state is State.STALE


def test_what_another_process_trains_is_left_to_it(home: Home) -> None:
    land(home)
    at_work = make_cell(home, "pump_1", "anomaly")
    command = [sys.executable, "-c", HOLDER, str(home.root), at_work.key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        cell = one(home, force=True)
    assert cell.state is State.TRAINING
    assert cell.reasons == ("another process is training it",)
    assert one(home).state is State.STALE


def test_what_was_cut_off_goes_on_and_costs_only_the_rest(home: Home) -> None:
    land(home)
    cell = make_cell(home, "pump_1", "anomaly")
    leave_trained(home, cell, train_s=100.0)
    for stage in ("evaluate", "export", "register", "report"):
        (work_folder(home, cell.key) / f"{stage}.json").unlink()
    cut = one(home)
    assert cut.reasons == ("stopped after train",)
    assert cut.estimated_s == DEFAULT_S - 102
    leave_record(home, cell, "evaluate")
    leave_record(home, cell, "export")
    leave_record(home, cell, "register", status="pending", summary={})
    pending = one(home)
    assert pending.reasons == ("trained, not registered",)
    assert pending.priority > cut.priority


def test_a_registration_that_did_not_end_is_finished(home: Home) -> None:
    land(home)
    cell = make_cell(home, "pump_1", "anomaly")
    leave_trained(home, cell, train_s=1000.0)
    journal.open_entry(home, cell)
    open_one = one(home)
    assert open_one.reasons == ("its registration did not end",)
    assert open_one.estimated_s == LEAST_S


def test_force_plans_what_is_fresh_stale_and_failed_and_says_that_it_was_asked_for(home: Home) -> None:
    land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), train_s=200.0)
    leave_record(home, make_cell(home, "pump_1", "rul"), "train", status="failed", error="boom")
    anomaly, rul, forecast = (one(home, family, force=True) for family in ("anomaly", "rul", "forecast"))
    assert (anomaly.state, anomaly.reasons, anomaly.estimated_s) == (State.STALE, (ASKED_FOR,), 206.0)
    assert (rul.state, rul.reasons) == (State.FAILED, ("train failed: boom", ASKED_FOR))
    assert (forecast.state, forecast.reasons) == (State.STALE, ("never trained", ASKED_FOR))
    assert {c.forced for c in (anomaly, rul, forecast)} == {ASKED_FOR}


def test_a_machine_without_data_is_one_blocked_cell_and_so_is_a_damaged_pointer(home: Home) -> None:
    land(home, "pump_1")
    write_atomic(home.data / "current" / "pump_2", b"\x00\xff")
    plan = plan_of(home, FleetConfig(machines=("pump_1", "pump_2", "pump_9")))
    assert len(plan.to_train) == 4
    damaged, absent = plan.by_state()[State.BLOCKED]
    assert (absent.subject, absent.family, absent.cell_key, absent.reasons) == ("pump_9", "", "", (NO_DATA,))
    assert damaged.subject == "pump_2"
    assert "is damaged" in damaged.reasons[0]


def test_a_config_that_cannot_be_used_blocks_its_own_machine_only(home: Home) -> None:
    land(home, "pump_1")
    land(home, "pump_2")
    write_atomic(home.configs / "machines" / "pump_1.yaml", b"families: {anomaly: {n_treees: 5}}\n")
    plan = plan_of(home, families=("anomaly", "rul"))
    [blocked] = plan.by_state()[State.BLOCKED]
    assert blocked.name == "pump_1.anomaly.pi"
    assert "Did you mean 'n_trees'?" in blocked.reasons[0]
    assert len(plan.to_train) == 3


def test_a_part_of_the_fleet_is_asked_for_by_machine_family_target_and_tag(home: Home) -> None:
    for subject in ("pump_1", "pump_2", "pump_3"):
        land(home, subject)
    config = FleetConfig(targets=("pi", "server"), tags={"hall_1": ("pump_1", "pump_2"), "old": ("pump_2",)})

    def asked(**filters: object) -> set[tuple[str, str, str]]:
        return {(c.subject, c.family, c.target) for c in plan_of(home, config, **filters).cells}

    assert len(asked()) == 3 * 4 * 2
    assert asked(machines=("pump_3",), families=("regression",), targets=("server",)) == {("pump_3", "rul", "server")}
    assert {s for s, _, _ in asked(tags=("hall_1",))} == {"pump_1", "pump_2"}
    assert {s for s, _, _ in asked(tags=("hall_1", "old"), machines=("pump_2", "pump_3"))} == {"pump_2"}
    assert one(home, config=config, targets=("pi",)).tags == ("hall_1",)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"machines": ("pmp_1",)}, "unknown machine of the fleet 'pmp_1'. Did you mean 'pump_1'?"),
        ({"families": ("anomly",)}, "unknown family 'anomly'. Did you mean 'anomaly'?"),
        ({"families": ("rul",)}, "unknown family of the fleet 'rul'."),
        ({"targets": ("server",)}, "unknown target of the fleet 'server'."),
        ({"tags": ("hal_1",)}, "unknown tag 'hal_1'. Did you mean 'hall_1'?"),
    ],
)
def test_a_name_that_the_fleet_does_not_have_is_refused(home: Home, filters: dict[str, object], said: str) -> None:
    land(home)
    config = FleetConfig(families=("anomaly",), tags={"hall_1": ("pump_1",)})
    with pytest.raises(UnknownNameError) as refused:
        plan_of(home, config, **filters)
    assert said in str(refused.value)
    assert "fleet.yaml" in str(refused.value) or "unknown family 'anomly'" in said


def test_the_duration_is_the_cell_s_own_else_its_family_s_else_the_default(home: Home) -> None:
    land(home, "pump_1")
    first = make_cell(home, "pump_1", "anomaly")
    leave_trained(home, first, 1, train_s=94.0)
    assert one(home, "rul").estimated_s == DEFAULT_S
    for version, seed in ((2, 1), (3, 2)):
        land(home, "pump_1", seed=seed)
        leave_trained(home, make_cell(home, "pump_1", "anomaly"), version, train_s=94.0 * version)
    land(home, "pump_1", seed=3)
    assert one(home).estimated_s == 94 * 2 + 6, "the median of its three runs"
    land(home, "pump_2")
    [other] = plan_of(home, machines=("pump_2",), families=("anomaly",)).cells
    assert other.estimated_s == 94 * 3 + 6, "what the family's newest model took"
    assert newest_names(home) == ("pump_1.anomaly.pi",)


def test_cells_go_to_the_pool_of_their_target_or_of_the_gpu(home: Home) -> None:
    land(home)
    config = FleetConfig(targets=("pi", "server"), families=("anomaly",))
    pools = {c.target: (c.pool, c.queue) for c in plan_of(home, config).cells}
    assert pools == {"pi": ("pi-pool", "train"), "server": ("gpu-pool", "default")}
    on_gpu = make_cell(home, "pump_1", "anomaly", params={"device": "cuda"})
    assert pool_of(on_gpu) == "gpu-pool"


def test_a_torch_family_goes_to_the_gpu_pool(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    land(home)
    anomaly = type(families.get("anomaly"))
    monkeypatch.setattr(anomaly, "libraries", (*anomaly.libraries, "torch"))
    assert one(home).pool == "gpu-pool"


def test_a_plan_survives_json(home: Home) -> None:
    land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"))
    land(home, seed=1, hotter_k=40)
    plan = plan_of(home)
    assert FleetPlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_plan_opens_no_data_and_loads_no_training_library(home: Home) -> None:
    data = land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"))
    land(home, seed=1, hotter_k=40)
    for folder in (data.folder, *data.folder.parent.iterdir()):
        for part in folder.glob("*.parquet"):
            part.unlink()
    heavy = (
        "{'pandas', 'pyarrow', 'prefect', 'mlflow', 'autogluon', 'lightgbm', 'xgboost', 'catboost', 'torch', "
        "'prophet', 'pyod', 'sklearn', 'dvc'}"
    )
    script = (
        "import sys\nfrom nightshift.plan.fleet import make_plan\nfrom nightshift.plan.fleet_config import load_fleet\n"
        "from nightshift.settings import use_home\nhome = use_home()\nplan = make_plan(home, load_fleet(home))\n"
        f"print([c.reasons for c in plan.cells][0], sorted(set(sys.modules) & {heavy}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "('new data', 'drift (heat_c)') []"
