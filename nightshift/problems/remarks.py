"""Findings that every problem makes of its table: a gap between parts, a baseline not beaten, a target missed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from nightshift.findings import Finding, finding
from nightshift.problems.evaluation import Evaluation


def remarks(
    judged: Evaluation, *, max_gap: float, wanted: Mapping[str, float], higher_is_better: Collection[str]
) -> Iterator[Finding]:
    """Yield T001, T006 and T007.

    Args:
        judged: the evaluation so far.
        max_gap: accepted gap of the primary metric between train and the headline part, as a share of the better one.
        wanted: metric -> value to reach on the headline part.
        higher_is_better: metrics of which more is better; of the others less is.
    """
    metric, part = judged.primary, judged.headline_part
    train, own = judged.score("train"), judged.score(part)
    if train is not None and own is not None and _gap(train, own, judged.higher_is_better) > max_gap:
        yield finding("T001", f"{metric} is {train:.4g} on train and {own:.4g} on {part}.")
    best = judged.best_baseline()
    if own is not None and best is not None and not (own > best[1] if judged.higher_is_better else own < best[1]):
        yield finding("T006", f"{metric} on {part} is {own:.4g}, that of '{best[0]}' is {best[1]:.4g}.")
    for name, goal in wanted.items():
        value = judged.score(part, name)
        if value is None or (value < goal if name in higher_is_better else value > goal):
            shown = "undefined" if value is None else f"{value:.4g}"
            yield finding("T007", f"{name} on {part} is {shown}, wanted {goal:g}.")


def _gap(train: float, own: float, higher_is_better: bool) -> float:
    """Return how much worse the own figure is than that on train, as a share of the better one."""
    better, worse = (train, own) if higher_is_better else (own, train)
    return (better - worse) / better if better > 0 else 0.0
