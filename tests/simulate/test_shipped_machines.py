"""The shipped machines, rolled out: within the laws, failing often enough, and no sensor that tells all."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from nightshift.settings import Home
from nightshift.simulate.physics.laws import violations
from nightshift.simulate.physics.roll import CLEAN, Rolled, roll
from nightshift.simulate.profile import FAILURE_SHARE, Profile, load_profile, profile_names
from nightshift.simulate.units import draw_units

NOWHERE = Home(Path("nowhere"))
UNITS = 60


@pytest.fixture(scope="module", params=profile_names(NOWHERE))
def machine(request: pytest.FixtureRequest) -> tuple[Profile, Rolled]:
    profile = load_profile(NOWHERE, request.param)
    units = draw_units(profile, UNITS, 11)
    rolled = roll(profile, units, seed=5)
    assert not {rule: n for rule, n in violations(profile, rolled, units).items() if n}
    return profile, rolled


def test_the_share_of_failing_rows_is_worth_learning_from(machine: tuple[Profile, Rolled]) -> None:
    profile, rolled = machine
    share = rolled.frame["failure_status"].mean()
    assert FAILURE_SHARE[0] <= share <= FAILURE_SHARE[1]
    assert share == pytest.approx(profile.failure_share, abs=0.03)


def test_no_single_sensor_gives_the_failure_away(machine: tuple[Profile, Rolled]) -> None:
    profile, rolled = machine
    frame = rolled.frame
    for sensor in profile.sensors:
        known = frame["failure_status"].notna() & frame[sensor.name].notna()
        found = float(roc_auc_score(frame.loc[known, "failure_status"], frame.loc[known, sensor.name]))
        assert max(found, 1 - found) < 0.95, sensor.name


def test_readings_use_their_range_and_do_not_pile_up_at_its_ends(machine: tuple[Profile, Rolled]) -> None:
    profile, rolled = machine
    for sensor in profile.sensors:
        truth = rolled.hidden[f"{CLEAN}{sensor.name}"].to_numpy()
        low, high = sensor.range
        if sensor.quantity.role == "age":
            assert truth.max() < high
            continue
        near = (truth < low + 2 * sensor.noise) | (truth > high - 2 * sensor.noise)
        assert near.mean() < 0.001, sensor.name
        # Noise is an instrument's, not what is seen of the machine.
        assert sensor.noise < truth.std(), sensor.name


def test_alarms_are_silent_on_a_healthy_machine_and_not_out_of_reach(machine: tuple[Profile, Rolled]) -> None:
    profile, rolled = machine
    healthy = (rolled.frame["failure_status"] == 0).to_numpy()
    for sensor in profile.sensors:
        if sensor.alarm_above is None:
            continue
        truth = rolled.hidden[f"{CLEAN}{sensor.name}"].to_numpy()
        assert (truth[healthy] > sensor.alarm_above).mean() < 0.005, sensor.name
        assert sensor.alarm_above < 1.5 * truth.max(), sensor.name
