"""Reads delimited text as it is met in the wild, into text cells; refuses what would have to be guessed."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.errors import DataError
from nightshift.files import read_plain

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
#: A longer file is refused before it is read: as cells it takes about 30 times its size in memory.
MAX_TEXT_BYTES = 500_000_000
#: A byte-order mark says the encoding for certain. The four-byte ones first: they begin like the two-byte ones.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED = {b"PK\x03\x04": "a ZIP archive or an Excel workbook", b"\x1f\x8b": "packed by gzip"}
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
# `1,234` is a thousand or a decimal; `0,234`, `1234,5` and `1,23` can only be decimals.
_THOUSANDS_COMMA = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")
_SAMPLE_LINES = 50
#: In which the header stands.
_HEAD_BYTES = 1 << 18
_SEPARATED = "Separate its cells by comma, semicolon or tab, or give `separator` where there is a mapping."


@dataclass(frozen=True)
class TextTable:
    """What a file holds, and how it was read.

    Attributes:
        frame: text cells, stripped; an empty cell is "".
        encoding: that decoded it.
        separator: between cells.
        decimal: `.` or `,`.
        notes: what was repaired on the way.
    """

    frame: pd.DataFrame
    encoding: str
    separator: str
    decimal: str
    notes: tuple[str, ...] = ()


def read_text_table(
    path: Path,
    *,
    encoding: str | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    limit: int = MAX_TEXT_BYTES,
) -> TextTable:
    """Read a CSV-like file with a header line; what is not given is found out.

    Encodings: by byte-order mark, else UTF-8, else Latin-1 (Windows-1252 is read as its superset). Lines may end in
    one superfluous separator. Blank lines are skipped.

    Args:
        path: the file.
        encoding, separator, decimal: where they are known.
        limit: bytes that it may have.

    Raises:
        DataError: when the file is missing, no plain file, too large, empty, binary, in another encoding, ragged
            (names the line), has a repeated column name, or commas in its numbers that may mean thousands or decimals.
    """
    import pandas as pd

    text, used = _decode(_read(path, limit), path.name, encoding)
    text, sep = _separated(text, separator, path.name)
    header, rows, notes = _cells(text, sep, path.name)
    frame = pd.DataFrame(rows, columns=pd.Index(header), dtype=object)
    if used == "cp1252":
        notes.append("the file is not UTF-8; it was read as Latin-1 (Windows-1252)")
    return TextTable(frame, used, sep, decimal or _sniff_decimal(frame, path.name), tuple(notes))


def header_of(path: Path) -> tuple[str, ...]:
    """Return the names of a CSV-like file's columns as `read_text_table` does, from its beginning alone.

    Raises:
        DataError: for what is no such file, or has a repeated column name.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_HEAD_BYTES)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.", hint="Check the path.") from error
    wide = tuple(mark for mark, encoding in _MARKS if encoding != "utf-8-sig")
    if len(raw) == _HEAD_BYTES and b"\n" in raw and not raw.startswith(wide):
        raw = raw[: raw.rindex(b"\n")]  # not in the midst of a character
    text, sep = _separated(_decode(raw, path.name, None)[0], None, path.name)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=sep, strict=True)
    try:
        first = next((row for row in rows if any(row)), [])
    except csv.Error as error:
        raise DataError(f"{path.name} is no table: {error}.", hint=_SEPARATED) from error
    return tuple(_header([cell.strip() for cell in first], path.name, []))


def _read(path: Path, limit: int) -> bytes:
    """Return what a plain file holds: a pipe or a device could keep us for ever, or fill the memory."""
    try:
        raw = read_plain(path, limit + 1)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path.name}.", hint="Check the path.") from error
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.", hint="Check the path.") from error
    if len(raw) > limit:
        raise DataError(
            f"{path.name} is larger than {limit:,} bytes.",
            hint="Cut it into several files, or write it as `.parquet` where the importer takes that.",
        )
    if not raw.strip():
        raise DataError(f"{path.name} is empty.")
    return raw


def _decode(raw: bytes, file: str, encoding: str | None) -> tuple[str, str]:
    marked = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    packed = next((what for mark, what in _PACKED.items() if raw.startswith(mark)), None)
    if encoding is None and packed is not None:
        raise DataError(f"{file} is {packed}.", hint="Unpack it, or save its sheet as CSV.")
    if encoding is None and marked is None and b"\x00" in raw[:4096]:
        raise DataError(
            f"{file} is binary, or UTF-16 without a byte-order mark.",
            hint="Save text as UTF-8, or give `encoding: utf-16-le` where there is a mapping; `.parquet` files need "
            "that suffix.",
        )
    tried = [encoding] if encoding else [marked] if marked else ["utf-8", "cp1252", "latin-1"]
    for name in tried:
        try:
            return raw.decode(name).lstrip("\ufeff"), name
        except UnicodeDecodeError:
            continue
        except LookupError as error:
            raise DataError(f"'{name}' is no encoding.", hint="Use utf-8, utf-16, latin-1 or another.") from error
    raise DataError(
        f"{file} is not {tried[0]} text.", hint="Save it as UTF-8, or give its `encoding` where there is a mapping."
    )


