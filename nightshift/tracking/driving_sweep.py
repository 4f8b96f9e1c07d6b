"""A search over a policy's settings: Optuna's trials, each a training run, kept in the home, resumable, pruned.

A trial is an ordinary run of its family (`<sweep>_t003`), judged by its closed-loop score on validation scenarios. One
that falls behind the median of the others at the same evaluation ends early. Trials and what they have shown lie in
`experiments/sweeps/<name>/`: a sweep that was killed goes on, and the trial that was cut off with it from its own
checkpoint. Several processes may work on one sweep.

Source: Akiba et al., Optuna (KDD 2019).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift import families
from nightshift.driving.runs import RUN_ID
from nightshift.errors import ConfigError, InterruptedTraining, NightshiftError, UsageError
from nightshift.family import FamilyConfig, Limits, RunContext, time_limit_s
from nightshift.files import write_atomic
from nightshift.plan.config import merge
from nightshift.progress import ProgressEvent
from nightshift.settings import Home
from nightshift.tracking.driving_runs import TRIAL_OF_SWEEP, is_alive
from nightshift.tracking.driving_space import usual_space
from nightshift.trainer.search.space import Range, ranges
from nightshift.trainer.search.study import (
    RUN,
    TrialLine,
    best_of,
    best_value,
    ended,
    lines,
    mark,
    open_study,
    take_back_cut_off,
    words,
)
from nightshift.validation import validated

if TYPE_CHECKING:
    import optuna

_STUDY, _BEST = "study.log", "best.yaml"
_SCORES = "scores"


@dataclass(frozen=True)
class Sweep:
    """What is searched.

    Attributes:
        name: of the sweep.
        algorithm: the family.
        subject: scenario set.
        dataset: its fingerprint.
        settings: of every trial.
        space: setting -> what it may be.
        seed: of the search.
    """

    home: Home
    name: str
    algorithm: str
    subject: str
    dataset: str
    settings: Mapping[str, Any]
    space: Mapping[str, Range]
    seed: int = 42

    def __post_init__(self) -> None:
        if not RUN_ID.fullmatch(f"{self.name}_t0000"):
            raise UsageError(
                f"'{self.name[:80]}' is no name of a sweep.", hint="Letters, digits, `_`, `-` and `.`, e.g. ppo_sweep."
            )

    @property
    def folder(self) -> Path:
        """Where its trials are kept."""
        return self.home.root / "experiments" / "sweeps" / self.name

    def asked(self) -> dict[str, Any]:
        """Return what must be the same when it goes on."""
        space = {name: span.model_dump(mode="json") for name, span in self.space.items()}
        facts = {"algorithm": self.algorithm, "subject": self.subject, "dataset": self.dataset}
        return {**facts, "settings": json.loads(json.dumps(dict(self.settings), default=str)), "space": space}


@dataclass
class _Trial:
    """What a trial has shown so far.

    Attributes:
        scores: step -> of its evaluation there; what it has shown before it was cut off, too.
        behind: whether it is to end early.
        pruned: whether it did.
    """

    trial: optuna.Trial
    scores: dict[int, float] = field(default_factory=dict)
    behind: bool = False
    pruned: bool = False

    def __post_init__(self) -> None:
        for step, score in dict(self.trial.user_attrs.get(_SCORES, {})).items():
            self._take(int(step), float(score))

    def __call__(self, event: ProgressEvent) -> None:
        """Take an event; one with a score is an evaluation."""
        score, step = event.metrics.get("score"), int(event.metrics.get("step", event.epoch))
        # What follows a checkpoint is driven again by a trial that goes on from it.
        if score is not None and step not in self.scores:
            self._take(step, score)
            self.trial.set_user_attr(_SCORES, {str(at): value for at, value in self.scores.items()})
            self.behind = self.behind or self.trial.should_prune()

    def _take(self, step: int, score: float) -> None:
        self.scores[step] = score
        self.trial.report(score, len(self.scores))


def space_of(algorithm: str, given: Mapping[str, Any]) -> dict[str, Range]:
    """Return what is searched over: what is given, else `driving_space.usual_space` of the family's settings.

    Args:
        algorithm: the family.
        given: setting -> `{low, high, log, step}`, or a list of values.

    Raises:
        ConfigError: for a setting that the family does not have, or a range that is none.
    """
    known = families.get(algorithm).config.model_fields
    raw = dict(given) or usual_space(known)
    if not raw:
        raise ConfigError(f"nothing to search over is known for {algorithm}.", hint="Give --space FILE.")
    return ranges(raw, known, algorithm, held="To hold it at one value, --set {name}={value}.")


def run_sweep(
    sweep: Sweep,
    trials: int,
    *,
    say: Callable[[str], None] = lambda _line: None,
    should_stop: Callable[[], bool] = lambda: False,
    threads: int = 1,
) -> list[TrialLine]:
    """Go on with a sweep until so many trials have ended, and return all of them.

    Args:
        sweep: what is searched.
        trials: that are wanted in all, completed or pruned.
        say: told a line at each begin and end.
        should_stop: whether a stop is wished for.
        threads: of the processor.

    Raises:
        ConfigError: where a sweep of this name searches something else.
        InterruptedTraining: when a stop was wished for; the trial goes on from its checkpoint with the next call.
        NightshiftError: when a trial fails.
    """
    study = _study(sweep)
    _take_back_cut_off(study)
    while ended(study) < trials:
        if should_stop():
            raise InterruptedTraining("The sweep was stopped.", hint="The same command goes on.")
        trial = study.ask()
        mark(trial, f"{sweep.name}_t{trial.number:03d}")
        settings = merge(sweep.settings, {name: span.suggest(trial, name) for name, span in sweep.space.items()})
        say(f"trial {trial.number} ({trial.user_attrs[RUN]}): {words(trial.params)}")
        outcome = _train(sweep, trial, settings, should_stop, threads)
        _tell(study, trial, outcome)
        kept = "pruned" if outcome.pruned else "done"
        say(f"trial {trial.number} {kept}: score {max(outcome.scores.values()):.4f}; best so far {best_value(study)}")
    write_best(sweep, study)
    return lines(study)


def write_best(sweep: Sweep, study: optuna.Study) -> Path | None:
    """Write the best trial's settings as a file for `--config`; None where no trial was completed."""
    import yaml

    best = best_of(study)
    if best is None:
        return None
    settings = merge({k: v for k, v in sweep.settings.items() if k != "run_id"}, best.params)
    path = sweep.folder / _BEST
    write_atomic(path, yaml.safe_dump({"families": {sweep.algorithm: settings}}, sort_keys=False).encode())
    return path


