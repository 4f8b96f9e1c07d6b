"""Opens the MLflow store: probed first, migrated once, with retries on what may pass in a moment.

Two things make the probe and the lock needed. A cold SQLite store that several processes open at once breaks most of
them, since each runs the migrations. And MLflow meets a locked database, or one that is not there, at opening with
fifteen retries whose pauses double up to half an hour; the database itself answers the same question at once.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nightshift.errors import NightshiftError, ServiceError, TransientError, first_line, without_credentials
from nightshift.plan import lock
from nightshift.settings import MLFLOW_DB_VARIABLE, Home

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger("nightshift")

Value = TypeVar("Value")

#: MLflow refuses longer values of a version's tag.
MAX_TAG = 5000

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgresql+psycopg2://", "postgres://")
_LOCK = "mlflow"

# MLflow's own defaults keep a command waiting for about four minutes on a server that is not there.
_HTTP_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


@dataclass(frozen=True)
class Patience:
    """How long to try.

    Attributes:
        attempts: in all.
        wait_s: first pause at most; doubled each time; the pause itself is drawn below that, so that processes that
            failed together do not come back together.
        longest_s: longest pause.
        probe_s: how long SQLite may wait for its lock at opening.
    """

    attempts: int = 4
    wait_s: float = 0.5
    longest_s: float = 8.0
    probe_s: float = 5.0


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        client: MLflow's own; callers wrap their use of it in `told_apart`.
        uri: where it is, without credentials.
        home: whose store it is.
    """

    client: MlflowClient
    uri: str
    home: Home

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, made when it is not there.

        A server says itself where artifacts lie; for a database that is opened directly the home does.
        """
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        location = None if self.home.mlflow_uri.startswith("http") else self.home.mlflow_artifacts
        with lock.held(self.home, _LOCK, wait=True):
            found = self.client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            return str(self.client.create_experiment(name, artifact_location=location))


def open_store(home: Home, patience: Patience | None = None) -> Store:
    """Open the store of a home.

    Raises:
        TransientError: when it is locked or does not answer; try again.
        ServiceError: when it is no MLflow store of this version; says how to mend it.
    """
    given = patience or Patience()
    uri = home.mlflow_uri
    for name, value in _HTTP_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if uri.startswith(_SQLITE):
        _probe(Path(uri.removeprefix(_SQLITE).partition("?")[0]), given.probe_s)
    elif uri.startswith(_POSTGRES):
        _probe_postgres(uri, given.probe_s)
    with quiet_imports():
        import mlflow  # noqa: F401 - seconds, and other processes need not wait for them under the lock

    with lock.held(home, _LOCK, wait=True), told_apart(uri):
        if uri.startswith(_SQLITE):
            _create(Path(uri.removeprefix(_SQLITE).partition("?")[0]))
        return Store(client=_client(uri), uri=without_credentials(uri), home=home)


def open_ahead(home: Home) -> None:
    """Open the store for processes that are to be forked from this one: they find it open, and share no connection.

    What MLflow makes once in a process, such as its engine and the words of its queries, takes a sixth of a second of
    a processor. A server's address has nothing to open.

    Raises:
        TransientError, ServiceError: as `open_store`.
    """
    if home.mlflow_uri.startswith("http"):
        return
    open_store(home, Patience(probe_s=1.0))
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

    for engine in (*Registry._engine_map.values(), *Tracking._engine_map.values()):
        engine.dispose()


def retried(work: Callable[[], Value], patience: Patience | None = None) -> Value:
    """Do work that may be done twice; tried again after a `TransientError`, with growing pauses and jitter.

    Raises:
        TransientError: when the last attempt failed too.
    """
    import tenacity

    given = patience or Patience()
    value: Value = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        stop=tenacity.stop_after_attempt(given.attempts),
        wait=tenacity.wait_random_exponential(multiplier=given.wait_s, max=given.longest_s),
        before_sleep=_say,
        reraise=True,
    )(work)
    return value


@contextmanager
def told_apart(uri: str) -> Iterator[None]:
    """Turn what MLflow raises into what may be tried again (`TransientError`) and what may not (`ServiceError`).

    MLflow logs a database error as a traceback before it raises it: the log of that one module is kept quiet.

    Raises:
        NightshiftError: when the disk is full.
    """
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    place = without_credentials(uri)
    try:
        with hushed("mlflow.store.db.utils"):
            yield
    except (requests.RequestException, sqlalchemy.exc.OperationalError, ConnectionError) as error:
        _stop_when_full(error)
        raise TransientError(f"MLflow at {place} cannot be reached: {first_line(error)}.", hint=_HINT) from error
    except MlflowException as error:
        _stop_when_full(error)
        if str(error.error_code) == "TEMPORARILY_UNAVAILABLE" or _is_about_the_line(error):
            raise TransientError(f"MLflow at {place} cannot be reached: {first_line(error)}.", hint=_HINT) from error
        if "out-of-date database schema" in str(error):
            raise ServiceError(
                f"MLflow's database at {place} has the tables of another version.",
                hint=f"Back it up, then run `mlflow db upgrade {place}`.",
            ) from error
        raise ServiceError(f"MLflow at {place} refused: {first_line(error)}.") from error


_HINT = "See that the server is up and that no other program holds the database; what was trained is kept."


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Keep what MLflow's modules say to MLflow's authors while they load from people who cannot change it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, message="The ``noload`` loader strategy")
        warnings.filterwarnings("ignore", category=UserWarning, message=".*Any type hint is inferred as AnyType")
        yield


@contextmanager
def hushed(name: str) -> Iterator[None]:
    """Keep a logger of MLflow's quiet about what is told otherwise, or does not matter here."""
    noisy = logging.getLogger(name)
    level = noisy.level
    noisy.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        noisy.setLevel(level)


