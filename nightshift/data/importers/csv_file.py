"""Any CSV or Parquet file, with a small YAML mapping that says what its columns mean."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.data import labels
from nightshift.data.dataset import Dataset
from nightshift.data.importers.clock import mend_order, read_times, sampling_of
from nightshift.data.importers.landing import (
    SECONDS_PER_HOUR,
    Check,
    default_embargo_h,
    refuse_blockers,
    split_and_land,
)
from nightshift.data.importers.mapping import Mapping, load_mapping
from nightshift.data.importers.text import read_text_table
from nightshift.data.normalise import numbers
from nightshift.data.schema import LABEL, RUL, RUN, TIME, LabelSource, Metadata, Provenance, TimeKind, check_subject
from nightshift.errors import DataError, UnknownNameError, UsageError
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

PARQUET = (".parquet", ".pq")
_UNITS: dict[TimeKind, Literal["hours", "cycles", "none"]] = {
    TimeKind.CALENDAR: "hours",
    TimeKind.CYCLES: "cycles",
    TimeKind.NONE: "none",
}
MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?"})


def import_csv(
    home: Home,
    path: Path,
    mapping: str | Path | Mapping,
    subject: str | None = None,
    *,
    dropped: AnyMapping[str, str] | None = None,
    event: bool = True,
    check: Check | None = refuse_blockers,
) -> Dataset:
    """Land a CSV or Parquet file.

    Args:
        home: where to land.
        path: `.parquet`/`.pq`, else delimited text.
        mapping: a YAML file, the name of a shipped one, or a parsed one.
        subject: id to land under; the mapping's `machine` by default.
        dropped: column -> why it is left out on purpose; the others that are not used are reported (D021).
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        BlockedError: when the checks find a blocker.
        DataError: when the file cannot be read or does not fit the mapping.
        UnknownNameError: for a mapping or column that does not exist; names the nearest.
        ConfigError: for a mapping that cannot be used.
        UsageError: when neither mapping nor command names the machine.
    """
    chosen = mapping if isinstance(mapping, Mapping) else load_mapping(home, mapping)
    machine = subject or chosen.machine
    if machine is None:
        raise UsageError("the mapping names no machine.", hint="Give `--machine ID`, or `machine:` in the mapping.")
    check_subject(machine)
    source, details = _read(path, chosen)
    used = chosen.used()
    for column in used:
        if column not in source:
            raise UnknownNameError("column", column, [str(c) for c in source.columns], hint=f"({path.name})")
    known = {**used, **(dropped or {})}
    details["unused_columns"] = [str(c) for c in source.columns if c not in known]
    details["dropped_columns"] = {c: why for c, why in (dropped or {}).items() if c in source}
    frame = _columns(source, chosen, details)
    metadata = _describe(machine, path, chosen, frame, details)
    return split_and_land(home, frame, metadata, seed=chosen.seed, event=event, check=check)


def _read(path: Path, mapping: Mapping) -> tuple[pd.DataFrame, dict[str, Any]]:
    if path.suffix.lower() in PARQUET:
        return _read_parquet(path), {"importer": "csv", "format": "parquet"}
    table = read_text_table(path, encoding=mapping.encoding, separator=mapping.separator, decimal=mapping.decimal)
    details: dict[str, Any] = {
        "importer": "csv",
        "format": "text",
        "encoding": table.encoding,
        "separator": table.separator,
        "decimal": table.decimal,
        "notes": list(table.notes),
    }
    return table.frame, details


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path.name}.", hint="Check the path.") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path.name} is no parquet file, or cut short.", hint="Fetch or write it again.") from error
    # A time that was the index is a column to everybody else.
    frame = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
    text = [c for c in frame if isinstance(frame[c].dtype, pd.CategoricalDtype | pd.StringDtype)]
    return frame.astype(dict.fromkeys(text, object))


def _columns(source: pd.DataFrame, mapping: Mapping, details: dict[str, Any]) -> pd.DataFrame:
    """Return the dataset's columns, read and named, in order."""
    import pandas as pd

    decimal = str(details.get("decimal", "."))
    columns: dict[str, Any] = {}
    columns[RUN] = _runs(source, mapping)
    if mapping.time.column:
        columns[TIME] = read_times(source[mapping.time.column], mapping.time, columns[RUN])
    for column, spec in mapping.sensors.items():
        columns[spec.name or column] = _sensor(source[column], spec.role, mapping, decimal)
    if mapping.label.column:
        columns[LABEL] = labels.from_words(
            _without_sentinels(source[mapping.label.column], mapping), mapping.label.positive
        )
    if mapping.rul.column:
        columns[RUL] = _numbers(source[mapping.rul.column], mapping, decimal)
    frame = pd.DataFrame(columns)
    if mapping.time.column:
        frame = mend_order(frame, mapping, details)
    return _with_made_labels(frame, mapping)


