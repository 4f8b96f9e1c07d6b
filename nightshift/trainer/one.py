"""One split, one model: fitted on train, stopped by validation, scored once on test."""

from __future__ import annotations

from dataclasses import replace

from nightshift.trainer.contract import Done, Job
from nightshift.trainer.cv import cross_validate
from nightshift.trainer.ended import finished, mean_of, metrics_of, predictions, seeds_of, spread_of
from nightshift.trainer.jobs import told_words, work
from nightshift.trainer.ready import Ready, told_findings
from nightshift.trainer.results.result import SeedResult, TrainResult

FIRST = "fit"


def train(made: Ready) -> TrainResult:
    """Fit once for each seed; the model is the first one's.

    Raises:
        TrainingError: when a fit fails or diverges.
        InterruptedTraining: when stopped.
    """
    cut, seeds = made.cut, seeds_of(made.settings)
    keys = [FIRST, *(f"seed-{number}" for number in range(2, len(seeds) + 1))]
    jobs = [
        Job(
            key,
            cut.train,
            cut.validation,
            cut.test,
            seed,
            weight=2.0 if key == FIRST else 1.0,
            keep_model=key == FIRST,
        )
        for key, seed in zip(keys, seeds, strict=True)
    ]
    ended = work(jobs, made.fitter(), made.tell, words=lambda done: told_words(done, made.scorers.primary))
    result = _result(made, [ended[key] for key in keys])
    if made.settings.cv is not None or made.asked.folds is not None:
        result = replace(result, cv=cross_validate(made, kept=result.fitted))
    return finished(result, made)


def _result(made: Ready, ended: list[Done]) -> TrainResult:
    first = ended[0]
    fitted = first.fitted
    assert fitted is not None
    by_seed = tuple(SeedResult(done.seed, metrics_of(done.scored), done.seconds) for done in ended)
    several = [one.scores for one in by_seed] if len(by_seed) > 1 else []
    parts = made.cut.parts()
    found = [f for done in ended for f in done.findings]
    undefined = {str(part): why for part in parts if (why := first.scored[part].undefined)}
    found += made.after({part: first.scored[part].metrics for part in parts}, parts, undefined=undefined)
    return TrainResult(
        model=fitted.model,
        scores=metrics_of(first.scored),
        history=fitted.rounds,
        predictions=predictions(
            [(rows, part, 0, first.scored[part]) for part, rows in parts.items() if part != "train"], made.table.y
        ),
        split=made.cut,
        findings=(*made.findings, *told_findings(found, made.settings)),
        provenance=made.provenance(tuple(done.seed for done in ended)),
        settings=made.settings,
        about=made.about(),
        fitted=fitted,
        example=made.example(),
        by_seed=by_seed if several else (),
        mean={part: mean_of([scores[part] for scores in several]) for part in (several[0] if several else ())},
        spread={part: spread_of([scores[part] for scores in several]) for part in (several[0] if several else ())},
    )
