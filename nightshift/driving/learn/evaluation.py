"""A policy judged while it learns: driven once through each validation scenario, scored in closed loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nightshift.driving.action import physical, route_steer
from nightshift.driving.drivers import PolicyDriver
from nightshift.driving.history import History
from nightshift.driving.learn.judging import Judged
from nightshift.driving.observe import SPEED, SPEED_SCALE, WAY
from nightshift.driving.rollout import drive
from nightshift.driving.scenario import Scenario
from nightshift.driving.score import Score, closed_loop, mean_measures
from nightshift.nets.policy import LIMIT, Policy, known

Floats = NDArray[np.float32]


def answer_of(policy: Policy) -> Callable[[Floats], Floats]:
    """Return what a policy asks of the car: `(n, N_OBS)` -> `(n, 2)` acceleration in m/s2 and steering in rad.

    The speed, on which the limit of the steering depends, is read from the observation, as on a device: see
    `speed_seen`.
    """
    policy = policy.eval()

    def answer(observation: Floats) -> Floats:
        with torch.no_grad():
            squashed = policy(torch.from_numpy(np.ascontiguousarray(observation))).numpy()
        speed = speed_seen(observation)
        asked: Floats = physical(np, squashed, speed, along_seen(observation, speed)).astype(np.float32)
        return asked

    return answer


def speed_seen(observation: Floats) -> Floats:
    """Return the speed in observations `(n, N_OBS)`, `(n,)` m/s, as `graphs.policies.add_physical` reads it.

    One that is missing, endless or beyond any scale counts as fast: standing would allow full lock.
    """
    seen = observation[:, SPEED]
    return np.where(np.abs(seen) <= LIMIT, seen, np.float32(LIMIT)) * np.float32(SPEED_SCALE)


def along_seen(observation: Floats, speed: Floats) -> Floats:
    """Return the steering that follows the route in observations `(n, N_OBS)`, `(n,)` rad, as the exported graph does.

    What is missing or endless counts as 0 there, as for the policy.
    """
    way_x, way_y = (known(torch.from_numpy(np.ascontiguousarray(observation[:, w]))).numpy() * s for w, s in WAY)
    steer: Floats = route_steer(np, way_x, way_y, speed)
    return steer


def driver_of(policy: Policy) -> PolicyDriver:
    """Return a policy as a driver."""
    return PolicyDriver(answer_of(policy))


class ClosedLoop:
    """Judges policies on the same scenarios, traffic and noise each time (`learn.judging.Judge`)."""

    def __init__(self, scenarios: Sequence[Scenario], *, traffic: str, seed: int, pictures: bool = True) -> None:
        """Remember what to drive.

        Args:
            scenarios: of validation.
            traffic: model of the other cars.
            seed: of its noise.
            pictures: whether an episode is drawn.
        """
        self.scenarios, self.traffic, self.seed, self.pictures = scenarios, traffic, seed, pictures

    def __call__(self, policy: Policy) -> Judged:
        """Drive and score; the episode to be drawn is the first of those that are nearest to the mean."""
        histories = drive(driver_of(policy), self.scenarios, traffic=self.traffic, seed=self.seed)
        scores = [closed_loop(history) for history in histories]
        figures: dict[str, Any] = mean_measures(scores)
        score = figures.pop("score")
        told = {f"val_{name}": value for name, value in figures.items()}
        return Judged(score, told, self._drawing(histories, scores) if self.pictures else None)

    def _drawing(self, histories: Sequence[History], scores: Sequence[Score]) -> Callable[[Path], None]:
        values = np.array([score.score for score in scores])
        shown = int(np.abs(values - values.mean()).argmin())

        def draw(path: Path) -> None:
            from nightshift.driving.pictures import animated, strip

            animated(histories[shown], path, score=scores[shown])
            strip(histories[shown], path.with_suffix(".png"), score=scores[shown])

        return draw
