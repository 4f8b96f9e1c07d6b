"""Reads rows whose columns a `metadata.json` describes: exactly those columns, of kinds that can be what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightshift.data.importers.clock import read_times
from nightshift.data.importers.csv_file import MISSING_WORDS
from nightshift.data.importers.mapping import TimeColumn
from nightshift.data.importers.text import read_text_table
from nightshift.data.normalise import numbers
from nightshift.data.schema import LABEL, RUL, RUN, TIME, VEHICLE, LabelSource, Metadata, TimeKind
from nightshift.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

#: Text is read cell by cell, at about ten times its size in memory.
MAX_CSV_BYTES = 500_000_000
MAX_PARQUET_BYTES = 8_000_000_000
#: Of all columns together: a few bytes of parquet can stand for billions of rows.
MAX_VALUES = 200_000_000
#: Of all text together, as it is once every cell is spelled out: a dictionary stores a long word once for all rows.
MAX_TEXT_BYTES = 1_000_000_000
#: Nanoseconds since 1970 in 64 bits reach from 1677 to 2262.
_YEARS = (1900, 2200)
# A run is a whole number that floating point still tells from the next.
_MAX_RUN = 2**53


def read_csv_rows(path: Path, metadata: Metadata) -> pd.DataFrame:
    """Read delimited text.

    Raises:
        DataError: when it cannot be read, is too large, or does not fit the metadata.
    """
    _hold_size(path, MAX_CSV_BYTES)
    table = read_text_table(path)
    _hold_columns(path.name, table.frame.columns, metadata)
    categories = _words(metadata)
    frame = table.frame.copy()
    for name in frame.columns:
        gone = frame[name] == "" if name in categories else frame[name].str.lower().isin(MISSING_WORDS)
        text = frame[name].mask(gone, None)
        is_number = name not in categories and name != TIME
        frame[name] = text.str.replace(",", ".") if is_number and table.decimal == "," else text
    return _typed(frame, path.name, metadata)


def read_parquet_rows(path: Path, metadata: Metadata) -> pd.DataFrame:
    """Read a parquet file: plain columns only, whatever the writer has noted beside them.

    Raises:
        DataError: when it cannot be read, is too large, or does not fit the metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _hold_size(path, MAX_PARQUET_BYTES)
    try:
        with pq.ParquetFile(path) as file:
            schema, found = file.schema_arrow, file.metadata
            _hold_claims(path.name, found)
            _hold_columns(path.name, schema.names, metadata)
            _hold_types(path.name, schema, metadata)
        frame = _plain(_read_groups(path, found)).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path.name} is no parquet file, or cut short.", hint="Write it again.") from error
    return _typed(frame, path.name, metadata)


def _hold_claims(name: str, found: pq.FileMetaData) -> None:
    """Refuse a file that says itself that it holds too much, or that could hide how much.

    Raises:
        DataError: for too many values, too much text, or text whose rows repeat each other's beginnings.
    """
    groups = [found.row_group(i) for i in range(found.num_row_groups)]
    # Two places of the file say it, and reading believes the second.
    values = max(found.num_rows, sum(group.num_rows for group in groups)) * found.num_columns
    if values > MAX_VALUES:
        raise DataError(f"{name} holds {values:,} values, at most {MAX_VALUES:,} can be landed.", hint="Land less.")
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.physical_type == "BYTE_ARRAY"]
    _hold_text(name, sum(chunk.total_uncompressed_size for chunk in chunks))
    if any("DELTA_BYTE_ARRAY" in chunk.encodings for chunk in chunks):
        raise DataError(
            f"{name} holds text in the encoding DELTA_BYTE_ARRAY, which is not read.",
            hint="Write it plain or with dictionaries, as pandas does.",
        )


def _hold_text(name: str, size: int) -> None:
    if size > MAX_TEXT_BYTES:
        raise DataError(
            f"{name} holds {size:,} bytes of text, at most {MAX_TEXT_BYTES:,} can be landed.",
            hint="Shorten the words, or land less.",
        )


def _read_groups(path: Path, found: pq.FileMetaData) -> pa.Table:
    """Read one row group after another, its words once each, until the text of all rows would be too much.

    Raises:
        DataError: when it would.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    leaves = [found.schema.column(i) for i in range(found.num_columns)]
    words = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    tables, text = [], 0
    with pq.ParquetFile(path, read_dictionary=words) as file:
        for i in range(file.num_row_groups):
            tables.append(file.read_row_group(i))
            text += sum(_spelled_out(chunk) for column in tables[-1].columns for chunk in column.chunks)
            _hold_text(path.name, text)
        return pa.concat_tables(tables) if tables else file.read()


def _spelled_out(chunk: pa.Array) -> int:
    """Return the bytes of a chunk's text when every row spells its word out; 0 for another kind of column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(chunk.type):
        return 0
    lengths = pc.binary_length(chunk.dictionary)
    return int(pc.sum(lengths.take(chunk.indices).cast(pa.int64())).as_py() or 0)


