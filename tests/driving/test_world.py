from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from array_api_compat import torch as xp_torch
from support.driving import Still, cars_at, scenario

from nightshift.driving.facts import ENDINGS
from nightshift.driving.made import MADE, make
from nightshift.driving.observe import N_OBS
from nightshift.driving.pack import Pack
from nightshift.driving.reward import RewardSettings
from nightshift.driving.world import World
from nightshift.errors import UsageError


@pytest.fixture(scope="module")
def pack() -> Pack:
    """One made scenario of each kind: all roads, and traffic that meets, merges and gives way."""
    return Pack.of([make(kind, 1) for kind in MADE])


def actions(steps: int, envs: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(steps, envs, 2)) * [1.5, 0.01] + [0.5, 0.0]


def driven(world: World, wanted: np.ndarray, scenario: Sequence[int] | None = None) -> dict[str, np.ndarray]:
    """Observations, rewards, endings and states of a drive, as NumPy arrays `(steps, envs, ...)`."""
    told: dict[str, list[Any]] = {"observation": [world.reset(scenario=scenario)]}
    for action in wanted:
        asked = xp_torch.asarray(action) if isinstance(world.ego.x, xp_torch.Tensor) else action
        observation, reward, terminated, truncated, ended = world.step(asked)
        row = {"observation": observation, "reward": reward, "terminated": terminated, "truncated": truncated}
        row |= {"ending": ended.ending, "progress": ended.progress, "final": world.final_obs + 0.0}
        row |= {name: value for name, value in world.state_dict().items() if name != "seed"}
        for name, value in row.items():
            told.setdefault(name, []).append(value)
    return {name: np.stack([np.asarray(v).copy() for v in values]) for name, values in told.items()}


@pytest.mark.parametrize("traffic", ["idm", "gipps"])
def test_the_same_bytes_come_out_of_a_batch_of_any_size(pack: Pack, traffic: str) -> None:
    steps, first = 60, np.arange(64) % pack.scenarios
    wanted = actions(steps, 64)
    all_of_them = driven(World(pack, 64, seed=3, traffic=traffic), wanted, first)
    assert all_of_them["terminated"].any()
    for envs in (1, 3):
        few = driven(World(pack, envs, seed=3, traffic=traffic), wanted[:, :envs], first[:envs])
        for name, value in few.items():
            assert value.tobytes() == all_of_them[name][:, :envs].tobytes(), name


@pytest.mark.parametrize("traffic", ["idm", "gipps"])
def test_torch_drives_the_same_within_a_billionth(pack: Pack, traffic: str) -> None:
    envs, first = 10, np.arange(10) % pack.scenarios
    wanted = actions(100, envs)
    here = driven(World(pack, envs, seed=3, traffic=traffic), wanted, first)
    there = driven(World(pack, envs, seed=3, traffic=traffic, xp=xp_torch), wanted, first)
    for name, value in here.items():
        within = 1e-6 if value.dtype == np.float32 else 1e-9 if value.dtype == np.float64 else 0
        assert there[name].dtype == value.dtype
        assert np.abs(there[name].astype(float) - value.astype(float)).max() <= within, name


@pytest.mark.parametrize("traffic", ["idm", "gipps"])
def test_a_saved_state_goes_on_exactly(pack: Pack, traffic: str) -> None:
    wanted = actions(90, 6)
    whole = World(pack, 6, seed=5, traffic=traffic)
    driven(whole, wanted[:40])
    state, rest = whole.state_dict(), []
    for action in wanted[40:]:
        rest.append(whole.step(action)[:4])
    again = World(pack, 6, seed=9, traffic=traffic)
    observation = again.load_state_dict(state)
    assert observation.shape == (6, N_OBS)
    for action, before in zip(wanted[40:], rest, strict=True):
        for new, old in zip(again.step(action)[:4], before, strict=True):
            assert new.tobytes() == old.tobytes()


def test_a_state_of_other_environments_is_refused(pack: Pack) -> None:
    state = World(pack, 4).state_dict()
    with pytest.raises(UsageError, match=r"holds shape \(4,\) for ride.scenario, not \(5,\)"):
        World(pack, 5).load_state_dict(state)
    del state["ego.x"]
    with pytest.raises(UsageError, match="holds nothing for ego"):
        World(pack, 4).load_state_dict(state)


