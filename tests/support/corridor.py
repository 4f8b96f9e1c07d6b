"""A toy to drive on: a lane one metre to either side, a slow car ahead; faster is better, touching anything is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nightshift.driving.facts import ENDINGS, Ended
from nightshift.driving.imitate.demonstrations import Demonstrations
from nightshift.driving.learn.field import Advanced, Flags, Floats
from support.toy_field import ToyField

STEP_S, STEPS = 0.2, 40
AHEAD_MPS = 6.0
#: Of the observation: aside, speed, gap, one.
INPUTS, SPEED_AT, SPEED_SCALE = 4, 1, 20.0


class Corridor(ToyField):
    """`b` cars; acceleration is the first number of an action."""

    def __init__(self, num_envs: int, seed: int) -> None:
        self.failures: list[tuple[bool, float]] = []
        super().__init__(num_envs, INPUTS, seed)

    def reset(self) -> Floats:
        n = self.num_envs
        self.aside, self.speed, self.gap = np.zeros(n), np.zeros(n), np.zeros(n)
        self.returned, self.n = np.zeros(n), np.zeros(n, np.int64)
        self._begin(np.ones(n, np.bool_))
        return self._seen()

    def _seen(self) -> Floats:
        told = [self.aside, self.speed / SPEED_SCALE, self.gap / 50.0, np.ones(self.num_envs)]
        return np.stack(told, axis=1).astype(np.float32)

    def advance(self, action: Floats) -> Advanced:
        accel = np.where(action[:, 0] < 0, 6.0, 3.0) * action[:, 0].astype(np.float64)
        self.speed = np.clip(self.speed + accel * STEP_S, 0.0, 20.0)
        self.aside = self.aside + 0.5 * action[:, 1] + 0.05 * self.rng.standard_normal(self.num_envs)
        self.gap = self.gap - (self.speed - AHEAD_MPS) * STEP_S
        failed = (self.gap <= 0.0) | (np.abs(self.aside) > 1.0)
        reward = np.where(failed, -1.0, 0.02 * self.speed)
        self.returned, self.n = self.returned + reward, self.n + 1
        late = ~failed & (self.n >= STEPS)
        done, final = failed | late, self._seen()
        self.failures += [(bool(f), float(r)) for f, r in zip(failed[done], self.returned[done], strict=True)]
        ended = Ended(
            done=done,
            scenario=np.zeros(self.num_envs, np.int64),
            returned=self.returned.copy(),
            steps=self.n.copy(),
            ending=np.where(failed, ENDINGS.index("collision"), ENDINGS.index("timed_out")),
            progress=np.clip(self.returned / 6.0, 0, 1),
            collided=failed.copy(),
        )
        self._begin(done)
        return Advanced(self._seen(), final, reward.astype(np.float32), failed, late, ended)

    def state_dict(self) -> dict[str, Any]:
        cars = {name: getattr(self, name) for name in ("aside", "speed", "gap")}
        return {**super().state_dict(), **cars}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.aside, self.speed, self.gap = state["aside"], state["speed"], state["gap"]

    def _begin(self, which: Flags) -> None:
        fresh = self.rng.uniform(size=(3, self.num_envs))
        self.x = self.aside = np.where(which, fresh[0] - 0.5, self.aside)
        self.speed = np.where(which, 10.0 * fresh[1], self.speed)
        self.gap = np.where(which, 10.0 + 20.0 * fresh[2], self.gap)
        self.n, self.returned = np.where(which, 0, self.n), np.where(which, 0.0, self.returned)


def expert(observation: Floats) -> Floats:
    """Keep to the middle, at a distance of a second and a half."""
    aside, speed, gap = observation[:, 0], observation[:, 1] * SPEED_SCALE, observation[:, 2] * 50.0
    wanted = AHEAD_MPS + 0.3 * (gap - 1.5 * speed - 2.0)
    accel = np.clip(0.5 * (np.minimum(wanted, 12.0) - speed), -1.0, 1.0)
    out: Floats = np.stack([accel, np.clip(-1.2 * aside, -1.0, 1.0)], axis=1).astype(np.float32)
    return out


def demonstrations(steps: int, seed: int, n_envs: int = 16, *, random: bool = False) -> Demonstrations:
    """Watch the expert; `random` keeps anything else's actions in place of its own."""
    field, rng = Corridor(n_envs, seed), np.random.default_rng(seed)
    observation, rows, episode = field.reset(), [], np.arange(n_envs)
    for _ in range(steps):
        action = expert(observation)
        if random:
            action = rng.uniform(-1.0, 1.0, action.shape).astype(np.float32)
        happened = field.advance(action)
        rows.append((observation, action, episode, happened.terminated))
        episode = np.where(happened.terminated | happened.truncated, episode + n_envs, episode)
        observation = happened.observation
    order = np.argsort(np.concatenate([r[2] for r in rows]), kind="stable")
    parts = [np.concatenate([r[i] for r in rows])[order] for i in range(4)]
    return Demonstrations(parts[0], parts[1], parts[2].astype(np.int64), parts[3])


def drive(policy: torch.nn.Module, steps: int, seed: int, n_envs: int = 32) -> tuple[float, float]:
    """Return the mean return and the share of episodes that failed."""
    field = Corridor(n_envs, seed)
    observation = field.reset()
    for _ in range(steps):
        with torch.no_grad():
            observation = field.advance(policy(torch.from_numpy(observation)).numpy()).observation
    return float(np.mean([e for _, e in field.failures])), float(np.mean([f for f, _ in field.failures]))
