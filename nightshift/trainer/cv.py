"""Cross-validation: rows outside of test are answered by models that have not seen them; then a refit on them all."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from nightshift.trainer.checks.outcome import FOLD, without_figure
from nightshift.trainer.contract import Done, Fitted, Fold, Ints, Job
from nightshift.trainer.ended import finished, joined, mean_of, predictions, seeds_of, spread_of
from nightshift.trainer.jobs import CURVE, told_words, work
from nightshift.trainer.options import Part
from nightshift.trainer.ready import Ready, told_findings
from nightshift.trainer.records import FoldResult, Scores
from nightshift.trainer.results.result import CurvePoint, CVResult, SeedResult
from nightshift.trainer.scores import score, score_answers
from nightshift.trainer.shares import share_of

REFIT = "refit"
#: Shares of a fold's train rows that the learning curve is fitted on; the folds themselves are its last point.
SHARES = (0.1, 0.33, 0.55, 0.78)


def cross_validate(made: Ready, kept: Fitted | None = None) -> CVResult:
    """Fit and score each fold, refit on the rows of all, and score test once.

    Args:
        made: its cut's validation rows belong to the folds too.
        kept: a model that is there already, in whose place none is refitted.

    Raises:
        TrainingError: when a fit fails or diverges.
        InterruptedTraining: when stopped.
    """
    folds = made.folds
    rest = np.sort(np.concatenate([made.cut.train, made.cut.validation]))
    seeds, settings = seeds_of(made.settings), made.settings
    jobs = [_of_fold(fold, number, seed) for number, seed in enumerate(seeds, 1) for fold in folds]
    jobs += _of_curve(made, folds) if settings.learning_curve else []
    refit = Job(REFIT, rest, rest[:0], rest[:0], settings.seed, weight=2.0, keep_model=True)
    # Early stopping decides in the folds how many rounds the refit goes; without it, it is the longest of all jobs.
    waits = settings.early_stopping is not None
    first = jobs if kept is not None or waits else [refit, *jobs]
    total = len(jobs) + (kept is None)
    fitter, words = made.fitter(), lambda done: told_words(done, made.scorers.primary, len(folds))
    ended = work(first, fitter, made.tell, words=words, total=total)
    if kept is None and waits:
        last = replace(refit, rounds=_rounds(ended, folds))
        ended |= work([last], fitter, made.tell, words=words, before=len(ended), total=total)
    fitted = kept or ended[REFIT].fitted
    assert fitted is not None
    if kept is not None:
        return _result(made, folds, ended, fitted)
    fitted = _with_threshold(made, fitted, folds, ended)
    return finished(_tested(_result(made, folds, ended, fitted), made), made)


def judge(made: Ready, each: Callable[[Done], None] = lambda _done: None) -> Scores:
    """Fit and score the folds alone, for a search: no refit, nothing is saved, test is not looked at.

    Another model goes by `replace(made, model=…, kind=kind_of(…))`: the table is checked and parted once.

    Args:
        made: with folds.
        each: is handed each fold as it ends, with its figures under `scored["test"]`; what it raises ends the others.

    Returns:
        The held-out figures, mean of the folds.
    """
    jobs = [_of_fold(fold, 1, made.settings.seed) for fold in made.folds]
    primary, many = made.scorers.primary, len(made.folds)
    ended = work(jobs, made.fitter(), made.tell, words=lambda done: told_words(done, primary, many), each=each)
    return _judged(made, made.folds, [ended[job.key] for job in jobs])


def _key(fold: int, number: int = 1) -> str:
    return f"fold-{fold}" if number == 1 else f"fold-{fold}-seed-{number}"


def _of_fold(fold: Fold, number: int, seed: int) -> Job:
    return Job(_key(fold.number, number), fold.train, fold.validation, fold.held_out, seed)


def _of_curve(made: Ready, folds: tuple[Fold, ...]) -> list[Job]:
    return [
        Job(
            f"{CURVE}{fold.number}-{share:.0%}".rstrip("%"),
            share_of(made.table, made.choice, fold.train, share, made.settings.seed),
            fold.validation,
            fold.held_out,
            made.settings.seed,
            weight=share,
        )
        for fold in folds
        for share in SHARES
    ]


def _rounds(ended: Mapping[str, Done], folds: tuple[Fold, ...]) -> int | None:
    """Return the median of the folds' best rounds; None for an estimator without rounds."""
    best = [done.best_round for fold in folds if (done := ended[_key(fold.number)]).best_round is not None]
    return round(statistics.median(best)) if best else None


def _with_threshold(made: Ready, fitted: Fitted, folds: tuple[Fold, ...], ended: Mapping[str, Done]) -> Fitted:
    """Give the refit the threshold that is best on the folds' held-out rows: it has no validation rows of its own."""
    if made.settings.balance.method != "threshold":
        return fitted
    from nightshift.trainer.fitting import thresholded

    told = [(fold.held_out, ended[_key(fold.number)].scored["test"].probability) for fold in folds]
    rows = np.concatenate([rows for rows, _ in told])
    probability = np.concatenate([one for _, one in told if one is not None])
    return thresholded(fitted, made.table.y[rows], probability, made.table.classes, made.settings.balance)


