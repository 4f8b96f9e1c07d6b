"""Which cycles a part drives on, and how an hour is put together from them: stretches from stop to stop, chained.

Source: micro-trips are how driving cycles themselves are built, e.g. M. Tutuianu et al., "Development of the WLTC",
2015; here they are drawn anew for each trip, with a leaning to slow or fast ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import PARTS
from nightshift.errors import DataError
from nightshift.simulate.vehicle.columns import Floats
from nightshift.simulate.vehicle.cycles import Cycle, turning_points

#: Share of the driving time that each part's cycles should have; val and test need variety more than length.
_WANTED = {"train": 0.60, "val": 0.20, "test": 0.20}
_SPEED_BINS = (-1.0, 0.3, 8.0, 16.0, 25.0, 100.0)
_DRAWS = 1500
#: A stretch shorter than this joins the next one.
_SHORTEST_S = 25
#: How much a trip leans to slow or fast stretches (standard deviation of the leaning).
_LEANING = 0.8


@dataclass(frozen=True)
class Stretches:
    """The stretches of one part's cycles, end to end.

    Attributes:
        aim_mps: next turning speed of the cycle, `(seconds,)`.
        left_s: seconds until it is to be reached, at least 1, `(seconds,)`.
        first, length: of each stretch, `(n,)`.
        mean_mps: of each stretch, `(n,)`.
        names: of the cycles.
    """

    aim_mps: Floats
    left_s: Floats
    first: NDArray[np.int64]
    length: NDArray[np.int64]
    mean_mps: NDArray[np.float64]
    names: tuple[str, ...]


def share_out(cycles: Sequence[Cycle]) -> dict[str, tuple[Cycle, ...]]:
    """Give each part cycles of its own, whole kins, such that slow and fast driving is alike in all parts.

    The same cycles are shared out the same way whatever the seed of a simulation is.

    Raises:
        DataError: for fewer than three kins.
    """
    kins = sorted({c.kin for c in cycles})
    if len(kins) < len(PARTS):
        raise DataError(
            f"{len(kins)} different drive cycles are too few: train, val and test need one each at least.",
            hint="Add cycles, or drive in made traffic.",
        )
    place = {kin: i for i, kin in enumerate(kins)}
    time = np.zeros((len(kins), len(_SPEED_BINS) - 1))
    for cycle in cycles:
        time[place[cycle.kin]] += np.histogram(cycle.speed_mps, _SPEED_BINS)[0]
    rng = np.random.default_rng(0)
    best, least = None, np.inf
    for _ in range(_DRAWS):
        drawn = rng.choice(len(PARTS), size=len(kins), p=list(_WANTED.values()))
        # Whatever is drawn, no part goes without.
        drawn[rng.permutation(len(kins))[: len(PARTS)]] = np.arange(len(PARTS))
        miss = _imbalance(time, drawn)
        if miss < least:
            best, least = drawn, miss
    assert best is not None
    return {part: tuple(c for c in cycles if best[place[c.kin]] == i) for i, part in enumerate(PARTS)}


def _imbalance(time: NDArray[np.float64], drawn: NDArray[np.int64]) -> float:
    whole = time.sum(axis=0) / time.sum()
    miss = 0.0
    for i, wanted in enumerate(_WANTED.values()):
        part = time[drawn == i].sum(axis=0)
        total = max(part.sum(), 1.0)
        miss += float(np.abs(part / total - whole).sum()) + float(abs(total / time.sum() - wanted))
        # One origin alone would be learned by heart.
        miss += 0.3 / int((drawn == i).sum())
    return miss


def stretches_of(cycles: Sequence[Cycle]) -> Stretches:
    """Cut cycles from stop to stop, and lay down what a driver on them looks ahead to."""
    aims, lefts, first, length, means = [], [], [], [], []
    at = 0
    for cycle in cycles:
        aim, left = _ahead(cycle.speed_mps)
        aims.append(aim)
        lefts.append(left)
        for begin, end in _cut(cycle.speed_mps):
            first.append(at + begin)
            length.append(end - begin)
            means.append(float(cycle.speed_mps[begin:end].mean()))
        at += len(aim)
    return Stretches(
        np.concatenate(aims),
        np.concatenate(lefts),
        np.asarray(first, np.int64),
        np.asarray(length, np.int64),
        np.asarray(means),
        tuple(c.name for c in cycles),
    )


def _ahead(speed: Floats) -> tuple[Floats, Floats]:
    """Return the next turning speed of a cycle and the seconds to it, each `(seconds,)`."""
    points = turning_points(speed)
    seconds = np.arange(len(speed))
    following = points[np.minimum(np.searchsorted(points, seconds, side="right"), len(points) - 1)]
    aim = speed[following]
    left = np.maximum(following - seconds, 1)
    before = points[np.maximum(np.searchsorted(points, seconds, side="right") - 1, 0)]
    # Where the cycle stands, the car is to stand now, and not at the end of the stop.
    stands = (speed[before] < 0.3) & (aim < 0.3)
    return np.where(aim < 0.3, 0, aim).astype(np.float32), np.where(stands, 1, left).astype(np.float32)


def _cut(speed: Floats) -> list[tuple[int, int]]:
    still = speed < 0.3
    starts = [0, *(np.flatnonzero(still[1:] & ~still[:-1]) + 1).tolist()]
    bounds = [b for i, b in enumerate(starts) if i == 0 or b - starts[i - 1] >= 1] + [len(speed)]
    kept = [bounds[0]]
    for bound in bounds[1:]:
        if bound - kept[-1] >= _SHORTEST_S:
            kept.append(bound)
    kept[-1] = len(speed)
    if len(kept) == 1:
        kept = [0, len(speed)]
    return [(a, b) for a, b in pairwise(kept) if speed[a:b].max() > 1.0]


def routes(stretches: Stretches, n: int, seconds: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return the place in `stretches` of each second of `n` trips, `(n, seconds)`.

    Raises:
        DataError: when the cycles hold no driving.
    """
    if not len(stretches.first):
        raise DataError("the drive cycles of a part never move.", hint="Add cycles that drive.")
    pace = (stretches.mean_mps - stretches.mean_mps.mean()) / max(float(stretches.mean_mps.std()), 1e-6)
    out = np.empty((n, seconds), np.int32)
    for trip in range(n):
        weights = np.exp(_LEANING * rng.standard_normal() * pace)
        weights = np.cumsum(weights / weights.sum())
        filled = 0
        while filled < seconds:
            chosen = min(int(np.searchsorted(weights, rng.uniform())), len(weights) - 1)
            take = min(int(stretches.length[chosen]), seconds - filled)
            out[trip, filled : filled + take] = np.arange(stretches.first[chosen], stretches.first[chosen] + take)
            filled += take
    return out


def named(shared: Mapping[str, Sequence[Cycle]]) -> dict[str, list[str]]:
    """Return the cycles' names by part, for provenance."""
    return {part: [c.name for c in cycles] for part, cycles in shared.items()}
