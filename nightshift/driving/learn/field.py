"""What learners drive on: environments stepped together, that say in arrays what happened.

SB3's own step hands a list of dicts, one for each environment, between them; at 1,024 environments those cost more
than the world. A field is an SB3 `VecEnv` all the same: it has SB3's spaces and steps, and `advance` beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.facts import ENDINGS, Ended

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Advanced:
    """One step of `b` environments; those that ended have begun anew.

    Attributes:
        observation: `(b, n)` to act on next.
        final: `(b, n)` what an episode that ended now led to; of the others it has no meaning.
        reward: `(b,)`.
        terminated: `(b,)` by what happened: nothing follows.
        truncated: `(b,)` by the clock: what would have followed is guessed by the critic.
        ended: figures of the episodes that ended.
    """

    observation: Floats
    final: Floats
    reward: Floats
    terminated: Flags
    truncated: Flags
    ended: Ended


class Field(Protocol):
    """Environments, stepped together."""

    num_envs: int
    observation_space: Any
    action_space: Any

    def reset(self) -> Floats:
        """Begin all of them; returns the observations `(b, n)`."""

    def advance(self, action: Floats) -> Advanced:
        """Take actions `(b, 2)` in [-1, 1]."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next steps follow from, arrays and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class Tally:
    """Figures of the episodes that ended since the last row."""

    _NAMES = ("episodes", "returned", "collided", "progress", "steps", "arrived", "off_road")

    def __init__(self) -> None:
        self._sums = dict.fromkeys(self._NAMES, 0.0)

    def add(self, ended: Ended) -> None:
        """Take in what ended with a step."""
        at = np.flatnonzero(ended.done)
        if not len(at):
            return
        ending = np.asarray(ended.ending)[at]
        found = {
            "episodes": float(len(at)),
            "returned": float(np.asarray(ended.returned)[at].sum()),
            "collided": float(np.asarray(ended.collided)[at].sum()),
            "progress": float(np.asarray(ended.progress)[at].sum()),
            "steps": float(np.asarray(ended.steps)[at].sum()),
            "arrived": float((ending == ENDINGS.index("arrived")).sum()),
            "off_road": float((ending == ENDINGS.index("off_road")).sum()),
        }
        self._sums = {name: self._sums[name] + found[name] for name in self._NAMES}

    def take(self) -> dict[str, float]:
        """Return the figures, and begin anew; nothing where no episode has ended."""
        sums, n = self._sums, self._sums["episodes"]
        self._sums = dict.fromkeys(self._NAMES, 0.0)
        if not n:
            return {}
        return {
            "mean_reward": sums["returned"] / n,
            "collision": sums["collided"] / n,
            "progress": sums["progress"] / n,
            "episode_steps": sums["steps"] / n,
            "arrived": sums["arrived"] / n,
            "off_road": sums["off_road"] / n,
            "episodes": n,
        }

    def state_dict(self) -> dict[str, float]:
        """Return the sums."""
        return dict(self._sums)

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from sums."""
        self._sums = dict(state)
