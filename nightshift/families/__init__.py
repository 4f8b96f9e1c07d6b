"""Families by name: found by file name, imported only when asked for."""

from __future__ import annotations

import importlib
import os
from functools import lru_cache
from pathlib import Path

from nightshift.errors import UnknownNameError
from nightshift.family import Family

#: Names that users know, mapped to the family's own name, here and nowhere else.
ALIASES = {"regression": "rul", "timeseries": "forecast", "hybrid": "cimrl"}

_FOLDER = os.path.dirname(__file__)


def names() -> tuple[str, ...]:
    """Return the names of all families, without importing any."""
    return _names(os.stat(_FOLDER).st_mtime_ns)


@lru_cache(maxsize=4)
def _names(_changed_ns: int) -> tuple[str, ...]:
    return tuple(sorted(p.stem for p in Path(_FOLDER).glob("*.py") if not p.stem.startswith("_")))


def canonical(name: str) -> str:
    """Return the family's own name for a name that a user gave.

    Raises:
        UnknownNameError: when there is no such family; names the nearest.
    """
    own = ALIASES.get(name, name)
    if own not in names():
        raise UnknownNameError("family", name, [*names(), *(a for a, f in ALIASES.items() if f in names())])
    return own


def get(name: str) -> Family:
    """Import a family and return it.

    Raises:
        UnknownNameError: when there is no such family.
    """
    family: Family = importlib.import_module(f"nightshift.families.{canonical(name)}").FAMILY
    return family
