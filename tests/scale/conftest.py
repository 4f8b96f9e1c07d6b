"""An S3 server and a Postgres of the tests' own: real ones, ended with the tests.

What they need beyond the extra `test-scale` is Postgres itself: `apt-get install postgresql`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

_START_LIMIT_S = 60.0


@dataclass(frozen=True)
class Postgres:
    """A running server.

    Attributes:
        port: on the loopback.
        password: of the user `nightshift`.
        folder: of its programs.
    """

    port: int
    password: str
    folder: Path

    def database(self, name: str) -> str:
        """Make a database, and return its address without the scheme."""
        variables = {**os.environ, "PGPASSWORD": self.password}
        address = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "nightshift")
        subprocess.run([self.folder / "createdb", *address, name], env=variables, check=True)
        return f"nightshift:{self.password}@127.0.0.1:{self.port}/{name}"


@pytest.fixture(scope="session")
def needs_scale() -> None:
    """Say in one line what is missing."""
    missing = [name for name in ("s3fs", "dvc_s3", "moto", "psycopg2", "asyncpg", "distributed") if not find_spec(name)]
    if missing:
        pytest.fail(f"not installed: {', '.join(missing)}. Run `make test-scale`, or pip install '.[test-scale]'.")


@pytest.fixture(scope="session")
def s3_address(needs_scale: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of moto's S3 server: the protocol of S3 over HTTP, buckets in its memory."""
    port, log = _free_port(), tmp_path_factory.mktemp("s3") / "moto.log"
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        _until(lambda: _listens(port), "moto's S3 server", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.fixture
def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket with a prefix, as `NIGHTSHIFT_STORE_URL`; every library is pointed at the server."""
    import boto3

    variables = {
        "AWS_ENDPOINT_URL": s3_address,
        "AWS_ACCESS_KEY_ID": "nightshift",
        "AWS_SECRET_ACCESS_KEY": "of-the-tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    bucket = f"fleet-{time.monotonic_ns()}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    url = f"s3://{bucket}/night/shift"
    monkeypatch.setenv("NIGHTSHIFT_STORE_URL", url)
    return url


@pytest.fixture(scope="session")
def postgres(needs_scale: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A Postgres with a user and a password; root lets the user `postgres` run it, as Postgres refuses root."""
    programs = _programs()
    # Not below pytest's own folder, which only its user may enter.
    place = Path(f"/tmp/nightshift-postgres-{os.getpid()}")
    place.mkdir()
    user: list[str] = []
    if os.geteuid() == 0:
        user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(place, "postgres")
    secret, port, log = "not-for-logs", _free_port(), place / "log"
    (place / "password").write_text(secret)
    os.chmod(place / "password", 0o644)
    data = str(place / "data")
    server: subprocess.Popen[bytes] | None = None
    try:
        made = [programs / "initdb", "-D", data, "-U", "nightshift", "-A", "scram-sha-256", "--no-sync"]
        subprocess.run([*user, *made, f"--pwfile={place}/password"], check=True, capture_output=True, cwd="/")
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(place), "-F"]
        with log.open("wb") as out:
            server = subprocess.Popen(
                [*user, programs / "postgres", "-D", data, *options], stdout=out, stderr=out, cwd="/"
            )
        ready = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        _until(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, "Postgres", log)
        yield Postgres(port, secret, programs)
    finally:
        if server is not None:
            # runuser stands between us and the server, which is told by its own command.
            stop = [*user, programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"]
            subprocess.run(stop, capture_output=True, check=False, cwd="/")
            server.wait(timeout=30)
        shutil.rmtree(place, ignore_errors=True)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    beside = shutil.which("initdb")
    if not found and not beside:
        pytest.fail("Postgres is not installed; on Debian and Ubuntu: apt-get install postgresql")
    return found[-1].parent if found else Path(str(beside)).resolve().parent


def _until(ready: Callable[[], bool], what: str, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come up:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