def _hold_size(path: Path, limit: int) -> None:
    if not path.is_file():
        raise DataError(f"{path.name} is no file.", hint="Give a plain file.")
    size = path.stat().st_size
    if size > limit:
        raise DataError(f"{path.name} has {size:,} bytes, at most {limit:,} are read.", hint="Land less history.")


def _hold_columns(name: str, columns: Iterable[str], metadata: Metadata) -> None:
    """Refuse a file whose columns are others than the metadata says; independent rows need no `run`."""
    found = Counter(str(c) for c in columns)
    wanted = [s.name for s in metadata.sensors]
    wanted += [TIME] if metadata.time_kind is not TimeKind.NONE else []
    wanted += [LABEL] if metadata.label_source is not LabelSource.ABSENT else []
    wanted += [RUL] if metadata.has_rul else []
    wanted += [RUN] if metadata.time_kind is not TimeKind.NONE else []
    wanted += [VEHICLE] if metadata.group == "vehicle" else []
    wanted += [truth.name for truth in metadata.truths]
    twice = [c for c, n in found.items() if n > 1]
    missing = [c for c in wanted if c not in found]
    unknown = [c for c in found if c not in {*wanted, RUN}]
    if twice:
        raise DataError(f"{name} has the column '{twice[0]}' more than once.", hint="Rename one of them.")
    if missing:
        raise DataError(
            f"D001: {name} lacks the column {_listed(missing)} that metadata.json describes.",
            hint=f"It holds {_listed(list(found))}.",
        )
    if unknown:
        raise DataError(
            f"{name} holds the column {_listed(unknown)}, of which metadata.json says nothing.",
            hint="Describe it there, or leave it out.",
        )


def _hold_types(name: str, schema: pa.Schema, metadata: Metadata) -> None:
    from pyarrow import types

    number: tuple[Callable[[Any], bool], ...] = (types.is_integer, types.is_floating, types.is_decimal)
    text = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    clock = (types.is_timestamp, types.is_date) if metadata.time_kind is TimeKind.CALENDAR else number
    categories = _words(metadata)
    for field in schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if field.name == TIME:
            allowed, expected = (*clock, *text), "times"
        elif field.name in categories:
            allowed, expected = (*text, types.is_integer, types.is_boolean), "text"
        else:
            allowed, expected = (*number, *text, types.is_boolean), "numbers"
        if not any(fits(kind) for fits in allowed):
            raise DataError(
                f"D020: column '{field.name}' of {name} is of type {field.type}, expected {expected}.",
                hint="Write it as a plain column.",
            )


def _words(metadata: Metadata) -> set[str]:
    """Return the columns of text: categories, and kinds that models answer."""
    kinds = {truth.name for truth in metadata.truths if truth.classes}
    return kinds | {s.name for s in metadata.sensors if s.role == "category"}


def _plain(table: pa.Table) -> pa.Table:
    """Return the table without dictionaries and decimals, which pandas would turn into objects of its own."""
    import pyarrow as pa

    fields = []
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        fields.append(field.with_type(pa.float64() if pa.types.is_decimal(kind) else kind))
    return table.cast(pa.schema(fields))


def _typed(frame: pd.DataFrame, name: str, metadata: Metadata) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    runs = _runs(frame, name)
    if metadata.time_kind is not TimeKind.NONE:
        columns[TIME] = _times(frame[TIME], metadata, runs)
    columns[RUN] = runs
    for sensor in metadata.sensors:
        column = frame[sensor.name]
        columns[sensor.name] = column if sensor.role == "category" else numbers(column, np.float64)
    plain = [truth.name for truth in metadata.truths if not truth.classes]
    for extra in (LABEL, RUL, *([VEHICLE] if metadata.group == "vehicle" else []), *plain):
        if extra in frame:
            columns[extra] = numbers(frame[extra], np.float64)
    for truth in (t for t in metadata.truths if t.classes):
        columns[truth.name] = frame[truth.name]
    return pd.DataFrame(columns)


def _runs(frame: pd.DataFrame, name: str) -> Any:
    if RUN not in frame:
        return np.arange(len(frame), dtype=np.int64)
    values = numbers(frame[RUN], np.float64)
    whole = np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < _MAX_RUN)
    if not whole.all():
        row = int(np.argmin(whole))
        raise DataError(
            f"D020: column '{RUN}' of {name} holds '{frame[RUN].iloc[row]}' (row {row + 1}), expected a whole number.",
            hint="Number the runs.",
        )
    return values.astype(np.int64)


def _times(column: pd.Series[Any], metadata: Metadata, runs: Any) -> Any:
    if metadata.time_kind is TimeKind.CYCLES:
        return numbers(column, np.float64)
    if column.dtype.kind == "M" or hasattr(column.dtype, "tz"):
        years = column.dropna().dt.year
        outside = years[(years < _YEARS[0]) | (years > _YEARS[1])]
        if len(outside):
            raise DataError(
                f"D020: column '{TIME}' holds the year {outside.iloc[0]}, expected {_YEARS[0]} to {_YEARS[1]}.",
                hint="Is it in another unit?",
            )
    return read_times(column, TimeColumn(column=TIME, timezone=metadata.timezone), runs)


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{n}'" for n in names[:8])
    return f"{shown}, …" if len(names) > 8 else shown
