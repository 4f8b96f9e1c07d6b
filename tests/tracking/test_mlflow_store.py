"""Opening MLflow's store: locked, damaged, away, cold; and what is tried again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nightshift.errors import NightshiftError, ServiceError, TransientError
from nightshift.settings import Home
from nightshift.tracking import mlflow_store
from nightshift.tracking.mlflow_store import Patience, open_store, retried, told_apart

FAST = Patience(attempts=2, wait_s=0.01, longest_s=0.05, probe_s=0.05)


def test_a_locked_database_is_one_clear_error_and_opens_when_released(home: Home, migrated_db: Path) -> None:
    shutil.copyfile(migrated_db, home.mlflow_db)
    holder = sqlite3.connect(home.mlflow_db, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    started = time.perf_counter()
    with pytest.raises(TransientError, match="locked") as raised:
        retried(lambda: open_store(home, FAST), FAST)
    assert time.perf_counter() - started < 5
    assert "what was trained is kept" in raised.value.hint
    holder.execute("ROLLBACK")
    holder.close()
    assert open_store(home, FAST).experiment("pump_1")


def test_a_file_that_is_no_database_says_how_to_go_on(home: Home) -> None:
    home.mlflow_db.parent.mkdir(parents=True, exist_ok=True)
    home.mlflow_db.write_bytes(b"not a database at all, and long enough to be looked at" * 20)
    with pytest.raises(ServiceError, match="damaged") as raised:
        open_store(home, FAST)
    assert "mv" in raised.value.hint


def test_tables_of_another_version_name_the_mending_command(home: Home, migrated_db: Path) -> None:
    shutil.copyfile(migrated_db, home.mlflow_db)
    with sqlite3.connect(home.mlflow_db) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    connection.close()
    with pytest.raises(ServiceError, match="another version") as raised:
        open_store(home, FAST)
    assert "mlflow db upgrade sqlite:///" in raised.value.hint


def test_a_server_that_is_not_there_is_transient_and_shows_no_password(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TransientError, match="cannot be reached") as raised:
        open_store(home, FAST)
    assert "secret" not in str(raised.value)


def test_only_what_may_pass_is_tried_again() -> None:
    calls: list[str] = []

    def passes_at_last() -> int:
        calls.append("a")
        if len(calls) < 3:
            raise TransientError("not yet.")
        return len(calls)

    assert retried(passes_at_last, Patience(attempts=3, wait_s=0.01, longest_s=0.02)) == 3

    def refuses() -> None:
        calls.append("b")
        raise ServiceError("never.")

    with pytest.raises(ServiceError):
        retried(refuses, FAST)
    assert calls.count("b") == 1


def test_an_experiment_is_made_once_and_its_artifacts_lie_in_the_home(home: Home, migrated_db: Path) -> None:
    shutil.copyfile(migrated_db, home.mlflow_db)
    store = open_store(home)
    made = store.experiment("pump_1")
    assert store.experiment("pump_1") == made
    location = store.client.get_experiment(made).artifact_location
    assert location.startswith(home.artifacts.as_uri())
    store.client.delete_experiment(made)
    assert store.experiment("pump_1") == made


OPEN = """
import sys
from pathlib import Path
from nightshift.settings import use_home
from nightshift.tracking.mlflow_store import open_store
print(open_store(use_home(Path(sys.argv[1]))).experiment("pump_1"))
"""


def test_a_cold_store_survives_two_processes_that_open_it_at_once(home: Home) -> None:
    root = Path(mlflow_store.__file__).resolve().parents[2]
    command = [sys.executable, "-c", OPEN, str(home.root)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": root, "text": True, "env": dict(os.environ)}
    both = [subprocess.Popen(command, **options) for _ in range(2)]
    told = [process.communicate(timeout=240) for process in both]
    assert [p.returncode for p in both] == [0, 0], told
    assert told[0][0] == told[1][0]


def test_a_migration_killed_half_way_is_made_anew(home: Home) -> None:
    """The child dies while the tables are being made; the next opening finds no half-made database."""
    code = (
        "import threading, time, os\n"
        "from pathlib import Path\n"
        "from nightshift.settings import use_home; home = use_home()\n"
        "from nightshift.tracking.mlflow_store import open_store\n"
        "def kill():\n"
        "    fresh = home.mlflow_db.with_name(home.mlflow_db.name + '.new')\n"
        "    while not (fresh.exists() and fresh.stat().st_size > 50_000): time.sleep(0.001)\n"
        "    os.kill(os.getpid(), 9)\n"
        "threading.Thread(target=kill, daemon=True).start()\n"
        "open_store(home)\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert child.returncode == -9, child.stderr
    assert not home.mlflow_db.exists()
    assert open_store(home).client.search_registered_models() == []


def test_a_full_disk_is_called_that_and_not_tried_again() -> None:
    """SQLite says it in words, which MLflow wraps as a database that is away for the moment."""
    import sqlalchemy
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as full:
        full.execute(sqlalchemy.text("PRAGMA max_page_count = 2"))
        full.execute(sqlalchemy.text("CREATE TABLE t (x)"))
        with pytest.raises(NightshiftError, match="The disk is full") as raised, told_apart("sqlite:///x"):
            full.execute(sqlalchemy.text("INSERT INTO t VALUES (zeroblob(100000))"))
    engine.dispose()
    assert not isinstance(raised.value, TransientError | ServiceError)
    told = raised.value.__cause__
    with pytest.raises(NightshiftError, match="The disk is full"), told_apart("sqlite:///x"):
        raise MlflowException(message=told, error_code=TEMPORARILY_UNAVAILABLE)
