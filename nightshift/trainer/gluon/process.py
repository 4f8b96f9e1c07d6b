"""AutoGluon without what it does beside a fit: of a small model that took four fifths of the time."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any


@cache
def list_packages_once() -> None:
    """Let AutoGluon read the installed packages once a process.

    It writes them beside each predictor, twice in a fit and again in a load: some hundred files, about a second. It has
    no setting for that.
    """
    utils: Any = importlib.import_module("autogluon.common.utils.utils")
    utils.get_package_versions = cache(utils.get_package_versions)


def keep_in_memory(predictor: Any) -> None:
    """Read the best model's members into memory.

    Without AutoGluon's limit on them: to know it, it pickles each member twice. The target's own limits hold.
    """
    predictor.persist(max_memory=None)
