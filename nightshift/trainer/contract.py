"""What the trainer's parts hand to each other: frozen records, and what an estimator kind must be able to do.

Rows are addressed by index arrays into the table that the caller gave; frames are not passed around. `X` and `y` are
named as in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from nightshift.findings import Finding
from nightshift.progress import ProgressEvent
from nightshift.trainer.options import EarlyStopping, Part, Strategy, Task
from nightshift.trainer.records import Floats as Floats
from nightshift.trainer.records import FoldResult as FoldResult
from nightshift.trainer.records import Ints as Ints
from nightshift.trainer.records import Predictions as Predictions
from nightshift.trainer.records import Provenance as Provenance
from nightshift.trainer.records import Scores as Scores
from nightshift.trainer.records import Values as Values
from nightshift.trainer.records import fix

#: Is told of progress: stage "train" counts jobs done of all; stages "fold 3/5", "refit" and "fit" count rounds.
Teller = Callable[[ProgressEvent], None]


@dataclass(frozen=True)
class Table:
    """Checked input; X is the caller's own object, not a copy.

    Attributes:
        X: (n, columns) ndarray, DataFrame or scipy CSR matrix.
        y: (n,) of the task: classes as given, or float64.
        classes: in sorted order; empty for regression.
        columns: names; x0, x1, … of an array.
        groups: (n,) number of each row's group.
        times: (n,) seconds for dates, else as given.
    """

    X: Any
    y: Values
    task: Task
    classes: tuple[Any, ...]
    columns: tuple[str, ...]
    groups: Ints | None = None
    times: Floats | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.y)

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.columns)

    def rows(self, index: Ints) -> Any:
        """Return a copy of those rows of X, of X's own type."""
        return self.X.iloc[index] if hasattr(self.X, "iloc") else self.X[index]


@dataclass(frozen=True)
class Column:
    """What is known of one column of X.

    Attributes:
        role: number, flag (two values), or a category of few, some or many values, or a date.
        values: different ones, on the rows that were looked at.
        missing: whether a value is missing anywhere.
        id_like: whether nearly every row has a value of its own that says nothing of the next row.
    """

    name: str
    role: Literal["number", "flag", "low", "middle", "high", "datetime"]
    values: int
    missing: bool
    constant: bool
    id_like: bool


@dataclass(frozen=True)
class Choice:
    """How to part the rows, and why.

    Attributes:
        groups: (n,) found by the choice itself; None where none are needed or they were given.
    """

    strategy: Strategy
    why: str
    groups: Ints | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Cut:
    """One split into parts: read-only row numbers.

    Attributes:
        dropped: rows in the gap between parts.
        why: of the strategy, in words.
        groups: (n,) that nobody gave and that hold the table's rows together; None where there are none.
    """

    train: Ints
    validation: Ints
    test: Ints
    strategy: Strategy
    why: str
    stratified: bool = False
    dropped: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    groups: Ints | None = None

    def parts(self) -> dict[Part, Ints]:
        """Return the rows by part, those that have any."""
        found: dict[Part, Ints] = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: rows for part, rows in found.items() if len(rows)}


@dataclass(frozen=True)
class Fold:
    """One fold of cross-validation.

    Attributes:
        number: from 1.
        validation: cut from its own training rows, for stopping and thresholds; empty where nothing needs it.
        held_out: rows that it is scored on.
    """

    number: int
    train: Ints
    validation: Ints
    held_out: Ints


@dataclass(frozen=True)
class Round:
    """A boosting round or an epoch.

    Attributes:
        metrics: such as `train_loss`, `validation_loss`.
    """

    number: int
    metrics: Mapping[str, float]
    seconds: float = 0.0

    def __post_init__(self) -> None:
        fix(self)


@dataclass(frozen=True)
class Wants:
    """What an estimator kind asks of the prepared rows.

    Attributes:
        scaled: numbers of mean 0 and variance 1 help it.
        refuses_nan: gaps must be filled.
        answers_gaps: a gap that gets through is answered by NaN, not refused: those to come are filled, too.
        takes_sparse: sparse one-hot columns are taken.
        own_categories: pandas' category columns are taken as they are.
        float32: prepared rows come in single precision.
        coded_labels: classes must be 0 to k-1; kinds see to it themselves.
        raw: rows are taken as they were given: it prepares them itself, as a Pipeline does.
    """

    scaled: bool = False
    refuses_nan: bool = True
    answers_gaps: bool = False
    takes_sparse: bool = False
    own_categories: bool = False
    float32: bool = False
    coded_labels: bool = False
    raw: bool = False