def _result(made: Ready, folds: tuple[Fold, ...], ended: Mapping[str, Done], fitted: Fitted) -> CVResult:
    settings = made.settings
    seeds = seeds_of(settings)
    by_seed = [[ended[_key(fold.number, number)] for fold in folds] for number in range(1, len(seeds) + 1)]
    first = by_seed[0]
    everything = [done for dones in by_seed for done in dones]
    judged = [_judged(made, folds, dones) for dones in by_seed]
    results = _fold_results(folds, first)
    scores = _scores(first, judged[0])
    found = [f for done in ended.values() for f in done.findings]
    told: dict[Part, Scores] = {"train": scores["train"], "test": scores["held_out"]}
    rows: dict[Part, Ints] = {"test": np.concatenate([fold.held_out for fold in folds])}
    found += made.after(told, rows, results, _undefined(made, folds, first, judged[0]))
    held_out = [(f.held_out, "held_out", f.number, d.scored["test"]) for f, d in zip(folds, first, strict=True)]
    return CVResult(
        model=fitted.model,
        scores=scores,
        history=fitted.rounds,
        predictions=predictions(held_out, made.table.y),
        split=made.cut,
        findings=(*made.findings, *told_findings(found, settings)),
        provenance=made.provenance(tuple(dict.fromkeys((fitted.seed, *(done.seed for done in everything))))),
        settings=settings,
        about=made.about(),
        fitted=fitted,
        example=made.example(),
        by_seed=_by_seed(seeds, by_seed, judged) if len(seeds) > 1 else (),
        folds=results,
        fold_split=folds,
        mean=mean_of(judged),
        spread={} if _one_by_one(folds) else spread_of(_held_out(first)),
        seed_spread=spread_of(judged) if len(seeds) > 1 else {},
        learning_curve=_curve(made, folds, ended) if settings.learning_curve else (),
    )


def _undefined(made: Ready, folds: tuple[Fold, ...], dones: list[Done], judged: Scores) -> dict[str, str]:
    """Return why the metric that decides has no figure in a fold; of folds of one row, in all of them together."""
    named = {f"{FOLD}{fold.number}": done.scored["test"].undefined for fold, done in zip(folds, dones, strict=True)}
    if _one_by_one(folds):
        why = next(iter(named.values())) or "it asks the model itself, and a fold has one row"
        return {"all held-out rows": why} if judged[made.scorers.primary] is None else {}
    return {name: why for name, why in named.items() if why}


def _tested(result: CVResult, made: Ready) -> CVResult:
    """Score test by the refit: once."""
    rows = made.cut.test
    if not len(rows):
        return result
    test = score(result.model, made.table, rows, made.scorers, result.fitted.threshold)
    undefined = {"test": test.undefined} if test.undefined and made.settings.checks.action != "off" else {}
    found = told_findings(without_figure(made.scorers.primary, undefined), made.settings)
    return replace(
        result,
        scores={**result.scores, "test": test.metrics},
        findings=(*result.findings, *found),
        predictions=joined(result.predictions, predictions([(rows, "test", 0, test)], made.table.y)),
    )


def _held_out(dones: list[Done]) -> list[Scores]:
    return [done.scored["test"].metrics for done in dones]


def _one_by_one(folds: tuple[Fold, ...]) -> bool:
    """Whether a fold holds out one row: no figure can be reckoned of it."""
    return max(len(fold.held_out) for fold in folds) == 1


def _judged(made: Ready, folds: tuple[Fold, ...], dones: list[Done]) -> dict[str, float | None]:
    """Return the folds' mean figures; of folds of one row, those of all their answers together."""
    if not _one_by_one(folds):
        return mean_of(_held_out(dones))
    parts = [(f.held_out, "", f.number, d.scored["test"]) for f, d in zip(folds, dones, strict=True)]
    told = predictions(parts, made.table.y)
    return score_answers(made.table, told.index, told.value, told.probability, made.scorers)


def _scores(dones: list[Done], judged: Scores) -> dict[str, Scores]:
    return {"train": mean_of([done.scored["train"].metrics for done in dones]), "held_out": judged}


def _by_seed(
    seeds: tuple[int, ...], by_seed: list[list[Done]], judged: list[dict[str, float | None]]
) -> tuple[SeedResult, ...]:
    return tuple(
        SeedResult(seed, _scores(dones, held), sum(done.seconds for done in dones))
        for seed, dones, held in zip(seeds, by_seed, judged, strict=True)
    )


def _fold_results(folds: tuple[Fold, ...], dones: list[Done]) -> tuple[FoldResult, ...]:
    return tuple(_fold_result(fold, done) for fold, done in zip(folds, dones, strict=True))


def _fold_result(fold: Fold, done: Done) -> FoldResult:
    rows = {"train": len(fold.train), "validation": len(fold.validation), "held_out": len(fold.held_out)}
    return FoldResult(
        number=fold.number,
        scores=done.scored["test"].metrics,
        train_scores=done.scored["train"].metrics,
        seconds=done.seconds,
        seed=done.seed,
        best_round=done.best_round,
        rows={part: count for part, count in rows.items() if count},
    )


def _curve(made: Ready, folds: tuple[Fold, ...], ended: Mapping[str, Done]) -> tuple[CurvePoint, ...]:
    """Return the points of the learning curve, from the smallest share to all rows."""
    jobs = {job.key: job for job in _of_curve(made, folds)}
    points = []
    for share in SHARES:
        keys = [key for key in jobs if key.endswith(f"-{share:.0%}".rstrip("%")) and ended[key].scored]
        if keys:
            points.append(_point(made, share, [ended[key] for key in keys], [jobs[key].train for key in keys]))
    whole = [ended[_key(fold.number)] for fold in folds]
    return (*points, _point(made, 1.0, whole, [fold.train for fold in folds]))


def _point(made: Ready, share: float, dones: list[Done], rows: list[Ints]) -> CurvePoint:
    primary = made.scorers.primary
    held_out = _held_out(dones)
    return CurvePoint(
        share=share,
        rows=round(float(np.mean([len(one) for one in rows]))),
        train=mean_of([done.scored["train"].metrics for done in dones])[primary],
        held_out=mean_of(held_out)[primary],
        spread=spread_of(held_out)[primary],
    )
