"""A table in Parquet files that is read in pieces, never whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nightshift.errors import TableError, UnknownNameError, first_line
from nightshift.trainer.contract import Ints

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: What pandas names a column that was a frame's index.
_INDEX = "__index_level_"


class Piece(NamedTuple):
    """Rows that follow each other.

    Attributes:
        start: number of the first one.
    """

    start: int
    frame: pd.DataFrame


@dataclass(frozen=True)
class Source:
    """A table in files.

    Attributes:
        files: in order: rows are numbered through all of them.
        columns: of X.
        gaps: columns of flags with gaps, which are read as 0, 1 and NaN: pandas would make objects of them.
        row_bytes: of X, as numbers.
    """

    files: tuple[Path, ...]
    columns: tuple[str, ...]
    gaps: frozenset[str]
    n_rows: int
    row_bytes: int

    def column(self, name: str) -> pd.Series[Any]:
        """Return one column, of all rows."""
        import pandas as pd

        whole: pd.Series[Any] = pd.concat(
            [piece.frame[name] for piece in self._pieces([name], 1 << 20)], ignore_index=True
        )
        return whole

    def pieces(self, rows: int) -> Iterator[Piece]:
        """Yield X in order, so many rows at once."""
        return self._pieces(list(self.columns), rows)

    def rows(self, index: Ints, at_once: int) -> pd.DataFrame:
        """Return some rows of X, in one pass over the files.

        Args:
            index: rising row numbers.
            at_once: rows that are read at once.
        """
        import pandas as pd

        taken = []
        for start, frame in self._pieces(list(self.columns), at_once, index):
            low, high = np.searchsorted(index, [start, start + len(frame)])
            taken.append(frame.iloc[index[low:high] - start])
        return pd.concat(taken, ignore_index=True)

    def _pieces(self, columns: list[str], rows: int, index: Ints | None = None) -> Iterator[Piece]:
        """Yield pieces of all row groups, or of those that hold rows of those numbers."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        start = 0
        for file in self.files:
            with pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as opened:
                for group in range(opened.num_row_groups):
                    end = start + opened.metadata.row_group(group).num_rows
                    if index is not None and np.searchsorted(index, start) == np.searchsorted(index, end):
                        start = end
                        continue
                    for batch in opened.iter_batches(rows, [group], columns, use_threads=False):
                        table = pa.Table.from_batches([batch])
                        for name in self.gaps.intersection(columns):
                            numbers = table[name].cast(pa.float64())
                            table = table.set_column(table.column_names.index(name), name, numbers)
                        frame = table.to_pandas(ignore_metadata=True, date_as_object=False)
                        yield Piece(start, frame[columns])
                        start += len(frame)


def names_of(file: Path) -> list[str]:
    """Return the names of a Parquet file's columns.

    Raises:
        TableError: when there is no such file, or it is no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return _known(pq.read_schema(file))
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{file.name} cannot be read. Expected a Parquet file, got: {first_line(error)}.") from None


def source_of(
    path: str | Path, target: str, beside: Sequence[str | None] = (), columns: Sequence[str] | None = None
) -> Source:
    """Look at Parquet files.

    Args:
        path: a file, or a folder of files that are read in the order of their names.
        target: column of y.
        beside: columns that are no part of X either: groups, times.
        columns: of X; None: all others.

    Raises:
        TableError: when there is no such file, or it is no Parquet.
        UnknownNameError: for a column that is not there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = tuple(sorted(Path(path).glob("*.parquet"))) if Path(path).is_dir() else (Path(path),)
    try:
        schema = pq.read_schema(files[0])
        n_rows = sum(pq.read_metadata(file).num_rows for file in files)
    except IndexError:
        raise TableError(f"{path} is a folder without Parquet files. Expected files *.parquet, got none.") from None
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{path} cannot be read. Expected a Parquet file, got: {first_line(error)}.") from None
    known = _known(schema)
    for file in files[1:]:
        lacking = set(known) - set(pq.read_schema(file).names)
        if lacking:
            raise TableError(
                f"{file.name} has no column '{min(lacking)}'. Expected the columns of {files[0].name} in every file.",
                hint="Bring the files to the same columns, or keep them in folders of their own.",
            )
    apart = [target, *(name for name in beside if name is not None)]
    for name in (*apart, *(columns or ())):
        if name not in known:
            raise UnknownNameError("column", name, known)
    chosen = [name for name in (columns if columns is not None else known) if name not in apart]
    if not chosen or not n_rows:
        raise TableError(
            f"{path} holds nothing to learn from. Expected rows and a column, got {n_rows} x {len(chosen)}."
        )
    gaps = _flags_with_gaps(files, [name for name in chosen if pa.types.is_boolean(schema.field(name).type)])
    return Source(files, tuple(chosen), gaps, n_rows, sum(_width(schema.field(name).type) for name in chosen))


def _known(schema: pa.Schema) -> list[str]:
    return [name for name in schema.names if not name.startswith(_INDEX)]


def _flags_with_gaps(files: Sequence[Path], flags: Sequence[str]) -> frozenset[str]:
    """Return those of some columns of flags, a bit each, that miss a value."""
    import pyarrow.parquet as pq

    found: set[str] = set()
    for file in files if flags else ():
        with pq.ParquetFile(file) as opened:
            table = opened.read(list(flags))
        found |= {name for name in flags if table[name].null_count}
    return frozenset(found)


def _width(kind: pa.DataType) -> int:
    try:
        return max(8, int(kind.bit_width) // 8)
    except ValueError:  # text has none
        return 8
