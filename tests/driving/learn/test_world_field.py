"""The world as learners drive it, and policies judged on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.driving import scenario

from nightshift.driving.action import physical, route_steer
from nightshift.driving.history import History
from nightshift.driving.learn.evaluation import ClosedLoop, answer_of, driver_of
from nightshift.driving.learn.field import Tally
from nightshift.driving.learn.world_field import WorldField
from nightshift.driving.observe import N_OBS, SPEED, SPEED_SCALE, WAY
from nightshift.driving.pack import Pack
from nightshift.driving.rollout import drive
from nightshift.driving.score import closed_loop
from nightshift.driving.world import World
from nightshift.nets.device import seeded
from nightshift.nets.policy import Policy, PolicyShape

ENVS = 6


def a_field(seed: int = 1) -> WorldField:
    return WorldField(World(Pack.of([scenario(cars=3), scenario(cars=5)]), ENVS, seed=seed))


def actions(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(-1, 1, (ENVS, 2)).astype(np.float32) for _ in range(n)]


def a_policy() -> Policy:
    with seeded(1, torch.device("cpu")):
        return Policy(PolicyShape(observation=N_OBS, hidden=(8,)))


def test_steps_in_arrays_are_sb3s_steps() -> None:
    ours, theirs = a_field(), a_field()
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    ended = 0
    for action in actions(90):
        happened = ours.advance(action)
        observation, reward, done, infos = theirs.step(action)
        np.testing.assert_array_equal(happened.observation, observation)
        np.testing.assert_array_equal(happened.reward, reward)
        np.testing.assert_array_equal(happened.terminated | happened.truncated, done)
        for i in np.flatnonzero(done):
            ended += 1
            np.testing.assert_array_equal(happened.final[i], infos[i]["terminal_observation"])
            assert happened.truncated[i] == infos[i]["TimeLimit.truncated"]
            assert happened.ended.returned[i] == infos[i]["episode"]["r"] != 0.0
            assert happened.ended.steps[i] == infos[i]["episode"]["l"] > 0
    assert ended > 2


def test_it_goes_on_from_its_state() -> None:
    whole, taken_up = a_field(), a_field(seed=2)
    whole.reset()
    taken_up.reset()
    some = actions(40)
    for action in some[:20]:
        whole.advance(action)
    taken_up.load_state_dict(whole.state_dict())
    for action in some[20:]:
        one, other = whole.advance(action), taken_up.advance(action)
        np.testing.assert_array_equal(one.observation, other.observation)
        np.testing.assert_array_equal(one.reward, other.reward)


def test_a_tally_counts_episodes_and_keeps_its_sums() -> None:
    field, tally = a_field(), Tally()
    field.reset()
    assert tally.take() == {}
    returns = []
    for n, action in enumerate(actions(110)):
        ended = field.advance(action).ended
        tally.add(ended)
        returns += ended.returned[ended.done].tolist()
        if n == 40:
            kept = tally.state_dict()
            tally = Tally()
            tally.load_state_dict(kept)
    figures = tally.take()
    assert figures["episodes"] == len(returns) > 3
    assert figures["mean_reward"] == pytest.approx(np.mean(returns))
    assert 0 <= figures["collision"] <= 1
    assert tally.take() == {}


def test_a_policy_is_driven_as_it_was_trained() -> None:
    policy = a_policy()
    seen = np.random.default_rng(0).uniform(-1, 1, (20, N_OBS)).astype(np.float32)
    seen[:, SPEED] = np.linspace(0, 1.4, 20)
    with torch.no_grad():
        squashed = policy(torch.from_numpy(seen)).numpy()
    speed = seen[:, SPEED].astype(np.float64) * SPEED_SCALE
    along = route_steer(np, *(seen[:, places].astype(np.float64) * scale for places, scale in WAY), speed)
    wanted = physical(np, squashed.astype(np.float64), speed, along)
    said = answer_of(policy)(seen)
    assert said.dtype == np.float32
    np.testing.assert_allclose(said, wanted, atol=1e-5)


def test_a_judge_drives_every_scenario_and_draws_one(tmp_path: Path) -> None:
    scenarios, policy = [scenario(cars=2, name="a"), scenario(cars=0, name="b")], a_policy()
    judged = ClosedLoop(scenarios, traffic="idm", seed=0)(policy)
    histories: list[History] = drive(driver_of(policy), scenarios)
    assert judged.score == pytest.approx(np.mean([closed_loop(h).score for h in histories]))
    assert {"val_collision", "val_progress", "val_comfort"} <= set(judged.figures)
    assert judged.draw is not None
    judged.draw(tmp_path / "step_1.gif")
    assert (tmp_path / "step_1.gif").read_bytes().startswith(b"GIF89a")
    assert (tmp_path / "step_1.png").read_bytes().startswith(b"\x89PNG")
    assert ClosedLoop(scenarios, traffic="idm", seed=0, pictures=False)(policy).draw is None