def _client(uri: str) -> Any:
    with quiet_imports():
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
    return client


def _create(path: Path) -> None:
    """Make a new database beside its place and rename it in: some 40 migrations killed half-way cannot be resumed."""
    if path.exists():
        return
    from mlflow.store.db import utils

    fresh = path.with_name(f"{path.name}.new")
    for leftover in (fresh, fresh.with_name(f"{fresh.name}-journal")):
        leftover.unlink(missing_ok=True)
    with quiet_imports():
        engine = utils.create_sqlalchemy_engine_with_retry(f"{_SQLITE}{fresh}")
        utils._safe_initialize_tables(engine)
        engine.dispose()
    fresh.replace(path)


def _probe(path: Path, wait_s: float) -> None:
    """Ask SQLite itself whether the file can be written now.

    Raises:
        TransientError: when it is locked.
        ServiceError: when it is no database, or cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        _stop_when_full(error)
        if "lock" in str(error) or "busy" in str(error):
            raise TransientError(f"MLflow's database {path.name} is locked.", hint=_HINT) from error
        raise ServiceError(f"MLflow's database {path.name} cannot be opened: {error}.", hint=_RESTORE) from error
    except sqlite3.DatabaseError as error:
        raise ServiceError(f"MLflow's database {path.name} is damaged: {error}.", hint=_RESTORE) from error


def _probe_postgres(uri: str, wait_s: float) -> None:
    """Ask Postgres itself whether it lets us in.

    Raises:
        TransientError: when it does not answer.
        ServiceError: when it refuses, or its driver is not installed.
    """
    place = without_credentials(uri)
    try:
        import psycopg2
    except ImportError as error:
        raise ServiceError(
            f"MLflow's database is {place}, and psycopg2 is not installed.",
            hint="Install the extra: pip install 'nightshift[scale]'.",
        ) from error
    address = f"postgresql://{uri.partition('://')[2]}"
    try:
        psycopg2.connect(address, connect_timeout=max(2, round(wait_s))).close()
    except psycopg2.Error as error:
        refused = [line for line in str(error).splitlines() if "FATAL" in line]
        if refused and "starting up" not in refused[0] and "too many" not in refused[0]:
            said = refused[0].partition("FATAL:")[2].strip()
            raise ServiceError(
                f"MLflow's database {place} refused: {said}.",
                hint=f"See that {MLFLOW_DB_VARIABLE} names a database that exists, its user and password.",
            ) from error
        raise TransientError(
            f"MLflow's database {place} cannot be reached: {first_line(error)}.", hint=_HINT
        ) from error


_RESTORE = "Restore it from a backup, or set it aside with `mv`: bundles under models/ are kept."


def _stop_when_full(error: Exception) -> None:
    # SQLite's own words: MLflow passes them on as a database that cannot be reached, which waiting would not mend.
    if "database or disk is full" in str(error):
        raise NightshiftError(
            "The disk is full.", hint="Free space under NIGHTSHIFT_HOME and run the same command again."
        ) from error


def _is_about_the_line(error: Exception) -> bool:
    """MLflow's REST client wraps a refused connection in an exception without a code of its own."""
    text = str(error)
    return any(
        sign in text for sign in ("Max retries exceeded", "Connection refused", "API request to http", "502", "503")
    )


def _say(state: Any) -> None:
    logger.warning("%s Trying again (%d).", state.outcome.exception(), state.attempt_number + 1)
