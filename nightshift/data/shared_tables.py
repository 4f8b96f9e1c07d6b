"""Tables of anybody's in the store that the machines of a fleet share: `tables/<hash>`, a file or a folder of them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightshift.data.remote import open_remote
from nightshift.errors import DataError
from nightshift.files import sha256_file
from nightshift.settings import STORE_VARIABLE, Home


def share_table(home: Home, file: Path) -> str:
    """Bring a table into the shared store, and return its key; "" where no store is named.

    Args:
        file: or a folder, of which its Parquet files count.

    Raises:
        ServiceError, TransientError: when the store cannot be used.
    """
    remote = open_remote(home)
    if remote is None:
        return ""
    folder = file if file.is_dir() else file.parent
    names = sorted(path.name for path in file.glob("*.parquet")) if file.is_dir() else [file.name]
    hashes = "".join(f"{name} {sha256_file(folder / name)}\n" for name in names)
    key = f"tables/{hashlib.sha256(hashes.encode()).hexdigest()}"
    remote.put_folder(key, folder, names)
    return key


@contextmanager
def table_here(home: Home, file: Path, key: str) -> Iterator[Path]:
    """Give the place of a table: its own where this machine has it, else that of a copy, which is gone afterwards.

    Args:
        file: its own place.
        key: of it in the shared store, "" for none.

    Raises:
        DataError: when it is neither here nor in the store, or what came is not what was brought there.
        ServiceError, TransientError: when the store cannot be used.
    """
    if file.exists():
        yield file
        return
    remote = open_remote(home) if key else None
    home.tmp.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.tmp, prefix="table-") as scratch:
        folder = Path(scratch) / "table"
        if remote is None or not remote.get_folder(key, folder):
            raise DataError(
                f"{file} is not on this machine{f', and not in {remote.url}' if remote else ''}.",
                hint=f"Put it in the same place on each, or set {STORE_VARIABLE} for all of them.",
            )
        one = folder / file.name
        yield one if one.is_file() else folder
