"""The anomaly vote on NAB's machine temperature: the failures found, and the false alarms a day."""

from __future__ import annotations

import time
from pathlib import Path

from nightshift.data.importers.nab import import_nab
from nightshift.families import get
from nightshift.family import RunContext
from nightshift.plan.config import resolve
from nightshift.settings import use_home
from tests.benchmarks._published import throwaway_home
from tests.benchmarks._rows import Row, row


def nab_machine_temperature() -> list[Row]:
    """Import the real file, train with the shipped config for the `pi` target, and report the test part's row."""
    with throwaway_home() as (home, shared):
        return _rows(home.root, shared / "nab")


def _rows(folder: Path, source: Path) -> list[Row]:
    home = use_home(folder / "home")
    data = import_nab(home, source)
    resolved = resolve(home, data.subject, "anomaly", "pi")
    family, work = get("anomaly"), folder / "work"
    ctx = RunContext(
        cell="0" * 64, seed=resolved.config.seed, limits=resolved.limits, work=work, checkpoints=work, time_limit_s=900
    )
    started = time.perf_counter()
    model = family.train(data, resolved.config, ctx)
    seconds = time.perf_counter() - started
    table = family.evaluate(model, data, resolved.config, ctx).rows
    test = {row.who: row.metrics for row in table if row.part == "test"}
    train = next(row.metrics for row in table if row.part == "train" and row.kind == "model")
    vote = test["vote"]
    return [
        row("chain", "NAB machine temperature, event recall (test)", vote["event_recall"], "", better="higher"),
        row("chain", "NAB machine temperature, event recall (train)", train["event_recall"], "", better="higher"),
        row(
            "chain", "NAB machine temperature, false alarms (test)", vote["false_alarms_per_day"], "1/d", better="lower"
        ),
        row(
            "chain",
            "NAB machine temperature, false alarms (train)",
            train["false_alarms_per_day"],
            "1/d",
            better="lower",
        ),
        row("chain", "NAB machine temperature, F1 of the vote", vote["f1"], "", better="higher"),
        row(
            "chain",
            "NAB machine temperature, F1 of the threshold rule",
            test["threshold rule"]["f1"],
            "",
            better="higher",
        ),
        row("chain", "NAB machine temperature, PR-AUC of the vote", vote["pr_auc"], "", better="higher"),
        row(
            "chain",
            "NAB machine temperature, PR-AUC of the rule",
            test["threshold rule"]["pr_auc"],
            "",
            better="higher",
        ),
        row("chain", "NAB machine temperature, training", seconds, "s", better="lower"),
    ]
