"""A share of train rows, for the learning curve: the classes' shares, whole groups and the order of time hold in it."""

from __future__ import annotations

import math

import numpy as np

from nightshift.trainer.contract import Choice, Ints, Table

#: Rows of a class that are taken at least, where it has so many.
_FEWEST = 2


def share_of(table: Table, choice: Choice, rows: Ints, share: float, seed: int) -> Ints:
    """Return about that share of the rows, in their order; a larger share holds all of a smaller one.

    By time the latest rows are taken; by groups whole ones; of classes at least two rows each.
    """
    if choice.strategy == "time" and table.times is not None:
        order = rows[np.argsort(table.times[rows], kind="stable")]
        return np.sort(order[-max(1, math.ceil(share * len(rows))) :])
    rng = np.random.default_rng(seed)
    groups = table.groups if choice.groups is None else choice.groups
    if choice.strategy in ("grouped", "grouped_stratified") and groups is not None:
        return _whole_groups(groups[rows], rows, share, rng)
    labels = table.y[rows] if table.classes else np.zeros(len(rows))
    taken = []
    for value in np.unique(labels):
        own = rng.permutation(rows[labels == value])
        taken.append(own[: max(math.ceil(share * len(own)), min(_FEWEST, len(own)))])
    return np.sort(np.concatenate(taken))


def _whole_groups(groups: Ints, rows: Ints, share: float, rng: np.random.Generator) -> Ints:
    names, of = np.unique(groups, return_inverse=True)
    order = rng.permutation(len(names))
    held = np.cumsum(np.bincount(of, minlength=len(names))[order])
    enough = int(np.searchsorted(held, share * len(rows))) + 1
    chosen: Ints = rows[np.isin(of, order[:enough])]
    return chosen
