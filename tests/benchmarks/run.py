"""`make bench`: runs every benchmark, prints a table, and writes build/bench.json.

A benchmark is a public function without parameters in a module of this folder; it returns rows of
{"issue", "name", "value", "unit", "limit", "better", "ok"}. `limit` is None where a figure is only reported.

    python -m tests.benchmarks.run            all of them
    python -m tests.benchmarks.run fd001 ai4i some, by function name; the other rows of build/bench.json stay
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nightshift.cli.show import green, red, table
from nightshift.errors import UnknownNameError
from nightshift.files import write_atomic

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "build" / "bench.json"
KEYS = ("issue", "name", "value", "unit", "limit", "better", "ok")
Row = dict[str, Any]
Bench = Callable[[], "list[Row] | Row"]


def benches() -> dict[str, Bench]:
    """Return the benchmarks by name, modules in the order of their names."""
    found: dict[str, Bench] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem in ("run", "__init__") or path.stem.startswith("_"):
            continue
        module = importlib.import_module(f"tests.benchmarks.{path.stem}")
        for name, value in vars(module).items():
            own = inspect.isfunction(value) and value.__module__ == module.__name__
            if own and not name.startswith("_") and not inspect.signature(value).parameters:
                found[name] = value
    return found


def main(wanted: Sequence[str]) -> int:
    """Run benchmarks and return 1 when one of them could not be run."""
    known = benches()
    for name in wanted:
        if name not in known:
            raise UnknownNameError("benchmark", name, known)
    kept = [r for r in _read() if wanted and r.get("bench") not in wanted]
    rows: list[Row] = []
    failed = []
    for name in wanted or known:
        print(f"{name} ...", flush=True)
        started = time.perf_counter()
        try:
            result = known[name]()
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        for row in result if isinstance(result, list) else [result]:
            missing = [k for k in KEYS if k not in row]
            if missing:
                raise KeyError(f"{name} returned a row without {missing}")
            # Verdicts of NumPy's own kind are none of JSON's.
            row["ok"] = None if row["ok"] is None else bool(row["ok"])
            rows.append(row | {"bench": name, "seconds": round(time.perf_counter() - started, 1)})
    write_atomic(RESULT, json.dumps([*kept, *rows], indent=1).encode())
    show(rows)
    if failed:
        print(red(f"could not be run: {', '.join(failed)}"))
    return 1 if failed else 0


def show(rows: Sequence[Row]) -> None:
    """Print the rows as a table."""
    lines = []
    for row in rows:
        limit = "" if row["limit"] is None else f"{'≥' if row['better'] == 'higher' else '≤'} {row['limit']:g}"
        verdict = "" if row["limit"] is None else green("ok") if row["ok"] else red("missed")
        value = "–" if row["value"] is None else f"{row['value']:.4g}"
        lines.append((row["name"], value, row["unit"], limit, verdict))
    print()
    print(table(("figure", "value", "unit", "limit", ""), lines))
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"\n{where}; {RESULT.relative_to(ROOT)}")


def _read() -> list[Row]:
    try:
        rows: list[Row] = json.loads(RESULT.read_bytes())
    except (OSError, ValueError):
        return []
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
