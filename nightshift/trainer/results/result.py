"""What `train_model` and `train_with_cv` give back: frozen records that can be shown, saved and asked for answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nightshift.findings import Finding
from nightshift.trainer.contract import Column, Cut, Fitted, Fold, Round
from nightshift.trainer.options import Format, Settings, Task
from nightshift.trainer.records import FoldResult, Predictions, Provenance, Scores, Values, fix

if TYPE_CHECKING:
    import pandas as pd

    from nightshift.problems.evaluation import Figure


class Lines(str):
    """Text that a prompt shows as it is printed, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class About:
    """The table that was trained on, in a few words: no row of it.

    Attributes:
        name: of the estimator's class.
        kind: of the estimator, as in `Kind.name`.
        primary: the metric that decides.
        classes: in sorted order; empty for regression.
        dtypes: of the columns as given, by name.
        roles: what was seen in the columns; empty for sparse X.
        frame: whether X was a DataFrame: it is predicted by columns' names.
        y_name: of the target, "y" where it has none.
        class_counts: of all rows.
    """

    name: str
    kind: str
    task: Task
    primary: str
    columns: tuple[str, ...]
    classes: tuple[Any, ...] = ()
    dtypes: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[Column, ...] = ()
    frame: bool = False
    y_name: str = "y"
    n_rows: int = 0
    class_counts: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fix(self)


@dataclass(frozen=True)
class SeedResult:
    """What one of several seeds gave on the same parts.

    Attributes:
        scores: by part.
    """

    seed: int
    scores: Mapping[str, Scores]
    seconds: float

    def __post_init__(self) -> None:
        fix(self)


@dataclass(frozen=True, repr=False)
class _Result:
    """What both results hold.

    Attributes:
        model: takes rows as X held them: the fitted estimator, behind its preparation where there is any.
        scores: part -> metric -> figure; None where undefined.
        history: rounds of the kept fit; empty for an estimator without rounds.
        predictions: answers on rows that the model behind them was not fitted on.
        split: row numbers of the parts.
        fitted: the fit that gave `model`: counts before and after balancing, threshold, seeds tried.
        example: up to 1,000 rows of X, for checking an export; they are not saved.
        by_seed: what each seed gave, where several were asked for.
        saved: folder of the saved model; None where it was not saved.
    """

    model: Any
    scores: Mapping[str, Scores]
    history: tuple[Round, ...]
    predictions: Predictions
    split: Cut
    findings: tuple[Finding, ...]
    provenance: Provenance
    settings: Settings
    about: About
    fitted: Fitted
    example: Any = field(default=None, repr=False)
    by_seed: tuple[SeedResult, ...] = ()
    saved: Path | None = None

    def __post_init__(self) -> None:
        fix(self)

    def predict(self, X: Any) -> Values:
        """Return classes or values `(n,)` of rows like those trained on; a frame's columns may stand in any order.

        Raises:
            TableError: for rows that do not fit; see `answers.rows_like`.
        """
        from nightshift.trainer.answers import predicted

        return predicted(self.model, X, self.about)

    def predict_proba(self, X: Any) -> Values:
        """Return probabilities `(n, classes)`.

        Raises:
            TableError: for rows that do not fit.
            AttributeError: by scikit-learn's custom, when the estimator tells none.
        """
        from nightshift.trainer.answers import probabilities

        return probabilities(self.model, X, self.about)

    def save(self, path: str | Path | None = None, format: Format | None = None) -> Path:
        """Write the model with its manifest into a folder, and return it.

        Args:
            path: the folder; None: `<save_path>/<estimator>_<YYYYMMDD_HHMMSS>`.
            format: `skops`, `native` (boosters and nets) or `joblib`; None: the settings'.

        Raises:
            UsageError: for a format that the estimator has not.
        """
        from nightshift.trainer.keep.save import save

        return save(_either(self), path, format or self.settings.format)

    def to_onnx(self, path: str | Path | None = None) -> Any:
        """Return the model as ONNX, checked on rows of the table; write it when a path is given.

        Raises:
            ExportError: when it has no ONNX form, or the graph answers otherwise.
        """
        from nightshift.trainer.keep.onnx_out import result_to_onnx

        return result_to_onnx(_either(self), path)

    def summary(self) -> Lines:
        """Return the parts, classes, scores and where the model was saved, as lines for a terminal.

        A notebook or Python's prompt shows them as lines too.
        """
        from nightshift.trainer.results.summary import summary

        return Lines(summary(_either(self)))

    def to_frame(self) -> pd.DataFrame:
        """Return the scores as a frame: a row per part, fold and metric."""
        from nightshift.trainer.results.frames import to_frame

        return to_frame(_either(self))

    def figures(self) -> tuple[Figure, ...]:
        """Return the pictures: rounds, folds, learning curve, confusion."""
        from nightshift.trainer.results.pictures import figures

        return figures(_either(self))

    def _repr_html_(self) -> str:
        from nightshift.trainer.results.html import to_html

        return to_html(_either(self))

    def __repr__(self) -> str:
        """One line: a list of results, or a debugger, shows it; all rows and settings would fill pages."""
        about = self.about
        part = next((one for one in ("test", "held_out", "validation", "train") if one in self.scores), "")
        value = self.scores.get(part, {}).get(about.primary)
        figure = "" if value is None else f", {about.primary} {value:.4g} on {part.replace('_', ' ')}"
        return f"<{type(self).__name__} {about.name}: {about.n_rows:,} rows × {len(about.columns):,} columns{figure}>"

    def __str__(self) -> str:
        return self.summary()


@dataclass(frozen=True, repr=False)
class TrainResult(_Result):
    """One split, one model.

    Attributes:
        mean, spread: part -> metric -> over the seeds, where several were asked for; spread is the standard deviation.
        cv: cross-validation over train and validation, where `cv=` was given too.
    """

    mean: Mapping[str, Scores] = field(default_factory=dict)
    spread: Mapping[str, Scores] = field(default_factory=dict)
    cv: CVResult | None = None


@dataclass(frozen=True)
class CurvePoint:
    """A point of the learning curve: folds fitted on a share of their train rows.

    Attributes:
        rows: train rows, mean of the folds.
        train, held_out: the primary metric's mean.
        spread: of `held_out` over the folds.
    """

    share: float
    rows: int
    train: float | None
    held_out: float | None
    spread: float | None


@dataclass(frozen=True, repr=False)
class CVResult(_Result):
    """Folds, and a model refitted on all their rows.

    Attributes:
        scores: `train` and `held_out` are the folds' means, `test` is the refit's on rows that no fold saw.
        folds: each one's figures; of the first seed where there are several.
        fold_split: their row numbers.
        mean, spread: of the held-out scores, by metric; spread is the folds' standard deviation.
        seed_spread: standard deviation of the seeds' means, by metric; empty for one seed.
        learning_curve: empty where it was not asked for.
    """

    folds: tuple[FoldResult, ...] = ()
    fold_split: tuple[Fold, ...] = ()
    mean: Scores = field(default_factory=dict)
    spread: Scores = field(default_factory=dict)
    seed_spread: Scores = field(default_factory=dict)
    learning_curve: tuple[CurvePoint, ...] = ()


def _either(result: _Result) -> TrainResult | CVResult:
    return cast("TrainResult | CVResult", result)