@dataclass(frozen=True)
class Sampled:
    """Train rows after balancing.

    Attributes:
        weight: (n,) of each row; None: all alike.
        class_weight: whether the estimator itself is told to weigh its classes.
    """

    X: Any
    y: Values
    weight: Floats | None = None
    class_weight: bool = False
    counts_before: Mapping[str, int] = field(default_factory=dict)
    counts_after: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class FitJob:
    """What one fit of an estimator gets: prepared rows.

    Attributes:
        X_val, y_val: that it is stopped by; None: it goes all its rounds.
        rounds: a fixed number, for a refit after early stopping.
        checkpoint: file for the state after each epoch; None keeps none.
        fingerprint: that a checkpoint must have.
        stage: of its progress events.
    """

    X: Any
    y: Values
    task: Task
    classes: tuple[Any, ...] = ()
    weight: Floats | None = None
    class_weight: bool = False
    X_val: Any = None
    y_val: Values | None = None
    stopping: EarlyStopping | None = None
    rounds: int | None = None
    tell: Teller = lambda _event: None
    should_stop: Callable[[], bool] = lambda: False
    checkpoint: Path | None = None
    fingerprint: str = ""
    stage: str = "fit"


@dataclass(frozen=True)
class FitReport:
    """What a kind's `fit` gives.

    Attributes:
        model: the fitted estimator, in scikit-learn's form.
        best_round: that predictions use, from 1; None where it has no rounds.
    """

    model: Any
    rounds: tuple[Round, ...] = ()
    best_round: int | None = None
    findings: tuple[Finding, ...] = ()


class Kind(Protocol):
    """A family of estimators that are fitted, stopped and saved alike: scikit-learn's, LightGBM's, torch modules.

    Attributes:
        name: `sklearn`, `lightgbm`, `xgboost`, `catboost`, `skorch`, `keras`.
        libraries: distributions whose versions decide whether a saved model can be read.
    """

    name: str
    libraries: tuple[str, ...]

    def wants(self, model: Any, task: Task) -> Wants:
        """Return what it asks of prepared rows."""

    def seeded(self, model: Any, seed: int, threads: int | None, device: str) -> Any:
        """Return an unfitted clone with its random state, threads and device set where the caller left them open.

        Raises:
            ConfigError: for a device that is not there, or that the library cannot use.
        """

    def fit(self, model: Any, job: FitJob) -> FitReport:
        """Fit a seeded clone.

        Raises:
            TrainingError: with the first line of the library's error.
            InterruptedTraining: when asked to stop; a checkpoint holds the state.
        """

    def diverged(self, model: Any, job: FitJob, report: FitReport) -> str:
        """Return why the fit is of no use (NaN, beyond all bounds), "" when it is."""

    def nondeterministic(self, model: Any) -> str:
        """Return the setting by which two fits may differ, "" where there is none."""

    def save_native(self, model: Any, folder: Path) -> None:
        """Write a fitted estimator in its library's own format.

        Raises:
            UsageError: when it has none.
        """

    def load_native(self, folder: Path, module: Any = None) -> Any:
        """Read what `save_native` wrote; `module` is the class of a net.

        Raises:
            BundleError: when it cannot be read.
        """


@dataclass(frozen=True)
class Fitted:
    """One fit: steps before the estimator, and the estimator.

    Attributes:
        model: takes the caller's raw rows: the estimator, or a Pipeline of `prepare` and `model`.
        seed: that it was fitted with.
        tried: seeds of fits that diverged before.
        threshold: of class 1, where one was chosen.
    """

    model: Any
    kind: str
    seed: int
    seconds: float
    rounds: tuple[Round, ...] = ()
    best_round: int | None = None
    tried: tuple[int, ...] = ()
    counts_before: Mapping[str, int] = field(default_factory=dict)
    counts_after: Mapping[str, int] = field(default_factory=dict)
    threshold: float | None = None
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        fix(self)


@dataclass(frozen=True)
class Scored:
    """One prediction of some rows, and all figures made of it.

    Attributes:
        metrics: by name; None where undefined.
        prediction: (n,) classes or values.
        probability: (n, classes); None where the estimator tells none.
        undefined: why the metric that decides is None, "" where it is not.
    """

    metrics: Scores
    prediction: Values
    probability: Floats | None
    seconds: float
    undefined: str = ""


@dataclass(frozen=True)
class Job:
    """One fit among several.

    Attributes:
        key: `fold-1`, `refit`, `curve-2-33`, `seed-3`: names its record too.
        weight: expected cost; the heaviest begin first.
        keep_model: whether the fitted model comes back.
    """

    key: str
    train: Ints
    validation: Ints
    held_out: Ints
    seed: int
    rounds: int | None = None
    weight: float = 1.0
    keep_model: bool = False


@dataclass(frozen=True)
class Done:
    """How a job ended.

    Attributes:
        scored: by part; `test` is what was held out.
        from_record: whether it was done by an earlier call.
    """

    key: str
    fitted: Fitted | None
    scored: Mapping[Part, Scored]
    seconds: float
    best_round: int | None = None
    seed: int = 0
    findings: tuple[Finding, ...] = ()
    from_record: bool = False
