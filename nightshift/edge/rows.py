"""Turns rows as people have them (a CSV with a header) into the numbers that a bundle takes."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightshift.edge.manifest import BundleManifest, Column
from nightshift.errors import BundleError, ColumnError, DtypeError, OrderError, UnitError, first_line, nearest

TIME, RUN = "time", "run"
_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
_SEPARATORS = (";", "\t", ",")
_UNIT = re.compile(r"(?P<name>.*\S)\s*[\[(](?P<unit>[^\])]*)[\])]")
_HOUR_S = 3600.0
_EPOCH, _SECOND = datetime(1970, 1, 1), timedelta(seconds=1)


@dataclass(frozen=True)
class Rows:
    """Consecutive rows, oldest first, in the order of a bundle's columns.

    Attributes:
        values: `(n, n_columns)` float32 in the columns' units; NaN = missing; categories as their index.
        run: `(n,)` each row's run; windows stay within one.
        civil_s: `(n,)` int64 the machine's wall clock in seconds, counted as if it were UTC; None without a time.
        time: `(n,)` times as written, () without.
        runs: `(n,)` runs as written, () without.
    """

    values: NDArray[np.float32]
    run: NDArray[np.intp]
    civil_s: NDArray[np.int64] | None = None
    time: tuple[str, ...] = ()
    runs: tuple[str, ...] = field(default=())


def read_csv(path: Path, manifest: BundleManifest) -> Rows:
    """Read a CSV with a header line for a bundle.

    Separators `,` `;` and tab, and a byte-order mark, are recognised; with `;` or tab a comma is a decimal comma.
    Columns are found by name, in any order; other columns are left out. A unit in the header, `speed [rpm]`, must be
    the bundle's. `time` is ISO 8601 (naive = the machine's own clock) or epoch seconds; `run` is optional.

    Raises:
        BundleError: naming the line and column, when the file is not that.
    """
    import csv

    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{path.name} is not UTF-8 text.", hint="Save it as UTF-8.") from error
    header, *_ = text.split("\n", 1)
    separator = max(_SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        named = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise BundleError(
            f"line {reader.line_num} of {path.name} cannot be read: {first_line(error)}.",
            hint="See whether a quotation mark is left open above it.",
        ) from error
    if len(named) < 2:
        raise BundleError(f"{path.name} holds no rows under a header line.")
    names = [cell.strip() for cell in named[0][1]]
    while names and not names[-1]:
        names.pop()
    table: dict[str, list[str]] = {name: [] for name in names}
    if len(table) != len(names):
        raise BundleError(f"{path.name} has a column name twice.")
    for number, row in named[1:]:
        if len(row) < len(names) or any(cell.strip() for cell in row[len(names) :]):
            raise BundleError(f"line {number} of {path.name} has {len(row)} cells, the header has {len(names)}.")
        for name, cell in zip(names, row, strict=False):
            table[name].append(cell.strip())
    return _Reader(manifest, [number for number, _ in named[1:]], decimal_comma=separator != ",").read(table)


def rows_of(table: Mapping[str, Sequence[object]], manifest: BundleManifest) -> Rows:
    """Make rows of columns of numbers or text, by name; the same rules as for a CSV.

    Raises:
        BundleError: naming the row (from 1) and column, when a value or column is not what the bundle takes.
    """
    text = {name: [written(v) for v in column] for name, column in table.items()}
    sizes = {len(column) for column in text.values()}
    if len(sizes) != 1 or sizes == {0}:
        raise BundleError(f"columns must be of one length and not empty, got lengths {sorted(sizes)}.")
    return _Reader(manifest, list(range(1, sizes.pop() + 1)), decimal_comma=False).read(text)


class _Reader:
    """Reads columns of text for one bundle; `lines` are the numbers that errors name."""

    def __init__(self, manifest: BundleManifest, lines: Sequence[int], *, decimal_comma: bool) -> None:
        self._manifest = manifest
        self._lines = lines
        self._decimal_comma = decimal_comma

    def read(self, table: Mapping[str, Sequence[str]]) -> Rows:
        columns = self._manifest.interface.columns
        found = find_columns(list(table), columns)
        values = np.empty((len(self._lines), len(columns)), np.float32)
        for i, column in enumerate(columns):
            cells = table[found[column.name]]
            values[:, i] = self._codes(column, cells) if column.categories else self._numbers(column.name, cells)
        runs = tuple(table.get(RUN, ()))
        run = np.unique(np.array(runs), return_inverse=True)[1] if runs else np.zeros(len(values), np.intp)
        time = tuple(table.get(TIME, ()))
        civil = self._civil(time, run) if time and self._manifest.time_kind == "calendar" else None
        return Rows(values, run.astype(np.intp), civil, time, runs)

    def _numbers(self, name: str, cells: Sequence[str]) -> NDArray[np.float32]:
        out = np.empty(len(cells), np.float64)
        for i, cell in enumerate(cells):
            try:
                out[i] = number(cell.replace(",", ".") if self._decimal_comma else cell)
            except ValueError:
                raise no_number(f"line {self._lines[i]}, column '{name}'", cell) from None
        with np.errstate(over="ignore"):
            return out.astype(np.float32)

    @staticmethod
    def _codes(column: Column, cells: Sequence[str]) -> NDArray[np.float32]:
        code = codes(column)
        return np.array([code.get(cell, column.unseen_code) for cell in cells], np.float32)

    def _civil(self, cells: Sequence[str], run: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return wall-clock seconds as if UTC; time must not go back within a run."""
        zone = zone_of(self._manifest.timezone)
        civil = np.empty(len(cells), np.int64)
        instant = np.empty(len(cells), np.float64)
        for i, cell in enumerate(cells):
            try:
                civil[i], instant[i] = clock(cell, zone)
            except DtypeError as error:
                raise DtypeError(f"line {self._lines[i]}, {error.what}", hint=error.hint) from None
        back = np.flatnonzero((np.diff(instant) < -slack_s(zone)) & (np.diff(run) == 0))
        if back.size:
            raise time_goes_back(f"line {self._lines[int(back[0]) + 1]}")
        return civil


