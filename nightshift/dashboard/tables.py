"""Tables of the home that a training can be asked for: which there are, and what they hold."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from nightshift.dashboard.table_limits import table_file
from nightshift.data.importers.text import header_of
from nightshift.errors import UnknownNameError, UsageError
from nightshift.settings import Home
from nightshift.trainer.kinds.named import NAMES as MODELS


def table_files(home: Home) -> dict[str, str]:
    """Return the files in `data/tables`, which a page offers: name -> path from the home."""
    folder, found = home.data / "tables", {}
    with suppress(OSError):
        for name in sorted(path.name for path in folder.iterdir()):
            if path := file_named(home, name):
                found[name] = path
    return found


def file_named(home: Home, name: str) -> str:
    """Return the path, from the home on, of a file in `data/tables`; "" for none."""
    if not name or name[0] == "." or Path(name).name != name:
        return ""
    path = (home.data / "tables" / name).relative_to(home.root).as_posix()
    with suppress(UsageError):
        table_file(home, path)
        return path
    return ""


def columns_of(file: Path) -> tuple[str, ...]:
    """Return the names of a table's columns.

    Raises:
        DataError: when it cannot be read.
    """
    if file.suffix == ".csv":
        return header_of(file)
    from nightshift.trainer.inputs.parquet import names_of

    return tuple(names_of(file))


def check_table(home: Home, named: str, column: str, model: str) -> Path:
    """Return the table that a request names, once it is known to hold the column, and the model to be one.

    Raises:
        UsageError: for what is no CSV or Parquet file in the home, or no column.
        UnknownNameError: for a column or a model that is not there.
        DataError: for a file that cannot be read.
    """
    file = table_file(home, named)
    if not column:
        raise UsageError("target_column is missing.", hint="Name the column to be answered.")
    if column not in (known := columns_of(file)):
        raise UnknownNameError("column", column, known)
    if model not in MODELS:
        raise UnknownNameError("model", model, MODELS)
    return file
