"""Searches over an estimator's parameters: trials judged fold by fold, then a training with the best."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nightshift.errors import ConfigError, TrainingError, UsageError, without_credentials
from nightshift.progress import ProgressEvent
from nightshift.settings import home
from nightshift.trainer.config import asked_of
from nightshift.trainer.contract import Done, Teller
from nightshift.trainer.ready import Ready, ready, shown
from nightshift.trainer.results.result import CVResult
from nightshift.trainer.search.space import Range, ranges, usual_space
from nightshift.trainer.search.study import (
    TrialLine,
    ask,
    at_work,
    best_of,
    best_value,
    ended,
    is_alive,
    is_one_too_many,
    lines,
    open_study,
    reached,
    take_back_cut_off,
    tell,
    words,
)
from nightshift.trainer.search.watch import Hands, watch

if TYPE_CHECKING:
    import optuna
    import pandas as pd

#: Keywords of `train_with_cv` that take more than a plain value.
_NAMED = ("cv", "strategy", "n_jobs", "learning_curve", "split", "scoring", "balance", "early_stopping", "encode",
          "scale", "seed", "checks", "progress", "run_dir", "resume", "track", "limits")  # fmt: skip
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")
#: So many trials may fail one after another.
_MOST_FAILED = 5
#: Folds of a trial before it can be pruned.
_WARMUP = 2
#: Between two looks whether the last trials, which other processes are at, have ended.
_LOOK_S = 1.0


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Attributes:
        best: parameters of the best trial.
        score: its metric on held-out rows, mean of the folds. It is the best of many, and so better than the truth:
            `result.scores["test"]` is not.
        metric: that decided.
        trials: the best first; `pruned` ones fell behind the median of the others.
        result: the best parameters' cross-validation and refit, test scored once.
        storage: where the study lies, without credentials.
    """

    best: Mapping[str, Any]
    score: float
    metric: str
    trials: tuple[TrialLine, ...]
    result: CVResult
    name: str
    storage: str

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each trial: number, state, score and parameters."""
        import pandas as pd

        rows = [{"trial": t.number, "state": t.state, self.metric: t.score, **t.params} for t in self.trials]
        return pd.DataFrame(rows)


def search_model(
    model: Any,
    X: Any,
    y: Any,
    space: Mapping[str, Any] | None = None,
    *,
    trials: int,
    storage: str = "",
    name: str = "",
    prune: bool = True,
    groups: Any = None,
    times: Any = None,
    hands: Hands | None = None,
    **keywords: Any,
) -> SearchResult:
    """Look for the parameters that do best on held-out folds, then cross-validate and refit with them.

    A trial behind the median of the others after two folds ends early. The study is kept: the same call goes on where
    it was cut off, and does nothing again; several processes that make the same call share it.

    Args:
        model: an estimator, or a name such as "lightgbm"; what is not searched keeps its value.
        X, y: as of `train_with_cv`.
        space: parameter -> {"low": …, "high": …, "log": …, "step": …} or a list of values; None: what is usual for
            the estimator. Bounds that are whole numbers draw whole numbers.
        trials: that are wanted in all, completed or pruned.
        storage: "sqlite:///path/to/study.db" or "postgresql://…"; "" is NIGHTSHIFT_STUDY_DB, else a SQLite file in the
            home.
        name: of the study within the storage; "" takes the estimator's and the target's.
        prune: whether trials can end early.
        groups, times: as of `train_with_cv`.
        hands: has other processes do the trials; None: this one does them.
        keywords: those of `train_with_cv`.

    Raises:
        TableError: (a ValueError) for a table that nothing can be trained on.
        UsageError: for keywords that cannot be.
        ConfigError: for a space or a storage that cannot be used, or a study of this name that searches otherwise.
        ServiceError: when the storage does not answer.
        TrainingError: when nothing but failing trials is found.
    """
    told = {"storage": storage, "name": name, "groups": groups, "times": times, **keywords}
    found = _begin(model, X, y, space, trials, **told)
    with shown(found.made):
        return found.run(trials, prune, hands)


def join_search(
    model: Any,
    X: Any,
    y: Any,
    space: Mapping[str, Any] | None = None,
    *,
    trials: int,
    prune: bool = True,
    **keywords: Any,
) -> int:
    """Do trials of a search that another process has begun, until it has as many as are wanted, and train no best.

    Args:
        model, X, y, space, trials, prune, keywords: of the `search_model` that waits for them.

    Returns:
        How many trials were completed or pruned here.

    Raises:
        ConfigError: where the storage has no such study, or it searches otherwise: in other data, for example.
        NightshiftError: as `search_model`.
    """
    found = _begin(model, X, y, space, trials, **keywords)
    with shown(found.made):
        return found.join(trials, prune)


def _begin(
    model: Any,
    X: Any,
    y: Any,
    space: Mapping[str, Any] | None,
    trials: int,
    *,
    storage: str = "",
    name: str = "",
    groups: Any = None,
    times: Any = None,
    **keywords: Any,
) -> _Search:
    if trials < 1:
        raise UsageError(f"trials: expected 1 or more, got {trials}.")
    if keywords.get("run_dir") is not None or keywords.get("resume"):
        raise UsageError("run_dir= and resume= are not for a search: its study keeps it.", hint="Leave them out.")
    given = {"cv": 5, **{key: value for key, value in keywords.items() if key in _NAMED}}
    plain = {key: value for key, value in keywords.items() if key not in _NAMED}
    made = ready(asked_of(given, {"save_model": True, **plain}), model, X, y, groups, times, folds=True)
    return _Search(made, _spans(made, space), name or _name_of(made), storage or home().studies)


@dataclass(frozen=True)
class _Search:
    """A search that has begun.

    Attributes:
        made: its table, parted once; its model is what trials differ from.
    """

    made: Ready
    spans: Mapping[str, Range]
    name: str
    storage: str

    def run(self, trials: int, prune: bool, hands: Hands | None = None) -> SearchResult:
        """Do what trials are left, or have them done, then train with the best parameters."""
        study = self._study()
        with reached(self.storage):
            if hands is None:
                self._search(study, trials, prune)
            elif ended(study) < trials:
                hands(watch(study, trials, self.made.tell))
            best, told = best_of(study), tuple(lines(study))
        if best is None or best.score is None:
            raise TrainingError(
                f"no trial of search '{self.name}' was completed.", hint="Widen the space, or ask for more trials."
            )
        result = self._trained(best.params)
        self._tell(
            trials + 1, trials + 1, f"search: {self.made.scorers.primary} {best.score:.4g}, {words(best.params)}"
        )
        return SearchResult(
            best=best.params,
            score=best.score,
            metric=self.made.scorers.primary,
            trials=told,
            result=result,
            name=self.name,
            storage=without_credentials(self.storage),
        )

    def join(self, trials: int, prune: bool) -> int:
        """Do trials beside others, and return how many."""
        study = self._study(begun=True)
        with reached(self.storage):
            return self._search(study, trials, prune)

    def _study(self, begun: bool = False) -> optuna.Study:
        made = self.made
        asked = {
            "data": made.begun.data.result(),
            "training": made.config,
            "metric": made.scorers.primary,
            "space": {name: span.model_dump(mode="json") for name, span in self.spans.items()},
        }
        asked = json.loads(json.dumps(asked))
        return open_study(
            self.name,
            self.storage,
            asked,
            made.settings.seed,
            maximize=made.scorers.greater_is_better,
            warmup=_WARMUP,
            hint="Give this one another name (name=, or --id), or another storage.",
            begun=begun,
        )

    def _search(self, study: optuna.Study, trials: int, prune: bool) -> int:
        """Do trials until there are as many as are wanted, and return how many ended here."""
        import optuna

        failed = mine = 0
        while (done := ended(study)) < trials:
            others = take_back_cut_off(study, is_alive)
            if done + others >= trials:
                # What other processes are at is enough; what one of them leaves behind is taken back.
                self._tell(done, trials + 1, "")
                time.sleep(_LOOK_S)
                continue
            trial = ask(study)
            # By its number: processes that share a study, or go on with it, draw other values for each trial.
            study.sampler = optuna.samplers.TPESampler(seed=self.made.settings.seed + trial.number)
            try:
                mine += self._done(study, trial, prune, trials)
            except TrainingError as error:
                tell(study, trial, state=optuna.trial.TrialState.FAIL)
                failed += 1
                self._say(f"trial {trial.number} failed: {error.what}")
                if failed >= _MOST_FAILED:
                    raise
                continue
            failed = 0
        return mine

    def _done(self, study: optuna.Study, trial: optuna.Trial, prune: bool, trials: int) -> bool:
        """Judge a trial and tell its figure; False where others have done enough, or this one again, meanwhile.

        Raises:
            TrainingError: when it cannot be fitted, or has no figure.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            with at_work(study, trial):
                enough = is_one_too_many(study, trial, trials)
                score = None if enough else self._judged(trial, prune)
                state = TrialState.FAIL if enough else TrialState.PRUNED if score is None else TrialState.COMPLETE
                if not tell(study, trial, score, state) or enough:
                    return False
        except UpdateFinishedTrialError:
            return False
        figure = f"{self.made.scorers.primary} {score:.4g}" if score is not None else "pruned"
        self._tell(
            ended(study),
            trials + 1,
            f"trial {trial.number}: {figure}; {words(trial.params)}; best so far {best_value(study)}",
        )
        return True

    def _judged(self, trial: optuna.Trial, prune: bool) -> float | None:
        """Return a trial's figure; None when it was pruned.

        Raises:
            TrainingError: when it cannot be fitted, or has no figure.
        """
        from nightshift.trainer.cv import judge

        primary = self.made.scorers.primary
        made = self._with({name: span.suggest(trial, name) for name, span in self.spans.items()})
        figures: list[float] = []

        def each(done: Done) -> None:
            value = done.scored["test"].metrics.get(primary)
            if value is None:
                return
            figures.append(value)
            trial.report(sum(figures) / len(figures), len(figures))
            if prune and len(figures) < len(made.folds) and trial.should_prune():
                raise _Behind

        try:
            value = judge(made, each).get(primary)
        except _Behind:
            return None
        if value is None:
            raise TrainingError(f"{primary} is undefined on the held-out rows.", hint="Give another scoring.")
        return value

    def _with(self, params: Mapping[str, Any]) -> Ready:
        """Return the training with other parameters, whose own counting of jobs is not told.

        Raises:
            TrainingError: for parameters that the estimator does not take.
        """
        from sklearn.base import clone

        made, asked = self.made, self.made.asked
        try:
            model = clone(made.model).set_params(**params)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"{words(params)}: {error}") from None
        from nightshift.trainer.provenance import config_fingerprint, facts

        told = facts(made.settings, model, asked.objects())
        return replace(made, model=model, config=config_fingerprint(told), tell=_inner(made.tell))

    def _trained(self, params: Mapping[str, Any]) -> CVResult:
        from nightshift.trainer.cv import cross_validate

        return cross_validate(self._with(params))

    def _tell(self, step: int, total: int, message: str) -> None:
        self.made.tell(ProgressEvent("", "train", step, total, message=message, line=bool(message)))

    def _say(self, message: str) -> None:
        self.made.tell(ProgressEvent("", "train", message=message, line=True))


