"""What both trainings begin with: the checked table, what is known of it, how it is parted, and who is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from nightshift.errors import TableError, UsageError
from nightshift.findings import Finding, finding
from nightshift.progress import ProgressEvent
from nightshift.trainer.config import Asked
from nightshift.trainer.contract import Choice, Column, Cut, Fold, Ints, Kind, Table, Teller
from nightshift.trainer.jobs import JobFitter
from nightshift.trainer.options import Balance, Part, Settings
from nightshift.trainer.provenance import Begun, begin, config_fingerprint, facts, name_of, provenance
from nightshift.trainer.records import FoldResult, Provenance, Scores
from nightshift.trainer.results.result import About
from nightshift.trainer.resume import Run
from nightshift.trainer.scores import Scorers, scorers_of

#: Rows of X that a result keeps, to check an export on.
_EXAMPLE_ROWS = 1_000


@dataclass(frozen=True)
class Ready:
    """A training that can begin.

    Attributes:
        model: the caller's estimator, or the one that was named; never fitted itself.
        config: fingerprint of settings and model.
        findings: on the table and its parts, told already.
    """

    asked: Asked
    settings: Settings
    table: Table
    columns: tuple[Column, ...]
    choice: Choice
    cut: Cut
    model: Any
    kind: Kind
    scorers: Scorers
    findings: tuple[Finding, ...]
    begun: Begun
    config: str
    tell: Teller
    folds: tuple[Fold, ...] = ()
    run: Run | None = None
    y_name: str = "y"

    def fitter(self) -> JobFitter:
        """Return what does this training's jobs."""
        return JobFitter(self.table, self.model, self.settings, self.scorers, self.columns, self.run, len(self.folds))

    def about(self) -> About:
        """Return the table in a few words."""
        table = self.table
        frame = hasattr(table.X, "iloc")
        dtypes = [str(one) for one in table.X.dtypes] if frame else [str(table.X.dtype)] * table.n_columns
        return About(
            name=name_of(self.model),
            kind=self.kind.name,
            task=table.task,
            primary=self.scorers.primary,
            columns=table.columns,
            classes=table.classes,
            dtypes=dict(zip(table.columns, dtypes, strict=True)),
            roles=self.columns,
            frame=frame,
            y_name=self.y_name,
            n_rows=table.n_rows,
            class_counts=counts_of(table),
        )

    def example(self) -> Any:
        """Return some rows of X, of test where there is one."""
        rows = self.cut.test if len(self.cut.test) else self.cut.train
        return self.table.rows(np.asarray(rows[:_EXAMPLE_ROWS]))

    def after(
        self,
        scores: Mapping[Part, Scores],
        rows: Mapping[Part, Ints],
        folds: Sequence[FoldResult] = (),
        undefined: Mapping[str, str] = MappingProxyType({}),
    ) -> list[Finding]:
        """Return what is found in the outcome; see `checks.outcome.after`."""
        from nightshift.trainer.checks.outcome import after
        from nightshift.trainer.resources import peak_mb

        return after(
            self.table,
            self.scorers,
            self.settings,
            scores=scores,
            rows=rows,
            folds=folds,
            undefined=undefined,
            groups=self.choice.groups,
            nondeterministic=self.kind.nondeterministic(self._as_fitted()),
            peak_mb=peak_mb(),
        )

    def _as_fitted(self) -> Any:
        """Return the estimator with the device that was asked for."""
        device = self.settings.limits.device
        return self.model if device == "cpu" else self.kind.seeded(self.model, self.settings.seed, None, device)

    def provenance(self, seeds: tuple[int, ...]) -> Provenance:
        """Return how the result came to be, at its end."""
        beside: tuple[str, ...] = ("pandas",) if hasattr(self.table.X, "iloc") else ()
        beside += ("imbalanced-learn",) if self.settings.balance.method == "smote" else ()
        return provenance(self.begun, self.config, self.settings, self.model, (*self.kind.libraries, *beside), seeds)