def one(of: Any, action: tuple[float, float] = (0.0, 0.0), steps: int = 200, **given: Any) -> tuple[World, Any, int]:
    """Drive one environment till its first episode ends."""
    world = World(Pack.of([of]), 1, traffic=Still(), **given)
    world.reset()
    for number in range(steps):
        _, _, terminated, truncated, ended = world.step(np.array([action]))
        if ended.done[0]:
            assert (terminated | truncated)[0]
            return world, ended, number + 1
    raise AssertionError("the episode never ended")


@pytest.mark.parametrize(
    ("of", "action", "wanted"),
    [
        (scenario(cars=0, goal_m=90.0), (0.0, 0.0), "arrived"),
        (scenario(traffic=cars_at([(0, 90.0)], speed_mps=5.0)), (0.0, 0.0), "collision"),
        (scenario(cars=0), (0.0, -0.1), "off_road"),
        (scenario(cars=0, duration_s=3.0), (0.0, 0.0), "timed_out"),
    ],
    ids=["arrived", "collision", "off_road", "timed_out"],
)
def test_episodes_end_as_they_should(of: Any, action: tuple[float, float], wanted: str) -> None:
    world, ended, steps = one(of, action)
    assert ENDINGS[ended.ending[0]] == wanted
    assert ended.steps[0] == steps
    assert ended.collided[0] == (wanted == "collision")
    # The next episode has begun, and what was seen last is kept.
    assert (world.count.step[0], world.ego.x[0]) == (0, 60.0)
    assert world.final_obs[0, 17] < 1.5 or wanted != "arrived"


def test_the_time_limit_truncates_and_the_rest_terminates() -> None:
    world = World(Pack.of([scenario(cars=0, duration_s=1.0)]), 1, traffic=Still())
    world.reset()
    told = [world.step(np.zeros((1, 2)))[2:4] for _ in range(5)]
    assert [bool(t[1][0]) for t in told] == [False] * 4 + [True]
    assert not any(t[0][0] for t in told)


def test_progress_is_the_share_of_the_experts_metres() -> None:
    from dataclasses import replace

    # 15 m/s for 3 s of the 90 m that the expert drives.
    _, ended, _ = one(replace(scenario(cars=0, duration_s=3.0), expert_m=90.0))
    assert ended.progress[0] == pytest.approx(0.5)
    assert ended.returned[0] == pytest.approx(RewardSettings().completion * 0.5)


def test_what_is_drawn_with_a_seed_is_no_noise_of_what_is_driven_once_with_it(pack: Pack) -> None:
    keys = []
    for order in ("random", "once"):
        world = World(pack, pack.scenarios, seed=4, order=order)
        world.reset()
        keys.append(world.count.key)
    assert not np.isin(keys[0], keys[1]).any()


def test_once_drives_every_scenario_once_and_stands_then() -> None:
    made = [scenario(f"s{i}", cars=0, duration_s=1.0 + i) for i in range(5)]
    world = World(Pack.of(made), 2, traffic=Still(), order="once")
    world.reset()
    driven_ones, steps = [], 0
    while world.running.any():
        ended = world.step(np.zeros((2, 2)))[4]
        driven_ones += [
            (int(n), int(k)) for n, k in zip(ended.scenario[ended.done], ended.steps[ended.done], strict=True)
        ]
        steps += 1
    assert sorted(driven_ones) == [(i, 5 * (i + 1)) for i in range(5)]
    assert steps == 5 + 15 + 25
    _, reward, terminated, truncated, _ = world.step(np.ones((2, 2)))
    assert not (terminated | truncated | (reward != 0)).any()


def test_once_a_scenario_goes_the_same_whoever_drives_it(pack: Pack) -> None:
    def returns(envs: int) -> dict[int, float]:
        world, found = World(pack, envs, seed=4, order="once"), {}
        world.reset()
        while world.running.any():
            ended = world.step(np.full((envs, 2), [0.2, 0.0]))[4]
            found |= dict(zip(ended.scenario[ended.done].tolist(), ended.returned[ended.done].tolist(), strict=True))
        return found

    assert returns(2) == returns(pack.scenarios)


