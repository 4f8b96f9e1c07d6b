"""The world as stable-baselines3's `VecEnv`: actions in [-1, 1], as its learners want them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from nightshift.driving.action import physical
from nightshift.driving.faces import given
from nightshift.driving.world import World
from nightshift.errors import UsageError

Floats = NDArray[np.float32]
Indices = int | Iterable[int] | None


class DrivingVecEnv(VecEnv):
    """A world of NumPy's arrays for `stable_baselines3`.

    Attributes:
        world: behind it; its `state_dict` is all that an exact resume needs.
    """

    render_mode: str | None = None

    def __init__(self, world: World) -> None:
        self.world = world
        self._asked: NDArray[np.float64] = np.zeros((world.n_envs, 2))
        # Nobody writes into an info: those that say nothing are made once.
        self._nothing: list[dict[str, Any]] = [{} for _ in range(world.n_envs)]
        super().__init__(world.n_envs, given.observation_space(), spaces.Box(-1.0, 1.0, (2,), np.float32))

    def reset(self) -> Floats:
        """Begin anew, with the seed that `seed` has set if it has."""
        first: Floats = self.world.reset(self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        return first

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take the actions, `(envs, 2)` in [-1, 1]."""
        world = self.world
        self._asked = physical(np, np.asarray(actions, np.float64), world.ego.speed, world.along())

    def step_wait(self) -> tuple[Floats, Floats, NDArray[np.bool_], list[dict[str, Any]]]:
        """Drive one step; infos say something of the environments whose episode ended."""
        world = self.world
        observation, gained, _, truncated, ended = world.step(self._asked)
        infos = self._nothing.copy()
        for row in np.flatnonzero(ended.done).tolist():
            last = {"terminal_observation": world.final_obs[row].copy(), "TimeLimit.truncated": bool(truncated[row])}
            infos[row] = given.told(world, ended, row) | last
        return observation, gained, ended.done, infos

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute, the same of every environment."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of all environments.

        Raises:
            UsageError: it is asked for some of them.
        """
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise UsageError("an attribute is set of all environments of a world, or of none.")
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the world once, and return its answer for each environment."""
        answer = getattr(self.world, method_name)(*method_args, **method_kwargs)
        return [answer] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """Return False for each environment."""
        return [False] * len(list(self._get_indices(indices)))
