"""Trips: repeatable, physical, parts apart, styles that overlap, dangerous stretches of a stated share."""

from __future__ import annotations

import numpy as np
import pytest
from simulate.vehicle.made import column, driven, plan

from nightshift.data.importers.vehicle_columns import CARBON, FUEL, SIGNALS
from nightshift.errors import UsageError
from nightshift.simulate.vehicle.columns import BEHAVIOURS, INSTRUMENTS, KINDS
from nightshift.simulate.vehicle.drive import Motion, Road
from nightshift.simulate.vehicle.drivers import balanced, draw_drivers
from nightshift.simulate.vehicle.episodes import parts_of, simulate
from nightshift.simulate.vehicle.fleet import DIESEL_CO2_KG_PER_L, PETROL_CO2_KG_PER_L, draw_cars
from nightshift.simulate.vehicle.powertrain import Weather, run_engine


def test_the_same_seed_gives_the_same_bytes_and_another_others() -> None:
    made = [{f"{t.part} {n}": v.tobytes() for t in simulate(plan(episodes=8, seconds=300, seed=s)) for n, v in t.columns.items()} for s in (1, 1, 2)]  # fmt: skip  # noqa: E501
    assert made[0] == made[1]
    assert all(made[0][name] != made[2][name] for name in made[0])


def test_trips_and_cars_lie_in_one_part_each() -> None:
    assert [t.part for t in driven()] == ["train", "val", "test"]
    runs = np.concatenate([t.run for t in driven()])
    assert runs.tolist() == list(range(48))
    cars = [set(t.vehicle.tolist()) for t in driven()]
    assert not cars[0] & cars[1]
    assert not (cars[0] | cars[1]) & cars[2]
    for trips in driven():
        for car in set(trips.vehicle.tolist()):
            begins = np.sort(trips.start_s[trips.vehicle == car])
            assert (np.diff(begins) >= 900).all(), "a car's trips do not overlap"
    assert parts_of(500) == {"train": 350, "val": 75, "test": 75}


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_every_signal_is_finite_within_its_range_and_moves(name: str) -> None:
    values = column(name)
    assert np.isfinite(values).all()
    assert values.min() >= SIGNALS[name].minimum
    assert values.max() <= np.float32(SIGNALS[name].maximum)
    assert values.std() > 0
    assert values.dtype == np.float32


def test_speed_is_what_acceleration_adds_up_to() -> None:
    speed, acceleration = column("velocity"), column("acceleration")
    error = np.diff(speed, axis=1) - acceleration[:, 1:]
    assert abs(error.mean()) < 0.01
    assert error.std() < 0.15, "both are measured, with noise"
    assert 4 < speed.mean() < 25


def test_fuel_is_that_of_a_car_and_carbon_dioxide_follows_by_its_fuel() -> None:
    fuel, carbon, speed = column(FUEL), column(CARBON), column("velocity")
    per_100_km = fuel.sum(axis=1) / 3600 / (speed.sum(axis=1) / 1e5)
    assert 5 < np.median(per_100_km) < 11
    assert per_100_km.min() > 3
    idle = fuel[(speed == 0) & (column("engine_rpm") < 1000)]
    assert 0.4 < np.median(idle) < 1.5
    kg_per_l = carbon.sum(axis=1) / fuel.sum(axis=1) * 3.6
    of_each = np.stack([np.abs(kg_per_l - f) for f in (PETROL_CO2_KG_PER_L, DIESEL_CO2_KG_PER_L)])
    assert of_each.min(axis=0).max() < 1e-3
    assert len(set(of_each.argmin(axis=0))) == 2


def test_overrun_cuts_the_fuel_off_and_only_there() -> None:
    fuel, rpm, throttle = column(FUEL), column("engine_rpm"), column("throttle")
    cut = fuel == 0
    assert 0.03 < cut.mean() < 0.35
    assert rpm[cut].min() > 1150
    assert throttle[cut].max() == 0


def test_a_steady_road_load_is_near_the_published_one() -> None:
    """Source: MOVES, passenger car: A 0.156461, B 0.002001, C 0.000492 (kW, m/s); ours are newer and compact."""
    cars = draw_cars(200, np.random.default_rng(0))
    flat = Road(*(np.zeros(1 << 16, np.float32) for _ in range(3)))
    still = Weather(*(np.full((200, 1), v, np.float32) for v in (15, 0, 0, 90, 0)))
    who = draw_drivers(balanced(200, 4, np.random.default_rng(0)), np.arange(200), np.random.default_rng(0))
    for v in (10.0, 20.0, 30.0):
        speed = np.full((200, 30), v, np.float32)
        engine = run_engine(Motion(speed, 0 * speed, np.zeros(speed.shape, np.int32)), cars, who, still, flat)
        at_wheels = (engine.fuel_l_h * cars.heat_j_per_l[:, None] / 3600 * cars.willans[:, None]).mean()
        published = 1e3 * (0.156461 * v + 0.002001 * v**2 + 0.000492 * v**3)
        friction = engine.rpm.mean() * cars.displacement_m3.mean() / 120 * 1.2 * 130e3
        assert 0.6 < (at_wheels - friction - 450) * 0.92 / published < 1.2


def test_styles_differ_in_the_mean_and_overlap() -> None:
    kind = balanced(4000, len(BEHAVIOURS), np.random.default_rng(0))
    who = draw_drivers(kind, np.arange(4000) // 4, np.random.default_rng(1))
    calm, normal, aggressive = (who.speeding_up[kind == k] for k in range(3))
    assert calm.mean() < normal.mean() < aggressive.mean()
    assert np.percentile(calm, 95) > np.percentile(normal, 5)
    assert np.percentile(normal, 95) > np.percentile(aggressive, 5)


def test_dangerous_rows_have_their_share_are_driven_and_have_no_style() -> None:
    for trips in driven():
        dangerous = trips.driving > 0
        assert (trips.behaviour[dangerous] == -1).all()
        assert (trips.columns["velocity"][dangerous] > 1.5).all()
    test = driven()[2].driving > 0
    assert 0.10 < test.mean() < 0.45
    windows = test[:, :900].reshape(len(test), -1, 60).any(axis=2)
    assert windows.mean() > 0.124, "below that no detector with 5 % false alarms reaches F1 0.85"
    kinds = {KINDS[k] for t in driven() for k in np.unique(t.driving)}
    assert kinds == set(KINDS)


def test_each_danger_shows_where_it_should() -> None:
    driving = np.concatenate([t.driving for t in driven()])
    where = {kind: driving == i for i, kind in enumerate(KINDS)}
    forward, sideways = column("imu_accel_x"), np.abs(column("imu_accel_y"))
    usual = where["normal"]
    assert forward[where["harsh_braking"]].min() < -5
    assert np.percentile(forward[where["harsh_braking"]], 3) < np.percentile(forward[usual], 3) - 1
    assert forward[where["tailgating"]].std() > 1.4 * forward[usual].std()
    assert sideways[where["swerving"]].mean() > 3 * sideways[usual].mean()
    assert sideways[where["curve_speeding"]].mean() > 3 * sideways[usual].mean()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"episodes": 5}, "episodes is 5, expected 6 to 100,000"),
        ({"seconds": 60}, "an episode of 60 s is refused"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_simulated_is_refused(asked: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan(**asked)