def find_columns(names: Sequence[str], columns: Sequence[Column]) -> dict[str, str]:
    """Return bundle column -> header, and hold units stated in the headers against the bundle's.

    Raises:
        ColumnError: for a column that is missing, or a name that is no text.
        UnitError: for one in another unit.
    """
    odd = next((name for name in names if not isinstance(name, str)), None)
    if odd is not None:
        raise ColumnError(f"a column is named {odd!r}, a {type(odd).__name__}.", hint="Name columns by text.")
    found = {name: name for name in names}
    units: dict[str, str] = {}
    for name in names:
        match = _UNIT.fullmatch(name)
        if match and name not in {c.name for c in columns}:
            found.setdefault(match["name"], name)
            units[match["name"]] = match["unit"].strip()
    for column in columns:
        if column.name not in found:
            raise ColumnError(f"column '{column.name}' is missing.", hint=nearest(column.name, names))
        stated = units.get(column.name)
        if stated is not None and stated != column.unit:
            raise UnitError(
                f"column '{column.name}' is in '{stated}', the model takes '{column.unit or 'no unit'}'.",
                hint="Convert the column.",
            )
    return {column.name: found[column.name] for column in columns}


def check_whole(values: NDArray[np.float32], columns: Sequence[Column], first: int = 1) -> None:
    """Refuse observations in which anything is missing: what a policy answers to them moves a vehicle.

    Args:
        values: `(n, n_columns)`.
        columns: of the bundle.
        first: number of the first row, for the error.

    Raises:
        DtypeError: naming the first row and column without a finite number.
    """
    gaps = np.argwhere(~np.isfinite(values))
    if len(gaps):
        row, column = (int(i) for i in gaps[0])
        raise DtypeError(
            f"row {first + row}, column '{columns[column].name}' holds no finite number: nothing may be missing in an "
            "observation.",
            hint="Leave the row out.",
        )


def number(text: str) -> float:
    """Return a number as written; NaN for what people write where a value is missing.

    Raises:
        ValueError: for anything else.
    """
    return float("nan") if text.strip().lower() in _MISSING else float(text)


def codes(column: Column) -> dict[str, int]:
    """Return category -> code of a text column, for values without the blanks around them, as a CSV has them."""
    exact = {value: i for i, value in enumerate(column.categories)}
    return {value.strip(): i for value, i in exact.items()} | exact


def written(value: object) -> str:
    """Return a value as a cell of a CSV would have it."""
    return "" if value is None else str(value).strip()


def no_number(where: str, cell: object) -> DtypeError:
    """Return the error for text where a number belongs."""
    return DtypeError(f"{where}: '{str(cell)[:40]}' is no number.", hint="Leave a missing value empty.")


def time_goes_back(where: str) -> OrderError:
    """Return the error for rows that are not in the order of time."""
    return OrderError(f"{where}: time goes back within a run.", hint="Sort the rows by run and time, oldest first.")


def slack_s(zone: tzinfo) -> float:
    """Return by how much a clock may go back: in autumn a naive one shows an hour twice, both read as the first."""
    return 0.0 if zone is UTC else _HOUR_S


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name.

    Raises:
        BundleError: when this device does not know it.
    """
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BundleError(
            f"this device does not know the time zone '{name}'.", hint="Install its tzdata package."
        ) from error


def clock(cell: str, zone: tzinfo) -> tuple[int, float]:
    """Return (civil seconds, seconds since the epoch) of a time as written; an ambiguous hour is the first.

    Raises:
        DtypeError: when it is no time.
    """
    try:
        try:
            moment = datetime.fromtimestamp(float(cell), UTC)
        except ValueError:
            moment = datetime.fromisoformat(cell)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        wall = moment.astimezone(zone)
        return (wall.replace(tzinfo=None) - _EPOCH) // _SECOND, moment.timestamp()
    except (ValueError, OverflowError, OSError):
        raise DtypeError(
            f"column '{TIME}': '{cell[:40]}' is no time.",
            hint="Write ISO 8601, 2026-01-31T13:00:00Z, or epoch seconds.",
        ) from None
