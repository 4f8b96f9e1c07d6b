"""Finds a user's files of telemetry, and reads them a column at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.data.importers.csv_file import PARQUET
from nightshift.data.schema import PARTS
from nightshift.errors import DataError, first_line
from nightshift.files import read_plain

if TYPE_CHECKING:
    import pandas as pd

_SUFFIXES = (".csv", *PARQUET)
#: A CSV of 10,000 hours has 7 GB; a parquet file says how many rows it has before they are read.
MAX_CSV_BYTES, MAX_ROWS = 8_000_000_000, 100_000_000


@dataclass(frozen=True)
class Table:
    """A file that is open for reading.

    Attributes:
        headers: of its columns.
        rows: that it has.
        take: reads the column of a header, once: nothing else of the file need be in memory.
    """

    headers: tuple[str, ...]
    rows: int
    take: Callable[[str], pd.Series[Any]]


def telemetry_files(folder: Path) -> dict[str, Path]:
    """Return name -> file; in the order of the parts where these are there.

    Raises:
        DataError: when there is no file, one of the parts is missing, or a name stands for two files.
    """
    if not folder.exists():
        raise DataError(
            f"there is no {folder.name}.",
            hint="Give a folder of CSV or parquet files, or `nightshift simulate vehicle`.",
        )
    there = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    found: dict[str, Path] = {}
    for file in (f for f in there if f.suffix.lower() in _SUFFIXES):
        if file.stem in found:
            raise DataError(
                f"{folder.name} holds {found[file.stem].name} and {file.name}.", hint="Keep one of the two."
            )
        found[file.stem] = file
    if not found:
        raise DataError(f"{folder.name} holds no CSV or parquet file.", hint="Give the folder with the trips.")
    lacking = [part for part in PARTS if part not in found]
    if lacking and len(lacking) < len(PARTS):
        raise DataError(
            f"{folder.name} holds {', '.join(p for p in PARTS if p in found)} and no {' or '.join(lacking)}.",
            hint="Give all three parts, or name the files otherwise to have them cut.",
        )
    if not lacking and len(found) > len(PARTS):
        other = next(name for name in found if name not in PARTS)
        raise DataError(f"{folder.name} holds the three parts and {found[other].name}.", hint="Move it elsewhere.")
    return {part: found[part] for part in PARTS} if not lacking else found


def open_table(file: Path) -> Table:
    """Open a CSV or parquet file.

    Raises:
        DataError: when it is missing, no plain file, too large, empty or cannot be read.
    """
    try:
        # Nothing is read yet: a pipe or a device could keep us for ever.
        read_plain(file, 0)
        size = file.stat().st_size
    except OSError as error:
        raise DataError(f"{file.name} cannot be read: {error.strerror}.", hint="Check the file.") from error
    if file.suffix.lower() not in PARQUET and size > MAX_CSV_BYTES:
        raise DataError(
            f"{file.name} has {size:,} bytes; a CSV file has up to {MAX_CSV_BYTES:,}.",
            hint="Cut it into several files, or write it as `.parquet`.",
        )
    return _open_parquet(file) if file.suffix.lower() in PARQUET else _open_csv(file)


def _open_parquet(file: Path) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    def take(header: str) -> pd.Series[Any]:
        try:
            column = parquet.ParquetFile(file).read(columns=[header]).column(0)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{file.name} is cut short or damaged.", hint="Write it again.") from error
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
        read: pd.Series[Any] = column.to_pandas().rename(header)
        return read

    try:
        opened = parquet.ParquetFile(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file.name} is no parquet file, or cut short.", hint="Write it again.") from error
    if not opened.metadata.num_rows:
        raise DataError(f"{file.name} has a header but no rows.")
    if opened.metadata.num_rows > MAX_ROWS:
        raise DataError(
            f"{file.name} has {opened.metadata.num_rows:,} rows; a file has up to {MAX_ROWS:,}.",
            hint="Cut it into several files.",
        )
    return Table(tuple(opened.schema_arrow.names), opened.metadata.num_rows, take)


def _open_csv(file: Path) -> Table:
    frame = _read_csv(file)
    frame.columns = frame.columns.map(str)
    return Table(tuple(frame.columns), len(frame), frame.pop)


def _read_csv(file: Path) -> pd.DataFrame:
    import pandas as pd

    for encoding in ("utf-8-sig", "latin-1"):
        try:
            with file.open(encoding=encoding, newline="") as text:
                header = text.readline()
            separator = max(",;\t", key=header.count)
            decimal = "," if separator == ";" else "."
            frame = pd.read_csv(file, sep=separator, decimal=decimal, encoding=encoding, low_memory=False)
        except UnicodeDecodeError:
            continue
        except (pd.errors.ParserError, pd.errors.EmptyDataError, OSError) as error:
            raise DataError(f"{file.name} cannot be read as a table: {first_line(error)}.", hint="Mend it.") from error
        if len(frame):
            return frame
        raise DataError(f"{file.name} has a header but no rows.")
    raise DataError(f"{file.name} is no text.", hint="Write it as UTF-8.")
