"""What all faces are made of: scenarios where none are given, the spaces, and what is told of an ended episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from nightshift.driving.action import HIGH, LOW, physical
from nightshift.driving.facts import ENDINGS, Ended
from nightshift.driving.made import make
from nightshift.driving.observe import CLIP, N_OBS
from nightshift.driving.pack import Pack
from nightshift.driving.reward import RewardSettings
from nightshift.driving.scenario import Scenario
from nightshift.driving.world import World

Given = Pack | Sequence[Scenario] | None


def world_of(
    scenarios: Given, n_envs: int, *, kinds: Sequence[str], count: int, traffic: str, reward: RewardSettings | None
) -> World:
    """Make the world of a face.

    Args:
        scenarios: to drive; for None, `count` of `kinds` in turn are made, seeds 0 and up.
        n_envs: environments.
        kinds, count: of made scenarios.
        traffic: model's name.
        reward: what steps are worth.
    """
    if scenarios is None:
        scenarios = [make(kinds[i % len(kinds)], i // len(kinds)) for i in range(count)]
    pack = scenarios if isinstance(scenarios, Pack) else Pack.of(scenarios)
    return World(pack, n_envs, traffic=traffic, reward=reward)


def observation_space() -> spaces.Box:
    """Of one environment."""
    return spaces.Box(-CLIP, CLIP, (N_OBS,), np.float32)


def action_space(scaled: bool) -> spaces.Box:
    """Of one environment: acceleration in m/s2 and steering in rad, or both from -1 to 1."""
    if scaled:
        return spaces.Box(-1.0, 1.0, (2,), np.float32)
    return spaces.Box(LOW.astype(np.float32), HIGH.astype(np.float32), dtype=np.float32)


def asked(world: World, action: NDArray[Any], scaled: bool) -> NDArray[np.float64]:
    """Return `(envs, 2)` acceleration and steering of what a face was given."""
    action = np.asarray(action, np.float64).reshape(world.n_envs, 2)
    made: NDArray[np.float64] = physical(np, action, world.ego.speed, world.along()) if scaled else action
    return made


def told(world: World, ended: Ended, row: int) -> dict[str, Any]:
    """Return what an `info` says of the episode that ended in environment `row`."""
    steps, returned = int(ended.steps[row]), float(ended.returned[row])
    return {
        "scenario": world.pack.names[int(ended.scenario[row])],
        "ending": ENDINGS[int(ended.ending[row])],
        "progress": float(ended.progress[row]),
        "collided": bool(ended.collided[row]),
        "episode": {"r": returned, "l": steps},
    }
