"""The files of a stored dataset: its parquet files hold together, and files beside them are what was landed.

Beside its rows a dataset may have files of its own (recorded scenarios, say): its metadata names them with their
SHA-256, so that the fingerprint covers them, and with it whatever looks at the fingerprint.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from nightshift.data.dataset import reimport_hint
from nightshift.data.schema import Metadata
from nightshift.errors import DataError
from nightshift.files import fsync, sha256_file


def digests(files: Mapping[str, Path], metadata: Metadata) -> dict[str, str]:
    """Return name -> SHA-256 of files that are to be stored, sorted by name.

    Args:
        files: name in the dataset -> where it lies now.
        metadata: of the dataset; what it says of the files already must be so.

    Raises:
        DataError: when one cannot be read, or is not what the metadata say.
    """
    found = {}
    for name in sorted({*files, *metadata.files}):
        try:
            found[name] = sha256_file(files[name]) if name in files else ""
        except OSError as error:
            raise DataError(
                f"{name} of '{metadata.subject}' cannot be read: {error.strerror}.", hint="Check the file."
            ) from error
        if metadata.files and found[name] != metadata.files.get(name):
            raise DataError(
                f"{name} of '{metadata.subject}' is missing or not the file that the metadata name.",
                hint="Are the files of one and the same dataset?",
            )
    return found


def place(files: Mapping[str, Path], folder: Path) -> None:
    """Copy files into a dataset's folder."""
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def keep(folder: Path) -> None:
    """Bring a folder to the disk and make its files read-only: links for people share them, and editors write."""
    for path in (*_below(folder), folder):
        fsync(path)
    for path in _below(folder):
        if path.is_file():
            path.chmod(0o444)


def check_files(folder: Path, metadata: Metadata) -> None:
    """Read the files beside the rows and compare with the metadata.

    Raises:
        DataError: when one is missing or altered.
    """
    for name, expected in metadata.files.items():
        try:
            found = sha256_file(folder / name)
        except OSError as error:
            raise DataError(
                f"{name} of '{metadata.subject}' is missing.", hint=reimport_hint(metadata.subject)
            ) from error
        if found != expected:
            raise DataError(
                f"{name} of '{metadata.subject}' was altered after landing.", hint=reimport_hint(metadata.subject)
            )


def check_parquet_ends(path: Path, subject: str) -> None:
    """Refuse a parquet file that is cut short: it begins and ends with the same four bytes.

    Raises:
        DataError: when it is missing, empty or cut short.

    Source: Apache Parquet format, "File format".
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(-8, os.SEEK_END)
            tail = file.read(8)
    except OSError as error:
        raise DataError(f"{path.name} of '{subject}' is missing or empty.", hint=reimport_hint(subject)) from error
    footer = int.from_bytes(tail[:4], "little")
    if head != b"PAR1" or tail[4:] != b"PAR1" or footer > path.stat().st_size:
        raise DataError(f"{path.name} of '{subject}' is cut short or no parquet file.", hint=reimport_hint(subject))


def _below(folder: Path) -> Iterator[Path]:
    return folder.rglob("*")
