"""What DVC does not hold yet, and why: asked by every command, so that nothing heavy is imported here.

The last failure of versioning is kept in `.nightshift/work/versions/<subject>.json` until versioning succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from nightshift.data.schema import check_subject
from nightshift.edge.manifest import MANIFEST_FILE
from nightshift.files import sha256_file, write_atomic
from nightshift.findings import Finding
from nightshift.settings import Home

Kind = Literal["datasets", "models"]


@dataclass(frozen=True)
class Wanted:
    """A folder that is to have a version."""

    kind: Kind
    fingerprint: str
    folder: Path


def dvc_file(home: Home, kind: Kind, fingerprint: str) -> Path:
    """Return the `.dvc` file of a version, there or not."""
    return home.dvc / kind / f"{fingerprint}.dvc"


def is_kept(home: Home, wanted: Wanted) -> bool:
    """Whether DVC holds it; its folder beside its `.dvc` file says that an earlier push did not end."""
    file = dvc_file(home, wanted.kind, wanted.fingerprint)
    return file.is_file() and not file.with_suffix("").exists()


def outstanding(home: Home, subject: str) -> list[Wanted]:
    """Return a subject's present dataset and its registered bundles, as far as DVC does not hold them."""
    found = (*_datasets(home, subject), *_bundles(home, subject))
    return [wanted for wanted in found if not is_kept(home, wanted)]


def keep_failure(home: Home, subject: str, failure: Finding | None) -> bool:
    """Keep why versioning failed, None when it did not; returns whether that is news."""
    before = failure_of(home, subject)
    # A disk that is full fails versioning; the note of it must not fail the run.
    with suppress(OSError):
        if failure is None:
            _record(home, subject).unlink(missing_ok=True)
        else:
            write_atomic(_record(home, subject), failure.model_dump_json(indent=1).encode())
    return before != failure


def failure_of(home: Home, subject: str) -> Finding | None:
    """Return why a subject's data and models are not versioned; None when nothing is known to be wrong."""
    try:
        return Finding.model_validate_json(_record(home, subject).read_bytes())
    except (OSError, ValidationError):
        return None


def _record(home: Home, subject: str) -> Path:
    return home.work / "versions" / f"{check_subject(subject)}.json"


def _datasets(home: Home, subject: str) -> Iterator[Wanted]:
    pointer = home.data / "current" / check_subject(subject)
    if pointer.is_file():
        fingerprint = pointer.read_text(encoding="ascii").strip()
        yield Wanted("datasets", fingerprint, home.data / "store" / subject / fingerprint[:12])


def _bundles(home: Home, subject: str) -> Iterator[Wanted]:
    for manifest in sorted(home.models.glob(f"*/{check_subject(subject)}/*/v*/{MANIFEST_FILE}")):
        yield Wanted("models", sha256_file(manifest), manifest.parent)
