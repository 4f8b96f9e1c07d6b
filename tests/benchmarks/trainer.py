"""What `train_model` and `train_with_cv` cost beside the same split and fit with scikit-learn alone.

Bare is what somebody would write: two calls of `train_test_split`, a fit (behind a StandardScaler where `scale="auto"`
scales), and F1 on validation and test. Ours has its checks, figures of all parts, fingerprint and provenance. Both run
in one process and one thread, in turn, and the quickest of each counts; peaks are measured in processes of their own.
On a machine that does other work the clock says little: processor time stands beside it.

NIGHTSHIFT_BENCH_ROWS makes the large table smaller, for a quick look.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks._published import ROOT
from tests.benchmarks._rows import Row, row

LARGE = int(os.environ.get("NIGHTSHIFT_BENCH_ROWS", "1000000"))
#: The allowance: the larger of a share of the bare time and of these seconds.
_SHARE, _SECONDS = 0.05, 0.3
_FOLDS = 5


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        scaled: whether the trainer scales for it.
        pairs: of trainings, bare and ours.
    """

    name: str
    make: Callable[[], Any]
    rows: int
    columns: int
    pairs: int
    scaled: bool = False


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(random_state=42)


def _forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, random_state=42)


def _boosting() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=30, early_stopping=False, random_state=42)


def _sgd() -> Any:
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss", max_iter=5, tol=None, random_state=42)


_CASES = {
    "logistic": Case("logistic regression", _logistic, 10_000, 20, 9, scaled=True),
    "forest": Case("random forest", _forest, 10_000, 20, 3),
    "boosting": Case("histogram boosting", _boosting, LARGE, 50, 2),
    "sgd": Case("SGD", _sgd, LARGE, 50, 9, scaled=True),
}


def trainer_overhead() -> list[Row]:
    """Seconds over bare scikit-learn, at 10,000 x 20 and at 1,000,000 x 50."""
    rows: list[Row] = []
    for key, case in _CASES.items():
        told = _child("overhead", key)
        where = f"{case.name}, {case.rows:,} x {case.columns}"
        allowed = max(_SHARE * told["bare_s"], _SECONDS)
        rows += [
            row("trainer", f"{where}: bare scikit-learn", told["bare_s"], "s"),
            row("trainer", f"{where}: train_model over bare", told["over_s"], "s", round(allowed, 2)),
            row("trainer", f"{where}: the same in processor time", told["over_cpu_s"], "s"),
            row("trainer", f"{where}: the first training of a process over bare", told["first_s"], "s"),
        ]
    return rows


def trainer_memory() -> list[Row]:
    """Peak memory over that of bare scikit-learn, each in a process of its own."""
    rows: list[Row] = []
    for key in ("boosting", "sgd"):
        case = _CASES[key]
        bare, ours = (_child("memory", key, way)["peak_mb"] for way in ("bare", "ours"))
        where = f"{case.name}, {case.rows:,} x {case.columns}"
        rows += [
            row("trainer", f"{where}: peak of bare scikit-learn", bare, "MB"),
            row("trainer", f"{where}: peak of train_model over it", ours / bare, "x", 1.3),
        ]
    return rows


def trainer_cv_processes() -> list[Row]:
    """Cross-validation of a forest in two processes over one."""
    one, two = (_child("folds", str(n_jobs)) for n_jobs in (1, 2))
    where = f"random forest, {_FOLDS} folds and a refit"
    return [
        row("trainer", f"{where}: one process", one["wall_s"], "s"),
        row("trainer", f"{where}: two processes over one", one["wall_s"] / two["wall_s"], "x", 1.7, "higher"),
        row("trainer", f"{where}: the same in processor time", one["cpu_s"] / two["cpu_s"], "x"),
    ]