def _study(sweep: Sweep) -> optuna.Study:
    return open_study(sweep.name, sweep.folder / _STUDY, sweep.asked(), sweep.seed, what="sweep")


def _take_back_cut_off(study: optuna.Study) -> None:
    """Have trials that were cut off begin again as the same runs, which go on from their checkpoints."""
    take_back_cut_off(study, is_alive, (RUN, _SCORES))


def _train(
    sweep: Sweep, trial: optuna.Trial, settings: Mapping[str, Any], should_stop: Callable[[], bool], threads: int
) -> _Trial:
    """Train one trial's policy.

    Raises:
        InterruptedTraining: when a stop was wished for.
        NightshiftError: when the training fails, or is never evaluated.
    """
    import optuna

    from nightshift.data.store import open_dataset

    family, told, run_id = families.get(sweep.algorithm), _Trial(trial), str(trial.user_attrs[RUN])
    named = {"run_id": run_id} if "run_id" in family.config.model_fields else {}
    config = validated(family.config, {**settings, **named}, f"{sweep.algorithm} config")

    def stop() -> bool:
        return told.behind or should_stop()

    ctx = _context(sweep, run_id, config, told, stop, threads)
    try:
        family.train(open_dataset(sweep.home, sweep.subject, sweep.dataset), config, ctx)
    except InterruptedTraining:
        if not told.behind:
            raise
        told.pruned = True
    except NightshiftError:
        # Not taken up again: the same settings would fail again.
        trial.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        raise
    if not told.scores:
        raise NightshiftError(
            f"trial {trial.number} ended without an evaluation, so nothing can be compared.",
            hint="Lower eval_every_steps below total_steps, with --set.",
        )
    return told


def _context(
    sweep: Sweep,
    run_id: str,
    config: FamilyConfig,
    listen: Callable[[ProgressEvent], None],
    stop: Callable[[], bool],
    threads: int,
) -> RunContext:
    work = sweep.folder / "trials" / run_id
    (work / "scratch").mkdir(parents=True, exist_ok=True)
    return RunContext(
        cell=f"{TRIAL_OF_SWEEP}{run_id}",
        seed=config.seed,
        limits=Limits(),
        work=work / "scratch",
        checkpoints=work / "checkpoints",
        time_limit_s=time_limit_s(config),
        device=config.device,
        threads=threads,
        progress=listen,
        should_stop=stop,
    )


def _tell(study: optuna.Study, trial: optuna.Trial, outcome: _Trial) -> None:
    import optuna

    if outcome.pruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, max(outcome.scores.values()))
