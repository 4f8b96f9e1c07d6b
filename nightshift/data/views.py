"""Hard links to a stored dataset where people look: `data/synthetic|real/<id>/` and `data/metadata/`.

Those folders are open to everybody, so a file there may be the user's own: only links to stored files are replaced or
taken away. Nothing reads them, and the dataset has landed by then: trouble here is a warning.
"""

from __future__ import annotations

import filecmp
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from nightshift.data.schema import PARTS, Metadata
from nightshift.files import disk_full
from nightshift.settings import Home

log = logging.getLogger("nightshift.data")


def refresh(home: Home, folder: Path, metadata: Metadata, description: str) -> None:
    """Link a stored dataset's files, and drop the links of its subject's data of the other kind.

    Args:
        home: where everything is kept.
        folder: of the stored dataset.
        metadata: what it holds.
        description: the name of the metadata's file in there.
    """
    kind, other = ("synthetic", "real") if metadata.provenance.kind == "synthetic" else ("real", "synthetic")
    links = {f"{part}.parquet": home.data / kind / metadata.subject / f"{part}.parquet" for part in PARTS}
    links[description] = home.data / "metadata" / f"{metadata.subject}_metadata.json"
    try:
        _drop(home.data / other / metadata.subject, folder.parent)
        for name, target in links.items():
            _link(folder / name, target)
    except OSError as error:
        log.warning("the copies of '%s' for people were not refreshed: %s", metadata.subject, error)


def _drop(view: Path, versions: Path) -> None:
    for name in (f"{part}.parquet" for part in PARTS):
        if _is_link_to(view / name, versions, name):
            (view / name).unlink()
    with suppress(OSError):  # not there, or something of the user's in it
        view.rmdir()


def _is_link_to(file: Path, versions: Path, name: str) -> bool:
    return file.is_file() and any(file.samefile(stored) for stored in versions.glob(f"*/{name}"))


def _is_copy_of(file: Path, versions: Path, name: str) -> bool:
    """Whether a file holds nothing that the store does not hold: a file system without hard links has copies."""
    return file.is_file() and any(filecmp.cmp(file, stored, shallow=False) for stored in versions.glob(f"*/{name}"))


def _link(source: Path, target: Path) -> None:
    versions, name = source.parent.parent, source.name
    there = target.is_symlink() or target.exists()
    if there and not (_is_link_to(target, versions, name) or _is_copy_of(target, versions, name)):
        log.warning("%s/%s is not a copy of a stored file, and was left as it is", target.parent.name, target.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(source, temporary)
        except OSError as error:
            if disk_full(error):
                raise
            shutil.copyfile(source, temporary)  # a file system without hard links
        temporary.replace(target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
