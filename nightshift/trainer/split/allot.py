"""Whole groups are dealt out to parts, so that rows and classes come near the wanted shares."""

from __future__ import annotations

import numpy as np

from nightshift.trainer.contract import Floats, Ints


def members(groups: Ints, labels: Ints | None) -> tuple[Ints, Floats]:
    """Return (n,) the number of each row's group from 0, and (groups, classes) how many rows each holds.

    Args:
        groups: (n,) any integers.
        labels: (n,) class numbers from 0; None counts rows alone.
    """
    names, of = np.unique(groups, return_inverse=True)
    kinds = 1 if labels is None else int(labels.max()) + 1
    places = of * kinds + (0 if labels is None else labels)
    counts = np.bincount(places, minlength=len(names) * kinds).reshape(len(names), kinds)
    return of.astype(np.int64), counts.astype(np.float64)


def allot(counts: Floats, shares: Floats, rng: np.random.Generator) -> Ints:
    """Return (groups,) the part of each group: no part stays empty while there are groups enough.

    Large groups go first and small ones fill up; groups of about one size (within a factor of two) go in random order.
    Each goes where it raises the sum over parts and classes of (rows - wanted)² / wanted least: seats in parliament are
    given so, and large groups are spread over the parts in their shares too, instead of all lying in train.

    Args:
        counts: (groups, classes) rows.
        shares: (parts,) above 0.

    Source:
        Sainte-Laguë's method of highest averages, as the least chi-square.
    """
    sizes = counts.sum(axis=1)
    told = np.column_stack([counts, sizes]) if counts.shape[1] > 1 else counts
    unit = told / np.sqrt(np.maximum(told.sum(axis=0), 1.0))
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-np.floor(np.log2(np.maximum(sizes[order], 1.0))), kind="stable")]
    twice = np.zeros((len(shares), unit.shape[1]))
    part = np.empty(len(sizes), np.int64)
    for group in order:
        own = unit[group]
        best = int(np.argmin(((twice + own) @ own) / shares))
        part[group] = best
        twice[best] += 2 * own
    return _none_empty(part, sizes, len(shares))


def _none_empty(part: Ints, sizes: Floats, parts: int) -> Ints:
    """Give each empty part the smallest group of the part that has most of them."""
    for empty in range(parts):
        held = np.bincount(part, minlength=parts)
        richest = int(np.argmax(held))
        if held[empty] == 0 and held[richest] > 1:
            own = np.flatnonzero(part == richest)
            part[own[np.argmin(sizes[own])]] = empty
    return part
