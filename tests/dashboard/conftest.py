"""A home with trained models, and the dashboard over it."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.homes import a_home
from support.machine import SUBJECT, land_demo

from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import load_config
from nightshift.plan.state import make_cell
from nightshift.settings import Home
from nightshift.stages.chain import StageContext, run_chain

#: Where no Prefect server listens.
NO_SERVER = "http://127.0.0.1:9/api"


@pytest.fixture(scope="session")
def trained_root(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path, for_all: Path) -> Path:
    """The root of a home in which a motor's `anomaly` and `classification` have been trained and registered.

    They are trained once for all processes of the suite; each has a copy.
    """
    made = for_all / "dashboard-home"
    with (for_all / "dashboard.lock").open("a") as one:
        fcntl.flock(one, fcntl.LOCK_EX)
        if not (for_all / "dashboard.lock").stat().st_size:
            with a_home(made, migrated_db) as home:
                land_demo(home)
                for family in ("anomaly", "classification"):
                    run_chain(make_cell(home, SUBJECT, family), StageContext(home))
            one.write("made")
            one.flush()
    root = tmp_path_factory.mktemp("dashboard") / "home"
    shutil.copytree(made, root, symlinks=True)
    return root


@pytest.fixture
def trained(trained_root: Path) -> Iterator[Home]:
    """That home, in use; shared by all tests of a process."""
    with a_home(trained_root) as home:
        yield home


@pytest.fixture
def own(trained_root: Path, tmp_path: Path) -> Iterator[Home]:
    """A copy of that home, to be changed; what tests have done through its dashboard is left out."""
    done = shutil.ignore_patterns("dashboard", "audit.jsonl")
    shutil.copytree(trained_root, tmp_path / "home", symlinks=True, ignore=done)
    with a_home(tmp_path / "home") as home:
        yield home


@pytest.fixture
def own_client(own: Home) -> Iterator[TestClient]:
    """The dashboard over the copy."""
    with TestClient(create_app(own, load_config(own), NO_SERVER), base_url="http://127.0.0.1:8700") as found:
        yield found


@pytest.fixture
def client(trained: Home) -> Iterator[TestClient]:
    """The dashboard over it; no Prefect server answers."""
    with TestClient(create_app(trained, load_config(trained), NO_SERVER), base_url="http://127.0.0.1:8700") as found:
        yield found
