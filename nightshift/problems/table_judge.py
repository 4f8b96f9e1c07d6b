"""Judging an estimator on a table beside its baselines, in rows, figures and findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.findings import Finding, finding
from nightshift.problems import kinds_judge, regression
from nightshift.problems.evaluation import Evaluation, Figure, ScoreRow
from nightshift.problems.pictures import error_bars, predicted_true
from nightshift.problems.remarks import remarks

Floats = NDArray[np.float64]
_OF_A_VALUE = ("rmse", "mae", "r2", "mape_pct", "bias")
_HIGHER = ("macro_f1", "accuracy", "balanced_accuracy", "f1_", "recall_", "precision_", "r2")


def value_row(who: str, kind: Literal["model", "baseline"], part: str, truth: Floats, predicted: Floats) -> ScoreRow:
    """Return one line of the metrics table: `(n,)` truth and answers, in the target's unit."""
    every = regression.metrics(truth, truth, predicted)
    return ScoreRow(who=who, kind=kind, part=part, metrics={name: every[name] for name in _OF_A_VALUE})


def evaluation(problem: str, rows: list[ScoreRow]) -> Evaluation:
    """Return an evaluation that holds these rows and nothing else yet."""
    if problem == "classification":
        return kinds_judge.evaluation(rows)
    chosen = regression.PROBLEM
    return Evaluation(problem=problem, primary=chosen.primary, higher_is_better=chosen.higher_is_better, rows=rows)


def findings(judged: Evaluation, *, max_gap: float, wanted: Mapping[str, float]) -> list[Finding]:
    """Return what is remarkable about the figures; the trainer has remarked on the table and the fit."""
    higher = {name for row in judged.rows for name in row.metrics if name.startswith(_HIGHER)}
    remedy = "Try --search 40, another --model, or columns that say more."
    return [
        finding(found.code, found.what, remedy=remedy) if found.code == "T007" else found
        for found in remarks(judged, max_gap=max_gap, wanted=wanted, higher_is_better=higher)
    ]


def value_figures(truth: Floats, predicted: Floats, target: str) -> list[Figure]:
    """Return the pictures of a regressor on the test part."""
    return [
        predicted_true("predicted_true", f"{target}: predicted against true", truth, predicted, target),
        error_bars("errors", f"Error of {target}", predicted - truth, target, "rows"),
    ]
