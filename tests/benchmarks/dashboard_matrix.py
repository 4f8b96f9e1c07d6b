"""How long the fleet's page takes, and how much of it goes over the wire, with 1,000 machines of four models each."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from nightshift.plan.records import StageRecord
from nightshift.settings import Home
from tests.benchmarks._dashboard import dashboard_of
from tests.benchmarks._rows import Row, row
from tests.benchmarks.fleet_plan import make_fleet

_MACHINES = 1_000
_ASKED, _EVERY_S = 15, 0.4
#: Answers are asked for over several refreshes, which the page is not to feel.
_ADDRESSES = {
    "fleet page, 100 of 1,000 machines x 4": "/",
    "fleet page, one state of 1,000 machines x 4": "/?state=fresh&text=machine_009",
    "fleet page, all 1,000 machines x 4 on one page": "/?size=1000",
    "GET /api/matrix, 1,000 machines x 4": "/api/matrix",
}


def dashboard_matrix() -> list[Row]:
    """The first answer of the fleet's page with a warm cache, in ms, and its bytes as they go over the wire."""
    root = Path(tempfile.mkdtemp(prefix="nightshift-matrix-"))
    try:
        make_fleet(Home(root), _MACHINES, profiles=False)
        _judge(Home(root))
        with dashboard_of(Home(root), "http://127.0.0.1:9/api") as (url, _):
            return list(_measured(url))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _judge(home: Home) -> None:
    """Let each model have figures of its own, as a trained one has."""
    for n, path in enumerate(sorted(home.work.glob("*/evaluate.json"))):
        record = StageRecord.model_validate_json(path.read_bytes())
        figures = {"primary": "f1", "value": 0.5 + n / 1e4, "best_baseline": "threshold rule"}
        summary = {**figures, "best_baseline_value": 0.4 + n / 1e4}
        path.write_text(record.model_copy(update={"summary": summary}).model_dump_json(indent=1))


def _measured(url: str) -> Iterator[Row]:
    with httpx.Client(base_url=url, timeout=120.0, headers={"Accept-Encoding": "gzip"}) as client:
        cold_s = _first_s(client, "/")
        cells = client.get("/api/matrix").json()["cells"]
        assert len(cells) == 4 * _MACHINES, len(cells)
        assert {cell["state"] for cell in cells} == {"fresh"}, json.dumps(cells[0])
        yield row("dashboard", "fleet page, 1,000 machines x 4, first answer of a server just started", cold_s, "s")
        for name, address in _ADDRESSES.items():
            limited = address == "/"
            taken = []
            for _ in range(_ASKED):
                taken.append(_first_s(client, address) * 1e3)
                time.sleep(_EVERY_S)
            size = _wire_kb(client, address)
            yield row(
                "dashboard", f"{name}: first answer, median", statistics.median(taken), "ms", 300 if limited else None
            )
            yield row(
                "dashboard", f"{name}: first answer, slowest of {_ASKED}", max(taken), "ms", 300 if limited else None
            )
            yield row("dashboard", f"{name}: on the wire, gzip", size, "KB", 300 if limited else None)
            plain = len(client.get(address).content) / 1e3
            yield row("dashboard", f"{name}: unpacked", plain, "KB")


def _first_s(client: httpx.Client, address: str) -> float:
    """Return the time until the first byte of the body."""
    began = time.perf_counter()
    with client.stream("GET", address) as answer:
        answer.raise_for_status()
        next(answer.iter_raw())
        return time.perf_counter() - began


def _wire_kb(client: httpx.Client, address: str) -> float:
    with client.stream("GET", address) as answer:
        return sum(len(piece) for piece in answer.iter_raw()) / 1e3
