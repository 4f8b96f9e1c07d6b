"""Prefect and MLflow on a real Postgres, each with a database of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.homes import a_home
from support.machine import land_demo

from deployments.api import ask
from deployments.server import down, up
from nightshift.errors import ServiceError, TransientError
from nightshift.settings import MLFLOW_DB_VARIABLE, SECRETS_VARIABLE, Home
from nightshift.tracking import registry, versions
from nightshift.tracking.mlflow_store import Patience, open_store
from tests.scale.conftest import Postgres
from tests.tracking.bundles import a_cell, finish, threshold_for

pytestmark = pytest.mark.scale

# A worker prepares a run in just this way: job variables are filled from Secret blocks that the server keeps.
WORKER = """
import asyncio
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

async def main():
    await Secret(value="from the block").asave("aws-secret-access-key")
    async with get_client() as client:
        job = await ProcessJobConfiguration.from_template_and_values(
            ProcessWorker.get_default_base_job_template(),
            {"env": {"AWS_SECRET_ACCESS_KEY": "{{ prefect.blocks.secret.aws-secret-access-key }}"}},
            client=client,
        )
    print(job.env["AWS_SECRET_ACCESS_KEY"])

asyncio.run(main())
"""


def counted(address: str, table: str) -> int:
    import psycopg2

    connection = psycopg2.connect(f"postgresql://{address}")
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            return int(cursor.fetchone()[0])
    finally:
        connection.close()


def test_a_model_registered_on_one_machine_is_champion_on_another(
    s3: str, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = postgres.database("registry")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / MLFLOW_DB_VARIABLE).write_text(f"postgresql://{address}\n")
    monkeypatch.setenv(SECRETS_VARIABLE, str(secrets))
    with a_home(tmp_path / "one") as one:
        data = land_demo(one, seed=5)
        cell, store = a_cell(data, 1), open_store(one)
        finish(one, cell, data, threshold_for(data))
        done = registry.register(one, store, cell)
        assert done.decision is not None
        assert done.decision.promote
        assert not one.mlflow_db.exists()
        told = done.summary(one, store.uri)["tracking_uri"]
        assert told == f"postgresql+psycopg2://127.0.0.1:{postgres.port}/registry"
    with a_home(tmp_path / "other") as other:
        held = versions.champion(open_store(other), cell.name)
        assert held is not None
        assert (held.version, held.bundle_id) == (1, done.bundle_id)
    assert counted(address, "model_versions") == 1


def test_a_database_that_cannot_be_used_is_named_at_once_and_without_its_password(
    postgres: Postgres, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = f"postgresql://nightshift:wrong@127.0.0.1:{postgres.port}/postgres"
    clock = time.monotonic()
    monkeypatch.setenv(MLFLOW_DB_VARIABLE, given)
    with pytest.raises(ServiceError, match="password authentication failed") as refused:
        open_store(home)
    assert MLFLOW_DB_VARIABLE in refused.value.hint
    monkeypatch.setenv(MLFLOW_DB_VARIABLE, "postgresql://nightshift:wrong@127.0.0.1:9/nowhere")
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9/nowhere cannot be reached") as away:
        open_store(home, Patience(attempts=1))
    assert "wrong" not in f"{refused.value} {away.value}"
    assert time.monotonic() - clock < 60


def test_up_serves_prefect_and_mlflow_from_it_and_shows_no_password(
    postgres: Postgres, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect, mlflow = postgres.database("prefect"), postgres.database("mlflow")
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", f"postgresql+asyncpg://{prefect}")
    monkeypatch.setenv(MLFLOW_DB_VARIABLE, f"postgresql://{mlflow}")
    try:
        up(home, worker=False, dashboard=False)
        _, found = ask("deployments/filter", {"limit": 50})
        assert counted(prefect, "deployment") == len(found) > 0
        assert counted(mlflow, "experiments") == 1
        done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1:] == ["from the block"], done.stderr[-3000:]
        commands = [" ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)]
        assert any("mlflow" in command for command in commands)
        assert not [command for command in commands if postgres.password in command]
        records = [path.read_text() for path in home.run.iterdir() if path.is_file()]
        logs = [path.read_text(errors="replace") for path in home.logs.rglob("*.log")]
        assert not [text for text in (*records, *logs) if postgres.password in text]
    finally:
        down(home)
    assert not (home.prefect / "prefect.db").exists()
    assert not home.mlflow_db.exists()
