"""The fleet's config: what ships, what a user's file replaces, and what is refused."""

from __future__ import annotations

import pytest

from nightshift import families
from nightshift.errors import NightshiftError
from nightshift.files import write_atomic
from nightshift.plan.fleet_config import FleetConfig, load_fleet
from nightshift.plan.fleet_run import FleetOptions
from nightshift.settings import Home


def written(home: Home, text: str) -> FleetConfig:
    write_atomic(home.configs / "fleet.yaml", text.encode())
    return load_fleet(home)


def test_what_ships_is_what_the_code_says(home: Home) -> None:
    assert load_fleet(home) == FleetConfig()
    # Policies are trained when somebody asks for them, or names them in the file.
    nightly = tuple(name for name in families.names() if families.get(name).group in ("machine", "vehicle"))
    assert FleetConfig().chosen_families == nightly
    assert "ppo" not in nightly


def test_the_user_s_file_replaces_the_shipped_one_whole(home: Home) -> None:
    config = written(
        home,
        "timezone: Europe/Berlin\nnightly: 30 1 * * MON-FRI\nmachines: [pump_7, motor_3]\nfamilies: [timeseries, rul]\n"
        "tags: {hall_1: [pump_7], old: [pump_7]}\nbatch: {processes: 2, cell_memory_gb: 1.5, wait_s: 60}\n",
    )
    assert config.chosen_families == ("forecast", "rul")
    assert (config.targets_of("driving"), config.targets_of("machine")) == (("vehicle",), ("pi",))
    assert (config.timezone, config.nightly) == ("Europe/Berlin", "30 1 * * MON-FRI")
    assert (config.batch.processes, config.batch.cell_memory_gb, config.batch.target_batch_s) == (2, 1.5, 1800)
    assert (config.batch.wait_s, FleetOptions(wait_s=5).over(config.batch).wait_s) == (60, 5)
    assert config.tags_of("pump_7") == ("hall_1", "old")
    assert config.tags_of("motor_3") == ()
    assert config.named == ("pump_7", "motor_3")


def test_machines_of_tags_belong_to_a_fleet_of_all_machines(home: Home) -> None:
    assert written(home, "tags: {hall_1: [pump_7, pump_8], old: [pump_7]}\n").named == ("pump_7", "pump_8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machnes: all", "fleet.yaml: unknown key 'machnes'. Did you mean 'machines'?"),
        ("batch: {processes: 0}", "'batch.processes': Input should be greater than or equal to 1, got 0"),
        ("batch: {proceses: 2}", "unknown key 'batch.proceses'. Did you mean 'batch.processes'?"),
        ("timezone: Europe/Berln", "Did you mean 'Europe/Berlin'?"),
        ("nightly: at night", "expected the five fields of cron"),
        ("nightly: '0 2 * *'", "expected the five fields of cron"),
        ("families: [anomly]", "unknown family 'anomly'. Did you mean 'anomaly'?"),
        ("targets: [py]", "unknown target 'py'. Did you mean 'pi'?"),
        ("targets: []", "'targets': Tuple should have at least 1 item"),
        ("machines: [Pump 7]", "'Pump 7' is not a machine id."),
        ("machines: every", "fleet.yaml: 'machines': Value error, expected `all` or a list of names, got 'every'."),
        ("machines: [7]", "expected `all` or a list of names, got [7]."),
        ("families: {anomaly: yes}", "'families': Value error, expected `all` or a list of names"),
        ("machines: [pump_7]\ntags: {hall_1: [pump_8]}", "tag 'hall_1' names 'pump_8'"),
        ("promotion: manual", "'promotion': Input should be 'automatic' or 'by_hand', got 'manual'."),
        ("champion_max_age_days: 0", "'champion_max_age_days': Input should be greater than 0, got 0"),
        ("- all", "fleet.yaml must hold a mapping"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_way_out(home: Home, text: str, said: str) -> None:
    with pytest.raises(NightshiftError) as refused:
        written(home, text)
    assert said in str(refused.value)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
