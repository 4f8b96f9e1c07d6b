"""Gives up versions in DVC: their `.dvc` files, then whatever no version names any more.

The remote of a home is its own as long as it is the default folder. Another one may hold versions of other homes, and
nobody here knows which: its files are left, and only the local cache is emptied of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nightshift.errors import ConfigError, without_credentials
from nightshift.files import read_yaml, write_atomic
from nightshift.settings import Home
from nightshift.tracking.unversioned import Kind, dvc_file
from nightshift.tracking.versioning import has_own_remote, readable_errors, remote_of, repository

_KINDS: tuple[Kind, ...] = ("datasets", "models")
# Stands from before the first `.dvc` file goes until the files it named are gone too.
_WANTED = "gc-wanted"


def kept_there(home: Home) -> str:
    """Return a remark on what giving versions up does not reach, "" when it reaches all."""
    if has_own_remote(home):
        return ""
    remote = without_credentials(remote_of(home))
    return f"the files of removed versions stay in the DVC remote ({remote}): other homes may use them too"


def size_of(home: Home, kind: Kind, fingerprint: str) -> int:
    """Return the bytes of a version as its `.dvc` file has them, 0 without one; what versions share counts again."""
    try:
        outputs = read_yaml(dvc_file(home, kind, fingerprint)).get("outs") or [{}]
        return int(outputs[0].get("size") or 0)
    except (ConfigError, AttributeError, TypeError, ValueError):
        return 0


def is_due(home: Home, given_up: Sequence[tuple[Kind, str]]) -> bool:
    """Whether there is anything to do for `forget`."""
    return (home.dvc / _WANTED).is_file() or any(dvc_file(home, *version).is_file() for version in given_up)


def forget(home: Home, given_up: Sequence[tuple[Kind, str]]) -> tuple[int, str]:
    """Give versions up and return the freed bytes of the home's own remote, and a remark, "" for none.

    What a kill leaves half-done is finished by the next call.

    Args:
        home: where the repository lies.
        given_up: kind and fingerprint of each; one that is not kept is passed over.

    Raises:
        ServiceError: when DVC cannot be used; what it holds is whole.
    """
    if not is_due(home, given_up):
        return 0, ""
    own = has_own_remote(home)
    remote = home.machinery / "dvc-remote"
    with repository(home) as repo:
        before = _bytes(remote) if own else 0
        write_atomic(home.dvc / _WANTED, b"")
        for version in given_up:
            dvc_file(home, *version).unlink(missing_ok=True)
        if any(_unfinished(home)):
            # Files of a push that did not end are named by nothing that could be read: the next versioning ends it.
            return 0, "DVC's own files are cleared by the next prune: a version is only half pushed."
        with readable_errors(home):
            repo.gc(workspace=True, cloud=own)
        (home.dvc / _WANTED).unlink(missing_ok=True)
    return (before - _bytes(remote), "") if own else (0, "")


def _unfinished(home: Home) -> Iterator[Path]:
    """Yield versions whose folder stands beside its `.dvc` file; see `unversioned.is_kept`."""
    for kind in _KINDS:
        files = (home.dvc / kind).glob("*.dvc") if (home.dvc / kind).is_dir() else []
        yield from (file for file in files if file.with_suffix("").exists())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
