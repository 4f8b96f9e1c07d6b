"""The schema that a dataset's metadata states, as pandera sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nightshift.data.checks.rows import Rows
from nightshift.data.schema import LABEL, RUL, RUN, TIME, VEHICLE, LabelSource, Metadata, TimeKind
from nightshift.findings import Finding, finding

if TYPE_CHECKING:
    import pandas as pd


def schema_findings(rows: Rows) -> list[Finding]:
    """Hold every part to the schema; one D020 per column that breaks it."""
    import pandera.pandas as pa

    schema = frame_schema(rows.metadata)
    broken: dict[str, str] = {}
    for part, frame in rows.frames.items():
        try:
            # In place: nothing is coerced, and a copy would be one more of millions of rows.
            schema.validate(frame, lazy=True, inplace=True)
        except pa.errors.SchemaErrors as error:
            for case in error.failure_cases.itertuples():
                column, what = _named(case)
                broken.setdefault(column, f"{what}, in {part}")
    return [finding("D020", f"column '{c}' breaks the schema: {why}.", columns=[c]) for c, why in broken.items()]


def frame_schema(metadata: Metadata) -> Any:
    """Return the pandera schema of a stored part: exactly these columns, of these types, without infinities."""
    import pandas as pd
    import pandera.pandas as pa

    finite = pa.Check(lambda column: column.abs() != np.inf, name="finite")
    number = pa.Check(lambda column: pd.api.types.is_numeric_dtype(column.dtype), name="numbers")
    text = pa.Check(_is_text, name="text")
    columns: dict[str, Any] = {RUN: pa.Column("int64")}
    if metadata.time_kind is TimeKind.CALENDAR:
        columns[TIME] = pa.Column(pd.DatetimeTZDtype("ns", "UTC"))
    elif metadata.time_kind is TimeKind.CYCLES:
        columns[TIME] = pa.Column(None, checks=[number])
    if metadata.group == "vehicle":
        columns[VEHICLE] = pa.Column("int64")
    for sensor in metadata.sensors:
        checks = [text] if sensor.role == "category" else [number, finite]
        columns[sensor.name] = pa.Column(None, checks=checks, nullable=True)
    if metadata.label_source is not LabelSource.ABSENT:
        columns[LABEL] = pa.Column(None, checks=[pa.Check.isin([0, 1])], nullable=True)
    if metadata.has_rul:
        columns[RUL] = pa.Column("float64", checks=[finite], nullable=True)
    for truth in metadata.truths:
        kinds = [pa.Check.isin(truth.classes)] if truth.classes else [number, finite]
        columns[truth.name] = pa.Column(None, checks=kinds, nullable=True)
    return pa.DataFrameSchema(columns, strict=True)


def _is_text(column: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if pd.api.types.infer_dtype(column) in ("string", "empty"):
        return pd.Series(True, index=column.index)
    return column.map(lambda v: isinstance(v, str), na_action="ignore")


def _named(case: Any) -> tuple[str, str]:
    """Return the column and what is wrong with it, of one pandera failure case."""
    if case.schema_context == "DataFrameSchema":
        missing = case.check == "column_in_dataframe"
        return str(case.failure_case), "it is missing" if missing else "it is not in the metadata"
    return str(case.column), f"{case.check}: {case.failure_case}"
