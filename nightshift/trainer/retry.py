"""A fit that diverged is tried again with another seed, which is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from nightshift.errors import TrainingError
from nightshift.findings import Finding, finding
from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import Teller

T = TypeVar("T")


class DivergedError(TrainingError):
    """A fit whose numbers ran away: another seed may do better."""


@dataclass(frozen=True)
class Retried(Generic[T]):
    """What a fit gave in the end.

    Attributes:
        seed: that it was fitted with.
        tried: seeds of fits that diverged before.
        findings: T031, where there were any.
    """

    outcome: T
    seed: int
    tried: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()


def with_new_seeds(fit: Callable[[int], T], seed: int, retries: int, tell: Teller, stage: str = "fit") -> Retried[T]:
    """Fit with `seed`, and with up to `retries` others while it raises `DivergedError`.

    Raises:
        TrainingError: when it diverges with each of them.
    """
    tried: list[int] = []
    why = ""
    for number in seeds(seed, retries):
        try:
            outcome = fit(number)
        except DivergedError as error:
            tried.append(number)
            why = error.what.rstrip(".")
            tell(ProgressEvent("", stage, message=f"Seed {number}: {why}.", line=True))
            continue
        return Retried(outcome, number, tuple(tried), _told(tried, number, why))
    raise TrainingError(
        f"{why}, with the {'seeds' if len(tried) > 1 else 'seed'} {', '.join(map(str, tried))}.",
        hint="Lower the learning rate, scale the columns (scale='yes'), or raise limits.retries.",
    )


def seeds(seed: int, retries: int) -> tuple[int, ...]:
    """Return `seed`, and the seeds that are tried after it: the same ones each time."""
    spawned = np.random.SeedSequence(seed).spawn(retries)
    return (seed, *(int(each.generate_state(1)[0]) >> 1 for each in spawned))


def _told(tried: list[int], seed: int, why: str) -> tuple[Finding, ...]:
    if not tried:
        return ()
    return (finding("T031", f"{why} with seed {', '.join(map(str, tried))}; seed {seed} was taken."),)
