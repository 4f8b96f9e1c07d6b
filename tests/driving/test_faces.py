from __future__ import annotations

import warnings
from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3
from stable_baselines3.common.vec_env import VecMonitor
from support.driving import scenario

from nightshift.driving.action import physical
from nightshift.driving.faces import NAME
from nightshift.driving.faces.gym_env import ADPlanning
from nightshift.driving.faces.sb3_env import DrivingVecEnv
from nightshift.driving.faces.vector_env import ADPlanningVector
from nightshift.driving.observe import N_OBS
from nightshift.driving.pack import Pack
from nightshift.driving.world import World
from nightshift.errors import UsageError


@pytest.fixture(scope="module")
def pack() -> Pack:
    return Pack.of([scenario("long", cars=4), scenario("short", cars=4, duration_s=1.0)])


@pytest.fixture
def made(pack: Pack) -> Iterator[gymnasium.Env]:
    env = gymnasium.make(NAME, scenarios=pack)
    yield env
    env.close()


def test_gymnasiums_checker_passes_it() -> None:
    # With scenarios that it makes by itself, as a user gets it first.
    check_env(gymnasium.make(f"nightshift.driving.faces:{NAME}", scaled=True, count=2).unwrapped)


def test_with_physical_actions_the_checker_remarks_on_their_bounds_alone(made: gymnasium.Env) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check_env(made.unwrapped)
    assert ["symmetric and normalized" in str(w.message) for w in told] == [True]


def test_sb3s_checker_passes_it(pack: Pack) -> None:
    check_env_of_sb3(ADPlanning(pack, scaled=True))


def test_an_episode_ends_once_and_tells_how(made: gymnasium.Env) -> None:
    observation, info = made.reset(seed=1, options={"scenario": "short"})
    assert info == {"scenario": "short"}
    for step in range(5):
        seen, _, terminated, truncated, told = made.step(np.zeros(2, np.float32))
        assert (terminated, truncated) == (False, step == 4)
    assert told["ending"] == "timed_out"
    assert told["episode"]["l"] == 5
    assert not np.array_equal(seen, observation)
    again, _ = made.reset()
    assert not np.array_equal(again, seen)
    with pytest.raises(UsageError, match="no scenario 'nowhere'"):
        made.reset(options={"scenario": "nowhere"})


def test_resets_without_a_seed_go_on_through_the_scenarios(made: gymnasium.Env) -> None:
    made.reset(seed=1)
    assert {made.reset()[1]["scenario"] for _ in range(12)} == {"long", "short"}


def test_vectors_hand_the_last_observation_over_as_gymnasium_names_it(pack: Pack) -> None:
    envs = gymnasium.make_vec(NAME, num_envs=6, vectorization_mode="vector_entry_point", scenarios=pack)
    assert isinstance(envs.unwrapped, ADPlanningVector)
    first, _ = envs.reset(seed=3)
    assert envs.observation_space.contains(first)
    for _ in range(5):
        seen, _, terminated, truncated, told = envs.step(np.zeros((6, 2), np.float32))
    assert truncated.any()
    assert not truncated.all()
    assert np.array_equal(told["_final_obs"], terminated | truncated)
    assert set(told["final_info"]["ending"]) == {"", "timed_out"}
    assert np.array_equal(told["final_info"]["scenario"] == "short", truncated)
    # After the end one sees the next start, and in `final_obs` the end: 15 m further on.
    place = 17
    assert not np.array_equal(seen[truncated], told["final_obs"][truncated])
    assert (seen[truncated][:, place] >= told["final_obs"][truncated][:, place]).all()
    envs.close()


def test_sb3_gets_infos_of_ended_episodes_alone_and_scaled_actions(pack: Pack) -> None:
    world = World(pack, 6, seed=3)
    env = DrivingVecEnv(world)
    env.seed(3)
    env.reset()
    asked = np.full((6, 2), 0.5, np.float32)
    steered = physical(np, asked.astype(float), world.ego.speed, world.along())[:, 1]
    env.step(asked)
    assert world.ego.steer == pytest.approx(steered * (1 - np.exp(-4.0)))
    env.reset()
    for _ in range(5):
        _, _, done, infos = env.step(np.zeros((6, 2), np.float32))
    assert done.any()
    assert not done.all()
    for over, info in zip(done, infos, strict=True):
        assert bool(info) is bool(over)
        if over:
            assert info["TimeLimit.truncated"]
            assert info["terminal_observation"].shape == (N_OBS,)
            assert info["episode"]["l"] == 5


def test_ppo_learns_on_it(pack: Pack) -> None:
    env = VecMonitor(DrivingVecEnv(World(pack, 4)))
    PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0, device="cpu").learn(64)
    assert env.get_attr("world", [0, 1])[0].count.step.max() > 0
    assert env.env_method("state_dict", indices=0)[0]["seed"] == 0
    assert env.env_is_wrapped(VecMonitor) == [False] * 4


def test_a_world_has_its_attributes_as_a_whole(pack: Pack) -> None:
    env = DrivingVecEnv(World(pack, 4))
    env.set_attr("remark", 1)
    assert env.get_attr("remark") == [1] * 4
    with pytest.raises(UsageError, match="of all environments"):
        env.set_attr("remark", 2, [0])
