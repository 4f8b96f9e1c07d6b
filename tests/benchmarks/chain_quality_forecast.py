"""The forecast on Victoria's half-hourly electricity demand: error against the seasonal rule, and what bands hold."""

from __future__ import annotations

import time
from pathlib import Path

from nightshift.data.importers.csv_file import import_csv
from nightshift.families import get
from nightshift.family import RunContext
from nightshift.plan.config import resolve
from nightshift.settings import use_home
from tests.benchmarks._published import throwaway_home
from tests.benchmarks._rows import Row, row

#: Enough origins that a figure says more than the weather of some days: 56 of the 163 days of the test part.
_ORIGINS = {"test_origins": 56, "val_origins": 28}


def victoria() -> list[Row]:
    """Import the real file, walk the rolling origins with the shipped config, and report the table's headline."""
    with throwaway_home() as (home, shared):
        return _rows(home.root, shared / "vic_electricity" / "vic_electricity.csv")


def _rows(folder: Path, csv: Path) -> list[Row]:
    home = use_home(folder / "home")
    data = import_csv(home, csv, "victoria")
    resolved = resolve(home, data.subject, "forecast", "server", params=_ORIGINS)
    family, work = get("forecast"), folder / "work"
    ctx = RunContext(
        cell="0" * 64, seed=resolved.config.seed, limits=resolved.limits, work=work, checkpoints=work, time_limit_s=1800
    )
    started = time.perf_counter()
    model = family.train(data, resolved.config, ctx)
    seconds = time.perf_counter() - started
    evaluation = family.evaluate(model, data, resolved.config, ctx)
    ours = next(r.metrics for r in evaluation.rows if r.kind == "model" and r.part == "backtest")
    rule = next(r.metrics for r in evaluation.rows if r.who == "seasonal naive" and r.part == "backtest")
    n_fits = sum(_ORIGINS.values()) + 1
    limits = {"coverage80_pct": (75.0, 85.0), "coverage95_pct": (90.0, 100.0)}
    rows = [
        row("chain", "Victoria demand, MASE 24 h ahead", ours["mase"], "", limit=rule["mase"], better="lower"),
        row("chain", "Victoria demand, MASE of seasonal naive", rule["mase"], "", better="lower"),
        row("chain", "Victoria demand, MAPE", ours["mape_pct"], "%", better="lower"),
        row(
            "chain",
            "Victoria demand, Winkler score 95 % / MAE of seasonal naive",
            ours["winkler95"],
            "",
            better="lower",
        ),
        row("chain", "Victoria demand, R2 of the day's mean", ours["trend_r2"], "", better="higher"),
        row("chain", "Victoria demand, time per fit", seconds / n_fits, "s", better="lower"),
    ]
    for name, (low, high) in limits.items():
        level = name.removeprefix("coverage").removesuffix("_pct")
        made = row(
            "chain", f"Victoria demand, values inside the {level} % band", ours[name], "%", limit=low, better="higher"
        )
        rows.append(made | {"ok": low <= ours[name] <= high})
    return rows