def _separated(text: str, separator: str | None, name: str) -> tuple[str, str]:
    """Return a file's table, and what lies between its cells."""
    # Excel's own way of naming the separator, a first line of its own.
    if excel := re.match(r"sep=(.)\r?\n", text):
        text, separator = text[excel.end() :], separator or excel[1]
    try:
        return text, separator or _sniff_separator(text, name)
    except csv.Error as error:
        raise DataError(f"{name} is no table: {error}.", hint=_SEPARATED) from error


def _sniff_separator(text: str, name: str) -> str:
    start = text[:200_000]
    lines = [line for line in start.splitlines() if line.strip()][:_SAMPLE_LINES]
    by_line = {sep: [len(next(csv.reader([line], delimiter=sep))) for line in lines] for sep in SEPARATORS}
    # Quoted cells may run over lines; where a quote is never closed, the lines still tell.
    for counts in ({sep: _widths(start, sep) for sep in SEPARATORS}, by_line):
        # The separator cuts the header and most rows into the same number of cells, and into the most.
        fitting = {
            s: c[0] for s, c in counts.items() if c[0] > 1 and Counter(c).most_common(1)[0][0] in (c[0], c[0] + 1)
        }
        if fitting:
            return max(fitting, key=lambda s: (fitting[s], s == ";"))
    if all(c[0] == 1 for c in by_line.values()):
        return ","
    raise DataError(f"the separator of {name} could not be told.", hint=_SEPARATED)


def _widths(text: str, sep: str) -> list[int]:
    """Return how many cells each of the first rows has."""
    rows = (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=sep) if row)
    return [len(row) for row in itertools.islice(rows, _SAMPLE_LINES)]


def _cells(text: str, sep: str, name: str) -> tuple[list[str], list[list[str]], list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sep, strict=True)
    notes: list[str] = []
    rows: list[list[str]] = []
    header: list[str] | None = None
    trailing = 0
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            row = [cell.strip() for cell in cells]
            if header is None:
                header = _header(row, name, notes)
                continue
            if len(row) > len(header) and not any(row[len(header) :]):
                trailing += 1
                row = row[: len(header)]
            if len(row) != len(header):
                raise DataError(
                    f"line {reader.line_num} of {name} has {len(row)} cells, the header has {len(header)}.",
                    hint=_ragged(header, sep),
                )
            rows.append(row)
    except csv.Error as error:
        raise DataError(f"line {reader.line_num} of {name}: {error}.", hint="Mend the quotes.") from error
    if header is None or not rows:
        raise DataError(f"{name} has a header but no rows.")
    if trailing:
        notes.append(f"{trailing} lines ended in a superfluous separator")
    return header, rows, notes


def _ragged(header: list[str], sep: str) -> str:
    if len(header) == 1:
        return f"Take out the lines above the header, such as '{header[0][:40]}'."
    return "Mend the line" + (" (is a decimal comma also the separator?)." if sep == "," else ".")


def _header(row: list[str], name: str, notes: list[str]) -> list[str]:
    # A separator at the end of the header, as some exporters write it, is no column.
    while row and row[-1] == "":
        row = row[:-1]
    if "" in row:
        notes.append("columns without a name were called column_1, column_2, … by their place")
        row = [column or f"column_{i + 1}" for i, column in enumerate(row)]
    twice = [column for column, n in Counter(row).items() if n > 1]
    if twice:
        raise DataError(f"{name} has the column '{twice[0]}' more than once.", hint="Rename one of them.")
    return row


def _sniff_decimal(frame: pd.DataFrame, name: str) -> str:
    cells = frame.head(_SAMPLE_LINES).to_numpy().ravel()
    with_comma = sum(bool(_DECIMAL_COMMA.fullmatch(cell)) for cell in cells)
    with_dot = sum(bool(re.fullmatch(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?", cell)) for cell in cells)
    if with_comma <= with_dot:
        return "."
    _refuse_thousands(frame, name)
    return ","


def _refuse_thousands(frame: pd.DataFrame, name: str) -> None:
    unclear = ""
    # A whole file is asked, since one cell that can only be a decimal settles all of them.
    for column in frame:
        for cell in frame[column]:
            if _THOUSANDS_COMMA.fullmatch(cell):
                unclear = unclear or f"'{cell}' in column '{column}'"
            elif _DECIMAL_COMMA.fullmatch(cell):
                return
    if unclear:
        raise DataError(
            f"{name} has {unclear}: the comma may mark thousands or decimals, and no number tells which.",
            hint='Write thousands without a comma, and decimals with a point, or give `decimal: ","` where there is a '
            "mapping.",
        )
