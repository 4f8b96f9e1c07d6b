"""Shared fixtures: a home of one's own per test, and the real data beside the checkout."""

from __future__ import annotations

import atexit
import fcntl
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.homes import a_home
from support.servers import KeptDatabase

from nightshift.settings import NO_TELEMETRY, Home

#: The suite's processes are more than the cores: with threads of their own they took a tenth longer.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_AT_IMPORT = ("PREFECT_HOME", "MPLCONFIGDIR", "MPLBACKEND", "DVC_SITE_CACHE_DIR", "OMP_WAIT_POLICY", *NO_TELEMETRY)


def _leave_the_users_home() -> None:
    """Libraries load while tests are collected, before the first home: what they read then must not be the user's.

    See `Home.environment`. The workers of xdist inherit the place of the process that started them, which removes it.
    """
    place = Home(Path(tempfile.mkdtemp(prefix="nightshift-tests-")))
    place.prefect.mkdir(parents=True)
    atexit.register(shutil.rmtree, place.root, ignore_errors=True)
    os.environ.update({name: value for name, value in place.environment().items() if name in _AT_IMPORT})
    os.environ.update(_ONE_THREAD)


if "PYTEST_XDIST_WORKER" not in os.environ:
    _leave_the_users_home()


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs so, and every child would inherit it: nothing could be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Folders and files of tests that wait for real servers and real time: begun first, so that none of them is left over
#: for the end, when one process waits alone. Needs `--no-loadscope-reorder`.
_LONGEST = (
    "flows/",
    "cli/test_end_to_end.py",
    "cli/test_train.py",
    "deployments/",
    "cli/test_serve.py",
    "stages/",
    "tracking/",
)


def _rank(item: pytest.Item) -> int:
    path = item.path.relative_to(Path(__file__).parent).as_posix()
    return next((i for i, begin in enumerate(_LONGEST) if path.startswith(begin)), len(_LONGEST))


def pytest_collection() -> None:
    """Each process of xdist imports all test files, a quarter of which would be looking for garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What the files have loaded stays, and is not looked through again."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first; the order within a file stays."""
    items.sort(key=_rank)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A fresh home; the environment is put back afterwards."""
    with a_home(tmp_path / "home") as place:
        yield place


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published data."""
    root = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("NIGHTSHIFT_SHARED_DATA") or root.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real data is not beside this checkout ({folder.name}); set NIGHTSHIFT_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def for_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run of the suite share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def migrated_db(tmp_path_factory: pytest.TempPathFactory, for_all: Path) -> Path:
    """An empty MLflow database: copied to a home's `mlflow_db`, it saves that home the seconds of the migrations."""
    made = for_all / "mlflow.db"
    with (for_all / "mlflow.lock").open("w") as one:
        fcntl.flock(one, fcntl.LOCK_EX)
        if not made.is_file():
            from nightshift.tracking.mlflow_store import open_store

            place = Home(tmp_path_factory.mktemp("mlflow"))
            open_store(place)
            shutil.copyfile(place.mlflow_db, made)
    return made


@pytest.fixture(scope="session")
def empty_prefect(for_all: Path) -> KeptDatabase:
    """Prefect's database of a home that has no server yet; see there."""
    return KeptDatabase(for_all / "prefect.db")


@pytest.fixture(scope="session")
def deployed_prefect(for_all: Path, empty_prefect: KeptDatabase) -> KeptDatabase:
    """The same after a deploy: `up` finds everything there. The flow tests' own server makes it."""
    return KeptDatabase(for_all / "deployed.db", before=empty_prefect)
