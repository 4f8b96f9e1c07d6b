"""What experts did: observations with the action that followed, of made scenarios (a driver) and recorded ones.

The driver may be disturbed while it drives: what is kept is its own answer, what is driven is that answer pushed aside,
so that examples show how to come back.

Source:
    Disturbances: Laskey et al., DART (arXiv 1703.09327).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.driving import keeping
from nightshift.driving.action import HIGH, physical, squashed
from nightshift.driving.facts import ENDINGS
from nightshift.errors import DataError, InterruptedTraining

if TYPE_CHECKING:
    from nightshift.driving.drivers import Driver
    from nightshift.driving.world import World

#: Raised when demonstrations are recorded in another way; an older file is made anew.
FORMAT = 1
#: Makes demonstrations, with what it imports: drivers, world, traffic and this. Another one's code, other experts.
_MADE_BY = "nightshift.driving.imitate.experts"
#: Share of a disturbance that lasts to the next step: about a second.
_LASTS = 0.8


@dataclass(frozen=True)
class Demonstrations:
    """Steps of experts, one episode after the other.

    Attributes:
        observation: `(n, inputs)` float32.
        action: `(n, 2)` float32, squashed into [-1, 1].
        episode: `(n,)` int64, number of the episode, rising.
        over: `(n,)` bool, the episode ended with this step, and not by the clock.
    """

    observation: NDArray[np.float32]
    action: NDArray[np.float32]
    episode: NDArray[np.int64]
    over: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.action)

    def checked(self) -> Demonstrations:
        """Return them.

        Raises:
            DataError: when there are none, their lengths differ, or a number is missing or out of range.
        """
        n = len(self.action)
        if not n:
            raise DataError("no demonstration: no expert drove a single step.", hint="Land more scenarios.")
        shapes = {f.name: getattr(self, f.name).shape for f in fields(self)}
        if any(shape[0] != n for shape in shapes.values()) or shapes["action"] != (n, 2):
            raise DataError(f"demonstrations must have one action of two numbers for each observation, got {shapes}.")
        if not (np.isfinite(self.observation).all() and np.isfinite(self.action).all()):
            raise DataError(
                "demonstrations hold numbers that are missing or infinite.",
                hint="Look at the recorded scenarios: `nightshift verify`.",
            )
        if np.abs(self.action).max() > 1.0 + 1e-5:
            raise DataError(f"an expert's action must lie in [-1, 1], got {np.abs(self.action).max():g}.")
        return self


def joined(parts: Sequence[Demonstrations]) -> Demonstrations:
    """Put demonstrations behind each other; their episodes are numbered anew.

    Raises:
        DataError: when their observations differ in width.
    """
    widths = {p.observation.shape[1] for p in parts}
    if len(widths) > 1:
        raise DataError(f"demonstrations have observations of different widths: {sorted(widths)}.")
    episodes, before = [], 0
    for part in parts:
        _, number = np.unique(part.episode, return_inverse=True)
        episodes.append(number.astype(np.int64) + before)
        before += int(number.max(initial=-1)) + 1
    return Demonstrations(
        observation=np.concatenate([p.observation for p in parts]),
        action=np.concatenate([p.action for p in parts]),
        episode=np.concatenate(episodes),
        over=np.concatenate([p.over for p in parts]),
    )


@dataclass(frozen=True)
class Disturbance:
    """How an expert is pushed aside while it is watched.

    Attributes:
        accel_mps2, steer_share: standard deviation of what is added to its acceleration, and to its steering as a
            share of what its speed allows.
        share: of the episodes.
    """

    accel_mps2: float = 0.0
    steer_share: float = 0.0
    share: float = 0.5


def watch(
    world: World,
    expert: Driver,
    *,
    disturbance: Disturbance | None = None,
    seed: int = 0,
    should_stop: Callable[[], bool] = bool,
    on_episodes: Callable[[int], None] = lambda _done: None,
) -> Demonstrations:
    """Watch an expert drive every scenario of a world once; episodes that it fails in are left out.

    Args:
        world: of order `once`.
        expert: drives it.
        disturbance: None lets it drive as it wants.
        seed: of the disturbance.
        should_stop: asked at each step.
        on_episodes: hears of how many have ended, whenever one more has.

    Raises:
        DataError: when no episode is left.
        InterruptedTraining: when asked to stop.
    """
    rng, n = np.random.default_rng(seed), world.n_envs
    pushed, push, told = np.zeros(n, np.bool_), np.zeros((n, 2)), disturbance or Disturbance(share=0.0)
    size = np.array([told.accel_mps2 / HIGH[0], told.steer_share])
    observation, begins, episode, steps = world.reset(), np.ones(n, np.bool_), np.arange(n), _Steps()
    done = 0
    while world.running.any():
        if should_stop():
            raise InterruptedTraining("stopped while the experts were watched; nothing is kept of that.")
        runs, speed, along = world.running.copy(), world.ego.speed.copy(), world.along()
        pushed = np.where(begins, rng.random(n) < told.share, pushed)
        push = np.where(begins[:, None], 0.0, _LASTS * push)
        push += np.sqrt(1.0 - _LASTS**2) * size * rng.standard_normal((n, 2))
        answer = squashed(np, expert.act(world), speed, along)
        driven = np.clip(answer + push * pushed[:, None], -1.0, 1.0)
        seen = observation.copy()
        observation, _, terminated, truncated, ended = world.step(physical(np, driven, speed, along))
        begins, failed = terminated | truncated, terminated & (ended.ending != ENDINGS.index("arrived"))
        steps.add(seen[runs], answer[runs], episode[runs], terminated[runs], failed[runs])
        episode = np.where(begins, episode + n, episode)
        if (begins & runs).any():
            done += int((begins & runs).sum())
            on_episodes(done)
    return steps.well_driven()


class _Steps:
    """Steps of all environments as they come."""

    def __init__(self) -> None:
        self._kept: list[tuple[NDArray[Any], ...]] = []

    def add(self, *of_step: NDArray[Any]) -> None:
        """Take in observations, actions, episodes, whether they are over, and whether they failed."""
        self._kept.append(of_step)

    def well_driven(self) -> Demonstrations:
        """Return the episodes that did not fail, one after the other."""
        observation, action, episode, over, failed = (np.concatenate(c) for c in zip(*self._kept, strict=True))
        well = np.flatnonzero(~np.isin(episode, episode[failed]))
        order = well[np.argsort(episode[well], kind="stable")]
        return Demonstrations(
            observation[order].astype(np.float32), action[order].astype(np.float32), episode[order], over[order]
        ).checked()


def kept(folder: Path, facts: Mapping[str, Any], make: Callable[[], Demonstrations]) -> Demonstrations:
    """Return the demonstrations of these facts: read where this very code has kept them, else made and kept.

    Args:
        folder: that is ours.
        facts: what they follow from: the dataset's fingerprint, the part, the observation's layout, the expert.
        make: makes them.
    """
    return keeping.kept(
        folder,
        {"format": FORMAT, **facts},
        _MADE_BY,
        lambda: vars(make()),
        lambda arrays: Demonstrations(**arrays).checked(),
    )
