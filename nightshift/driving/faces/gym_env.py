"""`ADPlanning-v0` as a `gymnasium.Env`: one environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from nightshift.driving.faces import given
from nightshift.driving.reward import RewardSettings
from nightshift.driving.scenario import STEP_S
from nightshift.errors import UsageError

Observation = NDArray[np.float32]
Action = NDArray[np.float32]


class ADPlanning(gymnasium.Env[Observation, Action]):
    """One car that drives one scenario after the other.

    Attributes:
        world: behind it, a batch of one.
    """

    metadata = {"render_modes": [], "render_fps": round(1 / STEP_S)}

    def __init__(
        self,
        scenarios: given.Given = None,
        *,
        kinds: Sequence[str] = ("highway",),
        count: int = 8,
        traffic: str = "idm",
        reward: RewardSettings | None = None,
        scaled: bool = False,
        render_mode: str | None = None,
    ) -> None:
        """Make it; `scaled`: actions from -1 to 1; the rest as `faces.given.world_of` has it."""
        self.world = given.world_of(scenarios, 1, kinds=kinds, count=count, traffic=traffic, reward=reward)
        self.observation_space: gymnasium.Space[Any] = given.observation_space()
        self.action_space: gymnasium.Space[Any] = given.action_space(scaled)
        self._scaled = scaled
        self.render_mode = render_mode
        self._next: Observation | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin the next episode: the first one of `seed`, where one is given.

        Args:
            seed: of the order of scenarios and of the traffic.
            options: `scenario`: the name of the one to drive.

        Raises:
            UsageError: there is no such scenario.
        """
        super().reset(seed=seed)
        world, name = self.world, (options or {}).get("scenario")
        if name is not None:
            if name not in world.pack.names:
                raise UsageError(f"there is no scenario '{str(name)[:80]}' in this environment.")
            first = int(self.np_random.integers(2**31)) if seed is None else seed
            observation = world.reset(first, [world.pack.names.index(name)])[0]
        elif seed is not None or world.now is None:
            observation = world.reset(int(self.np_random.integers(2**31)) if seed is None else seed)[0]
        else:
            observation = world.abandon()[0] if self._next is None else self._next
        self._next = None
        return observation, {"scenario": world.pack.names[int(world.ride.scenario[0])]}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Drive one step of `STEP_S`; `action` is `(2,)`, acceleration in m/s2 and steering in rad unless `scaled`."""
        world = self.world
        observation, gained, terminated, truncated, ended = world.step(given.asked(world, action, self._scaled))
        over, first = bool(ended.done[0]), observation[0]
        if over:
            # The world has begun the next episode already; it waits for `reset`.
            first, self._next = world.final_obs[0].copy(), first
        info = given.told(world, ended, 0) if over else {}
        return first, float(gained[0]), bool(terminated[0]), bool(truncated[0]), info
