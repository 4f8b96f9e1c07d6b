"""Which families are for a subject's data."""

from __future__ import annotations

from nightshift import families
from nightshift.data.groups import ESTIMATOR
from nightshift.data.store import open_dataset
from nightshift.settings import Home
from nightshift.tracking.results import family_rank


def families_of(group: str) -> tuple[str, ...]:
    """Return the families of a group, in the order that people ask."""
    return tuple(sorted((n for n in families.names() if families.get(n).group == group), key=family_rank))


def families_for(home: Home, subject: str, group: str) -> tuple[str, ...]:
    """Return those that a subject is offered: all of its group, of a table those that answer its target.

    Raises:
        NightshiftError: when the description of a table cannot be read.
    """
    every = families_of(group)
    if group != ESTIMATOR:
        return every
    offered = open_dataset(home, subject).metadata.offers
    return tuple(name for name in every if families.get(name).needs <= offered)