def _runs(source: pd.DataFrame, mapping: Mapping) -> NDArray[np.int64]:
    """Return each row's run: the source's own whole numbers, else its names numbered as they come."""
    import pandas as pd

    if not mapping.run.column:
        alone = mapping.time.kind is TimeKind.NONE
        return np.arange(len(source), dtype=np.int64) if alone else np.zeros(len(source), dtype=np.int64)
    names = source[mapping.run.column]
    empty = (names.isna() | (names.astype(str).str.strip() == "")).to_numpy()
    if empty.any():
        raise DataError(
            f"D020: column '{names.name}' is empty in row {int(np.argmax(empty)) + 1}.", hint="Every row needs its run."
        )
    numbered = pd.to_numeric(names, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if np.isfinite(numbered).all() and (numbered == np.round(numbered)).all() and np.abs(numbered).max() < 2**53:
        return numbered.astype(np.int64)
    return np.asarray(pd.factorize(names)[0], dtype=np.int64)


def _sensor(column: pd.Series[Any], role: str, mapping: Mapping, decimal: str) -> Any:
    if role == "category":
        return _without_sentinels(column, mapping)
    return _numbers(column, mapping, decimal)


def _numbers(column: pd.Series[Any], mapping: Mapping, decimal: str) -> NDArray[np.float64]:
    kept = _without_sentinels(column, mapping)
    if kept.dtype == object:
        # An Excel export may wrap booleans and numbers alike as text.
        kept = kept.map(lambda cell: _number_text(cell, decimal), na_action="ignore").rename(str(column.name))
    return numbers(kept, np.float64)


def _number_text(cell: object, decimal: str) -> object:
    if not isinstance(cell, str):
        return cell
    truth = {"true": "1", "false": "0"}.get(cell.lower())
    return truth or (cell.replace(",", ".") if decimal == "," else cell)


def _without_sentinels(column: pd.Series[Any], mapping: Mapping) -> pd.Series[Any]:
    """Return the column with missing words and sentinels as None/NaN."""
    words = {str(s).strip().lower() for s in mapping.sentinels} | MISSING_WORDS
    values = {float(s) for s in mapping.sentinels if not isinstance(s, str)}
    if column.dtype == object:
        text = column.astype(str).str.strip().str.lower()
        gone = text.isin(words) | column.isna()
        if values:
            import pandas as pd

            gone |= pd.to_numeric(text.str.replace(",", "."), errors="coerce").isin(values)
        return column.mask(gone, None)
    return column.where(~column.isin(values), np.nan) if values else column


def _with_made_labels(frame: pd.DataFrame, mapping: Mapping) -> pd.DataFrame:
    """Add `rul` from run ends, then the label from `rul` or from alarm limits, where the source has none."""
    out = frame
    if mapping.rul.run_end_is_failure and RUL not in out:
        out = out.assign(**{RUL: _until_run_end(out)})
    if LABEL in out or mapping.label.absent:
        return out
    if RUL in out and mapping.horizon is not None:
        return out.assign(**{LABEL: labels.from_rul(out[RUL].to_numpy(np.float64), mapping.horizon)})
    sensors = [spec.sensor(column) for column, spec in mapping.sensors.items()]
    if RUL not in out and labels.have_limits(sensors):
        made = labels.from_thresholds(out, sensors, noise=mapping.label.noise, seed=mapping.seed)
        return out.assign(**{LABEL: made})
    return out


def _until_run_end(frame: pd.DataFrame) -> NDArray[np.float64]:
    if TIME not in frame:
        raise DataError("rows without time have no remaining life.", hint="Map `time`, or drop `rul`.")
    left = frame.groupby(RUN)[TIME].transform("max") - frame[TIME]
    if left.dtype.kind == "m":
        left = left.dt.total_seconds() / SECONDS_PER_HOUR
    return left.to_numpy(np.float64)


def _label_source(frame: pd.DataFrame, mapping: Mapping) -> LabelSource:
    if LABEL not in frame:
        return LabelSource.ABSENT
    if mapping.label.column:
        return LabelSource.GIVEN
    return LabelSource.FROM_RUL if RUL in frame else LabelSource.THRESHOLDS


def _describe(machine: str, path: Path, mapping: Mapping, frame: pd.DataFrame, details: dict[str, Any]) -> Metadata:
    kind = mapping.time.kind
    sampling_s = mapping.time.sampling_s or sampling_of(frame, kind)
    embargo = 0.0
    if kind is TimeKind.CALENDAR:
        embargo = mapping.embargo_h if mapping.embargo_h is not None else default_embargo_h(sampling_s, mapping.horizon)
    return Metadata(
        subject=machine,
        title=mapping.title,
        time_kind=kind,
        time_unit=_UNITS[kind],
        sampling_s=sampling_s,
        timezone=mapping.time.timezone,
        horizon=mapping.horizon,
        embargo=embargo,
        sensors=tuple(spec.sensor(column) for column, spec in mapping.sensors.items()),
        derived=mapping.derived,
        label_source=_label_source(frame, mapping),
        has_rul=RUL in frame,
        provenance=Provenance(
            kind="import",
            source=f"{path.name}{f' ({mapping.source})' if mapping.source else ''}",
            mapping=mapping.used(),
            details={
                **details,
                "seed": mapping.seed,
                "mapping_file": mapping.model_dump(mode="json", exclude_defaults=True),
            },
        ),
    )
