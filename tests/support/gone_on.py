"""A learner on the world that goes on from what another left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from nightshift.driving.learn.checkpointing import random_kept
from nightshift.driving.learn.loop import Learner

_L = TypeVar("_L", bound=Learner)


def gone_on(build: Callable[[], _L], again: Callable[[_L], _L], *, first: int, then: int) -> tuple[_L, _L]:
    """Return a learner that went through, and one that took up another's state after the first calls.

    Args:
        build: makes a learner.
        again: makes the one that goes on, given the one that was stopped; what it draws at random is undone.
        first: calls before the stop.
        then: calls after it.
    """
    whole, begun = advanced(build(), first + then), advanced(build(), first)
    kept = begun.state_dict()
    with random_kept(torch.device("cpu")):
        taken_up = again(begun)
    taken_up.load_state_dict(kept)
    return whole, advanced(taken_up, then)


def advanced(learner: _L, calls: int) -> _L:
    """Return the learner after so many calls."""
    for _ in range(calls):
        learner.advance()
    return learner