def ready(asked: Asked, model: Any, X: Any, y: Any, groups: Any, times: Any, *, folds: bool) -> Ready:
    """Check everything that can be checked before a fit, and part the rows.

    Args:
        X: also a checked table, which holds the others.
        folds: whether the parts are test and the rest, which folds are cut from; `cut.validation` is then empty.

    Raises:
        TableError: for a table that nothing can be trained on, or by a finding where checks="error".
        UsageError: for an estimator or a setting that does not go with it.
        TrainingError: for a run_dir that holds another training.
    """
    from nightshift.trainer.inputs.columns import kinds
    from nightshift.trainer.inputs.memory import within
    from nightshift.trainer.inputs.table import table_of
    from nightshift.trainer.kinds.kind import kind_of
    from nightshift.trainer.kinds.named import named

    named_only = isinstance(model, str)
    table = X if isinstance(X, Table) else table_of(X, y, None if named_only else model, groups, times)
    begun = begin(table)
    model = named(model, table.task) if isinstance(model, str) else model
    kind = kind_of(model)
    scorers = scorers_of(asked.scoring, table.task)
    settings = _fitting_settings(asked, model, table, folds)
    columns = kinds(table, settings.encode)
    choice, cut = _parts(asked, settings, table, columns, folds)
    fits = within(table, cut, settings)
    settings = settings.model_copy(update={"n_jobs": fits.n_jobs})
    told = facts(settings, model, asked.objects())
    config = config_fingerprint(told)
    made = Ready(
        asked=asked,
        settings=settings,
        table=table,
        columns=columns,
        choice=choice,
        cut=fits.cut,
        model=model,
        kind=kind,
        scorers=scorers,
        findings=(),
        begun=begun,
        config=config,
        tell=_teller(asked),
        y_name=str(getattr(y, "name", None) or "y"),
    )
    if asked.folds is not None or settings.cv is not None:
        made = replace(made, folds=_folds(made))
    found = [*fits.findings, *_findings(made)]
    # The fingerprint is waited for here alone: without a folder it is reckoned beside the fit.
    run = Run.open(asked.run_dir, config, begun.data.result(), asked.resume, told) if asked.run_dir else None
    made = replace(made, findings=told_findings(found, settings), run=run)
    # The last thing: what shows it is ended by `shown`, within which the training goes on.
    made.tell(ProgressEvent("", "train", message=f"{name_of(model)}: {choice.why}", line=True))
    return made


def _fitting_settings(asked: Asked, model: Any, table: Table, folds: bool) -> Settings:
    """Return the settings as they go with the estimator.

    Raises:
        UsageError: when balancing is asked for numbers, or a threshold has nothing to be chosen by.
    """
    from nightshift.trainer.balance.plan import refuse_numbers, weighs

    settings, method = asked.settings, asked.settings.balance.method
    if method == "none":
        return settings
    refuse_numbers(table.task)
    if method == "threshold":
        _refuse_threshold(table, settings, folds or asked.splitter is not None)
    if method == "class_weight" and not weighs(model):
        if not asked.balance_as_fits:
            raise UsageError(
                f"balance='class_weight': {name_of(model)} takes no weights.", hint="Give balance='oversample'."
            )
        return settings.model_copy(update={"balance": Balance(method="oversample")})
    return settings


def _refuse_threshold(table: Table, settings: Settings, other_rows: bool) -> None:
    if len(table.classes) != 2:
        raise UsageError(
            f"balance='threshold' is for two classes, y has {len(table.classes)}.", hint="Give balance='class_weight'."
        )
    if not other_rows and not settings.split.validation_size:
        raise UsageError(
            "balance='threshold' chooses by validation rows, and validation_size is 0.",
            hint="Give validation_size=0.1.",
        )


