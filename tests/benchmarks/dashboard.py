"""How fast the dashboard tells where a job stands, while many listen to its log."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

from deployments import posts, processes, server
from nightshift.settings import Home, use_home
from tests.benchmarks._home import bench_home
from tests.benchmarks._published import ROOT
from tests.benchmarks._rows import Row, row

_STREAMS, _SECONDS, _CALLERS = 50, 10.0, 8


def dashboard_status() -> list[Row]:
    """The status of a running training, asked for all the time, with 50 open log streams; client in another process."""
    home = bench_home()
    url, job = _training(home)
    with ExitStack() as held:
        port = processes.free_port(0)
        dashboard = _dashboard(home, url, port)
        held.callback(_end, dashboard)
        address = f"http://127.0.0.1:{port}/api/ml/train"
        words = [sys.executable, "-m", "tests.benchmarks.dashboard", address, job, str(dashboard.pid)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        told = json.loads(done.stdout.splitlines()[-1])
    what = f"status of a job with {_STREAMS} log streams open"
    return [
        row("dashboard", f"{what}, of one core", told["per_core_s"], "requests/s", 300.0, "higher"),
        row("dashboard", f"{what}, as the client counts", told["per_s"], "requests/s"),
        row("dashboard", f"{what}, p99", told["p99_ms"], "ms", 50.0),
        row("dashboard", f"{what}, median", told["p50_ms"], "ms"),
        row("dashboard", f"{what}: lines heard by each", told["lines"], "lines"),
    ]


def _training(home: Home) -> tuple[str, str]:
    """Start a training of minutes on a worker of the home, and return the server's API and the job."""
    import httpx

    sys.path.insert(0, str(ROOT / "tests"))
    from support.machine import SUBJECT, metadata, simulate

    from nightshift.data.importers.landing import split_and_land

    use_home(home.root)
    split_and_land(home, simulate(), metadata(), event=False)
    url = server.up(home, worker=False, mlflow=False).server.api_url
    (worker,) = posts.ensure_workers(home, tuple(post for post in posts.POSTS if post.pool == posts.LOCAL_POOL))
    # What is trained meanwhile takes what the others leave: their speed is measured.
    os.setpriority(os.PRIO_PROCESS, worker.pid, 19)
    found = httpx.get(f"{url}/deployments/name/train/local", timeout=30).json()["id"]
    settings = {"test_origins": 200, "val_origins": 200, "n_changepoints": 100}
    parameters = {"subject": SUBJECT, "family": "forecast", "options": {"settings": settings, "threads": 1}}
    asked = httpx.post(f"{url}/deployments/{found}/create_flow_run", json={"parameters": parameters}, timeout=30)
    job = str(asked.json()["id"])
    deadline = time.monotonic() + 120
    while httpx.get(f"{url}/flow_runs/{job}", timeout=30).json()["state_type"] != "RUNNING":
        if time.monotonic() > deadline:
            raise RuntimeError("the training never began")
        time.sleep(0.5)
    return url, job


def _dashboard(home: Home, url: str, port: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **home.environment(), "PREFECT_API_URL": url, "NIGHTSHIFT_HOME": str(home.root)}
    words = [sys.executable, "-m", "nightshift.dashboard", "--port", str(port)]
    return subprocess.Popen(words, cwd=ROOT, env=environment)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(20)


async def _measure(address: str, job: str, pid: int) -> dict[str, Any]:
    """Ask from here, with the streams open in this process too.

    Args:
        address: of the API.
        job: that is asked for.
        pid: of the dashboard.
    """
    import httpx
    import psutil

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        await _ready(client, f"{address}/status/{job}")
        heard = [0] * _STREAMS
        streams = [asyncio.create_task(_listen(client, f"{address}/logs/{job}", heard, i)) for i in range(_STREAMS)]
        while not all(heard):
            await asyncio.sleep(0.1)
        seconds: list[float] = []
        before_s, started = sum(psutil.Process(pid).cpu_times()[:2]), time.perf_counter()
        await asyncio.gather(*(_ask(client, f"{address}/status/{job}", started, seconds) for _ in range(_CALLERS)))
        took_s, used_s = time.perf_counter() - started, sum(psutil.Process(pid).cpu_times()[:2]) - before_s
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    seconds.sort()
    return {
        "per_core_s": len(seconds) / used_s,
        "per_s": len(seconds) / took_s,
        "p99_ms": seconds[int(len(seconds) * 0.99)] * 1e3,
        "p50_ms": statistics.median(seconds) * 1e3,
        "lines": min(heard),
    }


async def _ready(client: Any, url: str) -> None:
    import httpx

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if (await client.get(url)).status_code == 200:
                return
        except httpx.HTTPError:
            await asyncio.sleep(0.2)
    raise RuntimeError("the dashboard did not come up")


async def _listen(client: Any, url: str, heard: list[int], number: int) -> None:
    async with client.stream("GET", url) as stream:
        async for line in stream.aiter_lines():
            heard[number] += line.startswith("data:")


async def _ask(client: Any, url: str, started: float, seconds: list[float]) -> None:
    while time.perf_counter() - started < _SECONDS:
        clock = time.perf_counter()
        answer = await client.get(url)
        seconds.append(time.perf_counter() - clock)
        if answer.status_code != 200:
            raise RuntimeError(answer.text)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
