"""Models kept by joblib, whose files run code when they are read: only what this home has written is read back.

The hashes of what was written lie in the home, not beside the model: whoever can change one could change both.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightshift.errors import BundleError, CorruptFileError, UntrustedError, UsageError, first_line
from nightshift.files import write_atomic
from nightshift.settings import home

FILE = "model.joblib"
#: Libraries whose versions matter when a file names their modules.
LIBRARIES = {
    b"lightgbm": "lightgbm",
    b"xgboost": "xgboost",
    b"catboost": "catboost",
    b"skorch": "skorch",
    b"torch": "torch",
    b"keras": "keras",
    b"numpy": "numpy",
}


@dataclass(frozen=True)
class Project:
    """A home, as saved models know it.

    Attributes:
        id: 32 hex digits.
        written: sha256 of the joblib files that were saved here.
    """

    id: str
    written: frozenset[str]


def project() -> Project:
    """Return the home's project; it begins with the first call.

    Raises:
        BundleError: when its file cannot be read.
    """
    with _locked():
        return _read()


def dumps(model: Any) -> bytes:
    """Return a model as joblib's bytes.

    Raises:
        UsageError: for a model that cannot be pickled.
    """
    import joblib

    buffer = io.BytesIO()
    try:
        joblib.dump(model, buffer)
    except Exception as error:  # whatever the parts of a model raise when they are pickled
        raise UsageError(
            f"{type(model).__name__} cannot be kept by joblib: {first_line(error)}.",
            hint="Define classes and functions in a module of their own.",
        ) from error
    return buffer.getvalue()


def vouch(data: bytes) -> None:
    """Write down that this home wrote a file."""
    with _locked():
        known = _read()
        _write(Project(known.id, known.written | {hashlib.sha256(data).hexdigest()}))


def loads(data: bytes, where: Path, *, trusted: bool) -> Any:
    """Read a model that this home has written.

    Args:
        data: the file's bytes: what was hashed is what is read.
        trusted: whether the caller knows that it may run code.

    Raises:
        UntrustedError: without the caller's word, or for a file that this home has not written.
        CorruptFileError: when it cannot be read.
    """
    require_trust(where, trusted=trusted)
    if hashlib.sha256(data).hexdigest() not in project().written:
        raise UntrustedError(
            f"{where} was not saved in this project: its hash is not in {_path()}.",
            hint="Read it where it was saved, and save it there with format='skops'.",
        )
    import joblib

    try:
        return joblib.load(io.BytesIO(data))
    except Exception as error:  # what a class raises that has changed since
        raise CorruptFileError(
            f"{where} cannot be read: {first_line(error)}.", hint="Train the model again with today's code."
        ) from error


def require_trust(where: Path, *, trusted: bool) -> None:
    """Refuse a joblib file that the caller does not vouch for.

    Raises:
        UntrustedError: then.
    """
    if trusted is not True:
        raise UntrustedError(
            f"{where} was saved by joblib, which runs code when it is read.",
            hint="Give load(path, trusted=True) for a model that you saved in this project.",
        )


def _path() -> Path:
    return home().machinery / "project.json"


@contextmanager
def _locked() -> Iterator[None]:
    place = home().locks / "project.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read() -> Project:
    path = _path()
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Project(str(told["id"]), frozenset(map(str, told["joblib"])))
    except FileNotFoundError:
        made = Project(secrets.token_hex(16), frozenset())
        _write(made)
        return made
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path} cannot be read.", hint="Remove it: models saved by joblib must then be trained again."
        ) from error


def _write(project: Project) -> None:
    told = {"id": project.id, "joblib": sorted(project.written)}
    write_atomic(_path(), json.dumps(told, indent=1).encode())