def _parts(
    asked: Asked, settings: Settings, table: Table, columns: tuple[Column, ...], folds: bool
) -> tuple[Choice, Cut]:
    """Return how the rows are parted: as the caller did it, or as the settings say."""
    from nightshift.trainer.split.choose import choose
    from nightshift.trainer.split.cut import cut, given

    split = settings.split.model_copy(update={"validation_size": 0.0}) if folds else settings.split
    choice = choose(table, split, columns)
    if asked.splitter is None:
        return choice, replace(cut(table, split, choice, settings.seed), groups=choice.groups)
    if isinstance(asked.splitter, tuple):
        train, *rest = asked.splitter
        validation, test = rest if len(rest) == 2 else (np.empty(0, np.int64), rest[0])
        made = given(table, np.asarray(train), np.asarray(validation), np.asarray(test))
    else:
        made = _by_splitter(asked.splitter, table, split.validation_size, settings.seed)
    return replace(choice, strategy=made.strategy, why=made.why), made


def _by_splitter(splitter: Any, table: Table, validation_size: float, seed: int) -> Cut:
    """Take the first split of scikit-learn's splitter: its test part is test, validation is drawn from the others."""
    from nightshift.trainer.split.cut import given
    from nightshift.trainer.split.rows import two

    try:
        rest, test = next(iter(splitter.split(np.empty((table.n_rows, 0)), table.y, table.groups)))
    except (ValueError, StopIteration) as error:
        raise TableError(f"{type(splitter).__name__}: {error}") from None
    size = round(validation_size * table.n_rows)
    train, validation = two(np.asarray(rest, np.int64), size, None, True, seed)
    made = given(table, train, validation, np.asarray(test))
    return replace(made, why=f"the first split of {type(splitter).__name__}")


def _folds(made: Ready) -> tuple[Fold, ...]:
    """Return the folds; each gets validation rows of its own where something is chosen by them."""
    from nightshift.trainer.split.folds import folds

    settings, asked = made.settings, made.asked
    chosen = settings.early_stopping is not None or settings.balance.method == "threshold"
    inner = settings.split.validation_size if chosen else 0.0
    cv = settings.cv if asked.folds is None else asked.folds
    return folds(made.table, made.cut, cv, made.choice, settings.split, settings.seed, inner=inner)


def _findings(made: Ready) -> list[Finding]:
    """Return what is found in the table and its parts."""
    from nightshift.trainer.checks.data import before
    from nightshift.trainer.checks.split import of_split

    found = [*before(made.table, made.columns, made.settings), *made.choice.findings]
    if made.settings.early_stopping is not None and not len((made.folds or (made.cut,))[0].validation):
        what = "There are no validation rows that early stopping could go by."
        found.append(finding("T035", what, remedy="Give validation_size=0.1, or leave early_stopping out."))
    return [*found, *of_split(made.table, made.cut, made.folds, made.settings)]


def told_findings(found: Sequence[Finding], settings: Settings) -> tuple[Finding, ...]:
    """Tell findings as the settings say; return those that are not muted."""
    from nightshift.trainer.checks.telling import tell_findings

    return tell_findings(found, settings)


def _teller(asked: Asked) -> Teller:
    progress = asked.progress
    if callable(progress):
        return cast("Teller", progress)
    if progress is False:
        return lambda _event: None
    from nightshift.trainer.results.sinks import sink_for

    return sink_for(progress)


@contextmanager
def shown(made: Ready) -> Iterator[None]:
    """End the bar that shows a training's progress, however the training ends; a caller's own sink is left alone."""
    try:
        yield
    finally:
        if not callable(made.asked.progress) and hasattr(made.tell, "close"):
            made.tell.close()


def counts_of(table: Table, rows: Ints | None = None) -> dict[str, int]:
    """Return how many rows each class has; empty for numbers."""
    if not table.classes:
        return {}
    values, counts = np.unique(table.y if rows is None else table.y[rows], return_counts=True)
    return {str(value): int(count) for value, count in zip(values.tolist(), counts.tolist(), strict=True)}
