"""One job of a training: a fit on some rows and its figures on others, in this process or another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nightshift.errors import InterruptedTraining, TableError, TrainingError
from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import Column, Done, Ints, Job, Scored, Table, Teller
from nightshift.trainer.fitting import answering, fit
from nightshift.trainer.options import Part, Settings
from nightshift.trainer.resume import Run
from nightshift.trainer.scores import Scorers, score

#: What keys of the learning curve's jobs begin with.
CURVE = "curve-"


@dataclass(frozen=True)
class JobFitter:
    """What every job of a training shares; it is sent to other processes.

    Attributes:
        run: keeps what ends; None: nothing is kept.
        folds: how many there are, for the words of their progress.
    """

    table: Table
    model: Any
    settings: Settings
    scorers: Scorers
    columns: tuple[Column, ...]
    run: Run | None = None
    folds: int = 0

    def __call__(self, job: Job, tell: Teller) -> Done:
        """Fit and score; a job whose model is not wanted leaves a record.

        A point of the learning curve that cannot be fitted, as with one row of a class, has no figures.
        """
        began = time.perf_counter()
        try:
            done = self._done(job, tell)
        except (TableError, TrainingError):
            if not job.key.startswith(CURVE):
                raise
            done = Done(job.key, None, {}, 0.0, seed=job.seed)
        done = replace(done, seconds=time.perf_counter() - began)
        if self.run and not job.keep_model:
            self.run.keep(done)
        return done

    def _done(self, job: Job, tell: Teller) -> Done:
        fitted = fit(
            self.table,
            job.train,
            job.validation,
            self.model,
            self.settings,
            job.seed,
            tell,
            job_key=job.key,
            checkpoint=self.run.checkpoint(job.key) if self.run else None,
            fingerprint=self.run.fingerprint if self.run else "",
            rounds=job.rounds,
            stage=words_of(job.key, self.folds),
            columns=self.columns,
        )
        scored = {part: self._scored(fitted.model, rows, fitted.threshold) for part, rows in self._parts(job)}
        return Done(
            key=job.key,
            fitted=fitted if job.keep_model else replace(fitted, model=None),
            scored=scored,
            seconds=0.0,
            best_round=fitted.best_round,
            seed=fitted.seed,
            findings=fitted.findings,
        )

    def _parts(self, job: Job) -> list[tuple[Part, Ints]]:
        """Return the rows that are scored; of many train rows a sample."""
        parts: list[tuple[Part, Ints]] = [
            ("train", sampled(job.train, self.settings.checks.sample_rows, self.settings.seed)),
            ("validation", job.validation),
            ("test", job.held_out),
        ]
        return [(part, rows) for part, rows in parts if len(rows)]

    def _scored(self, model: Any, rows: Ints, threshold: float | None) -> Scored:
        with answering(self.model):
            return score(model, self.table, rows, self.scorers, threshold)


def sampled(rows: Ints, most: int, seed: int) -> Ints:
    """Return at most so many of the rows, drawn by seed, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def work(
    jobs: Sequence[Job],
    fitter: JobFitter,
    tell: Teller,
    *,
    words: Callable[[Done], str] = lambda done: done.key,
    each: Callable[[Done], None] = lambda _done: None,
    before: int = 0,
    total: int = 0,
) -> dict[str, Done]:
    """Do the jobs that no record holds yet, and return how each ended, by key.

    Args:
        jobs: in any order.
        fitter: does one.
        tell: hears of rounds, and of each job that ends.
        words: what is told of a job that ended.
        each: is handed each job as it ends; what it raises ends the others.
        before: jobs that ended in an earlier call of this training.
        total: jobs of the whole training; 0: these.

    Raises:
        InterruptedTraining: by Ctrl-C, where what has ended is kept.
    """
    from nightshift.trainer.parallel import run

    settings, total = fitter.settings, total or len(jobs)
    ended: dict[str, Done] = {}

    def end(done: Done) -> None:
        ended[done.key] = done
        metrics = {}
        if (held := done.scored.get("test") or done.scored.get("validation")) is not None:
            value = held.metrics.get(fitter.scorers.primary)
            metrics = {fitter.scorers.primary: value} if value is not None else {}
        step = before + len(ended)
        tell(ProgressEvent("", "train", step, total, metrics, message=words(done)))
        each(done)

    left = []
    for job in jobs:
        known = fitter.run.done(job.key) if fitter.run and not job.keep_model else None
        if known is None:
            left.append(job)
        else:
            end(known)
    limits = settings.limits
    try:
        running = run(left, fitter, settings.n_jobs, limits.backend, limits.address, tell, threads=limits.threads)
        with closing(running):
            for done in running:
                end(done)
    except KeyboardInterrupt:
        if fitter.run is None:
            raise
        kept = before + sum(1 for job in jobs if job.key in ended and not job.keep_model)
        raise InterruptedTraining(
            f"training was stopped; {kept} of {total} jobs have ended and are kept.",
            hint="The same call with resume=True (--resume) goes on.",
        ) from None
    return ended


def words_of(key: str, folds: int) -> str:
    """Return a job's key as it is read: "fold 3/5", "fold 3/5, seed 2", "curve 3/5, 33 %", "refit", "fit"."""
    what, *more = key.split("-")
    if what not in ("fold", "curve"):
        return key.replace("-", " ")
    told = f"{what} {more[0]}/{folds}" if folds else f"{what} {more[0]}"
    if what == "curve":
        return f"{told}, {more[1]} %"
    return f"{told}, seed {more[2]}" if len(more) > 2 else told


def told_words(done: Done, primary: str, folds: int = 0) -> str:
    """Return what is told of a job that ended: its primary figure on held-out rows, and its seconds."""
    told = done.scored.get("test") if done.key != "fit" else done.scored.get("validation")
    value = told.metrics.get(primary) if told else None
    figure = f"{primary} {value:.4g}, " if value is not None else ""
    return f"{words_of(done.key, folds)}: {figure}{done.seconds:.3g} s"
