"""How fast machines are simulated and synthesised, and how good what lands is; all ten shipped machines."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from functools import cache
from pathlib import Path

from nightshift.settings import Home
from nightshift.simulate.profile import load_profile, profile_names
from nightshift.simulate.quality.report import GeneratorScores, QualityReport, ratio_name
from tests.benchmarks._home import bench_home, command
from tests.benchmarks._published import ROOT
from tests.benchmarks._rows import Row, row

MACHINE = "motor_siemens_1la7_001"
ROWS = 50_000
_TABLE = ROOT / "build" / "machines.md"

# One core, one thread of every library, a process of its own; the best of some runs, as timeit has it.
_ROLL = """
import sys, time
from pathlib import Path
from nightshift.settings import Home
from nightshift.simulate.physics.roll import roll
from nightshift.simulate.profile import load_profile
from nightshift.simulate.units import draw_units
profile, rows = load_profile(Home(Path("nowhere")), sys.argv[1]), int(sys.argv[2])
profile = profile.model_copy(update={"sensors": profile.sensors[:8]})
units = draw_units(profile, int(2 * rows * profile.sampling_s / 3600 / profile.life.mean_h) + 40, 1)
roll(profile, units, seed=1, rows=2_000)  # imports and caches
best = 1e9
for _ in range(int(sys.argv[3])):
    start = time.perf_counter()
    assert len(roll(profile, units, seed=1, rows=rows).frame) == rows
    best = min(best, time.perf_counter() - start)
print(best)
"""


def physics_speed() -> list[Row]:
    """Rows of eight sensors from units, on one core, and how the cost grows."""
    seconds = {
        rows: _roll_s(rows, repeats) for rows, repeats in ((10_000, 5), (50_000, 5), (100_000, 3), (1_000_000, 1))
    }
    per_row = {rows: s / rows for rows, s in seconds.items()}
    limits = {50_000: 1.0}
    rows = [
        row("synthesize", f"physics, {n:,} rows x 8 sensors, one core", s, "s", limits.get(n), "lower")
        for n, s in seconds.items()
    ]
    growth = per_row[1_000_000] / per_row[100_000]
    return [*rows, row("synthesize", "physics, cost of a row at 1,000,000 against 100,000", growth, "x", 1.5, "lower")]


def whole_flow() -> Row:
    """`nightshift synthesize`, the whole command in an empty home, the cold start of the server included."""
    seconds = command("synthesize", MACHINE, "--rows", str(ROWS), home=bench_home())
    return row("synthesize", f"nightshift synthesize {MACHINE}, {ROWS:,} rows", seconds / 60, "min", 3.0, "lower")


def shipped_machines() -> list[Row]:
    """Every shipped machine through the whole flow; the worst figure of them for each limit, and a table."""
    home, found = _synthesised()
    chosen = {name: report.score(report.chosen) for name, report in found.items()}
    lines = ["| machine | lands | F1 (real) | ratio | RUL R² (real) | ratio | column shapes | violations | leak |"]
    lines += ["| :--- | :--- | " + "---: | " * 7]
    lines += [_line(name, found[name], own) for name, own in chosen.items()]
    _TABLE.parent.mkdir(exist_ok=True)
    _TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))

    def worst(what: str, values: dict[str, float], unit: str, limit: float, better: str) -> Row:
        pick = min if better == "higher" else max
        name = pick(values, key=lambda n: values[n])
        return row("synthesize", f"ten machines, {what} (worst: {name})", values[name], unit, limit, better)

    gate = {name: {line.name: line.value or 0.0 for line in own.gates} for name, own in chosen.items()}
    tvae = {name: report.score("tvae") for name, report in found.items()}
    return [
        row(
            "synthesize",
            "ten machines, passed their gate",
            float(sum(r.passed for r in found.values())),
            "",
            10.0,
            "higher",
        ),
        row(
            "synthesize",
            "ten machines, where the TVAE lands",
            float(sum(r.chosen == "tvae" for r in found.values())),
            "",
            None,
            "higher",
        ),
        worst("TSTR / TRTR of F1", {n: g[ratio_name("f1")] for n, g in gate.items()}, "", 0.9, "higher"),
        worst(
            "TSTR / TRTR of R² of remaining life",
            {n: g[ratio_name("rul_r2")] for n, g in gate.items()},
            "",
            0.9,
            "higher",
        ),
        worst("column shapes", {n: s.mean("column_shapes") or 0.0 for n, s in chosen.items()}, "", 0.9, "higher"),
        worst("physics violations", {n: sum(s.values("violations")) for n, s in chosen.items()}, "rows", 0.0, "lower"),
        worst(
            "TVAE worse than a baseline, F1 or R²", {n: _loss(found[n], s) for n, s in tvae.items()}, "", 0.02, "lower"
        ),
        worst("D015 findings", {n: float(_leaks(home, n)) for n in found}, "", 0.0, "lower"),
    ]


def _line(name: str, report: QualityReport, own: GeneratorScores) -> str:
    real = {p: statistics.fmean(getattr(t, p) for t in report.trtr) for p in ("f1", "rul_r2")}
    f1, r2 = own.mean("f1") or 0.0, own.mean("rul_r2") or 0.0
    f1_share, r2_share = f1 / real["f1"], r2 / real["rul_r2"]
    figures = f"{f1:.3f} ({real['f1']:.3f}) | {f1_share:.2f} | {r2:.3f} ({real['rul_r2']:.3f}) | {r2_share:.2f}"
    rest = f"{own.mean('column_shapes'):.3f} | {sum(own.values('violations')):.0f} | {own.mean('sensor_auc'):.2f}"
    return f"| `{name}` | {report.chosen if report.passed else 'refused'} | {figures} | {rest} |"


def _loss(report: QualityReport, own: GeneratorScores) -> float:
    """Return by how much a baseline is better than the generator in F1 or R², mean of paired differences."""
    return max(
        statistics.fmean(
            getattr(b.tstr, p) - getattr(a.tstr, p) for a, b in zip(own.seeds, report.score(rival).seeds, strict=True)
        )
        for rival in ("copula", "resample")
        for p in ("f1", "rul_r2")
    )


def _leaks(home: Home, subject: str) -> int:
    from nightshift.data.store import open_dataset
    from nightshift.data.validate import validate

    found = validate(open_dataset(home, subject), frozenset({"labels", "rul"}))
    return sum(f.code == "D015" for f in found)


@cache
def _synthesised() -> tuple[Home, dict[str, QualityReport]]:
    home = bench_home()
    found = {}
    for name in profile_names(home):
        rows = max(ROWS, load_profile(home, name).min_rows)
        command("synthesize", name, "--rows", str(rows), "--no-event", home=home, may_end_with=(0, 3))
        newest = max(home.work.glob("*/judged.json"), key=lambda p: p.stat().st_mtime_ns)
        found[name] = QualityReport.model_validate_json(newest.read_bytes())
    return home, found


def _roll_s(rows: int, repeats: int) -> float:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    one_core = ["taskset", "-c", "0"] if Path("/usr/bin/taskset").exists() else []
    line = [*one_core, sys.executable, "-c", _ROLL, MACHINE, str(rows), str(repeats)]
    done = subprocess.run(line, cwd=ROOT, env={**os.environ, **threads}, capture_output=True, text=True, check=True)
    return float(done.stdout)
