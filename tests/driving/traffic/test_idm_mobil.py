"""Drivers on lanes: they keep their gaps, obey limits and bends, change lanes, and do not hit each other."""

from __future__ import annotations

import numpy as np
import pytest
from support.driving_lanes import (
    cars_at,
    drive,
    ending_lane,
    moments,
    put_ego,
    ring_crowd,
    ring_road,
    straight_road,
)

from nightshift.driving.traffic import gipps, idm_mobil
from nightshift.driving.traffic.ways import SIDEWAYS_MPS2

MODELS = pytest.mark.parametrize("model", [idm_mobil, gipps], ids=["idm", "gipps"])


def test_a_follower_settles_at_the_gap_of_the_formula() -> None:
    cars = cars_at(0, [100.0, 130.0], 10.0, desired=[30.0, 12.0])
    drive(idm_mobil, straight_road(length_m=3000.0), cars, 160.0)
    speed, gap = cars.speed[0, 1], cars.s[0, 2] - cars.s[0, 1] - 4.5
    assert speed == pytest.approx(12.0, abs=0.05)
    assert gap == pytest.approx((2.0 + 1.2 * speed) / np.sqrt(1 - (speed / 30.0) ** 4), rel=0.005)


@MODELS
def test_cars_on_a_ring_follow_into_the_next_lane_round_and_round(model) -> None:  # type: ignore[no-untyped-def]
    s = np.arange(12) * 40.0
    cars = cars_at((s >= 300).astype(int), s % 300, 10.0)
    drive(model, ring_road(length_m=600), cars, 200.0, look=10)
    assert cars.there[0, 1:].all()
    speed, in_bend = cars.speed[0, 1:].mean(), np.sqrt(SIDEWAYS_MPS2 * 600 / (2 * np.pi))
    if model is idm_mobil:
        assert pytest.approx((2.0 + 1.2 * speed) / np.sqrt(1 - (speed / in_bend) ** 4), rel=0.02) == 600 / 12 - 4.5
    assert 8.0 < speed < in_bend


@MODELS
def test_a_dense_ring_of_three_lanes_drives_without_an_overlap(model) -> None:  # type: ignore[no-untyped-def]
    lanes, cars = ring_crowd(envs=3, cars=40, lanes=3, length_m=800)
    changed = drive(model, lanes, cars, 60.0, look=3)
    assert changed > 20
    assert cars.there[:, 1:].all()
    assert cars.speed[:, 1:].mean() > 8.0


@MODELS
def test_a_fast_car_overtakes_a_slow_one_and_stays_behind_where_there_is_one_lane(model) -> None:  # type: ignore[no-untyped-def]
    for lanes, ahead in ((2, True), (1, False)):
        cars = cars_at(0, [100.0, 180.0], [20.0, 8.0], desired=[25.0, 8.0])
        drive(model, straight_road(lanes, 2500.0), cars, 60.0, look=2)
        assert (cars.x[0, 1] > cars.x[0, 2]) == ahead
        assert cars.speed[0, 1] == pytest.approx(25.0 if ahead else 8.0, rel=0.2)


@MODELS
def test_nobody_changes_into_a_gap_that_another_has_to_brake_hard_for(model) -> None:  # type: ignore[no-untyped-def]
    # Beside and behind it on the left come fast cars, closely.
    lane, s = [0, 0, 1, 1, 1], [100.0, 130.0, 95.0, 60.0, 25.0]
    cars = cars_at(lane, s, [10.0, 8.0, 25.0, 25.0, 25.0], desired=[25.0, 8.0, 25.0, 25.0, 25.0])
    hardest = 0.0
    for _ in moments(model, straight_road(2, 2500.0), cars, 12.0):
        hardest = min(hardest, float(cars.accel[0, 3:].min()))
    assert hardest > -3.5


@MODELS
def test_who_is_on_a_lane_that_ends_leaves_it_in_time(model) -> None:  # type: ignore[no-untyped-def]
    s = np.array([20.0, 60.0, 100.0, 140.0])
    cars = cars_at([0] * 4 + [1] * 4, np.concatenate([s, s - 15.0]), 12.0, desired=15.0)
    drive(model, ending_lane(), cars, 40.0, look=1)
    assert cars.there[0, 1:].all()
    assert (cars.lane[0, 1:] > 0).all()
    assert cars.speed[0, 1:].min() > 5.0


