"""Quality on published data: C-MAPSS FD001 (remaining life) and AI4I 2020 (failures), for the `pi` target.

`fd001()` and `ai4i()` return rows for the bench; run this file alone for a spread over seeds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nightshift.data.dataset import Dataset
from nightshift.data.importers.ai4i import import_ai4i
from nightshift.data.importers.cmapss import import_cmapss
from nightshift.data.schema import LABEL, PARTS
from nightshift.data.store import land
from nightshift.edge.session import open_session
from nightshift.families import get
from nightshift.family import RunContext
from nightshift.plan.config import resolve
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.problem import get as problem_of
from nightshift.settings import Home
from tests.benchmarks._published import throwaway_home
from tests.benchmarks._rows import Row, row

FOLDS, REPEATS = 5, 2


def fd001() -> list[Row]:
    """Train on FD001 with the shipped config; score the exported graph on the official test (last row of each)."""
    return _in_a_home(lambda home, source: _fd001(home, source / "cmapss_fd001"))


def ai4i() -> list[Row]:
    """Cross-validate AI4I without the mode columns: 5 stratified folds, repeated; threshold = best F1 on validation."""
    return _in_a_home(lambda home, source: _ai4i(home, source / "ai4i2020"))


def _fd001(home: Home, source: Path, seed: int | None = None) -> list[Row]:
    data = import_cmapss(home, source, seed=seed or 0)
    judged, seconds, graph_rmse = _trained(home, data, "rul", {} if seed is None else {"seed": seed})
    test = {row.who: row.metrics for row in judged.rows if row.part == "test"}
    name = "C-MAPSS FD001 official test, "
    return [
        row("chain", f"{name}RMSE, truth capped at 125", graph_rmse, "cycles", limit=12.0),
        row("chain", f"{name}RMSE, truth not capped", test["model"]["rmse_uncapped"], "cycles"),
        row("chain", f"{name}NASA score", test["model"]["nasa_score"], ""),
        row("chain", f"{name}RMSE of the elapsed-time baseline", test["elapsed time"]["rmse"], "cycles"),
        row("chain", f"{name}training", seconds, "s"),
    ]


def _ai4i(home: Home, source: Path) -> list[Row]:
    data = import_ai4i(home, source)
    rows = pd.concat([data.frame(part) for part in PARTS]).sort_values("run", ignore_index=True)
    f1, pr_auc, alarms = [], [], []
    started = time.perf_counter()
    for index, (train, val, test) in enumerate(_folds(rows[LABEL].to_numpy())):
        parts = {name: rows.iloc[which] for name, which in zip(PARTS, (train, val, test), strict=True)}
        fold = land(home, parts, data.metadata.model_copy(update={"parts": {}}))
        judged, _, _ = _trained(home, fold, "classification", {"seed": index})
        metrics = next(r.metrics for r in judged.rows if r.part == "test" and r.kind == "model")
        f1.append(metrics["f1"])
        pr_auc.append(metrics["pr_auc"])
        alarms.append(metrics["false_alarm_rate"])
    seconds = time.perf_counter() - started
    name = f"AI4I 2020, {FOLDS} folds x {REPEATS}, "
    return [
        row("chain", f"{name}mean F1", np.mean(f1), "", limit=0.82, better="higher"),
        row("chain", f"{name}spread of F1 (standard deviation)", np.std(f1), ""),
        row("chain", f"{name}lowest F1", np.min(f1), "", better="higher"),
        row("chain", f"{name}mean PR-AUC", np.mean(pr_auc), "", better="higher"),
        row("chain", f"{name}mean false-alarm rate", np.mean(alarms), ""),
        row("chain", f"{name}all fits", seconds, "s"),
    ]


def _folds(label: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (train, val, test) rows; val is a fifth of what the fold leaves, stratified."""
    from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split

    splits = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0).split(label, label)
    for index, (rest, test) in enumerate(splits):
        train, val = train_test_split(rest, test_size=0.2, stratify=label[rest], random_state=index)
        yield np.sort(train), np.sort(val), test


def _trained(home: Home, data: Dataset, name: str, flags: dict[str, Any]) -> tuple[Evaluation, float, float]:
    """Train with the config that ships; return evaluation, seconds, and the exported graph's own primary metric."""
    resolved = resolve(home, data.subject, name, "pi", flags=flags)
    family = get(name)
    with tempfile.TemporaryDirectory(dir=home.tmp) as work:
        ctx = RunContext(
            cell="0" * 64,
            seed=resolved.config.seed,
            limits=resolved.limits,
            work=Path(work),
            checkpoints=Path(work),
            time_limit_s=900.0,
        )
        started = time.perf_counter()
        fitted = family.train(data, resolved.config, ctx)
        seconds = time.perf_counter() - started
        judged = family.evaluate(fitted, data, resolved.config, ctx)
        session = open_session(family.export(fitted, ctx).SerializeToString())
        samples = family.samples(fitted.interface, data, "test")
        said = dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(samples.inputs)), strict=True))
        problem = problem_of(family.problem)
        sums = np.array(problem.statistics(said, samples).values).sum(axis=0)
        return judged, seconds, float(problem.from_sums(sums))


def _in_a_home(work: Callable[[Home, Path], list[Row]]) -> list[Row]:
    with throwaway_home() as (home, shared):
        return work(home, shared)


def _main() -> None:
    """Print FD001 over some seeds (of split and training), and AI4I."""
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    found = [_in_a_home(lambda home, source, s=seed: _fd001(home, source / "cmapss_fd001", s)) for seed in seeds]
    for rows in zip(*found, strict=True):
        values = [r["value"] for r in rows]
        print(f"{rows[0]['name']}: {np.mean(values):.3f} ± {np.std(values):.3f} {np.round(values, 2)}")
    for found_row in ai4i():
        print(f"{found_row['name']}: {found_row['value']:.4f}")


if __name__ == "__main__":
    _main()