def _child(*words: str) -> dict[str, float]:
    """Run a part of this module in a fresh process."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    made = subprocess.run(
        [sys.executable, "-m", __name__ if __name__ != "__main__" else "tests.benchmarks.trainer", *words],
        cwd=ROOT, env={**os.environ, **threads}, capture_output=True, text=True,
    )  # fmt: skip
    if made.returncode:
        raise RuntimeError(made.stderr[-2_000:])
    found: dict[str, float] = json.loads(made.stdout.splitlines()[-1])
    return found


def _table(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return X (rows, columns) and y (rows,) of two classes, 3:1, that a third of the columns tell."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, columns))
    told = X[:, : columns // 3] @ rng.standard_normal(columns // 3) + rng.standard_normal(rows)
    return X, (told > np.quantile(told, 0.75)).astype(np.int64)


def _bare(case: Case, X: Any, y: Any) -> None:
    from sklearn.metrics import f1_score
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=42)
    X_train, X_val, y_train, y_val = train_test_split(rest, y_rest, test_size=0.125, stratify=y_rest, random_state=42)
    del rest
    model = make_pipeline(StandardScaler(), case.make()) if case.scaled else case.make()
    model.fit(X_train, y_train)
    for part, truth in ((X_val, y_val), (X_test, y_test)):
        f1_score(truth, model.predict(part))


def _ours(case: Case, X: Any, y: Any) -> None:
    from nightshift.trainer import train_model

    train_model(case.make(), X, y, progress=False)


_WAYS: dict[str, Callable[[Case, Any, Any], None]] = {"bare": _bare, "ours": _ours}


def _timed(way: str, case: Case, X: Any, y: Any) -> tuple[float, float]:
    """Return the seconds and the processor seconds of a training."""
    began, cpu = time.perf_counter(), time.process_time()
    _WAYS[way](case, X, y)
    return time.perf_counter() - began, time.process_time() - cpu


def _overhead(key: str) -> dict[str, float]:
    case = _CASES[key]
    X, y = _table(case.rows, case.columns)
    small = _table(500, case.columns)
    # scikit-learn is there by then: what ours takes longer than the second time is its own imports.
    first = [_timed(way, case, *small)[0] for way in ("bare", "ours", "ours")]
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in _WAYS}
    for pair in range(case.pairs):
        for way in [*_WAYS][:: 1 - 2 * (pair % 2)]:
            found[way].append(_timed(way, case, X, y))
    wall, cpu = ({way: min(one[at] for one in told) for way, told in found.items()} for at in (0, 1))
    return {
        "bare_s": wall["bare"],
        "over_s": wall["ours"] - wall["bare"],
        "bare_cpu_s": cpu["bare"],
        "over_cpu_s": cpu["ours"] - cpu["bare"],
        "first_s": wall["ours"] - wall["bare"] + first[1] - first[2],
    }


def _memory(key: str, way: str) -> dict[str, float]:
    case = _CASES[key]
    X, y = _table(case.rows, case.columns)
    _WAYS[way](case, X, y)
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _folds(n_jobs: str) -> dict[str, float]:
    """Return the seconds of cross-validation, and the processor seconds of the busiest process.

    The latter is what the clock would say of processes that nothing else keeps waiting; the parent's own work is added.
    """
    import psutil
    from sklearn.ensemble import RandomForestClassifier

    from nightshift.trainer import train_with_cv

    X, y = _table(24_000, 30)
    forest = RandomForestClassifier(120, n_jobs=1)
    began, cpu = time.perf_counter(), time.process_time()
    train_with_cv(forest, X, y, cv=_FOLDS, n_jobs=int(n_jobs), save_model=False, progress=False)
    wall, own = time.perf_counter() - began, time.process_time() - cpu
    workers = [sum(child.cpu_times()[:2]) for child in psutil.Process().children(recursive=True)]
    return {"wall_s": wall, "cpu_s": own + max(workers, default=0.0)}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parts: dict[str, Callable[..., dict[str, float]]] = {"overhead": _overhead, "memory": _memory, "folds": _folds}
    print(json.dumps(parts[sys.argv[1]](*sys.argv[2:])))