def test_scenarios_are_drawn_evenly_and_by_the_seed() -> None:
    made = Pack.of([scenario(f"s{i}", cars=0, duration_s=0.2) for i in range(4)])

    def drawn(seed: int) -> list[list[int]]:
        world = World(made, 50, seed=seed, traffic=Still())
        world.reset()
        return [world.step(np.zeros((50, 2)))[4].scenario.tolist() for _ in range(40)]

    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    assert np.bincount(np.ravel(first)).min() > 0.2 * np.size(first)


def test_the_ego_is_column_0_for_the_traffic() -> None:
    world = World(Pack.of([scenario(cars=2)]), 1, traffic=Still())
    world.reset()
    for _ in range(5):
        world.step(np.array([[1.0, 0.0]]))
    cars = world.cars
    assert cars.there[0, 0]
    assert cars.lane[0, 0] == 0
    assert cars.x[0, 0] == pytest.approx(world.ego.x[0] + 1.3)
    assert cars.s[0, 0] == pytest.approx(cars.x[0, 0])
    assert cars.speed[0, 0] == world.ego.speed[0] > 15.0


def test_cars_on_lanes_drive_by_the_model_and_never_into_the_ego() -> None:
    world = World(Pack.of([scenario(traffic=cars_at([(0, 40.0), (0, 20.0), (1, 70.0)]))]), 1)
    world.reset()
    for _ in range(40):
        world.step(np.array([[-3.0, 0.0]]))
    assert world.ego.speed[0] == 0.0
    # The one behind has braked, or gone by on the other lane; the one ahead has gone on.
    assert world.cars.speed[0, 1] < 5.0 or world.cars.lane[0, 1] == 1
    assert world.cars.x[0, 3] > 120.0
    assert (world.count.episode[0], world.count.step[0]) == (0, 40)


def test_facts_tell_jerk_and_turning() -> None:
    world = World(Pack.of([scenario(cars=0)]), 1, traffic=Still())
    world.reset()
    world.step(np.array([[2.0, 0.02]]))
    now = world.now
    assert now is not None
    assert now.jerk_mps3[0] == pytest.approx(now.accel_mps2[0] / 0.2)
    assert now.lateral_mps2[0] == pytest.approx(now.speed_mps[0] * now.yaw_rate_radps[0])
    assert now.progress_m[0] == pytest.approx(3.0, abs=0.1)
    assert {len(getattr(now, f.name)) for f in fields(now)} == {1}


def test_driving_against_the_flow_is_told() -> None:
    world = World(Pack.of([scenario(cars=0)]), 1, traffic=Still())
    world.reset()
    world.ego.heading[:] = np.pi
    world.step(np.zeros((1, 2)))
    assert world.now is not None
    assert world.now.wrong_way[0]
    assert world.now.progress_m[0] == 0.0


def test_what_makes_no_world_is_refused(pack: Pack) -> None:
    with pytest.raises(UsageError, match="0 environments"):
        World(pack, 0)
    with pytest.raises(UsageError, match="no traffic model 'nobody'"):
        World(pack, 1, traffic="nobody")


def test_actions_that_are_none_are_refused_by_the_environment_they_are_of() -> None:
    world = World(Pack.of([scenario(cars=0)]), 3, traffic=Still())
    world.reset()
    world.step(np.zeros((3, 2)))
    with pytest.raises(UsageError, match="environment 1 holds a value that is no number after 1 steps"):
        world.step(np.array([[0.0, 0.0], [np.nan, 0.0], [0.0, 0.0]]))
    with pytest.raises(UsageError, match=r"shape \(2, 2\) are no \(3, 2\)"):
        world.step(np.zeros((2, 2)))


def test_scenarios_are_drawn_as_often_as_they_weigh() -> None:
    pack = Pack.of([scenario(name, cars=0) for name in "abc"])
    world = World(pack, 2000, seed=4)
    even = world.reset() is not None and np.bincount(world.ride.scenario, minlength=3)
    assert np.abs(even / 2000 - 1 / 3).max() < 0.05
    world.drive_often([1.0, 0.0, 3.0])
    world.reset()
    drawn = np.bincount(world.ride.scenario, minlength=3)
    assert drawn[1] == 0
    assert drawn[2] / drawn[0] == pytest.approx(3.0, abs=0.5)
    for wrong in ([1.0, 2.0], [0.0, 0.0, 0.0], [1.0, -1.0, 2.0], [1.0, np.nan, 1.0]):
        with pytest.raises(UsageError, match="3 scenarios cannot be drawn"):
            world.drive_often(wrong)
