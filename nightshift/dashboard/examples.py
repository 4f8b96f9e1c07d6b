"""Rows to try a model on: the last known ones of its machine, as a CSV that the model takes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.data.schema import RUN, TIME
from nightshift.data.store import open_dataset
from nightshift.edge.manifest import BundleManifest, Column
from nightshift.errors import NightshiftError
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

#: At least so many, so that a plot has something to show; at most what one look takes.
FEWEST, MOST = 48, 500
_ODD_UNIT = re.compile(r"[\[\]()]")


@dataclass(frozen=True)
class Example:
    """Rows that a model takes.

    Attributes:
        header: `time` first where the model has a clock; columns with their units.
        rows: as text, oldest first; "" = missing.
        known: whether they were measured; else each is the middle of its column's range.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    known: bool

    def csv(self) -> str:
        """Return them as a CSV file."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()


def example(home: Home, manifest: BundleManifest) -> Example:
    """Return the last known rows of a model's machine, as many as it looks back on; else one that is made up."""
    columns = manifest.interface.columns
    wanted = min(max(manifest.interface.window_rows, FEWEST), MOST)
    try:
        frame = open_dataset(home, manifest.subject).frame("test")
    except NightshiftError:
        frame = None
    names = [column.name for column in columns]
    if frame is None or not len(frame) or not set(names) <= set(frame.columns):
        return Example(tuple(map(_titled, columns)), (tuple(map(_middle, columns)),), known=False)
    last = frame[frame[RUN] == frame[RUN].iloc[-1]] if RUN in frame else frame
    last = last.tail(wanted)
    clock = manifest.time_kind == "calendar" and TIME in last
    header = (*((TIME,) if clock else ()), *map(_titled, columns))
    return Example(header, tuple(_rows(last, names, clock=clock)), known=True)


def _rows(frame: pd.DataFrame, names: Sequence[str], *, clock: bool) -> Iterator[tuple[str, ...]]:
    times = frame[TIME].dt.tz_convert("UTC").dt.strftime("%Y-%m-%dT%H:%M:%SZ").tolist() if clock else []
    for i, values in enumerate(frame[list(names)].itertuples(index=False, name=None)):
        yield (*times[i : i + 1], *(_text(value) for value in values))


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN alone differs from itself
        return ""
    return value if isinstance(value, str) else f"{float(value):.7g}"


def _titled(column: Column) -> str:
    return f"{column.name} [{column.unit}]" if column.unit and not _ODD_UNIT.search(column.unit) else column.name


def _middle(column: Column) -> str:
    if column.categories:
        return column.categories[0]
    if column.minimum is None or column.maximum is None:
        return "0"
    return f"{(column.minimum + column.maximum) / 2:.5g}"