@MODELS
def test_bends_and_limits_ahead_are_met_with_the_right_speed(model) -> None:  # type: ignore[no-untyped-def]
    lanes = ring_road(length_m=200)
    cars = cars_at(0, [10.0], 20.0)
    drive(model, lanes, cars, 20.0)
    assert cars.speed[0, 1] ** 2 * 2 * np.pi / 200 <= SIDEWAYS_MPS2 * 1.08
    from nightshift.driving.roads import LaneMap, Piece, Pose, laid

    road = LaneMap()
    line = laid([Piece(300.0), Piece(60.0, 1 / 40, 1 / 40)], Pose(0, 0, 0))
    first = road.add(line.cut(0, 200), width_m=3.5, limit_mps=20.0)
    road.then(first, road.add(line.cut(200, 360), width_m=3.5, limit_mps=20.0))
    cars = cars_at(0, [10.0], 20.0, desired=20.0)
    for _ in moments(model, road.lanes(), cars, 40.0):
        if cars.lane[0, 1] == 1 and cars.s[0, 1] > 100.0 and cars.there[0, 1]:
            assert cars.speed[0, 1] ** 2 / 40 < SIDEWAYS_MPS2 * 1.3
        assert cars.accel[0, 1] > -3.5


@MODELS
def test_the_ego_car_is_seen_and_never_moved(model) -> None:  # type: ignore[no-untyped-def]
    lanes = straight_road(1, 600.0)
    cars = cars_at(0, [50.0, 100.0], 20.0)
    put_ego(cars, lanes, 0, 250.0, 0.0)
    before = {name: getattr(cars, name)[:, 0].copy() for name in ("x", "y", "s", "speed", "lane", "there")}
    drive(model, lanes, cars, 40.0, look=1)
    assert all(np.array_equal(getattr(cars, name)[:, 0], value) for name, value in before.items())
    assert cars.speed[0, 1:].max() < 0.3
    assert 0.0 < 250.0 - cars.s[0, 2] - 4.5 < 5.0


@MODELS
def test_an_ego_that_reaches_over_into_a_lane_is_no_ghost_there(model) -> None:  # type: ignore[no-untyped-def]
    lanes = straight_road(2, 600.0)
    for d, stops in ((1.7, True), (0.0, False)):
        cars = cars_at(1, [50.0], 15.0, desired=15.0)
        put_ego(cars, lanes, 0, 200.0, 0.0, d=d)
        # No way round it on the right either.
        drive(model, lanes, cars, 25.0, look=1)
        assert (cars.x[0, 1] < 200.0) == stops


def test_cars_vanish_at_the_end_of_the_road_and_hold_nobody_up() -> None:
    cars = cars_at(0, [500.0, 560.0], 20.0)
    drive(idm_mobil, straight_road(1, 600.0), cars, 2.8)
    assert cars.there[0].tolist() == [False, True, False]
    drive(idm_mobil, straight_road(1, 600.0), cars, 4.0)
    assert not cars.there.any()


def test_cars_on_tracks_and_absent_ones_stay_as_they_are() -> None:
    cars = cars_at([0, -1, 0], [50.0, 80.0, 120.0], 10.0)
    cars.on_track[0, 2], cars.there[0, 3] = True, False
    before = {name: getattr(cars, name)[0, 2:].copy() for name in ("x", "s", "speed", "heading", "there")}
    drive(idm_mobil, straight_road(1, 600.0), cars, 5.0)
    assert all(np.array_equal(getattr(cars, name)[0, 2:], value) for name, value in before.items())
    assert cars.s[0, 1] > 110.0


def test_the_two_models_keep_other_headways_and_other_speeds() -> None:
    crowded, alone = {}, {}
    for model in (idm_mobil, gipps):
        lanes, cars = ring_crowd(envs=3, cars=24, lanes=1, length_m=700)
        drive(model, lanes, cars, 60.0, look=50)
        crowded[model] = cars.speed[:, 1:].mean()
        cars = cars_at(0, [10.0], 20.0, envs=3, desired=20.0)
        alone[model] = [cars.speed[:, 1].copy() for _ in moments(model, straight_road(1, 1000.0), cars, 40.0)]
    # As close as they drive on the ring, Gipps' drivers are faster by far; and alone they never keep one speed.
    assert crowded[gipps] > 1.1 * crowded[idm_mobil]
    assert np.std(alone[idm_mobil]) < 0.02
    assert np.std(alone[gipps]) > 0.15
    assert 18.0 < np.mean(alone[gipps]) < 21.0
