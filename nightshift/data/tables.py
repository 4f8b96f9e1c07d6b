"""A table of anybody's as a dataset: its rows in their parts, the columns as inputs, the target as the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from nightshift.data.dataset import Dataset
from nightshift.data.groups import ESTIMATOR
from nightshift.data.importers.landing import refuse_blockers
from nightshift.data.schema import (
    PARTS,
    RUN,
    LabelSource,
    Metadata,
    Provenance,
    Sensor,
    TimeKind,
    TruthColumn,
    check_subject,
)
from nightshift.data.store import current, land, open_dataset
from nightshift.errors import DataError, UnknownNameError, UsageError, first_line
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

#: Codes of a column of flags, as people write them: every other one is true.
FLAG = ("False", "True", "false", "true", "FALSE", "TRUE", "0", "1")


def land_table(
    home: Home,
    subject: str,
    X: pd.DataFrame,
    y: pd.Series[Any],
    parts: Mapping[str, NDArray[np.int64]],
    *,
    classes: tuple[str, ...] = (),
    groups: pd.Series[Any] | None = None,
    source: str = "",
    details: Mapping[str, Any] | None = None,
) -> Dataset:
    """Land a table that is parted already; the same rows in the same parts land once.

    Args:
        home: where to land.
        subject: the table's name.
        X: (n, columns) inputs.
        y: (n,) target.
        parts: `train`, `val` and `test` -> row numbers.
        classes: of the target as text, in order; empty where it is a number.
        groups: (n,) what holds rows together; None where each stands alone.
        source: name of the file.
        details: kept with its provenance.

    Raises:
        UsageError: for an id under which other data lie, or a table with another target.
        DataError: for a column that has no place in a bundle: dates, a reserved name, text without a value.
        BlockedError: for fewer rows than any data need.
    """
    import pandas as pd

    target = str(y.name)
    hold_table(home, subject, target)
    fitted = np.concatenate([parts["train"], parts["val"]])
    metadata = _described(subject, target, [_sensor(X[name], fitted) for name in X.columns], classes, source, details)
    run = np.arange(len(X)) if groups is None else pd.factorize(groups, use_na_sentinel=False)[0]
    answer = y.map(str) if classes else y
    frames = {
        part: X.iloc[parts[part]].assign(**{RUN: run[parts[part]], target: answer.iloc[parts[part]]}) for part in PARTS
    }
    return land(home, frames, metadata, event=False, check=refuse_blockers)


def hold_table(home: Home, subject: str, target: str) -> None:
    """Refuse an id under which other data lie: the table would take their place.

    Raises:
        UsageError: for an id that is none, or of other data than a table.
        UnknownNameError: for a table with another target.
    """
    check_subject(subject)
    try:
        metadata = open_dataset(home, subject, current(home, subject)).metadata
    except UnknownNameError:
        return
    if metadata.group != ESTIMATOR:
        raise UsageError(f"'{subject}' holds data of a {metadata.group}, no table.", hint="Give another --id.")
    present = metadata.truths[0].name
    if present != target:
        raise UnknownNameError(
            f"target of the table '{subject}':",
            target,
            [present],
            hint="For another target give the table another name with --id, or leave the model out with --no-register.",
        )


def is_flag(categories: tuple[str, ...]) -> bool:
    """Whether a column of these categories holds flags."""
    return categories == FLAG


def _described(
    subject: str,
    target: str,
    sensors: list[Sensor],
    classes: tuple[str, ...],
    source: str,
    details: Mapping[str, Any] | None,
) -> Metadata:
    try:
        truth = TruthColumn(name=target, role="class" if classes else "value", classes=classes)
        return Metadata(
            subject=subject,
            group="estimator",
            time_kind=TimeKind.NONE,
            time_unit="none",
            sensors=tuple(sensors),
            truths=(truth,),
            label_source=LabelSource.ABSENT,
            has_rul=False,
            provenance=Provenance(kind="import", source=source, details=dict(details or {})),
        )
    except ValidationError as error:
        raise _no_place(target, error) from error


def _sensor(column: pd.Series[Any], fitted: NDArray[np.int64]) -> Sensor:
    """Describe an input; the categories are those of the rows that a model is fitted on."""
    from pandas.api import types

    name, kind = str(column.name), column.dtype
    categories: tuple[str, ...] = ()
    if types.is_datetime64_any_dtype(kind) or types.is_timedelta64_dtype(kind) or types.is_complex_dtype(kind):
        raise DataError(
            f"column '{name}' holds {kind}, which a bundle has no form for: it takes numbers, flags and text.",
            hint="Make numbers of it (hour, weekday), name it as --times, or leave it out.",
        )
    if types.is_bool_dtype(kind):
        categories = FLAG
    elif not types.is_numeric_dtype(kind):
        odd = next((value for value in column.dropna().unique() if not isinstance(value, str)), None)
        if odd is not None:
            raise DataError(
                f"column '{name}' holds {type(odd).__name__} as categories: a bundle tells texts apart, and numbers.",
                hint="Make text or numbers of it.",
            )
        categories = tuple(sorted({str(value) for value in column.iloc[fitted].dropna().unique()}))
        if not categories:
            raise DataError(f"column '{name}' has no value in the rows to train on.", hint="Leave it out.")
    try:
        return Sensor(name=name, role="category" if categories else "sensor", categories=categories)
    except ValidationError as error:
        raise _no_place(name, error) from error


def _no_place(name: str, error: ValidationError) -> DataError:
    told = error.errors()[0]
    why = first_line(ValueError(told["msg"]))
    if told["type"] == "string_pattern_mismatch":
        why = r"its name holds '/', '\' or a control character"
    return DataError(f"column '{name}' has no place in a dataset: {why}.", hint="Rename the column.")
