"""Drivers by rule on roads made by hand."""

from __future__ import annotations

from dataclasses import replace

import array_api_compat.torch as torch
import numpy as np
import pytest
from support.driving import cars_at, scenario
from support.episodes import recorded

from nightshift.driving.drivers import ConstantSpeed, IdmDriver, LogReplay, PolicyDriver
from nightshift.driving.history import History
from nightshift.driving.pack import Pack
from nightshift.driving.rollout import drive
from nightshift.driving.scenario import EgoStart, Scenario
from nightshift.driving.score import closed_loop
from nightshift.driving.world import World
from nightshift.errors import UsageError


def gaps(history: History, car: int = 0) -> np.ndarray:
    """Bumper to bumper to a car ahead on the straight road, m."""
    front = history.x + history.scenario.ego.length_m - history.scenario.ego.rear_m
    return history.cars_x[:, car] - history.cars_length_m[car] / 2 - front


def alone(**given: object) -> Scenario:
    return scenario(cars=0, length_m=600.0, **given)  # type: ignore[arg-type]


def test_the_idm_driver_settles_behind_a_slower_car() -> None:
    slow = cars_at([(0, 110.0)], speed_mps=8.0, desired_mps=8.0)
    history = drive(IdmDriver(), [scenario(traffic=slow, duration_s=30.0, length_m=600.0)])[0]
    assert history.ending == "timed_out"
    ahead = history.cars_speed_mps[-1, 0]
    assert history.speed_mps[-1] == pytest.approx(ahead, abs=0.3)
    # IDM's gap at a common speed: (s0 + T v) / sqrt(1 - (v / v0)^4).
    want = (1.0 + 1.5 * ahead) / np.sqrt(1 - (ahead / 20.0) ** 4)
    assert gaps(history)[-1] == pytest.approx(want, abs=1.0)
    assert closed_loop(history).no_at_fault_collision == 1.0


def test_the_idm_driver_keeps_to_its_devkit_limits() -> None:
    slow = cars_at([(0, 90.0)], speed_mps=2.0, desired_mps=2.0)
    history = drive(IdmDriver(), [scenario(traffic=slow, duration_s=10.0)])[0]
    assert history.action[:, 0].min() == pytest.approx(-3.0)
    assert drive(IdmDriver(), [alone(speed_mps=1.0)])[0].action[:, 0].max() <= 1.0


def test_the_idm_driver_slows_down_before_a_lower_limit_and_keeps_it() -> None:
    made = alone(duration_s=30.0)
    limit = np.where(np.arange(len(made.route.x)) < 250, 20.0, 8.0)
    history = drive(IdmDriver(), [replace(made, route=replace(made.route, limit_mps=limit))])[0]
    there = history.s_m > 250.0
    assert there.any()
    assert history.speed_mps[there].max() < 9.2
    assert history.speed_mps[~there].max() > 14.0
    assert history.action[:, 0].min() > -2.5


def test_the_idm_driver_takes_bends_at_a_speed_that_passengers_bear() -> None:
    history = drive(IdmDriver(), [scenario(cars=0, curvature=1 / 40.0, length_m=200.0, speed_mps=9.0)])[0]
    sideways = history.speed_mps**2 / 40.0
    assert 1.8 < sideways.max() < 2.7
    assert np.abs(history.d_m).max() < 0.3


def test_pursuit_returns_to_the_line() -> None:
    start = EgoStart(s_m=60.0, d_m=1.0, heading=0.05, speed_mps=15.0)
    history = drive(ConstantSpeed(), [replace(alone(), ego=start)])[0]
    assert np.abs(history.d_m[40:]).max() < 0.1
    assert np.diff(history.speed_mps) == pytest.approx(0.0)


def test_constant_speed_runs_into_who_is_slower() -> None:
    slow = cars_at([(0, 110.0)], speed_mps=8.0, desired_mps=8.0)
    history = drive(ConstantSpeed(), [scenario(traffic=slow)])[0]
    assert history.ending == "collision"
    assert closed_loop(history).no_at_fault_collision == 0.0


def test_a_policy_sees_what_the_world_shows_and_is_obeyed() -> None:
    seen = []

    def answer(observation: np.ndarray) -> np.ndarray:
        seen.append(observation)
        return np.tile(np.float32([0.5, 0.0]), (len(observation), 1))

    history = drive(PolicyDriver(answer), [alone(duration_s=4.0)], observations=True)[0]
    assert (np.concatenate(seen) == history.observation).all()
    assert (history.action == [0.5, 0.0]).all()
    assert history.speed_mps[-1] == pytest.approx(15.0 + 0.5 * (4.0 - 0.2), abs=0.01)


def test_log_replay_drives_as_recorded() -> None:
    made = recorded()
    history = drive(LogReplay(), [made])[0]
    tracks = made.tracks
    assert tracks is not None
    n = len(history.x)
    assert n == len(tracks.x)
    for name in ("x", "y", "heading", "speed_mps"):
        assert (getattr(history, name) == getattr(tracks, name)[:n, 0]).all(), name
    assert history.accel_mps2[1:] == pytest.approx(np.diff(tracks.speed_mps[:n, 0]) / 0.2)
    assert history.accel_mps2[0] == history.accel_mps2[1]
    assert history.s_m == pytest.approx(tracks.x[:n, 0])
    assert closed_loop(history).progress == 1.0


def test_what_was_not_recorded_is_not_replayed() -> None:
    with pytest.raises(UsageError, match="no recording"):
        drive(LogReplay(), [scenario()])
    with pytest.raises(UsageError, match="no recording"):
        drive(LogReplay(), [recorded(), scenario()])


def test_rules_drive_worlds_of_torch_alike() -> None:
    pack = Pack.of([scenario(curvature=1 / 150.0)])
    worlds = World(pack, 2), World(pack, 2, xp=torch)
    for world in worlds:
        world.reset()
    for _ in range(20):
        asked = IdmDriver().act(worlds[0]), IdmDriver(xp=torch).act(worlds[1])
        assert np.abs(asked[0] - asked[1].numpy()).max() < 1e-9
        for world, action in zip(worlds, asked, strict=True):
            world.step(action)
