"""Homes for tests: whatever is set in the environment for one is put back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightshift.settings import Home, use_home


@contextmanager
def an_environment() -> Iterator[None]:
    """An environment without a server; whatever is set in it is put back."""
    before = dict(os.environ)
    os.environ.pop("PREFECT_API_URL", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def a_home(root: Path, database: Path | None = None) -> Iterator[Home]:
    """A home that this process belongs to while the body runs; `database` is an MLflow database to begin with."""
    with an_environment():
        home = use_home(root)
        if database is not None:
            shutil.copyfile(database, home.mlflow_db)
        yield home
