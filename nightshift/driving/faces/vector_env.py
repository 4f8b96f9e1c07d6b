"""`ADPlanning-v0` as a `gymnasium.vector.VectorEnv`: any number at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from nightshift.driving.faces import given
from nightshift.driving.facts import ENDINGS, Ended
from nightshift.driving.reward import RewardSettings
from nightshift.driving.scenario import STEP_S

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


class ADPlanningVector(VectorEnv[Floats, Floats, NDArray[Any]]):
    """Environments in one batch; one that ends begins its next episode in the same step.

    `info` of a step in which some end has `final_obs` `(envs, n)` and `final_info`, a dictionary of arrays, both with
    their masks `_final_obs` and `_final_info`, as gymnasium names them.

    Attributes:
        world: behind it.
    """

    metadata = {"render_modes": [], "render_fps": round(1 / STEP_S), "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        scenarios: given.Given = None,
        num_envs: int = 8,
        *,
        kinds: Sequence[str] = ("highway",),
        count: int = 8,
        traffic: str = "idm",
        reward: RewardSettings | None = None,
        scaled: bool = False,
        render_mode: str | None = None,
    ) -> None:
        """Make them; `scaled`: actions from -1 to 1; the rest as `faces.given.world_of` has it."""
        self.world = given.world_of(scenarios, num_envs, kinds=kinds, count=count, traffic=traffic, reward=reward)
        self._scaled = scaled
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_observation_space, self.single_action_space = given.observation_space(), given.action_space(scaled)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Begin anew: with the first scenarios of `seed` where one is given, else with the next ones."""
        super().reset(seed=seed)
        world = self.world
        if seed is None and world.now is not None:
            return world.abandon(), {}
        return world.reset(int(self.np_random.integers(2**31)) if seed is None else seed), {}

    def step(self, actions: Floats) -> tuple[Floats, Floats, Flags, Flags, dict[str, Any]]:
        """Drive one step; `actions` are `(envs, 2)`, acceleration in m/s2 and steering in rad unless `scaled`."""
        world = self.world
        observation, gained, terminated, truncated, ended = world.step(given.asked(world, actions, self._scaled))
        return observation, gained, terminated, truncated, self._info(ended)

    def _info(self, ended: Ended) -> dict[str, Any]:
        if not ended.done.any():
            return {}
        names = np.array(self.world.pack.names)
        final = {
            "scenario": names[ended.scenario],
            "ending": np.where(ended.done, np.array(ENDINGS)[ended.ending], ""),
            "progress": ended.progress,
            "collided": ended.collided,
            "episode": {"r": ended.returned, "l": ended.steps},
        }
        done = ended.done
        return {
            "final_obs": self.world.final_obs.copy(),
            "_final_obs": done,
            "final_info": final,
            "_final_info": done,
        }