class _Behind(Exception):  # noqa: N818 - it is a state, not a fault
    """A trial is behind the median of the others."""


def _inner(tell: Teller) -> Callable[[ProgressEvent], None]:
    """Return what is told within a trial: the search counts trials, not their folds."""

    def told(event: ProgressEvent) -> None:
        if event.stage == "train" and event.total:
            event = replace(event, stage="trial", epoch=0, line=False)
        tell(event)

    return told


def _spans(made: Ready, space: Mapping[str, Any] | None) -> dict[str, Range]:
    """Return what is searched over.

    Raises:
        ConfigError: see `ranges`; also for an estimator that nothing usual is known of.
    """
    from nightshift.trainer.kinds.named import parameters_of
    from nightshift.trainer.provenance import name_of

    name = name_of(made.model)
    if not hasattr(made.model, "get_params"):
        raise ConfigError(f"{name} has no parameters to search over.", hint="Wrap it in a skorch estimator.")
    raw = dict(space) if space else usual_space(name)
    if not raw:
        raise ConfigError(
            f"nothing to search over is known for {name}.", hint="Give space={parameter: [values]}, or --space FILE."
        )
    deep = hasattr(made.model, "steps")
    if deep and not space:
        raw = {f"{made.model.steps[-1][0]}__{key}": span for key, span in raw.items()}
    return ranges(raw, parameters_of(made.model), name, held="To hold {name} at one value, set it on the model.")


def _name_of(made: Ready) -> str:
    from nightshift.trainer.provenance import name_of

    return _NOT_IN_NAMES.sub("_", f"{name_of(made.model)}_{made.y_name}").lower()
