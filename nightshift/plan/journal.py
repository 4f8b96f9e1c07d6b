"""Which cells are being registered: one file each, from before the first step until after the last.

What a crash left half registered is found here without opening MLflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from nightshift.files import write_atomic
from nightshift.plan.cell import Cell
from nightshift.settings import Home


def open_entry(home: Home, cell: Cell) -> None:
    """Note that the registration of a cell begins."""
    write_atomic(_path(home, cell.key), cell.model_dump_json(indent=1).encode())


def close_entry(home: Home, cell_key: str) -> None:
    """Note that it has ended, or was taken back."""
    with suppress(FileNotFoundError):
        _path(home, cell_key).unlink()


def is_open(home: Home, cell_key: str) -> bool:
    """Whether the registration of a cell has begun and not ended."""
    return _path(home, cell_key).exists()


def entries(home: Home) -> Iterator[Cell]:
    """Yield the cells whose registration has begun and not ended; an entry that cannot be read is dropped."""
    folder = _path(home, "").parent
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            yield Cell.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            path.unlink(missing_ok=True)


def _path(home: Home, cell_key: str) -> Path:
    return home.machinery / "registering" / f"{cell_key}.json"
