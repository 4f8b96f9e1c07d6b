"""What takes long to work out, kept as arrays: made anew where code or facts are others, or the file is damaged."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.sources import code_of
from nightshift.errors import DataError
from nightshift.files import write_atomic

T = TypeVar("T")
Named = Mapping[str, NDArray[Any]]


def kept(
    folder: Path, facts: Mapping[str, Any], made_by: str, make: Callable[[], Named], whole: Callable[[Named], T]
) -> T:
    """Return what follows from these facts: read where this very code has kept it, else made and kept.

    Args:
        folder: that is ours.
        facts: what it follows from besides the code.
        made_by: module that makes it, with all of ours that it imports.
        make: makes its arrays.
        whole: arrays -> what they are of.

    Raises:
        DataError: what was made is not sound, says `whole`.
    """
    text = json.dumps({"code": code_of(made_by), **facts}, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
    found = _read(path, whole)
    if found is not None:
        return found
    arrays = make()
    made = whole(arrays)
    buffer = io.BytesIO()
    # A mapping of any names, none of which is the file's own.
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())
    return made


def _read(path: Path, whole: Callable[[Named], T]) -> T | None:
    """Return what a file holds; None where there is none, or a damaged one."""
    try:
        # A file that is cut off NumPy would leave open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return whole(dict(content))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, DataError):
        return None
