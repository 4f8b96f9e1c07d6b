"""What is found in a training that has ended: no better than a guess, learnt by heart, a fold apart, memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from nightshift.findings import Finding, finding
from nightshift.trainer.contract import FoldResult, Ints, Scores, Table
from nightshift.trainer.options import Part, Settings
from nightshift.trainer.scores import Scorers
from nightshift.trainer.split.held import label_codes
from nightshift.trainer.split.rows import labels_of

#: One-sided 5 % of a normal distribution: what a guess reaches by chance.
_BY_CHANCE = 1.645
#: Gap of a score between train and the judged rows that is told, and of an error as a multiple.
_GAP, _TIMES = 0.15, 3.0
#: A fold is told from this probability of Grubbs's test on, and this far from the others' mean.
_GRUBBS, _APART, _APART_SHARE = 0.01, 0.05, 0.1
#: Folds below which none is called apart, and held-out rows below which a fold has no figure of its own.
_FEWEST_FOLDS, _FEWEST_HELD_OUT = 4, 5
#: How a fold is named in a text, and parts and folds that one names.
FOLD, _SHOWN = "fold ", 5
#: Share of the memory limit from which it is near.
_NEAR = 0.85


def after(
    table: Table,
    scorers: Scorers,
    settings: Settings,
    *,
    scores: Mapping[Part, Scores],
    rows: Mapping[Part, Ints],
    folds: Sequence[FoldResult] = (),
    undefined: Mapping[str, str] = MappingProxyType({}),
    groups: Ints | None = None,
    nondeterministic: str = "",
    peak_mb: float | None = None,
    limit_mb: float | None = None,
) -> list[Finding]:
    """Return T001, T006, T028, T029, T030 and T037, those that hold; nothing with `checks="off"`.

    Args:
        scores: by part; with `folds`, under "test" that of all held-out rows, in place of the folds' mean.
        rows: row numbers by part; with `folds`, under "test" all that were held out.
        folds: of cross-validation.
        undefined: why the metric that decides has no figure, by what it has none on: a part, a fold.
        groups: (n,) that the split found by itself; None: those of the table.
        nondeterministic: what `Kind.nondeterministic` says.
        peak_mb: that the process held at most.
        limit_mb: that it may hold; None: `limits.memory_mb`, or what it holds and what is free.
    """
    if settings.checks.action == "off":
        return []
    part: Part = "test" if folds or scores.get("test") else "validation"
    own = scores.get(part) or _mean([fold.scores for fold in folds])
    train = _mean([fold.train_scores for fold in folds]) if folds else scores.get("train", {})
    name = f"the held-out rows of {len(folds)} folds" if folds else part
    found = [*_guess(table, own, rows.get(part), name, groups), *_gap(train, own, scorers, name)]
    found += [*_apart(folds, scorers), *without_figure(scorers.primary, undefined, len(folds))]
    if nondeterministic:
        found.append(finding("T029", f"{nondeterministic.rstrip('.')}."))
    return [*found, *near_limit(peak_mb, limit_mb or settings.limits.memory_mb or _there_is(peak_mb))]


def without_figure(primary: str, undefined: Mapping[str, str], folds: int = 0) -> list[Finding]:
    """Return T037 when the metric that decides cannot be reckoned of a part or of a fold.

    Args:
        undefined: why, by the part or fold.
        folds: how many there are.
    """
    if not undefined:
        return []
    names = list(undefined)
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    torn = sum(name.startswith(FOLD) for name in names)
    kept = f" The mean is of the other {folds - torn} folds." if 0 < torn < folds else ""
    return [finding("T037", f"{primary} has no figure on {shown}: {undefined[names[0]].rstrip('.')}.{kept}")]


def near_limit(used_mb: float | None, limit_mb: float | None) -> list[Finding]:
    """Return T030 when the memory that is used, or will be, is near the limit."""
    if not used_mb or not limit_mb or used_mb < _NEAR * limit_mb:
        return []
    return [finding("T030", f"{used_mb:,.0f} MB of {limit_mb:,.0f} MB are used.")]


def _there_is(peak_mb: float | None) -> float | None:
    if peak_mb is None:
        return None
    from nightshift.trainer.resources import free_mb

    return peak_mb + free_mb()


def _mean(each: Sequence[Scores]) -> dict[str, float | None]:
    names = dict.fromkeys(name for scores in each for name in scores)
    told = {name: [value for scores in each if (value := scores.get(name)) is not None] for name in names}
    return {name: float(np.mean(values)) if values else None for name, values in told.items()}


def _guess(table: Table, own: Scores, rows: Ints | None, name: str, groups: Ints | None) -> Iterator[Finding]:
    """Yield T006 when the figure is one that a guess without any feature reaches by chance on so many rows."""
    if rows is None or not len(rows):
        return
    groups = table.groups if groups is None else groups
    wider = 1.0 if groups is None else _wider(label_codes(table)[rows], groups[rows])
    for metric, reached in (_of_classes if table.classes else _of_numbers)(table, rows, wider):
        value = own.get(metric)
        if value is None:
            continue
        better = value < reached if metric == "rmse" else value > reached
        if not better:
            yield finding(
                "T006",
                f"{metric} on {name} is {value:.3g} ({len(rows)} rows); a guess that looks at no feature reaches "
                f"{reached:.3g} by chance.",
                remedy="Look at features and labels; get more rows if they are few.",
            )
        return


def _wider(labels: Ints, groups: Ints) -> float:
    """Return how much wider chance spreads where whole groups have one label: they count like one row each."""
    pairs = np.unique(np.column_stack([groups, labels]), axis=0)
    many = len(np.unique(pairs[:, 0]))
    return float(np.sqrt(len(labels) / many)) if many == len(pairs) else 1.0


def _of_classes(table: Table, rows: Ints, wider: float) -> Iterator[tuple[str, float]]:
    """Yield what a guess reaches, the figure that says most first.

    Source: Mann and Whitney 1947 (variance of the rank sum without any link); the binomial distribution.
    """
    counts = np.bincount(labels_of(table)[rows], minlength=len(table.classes)).astype(np.float64)
    own, kinds = counts[counts > 0], len(table.classes)
    if len(own) == kinds:
        others = len(rows) - own
        spread = float(np.mean(np.sqrt((len(rows) + 1) / (12 * own * others))))
        yield "roc_auc", 0.5 + _BY_CHANCE * spread * wider
    chance = 1 / len(own)
    spread = float(np.sqrt(np.sum(chance * (1 - chance) / own)) / len(own))
    yield "balanced_accuracy", chance + _BY_CHANCE * spread * wider


def _of_numbers(table: Table, rows: Ints, wider: float) -> Iterator[tuple[str, float]]:
    """Yield what the mean of y reaches: correlations of noise have variance 1/n."""
    share = min(1.0, (_BY_CHANCE * wider) ** 2 / len(rows))
    yield "r2", share
    yield "rmse", float(np.std(table.y[rows]) * np.sqrt(1 - share))


def _gap(train: Scores, own: Scores, scorers: Scorers, name: str) -> Iterator[Finding]:
    learnt, judged = train.get(scorers.primary), own.get(scorers.primary)
    if learnt is None or judged is None:
        return
    if scorers.greater_is_better and learnt >= 0:
        wide = learnt - judged > _GAP
    else:  # errors, and scikit-learn's negative ones
        wide = abs(judged) > _TIMES * abs(learnt) and abs(judged) - abs(learnt) > 1e-9
    if wide:
        yield finding(
            "T001",
            f"{scorers.primary} is {learnt:.3g} on train and {judged:.3g} on {name}.",
            remedy="Simplify the model (fewer or smaller trees, more regularisation), stop early, or get more rows.",
        )


def _apart(folds: Sequence[FoldResult], scorers: Scorers) -> Iterator[Finding]:
    """Yield T028 for a fold whose score cannot be of the others' distribution.

    Source: F. E. Grubbs, Procedures for detecting outlying observations in samples, 1969, two-sided.
    """
    told = [(fold.number, value) for fold in folds if (value := fold.scores.get(scorers.primary)) is not None]
    held = [count for fold in folds if (count := fold.rows.get("held_out"))]
    if len(told) < _FEWEST_FOLDS or (held and min(held) < _FEWEST_HELD_OUT):
        return
    values = np.array([value for _, value in told])
    far = int(np.argmax(np.abs(values - values.mean())))
    spread, others = float(values.std(ddof=1)), np.delete(values, far)
    away = abs(float(values[far] - others.mean()))
    least = _APART if np.abs(values).max() <= 1 else _APART_SHARE * abs(float(others.mean()))
    if away > least and abs(values[far] - values.mean()) > _critical(len(values)) * spread:
        yield finding(
            "T028",
            f"{scorers.primary} of fold {told[far][0]} is {values[far]:.3g}, that of the others {others.min():.3g} to "
            f"{others.max():.3g}.",
        )


def _critical(many: int) -> float:
    from scipy.stats import t

    square = float(t.ppf(1 - _GRUBBS / (2 * many), many - 2)) ** 2
    return float((many - 1) / np.sqrt(many) * np.sqrt(square / (many - 2 + square)))
