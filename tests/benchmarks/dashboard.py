"""How fast the dashboard tells where a job stands, while many listen to its log."""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from deployments import posts, server
from nightshift.settings import Home, use_home
from tests.benchmarks._dashboard import dashboard_of
from tests.benchmarks._home import bench_home
from tests.benchmarks._published import ROOT
from tests.benchmarks._rows import Row, row

_STREAMS, _SECONDS, _CALLERS = 50, 10.0, 8


def dashboard_status() -> list[Row]:
    """The status of a running training, asked for all the time, with 50 open log streams; client in another process."""
    home = bench_home()
    url, job = _training(home)
    with dashboard_of(home, url) as (address, pid):
        words = [sys.executable, "-m", "tests.benchmarks.dashboard", f"{address}/api/ml/train", job, str(pid)]
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


async def _measure(address: str, job: str, pid: int) -> dict[str, Any]:
    """Ask from here, while another process listens: what it takes to hear is nothing that the asking waits for.

    Args:
        address: of the API.
        job: that is asked for.
        pid: of the dashboard.
    """
    import psutil

    listening = [sys.executable, "-m", "tests.benchmarks.dashboard", "listen", f"{address}/logs/{job}"]
    listeners = subprocess.Popen(listening, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert listeners.stdin
    assert listeners.stdout
    if listeners.stdout.readline().strip() != "all hear":
        raise RuntimeError("the streams did not begin")
    seconds: list[float] = []
    before_s, started = sum(psutil.Process(pid).cpu_times()[:2]), time.perf_counter()
    await asyncio.gather(*(_ask(f"{address}/status/{job}", started, seconds) for _ in range(_CALLERS)))
    took_s, used_s = time.perf_counter() - started, sum(psutil.Process(pid).cpu_times()[:2]) - before_s
    heard, _ = listeners.communicate("enough\n", timeout=60)
    seconds.sort()
    return {
        "per_core_s": len(seconds) / used_s,
        "per_s": len(seconds) / took_s,
        "p99_ms": seconds[int(len(seconds) * 0.99)] * 1e3,
        "p50_ms": statistics.median(seconds) * 1e3,
        "lines": int(heard),
    }


async def _listen_all(url: str) -> None:
    """Hear a log as many do, say when all have heard something, and until there is input; then say how many lines."""
    import httpx

    heard = [0] * _STREAMS
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:

        async def listen(number: int) -> None:
            async with client.stream("GET", url) as stream:
                async for line in stream.aiter_lines():
                    heard[number] += line.startswith("data:")

        streams = [asyncio.create_task(listen(number)) for number in range(_STREAMS)]
        while not all(heard):
            await asyncio.sleep(0.1)
        print("all hear", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    print(min(heard))


async def _ask(url: str, started: float, seconds: list[float]) -> None:
    """Ask on one connection, with as little of a client as there can be: its own time counts as the server's."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    while time.perf_counter() - started < _SECONDS:
        clock = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length))
        seconds.append(time.perf_counter() - clock)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(body.decode())
    writer.close()


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        asyncio.run(_listen_all(sys.argv[2]))
    else:
        print(json.dumps(asyncio.run(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
