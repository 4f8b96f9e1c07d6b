"""Which steps stand before an estimator: gaps filled, numbers scaled, categories and dates made numbers.

All of it is learnt from train rows alone, and only what an estimator asks for is done: where nothing is, there is no
step at all and rows go to the estimator as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import TableError
from nightshift.trainer.contract import Column, Wants
from nightshift.trainer.options import Encode, Settings, Task

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

#: Columns that categories of few values become, from which on they are kept sparse where the estimator takes that.
_SPARSE_FROM = 200
#: Parts of the train rows that the target's means are made on in turn, so that no row's own answer is in its number.
TARGET_FOLDS = 5


@dataclass(frozen=True)
class _Branch:
    """Columns that are treated alike.

    Attributes:
        steps: in order; none: they pass.
    """

    name: str
    positions: list[int]
    steps: list[tuple[str, Any]]


def recipe(
    columns: Sequence[Column], wants: Wants, settings: Settings, task: Task, seed: int
) -> ColumnTransformer | Pipeline | None:
    """Return the unfitted steps before an estimator, None where it takes the rows as they are.

    Columns are addressed by position, so that an array and a frame are prepared alike; a frame's are found by their
    names afterwards. Where all columns are treated alike the steps stand alone, which saves a copy of them.

    Gaps of a column that has none are left to the estimator, unless `Encode.always_impute` is set or it would answer
    NaN without a word. No column says where a gap was: a graph in ONNX would leave it out without a word.

    Args:
        columns: of the table; none, for a sparse matrix: it passes.
        seed: of the parts that the target's means are made on.

    Raises:
        TableError: for categories that are not to be encoded and that the estimator does not take.
    """
    branches = _branches(columns, wants, settings, task, seed)
    done = [branch for branch in branches if branch.steps]
    if not done:
        return None
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    if len(branches) == 1:
        return Pipeline(done[0].steps)
    transformer = ColumnTransformer(
        [(b.name, Pipeline(b.steps) if b.steps else "passthrough", b.positions) for b in branches],
        sparse_threshold=1.0,
    )
    if any(b.name == "categories" for b in branches):
        transformer.set_output(transform="pandas")  # an array has no categories
    return transformer


def _branches(columns: Sequence[Column], wants: Wants, settings: Settings, task: Task, seed: int) -> list[_Branch]:
    encode = settings.encode or Encode()
    scaled = settings.scale == "yes" or (settings.scale == "auto" and wants.scaled)
    by_name: dict[str, list[int]] = {}
    for position, column in enumerate(columns):
        gaps = wants.refuses_nan and (column.missing or encode.always_impute or wants.answers_gaps)
        by_name.setdefault(_branch_of(column, gaps, settings, wants), []).append(position)
    found = []
    for name, positions in by_name.items():
        chosen = [columns[p] for p in positions]
        found.append(_Branch(name, positions, _steps(name, chosen, wants, scaled, task, seed)))
    return found


def _branch_of(column: Column, gaps: bool, settings: Settings, wants: Wants) -> str:
    """Return the name of the branch that a column goes by."""
    if column.role in ("number", "flag", "datetime"):
        return {"number": "numbers", "flag": "flags", "datetime": "dates"}[column.role] + ("_with_gaps" if gaps else "")
    if settings.encode is not None:
        return {"low": "one_hot", "middle": "ordinal", "high": "target_mean"}[column.role]
    if wants.own_categories:
        return "categories"
    raise TableError(
        f"could not convert string to float: column {column.name!r} holds categories, and encode=None leaves them so. "
        "Expected numbers for this estimator, got text or categories.",
        hint="Leave encode at 'auto', or encode the column first.",
    )


def _steps(
    name: str, columns: list[Column], wants: Wants, scaled: bool, task: Task, seed: int
) -> list[tuple[str, Any]]:
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    steps: list[tuple[str, Any]] = []
    if name.startswith("dates"):
        from nightshift.trainer.prepare.dates import DateParts

        steps.append(("parts", DateParts()))
    if name.endswith("_with_gaps"):
        from sklearn.impute import SimpleImputer  # it loads the neighbours' estimators too

        steps.append(("fill", SimpleImputer(strategy="median", keep_empty_features=True)))
    if name == "one_hot":
        sparse = wants.takes_sparse and sum(column.values for column in columns) >= _SPARSE_FROM
        steps.append(("encode", OneHotEncoder(handle_unknown="ignore", sparse_output=sparse)))
    elif name == "ordinal":
        unknown = {"handle_unknown": "use_encoded_value", "unknown_value": -1, "encoded_missing_value": -1}
        steps.append(("encode", OrdinalEncoder(**unknown)))
    elif name == "target_mean":
        steps.append(("encode", _target_mean(task, seed)))
    if scaled and name not in ("flags", "flags_with_gaps", "one_hot", "categories"):
        steps.append(("scale", StandardScaler()))
    return steps


def _target_mean(task: Task, seed: int) -> Any:
    """Return an encoder whose `fit_transform` gives a train row a mean that its own answer is not part of."""
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.preprocessing import TargetEncoder

    kind = {"binary": "binary", "multiclass": "multiclass", "regression": "continuous"}[task]
    parts = KFold if task == "regression" else StratifiedKFold
    return TargetEncoder(target_type=kind, cv=parts(TARGET_FOLDS, shuffle=True, random_state=seed))
