"""Lanes that cross, join and part: who has to waits, everybody gets through, and nobody is hit."""

from __future__ import annotations

import numpy as np
import pytest
from support.driving_lanes import cars_at, crossing, drive, joining, moments, overlapping, put_ego

from nightshift.driving.made import make
from nightshift.driving.pack import Pack
from nightshift.driving.traffic import gipps, idm_mobil

MODELS = pytest.mark.parametrize("model", [idm_mobil, gipps], ids=["idm", "gipps"])


@MODELS
def test_a_car_from_the_side_waits_for_those_on_the_main_road_and_goes_then(model) -> None:  # type: ignore[no-untyped-def]
    # Lane 0 is the main road and meets lane 1 at metre 200; those on lane 1 wait before metre 90.
    lanes = crossing()
    cars = cars_at([1, 0, 0], [60.0, 125.0, 95.0], [10.0, 12.0, 12.0], desired=12.0)
    waited = False
    for k in moments(model, lanes, cars, 40.0):
        assert overlapping(cars) == [], f"after {k} steps"
        over_line = cars.lane[0, 1] != 1 or cars.s[0, 1] + 2.25 > 91.0
        assert not over_line or cars.s[0, 2:].min() > 155.0
        waited |= bool(cars.speed[0, 1] < 3.0)
    assert waited
    assert cars.lane[0, 1] == 2
    assert cars.accel[0, 2:].min() > -1.0


@MODELS
def test_nobody_waits_where_nobody_comes(model) -> None:  # type: ignore[no-untyped-def]
    lanes = crossing()
    cars = cars_at([1, 0], [60.0, 260.0], 10.0, desired=12.0)
    slowest = min(float(cars.speed[0, 1]) for _ in moments(model, lanes, cars, 12.0))
    assert slowest > 3.5


@MODELS
def test_those_on_the_main_road_brake_for_an_ego_that_stands_in_their_way(model) -> None:  # type: ignore[no-untyped-def]
    lanes = crossing()
    cars = cars_at(0, [100.0, 60.0], 12.0, desired=12.0)
    put_ego(cars, lanes, 1, 100.0, 0.0)
    drive(model, lanes, cars, 30.0, look=1)
    assert cars.s[0, 1:].max() < 200.0
    assert cars.speed[0, 1:].max() < 0.5


@MODELS
def test_a_stream_and_a_side_road_join_without_an_overlap(model) -> None:  # type: ignore[no-untyped-def]
    # Lanes 0 (main road) and 1 lead into lane 2; the cars on the main road leave no gap at first.
    s = np.array([40.0, 70.0, 100.0, 130.0, 160.0])
    cars = cars_at([0] * 5 + [1] * 3, np.concatenate([s, [10.0, 35.0, 60.0]]), 10.0, desired=14.0)
    drive(model, joining(), cars, 60.0, look=1)
    assert (~cars.there[0, 1:] | (cars.lane[0, 1:] == 2)).all()


@MODELS
@pytest.mark.parametrize("kind", ["merge", "roundabout", "intersection"])
def test_made_places_where_roads_meet_empty_without_a_crash(kind, model) -> None:  # type: ignore[no-untyped-def]
    pack = Pack.of([make(kind, seed) for seed in range(3)])
    cars = pack.cars
    stood = np.zeros(cars.s.shape)
    for k in moments(model, pack.lanes, cars, 50.0):
        stood = np.where(cars.there & (cars.speed < 0.3), stood + 0.2, 0.0)
        if k % 4 == 0:
            assert overlapping(cars) == [], f"after {k} steps"
    # Long after the last one came by, nobody stands there any more.
    assert stood.max() < 5.0


@MODELS
def test_who_is_over_the_line_stops_for_one_who_is_held_up_in_the_crossing(model) -> None:  # type: ignore[no-untyped-def]
    lanes = crossing()
    cars = cars_at([1, 0], [90.0, 200.0], [3.0, 0.0], desired=12.0)
    # The ego stands on the main road behind the crossing, and holds up the other one in it.
    put_ego(cars, lanes, 0, 206.5, 0.0)
    drive(model, lanes, cars, 20.0, look=1)
    assert cars.lane[0, 1] == 1
    assert cars.s[0, 1] < 96.0
