"""The world as a field: SB3's face to it, and steps in whole arrays beside that."""

from __future__ import annotations

from typing import Any

import numpy as np

from nightshift.driving.action import physical
from nightshift.driving.faces.sb3_env import DrivingVecEnv
from nightshift.driving.learn.field import Advanced, Floats


class WorldField(DrivingVecEnv):
    """A world on NumPy, for learners."""

    def advance(self, action: Floats) -> Advanced:
        """Take actions `(b, 2)` in [-1, 1]: physical ones are made of them by the operators of an exported policy."""
        world = self.world
        asked = physical(np, np.asarray(action, np.float64), world.ego.speed, world.along())
        observation, reward, terminated, truncated, ended = world.step(asked)
        return Advanced(observation, world.final_obs, reward, terminated, truncated, ended)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next steps follow from, arrays and plain values."""
        return self.world.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.world.load_state_dict(state)
