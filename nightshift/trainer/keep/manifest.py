"""What stands beside a saved model: what it is, what it needs, and the hash of each file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nightshift.errors import BundleError, CorruptFileError, NewerFormatError
from nightshift.files import read_plain, sha256_file
from nightshift.findings import Finding, finding
from nightshift.trainer.options import Format, Task

NAME = "manifest.json"
FORMAT = 1
_MAX_BYTES = 50_000_000
_PATCH = "T036"
#: One library under several names of its packages.
_ALSO = {"xgboost": ("xgboost-cpu",), "tensorflow": ("tensorflow-cpu",)}


class Manifest(BaseModel):
    """A saved model, without its numbers.

    Attributes:
        format: of this file.
        saved_as: what was asked for; boosters and nets are kept in their own formats either way, except in joblib.
        layout: what lies in the folder.
        dtypes: of the columns as given.
        frame: whether it was trained on a DataFrame.
        needs: distributions whose versions decide whether it can be read.
        threshold: of the second class, where one was chosen.
        steps: names in the Pipeline that a native model stands last in; none without one.
        holds_training_rows: whether rows of the table can be read from the files.
        project: of the home that it was saved in.
        files: sha256 by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    saved_as: Format
    layout: Literal["skops", "native", "joblib"]
    estimator: str
    kind: str
    task: Task
    primary: str
    classes: tuple[bool | int | float | str, ...] = ()
    columns: tuple[str, ...]
    dtypes: dict[str, str] = Field(default_factory=dict)
    frame: bool = False
    y_name: str = "y"
    versions: dict[str, str]
    needs: tuple[str, ...]
    data: str
    config: str
    seed: int
    commit: str | None = None
    threshold: float | None = None
    scores: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    steps: tuple[str, ...] = ()
    holds_training_rows: bool = False
    project: str
    saved_at: str
    files: dict[str, str]

    def written(self) -> bytes:
        """Return the file's bytes, which hold a hash of all the rest of it."""
        told = self.model_dump(mode="json")
        return json.dumps({**told, "digest": _digest(told)}, indent=1, sort_keys=True).encode()


def _digest(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def read(folder: Path) -> Manifest:
    """Read the manifest of a saved model.

    Raises:
        BundleError: for a folder that holds no saved model.
        NewerFormatError: when it was saved by a newer Nightshift.
        CorruptFileError: when it is not what was written.
    """
    path = folder / NAME
    try:
        told = json.loads(read_plain(path, _MAX_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"{folder} holds no saved model: it has no {NAME}.", hint="Give the folder that save() returned."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _corrupt(path) from error
    if not isinstance(told, dict):
        raise _corrupt(path)
    if isinstance(told.get("format"), int) and told["format"] > FORMAT:
        raise NewerFormatError(
            f"{path} has format {told['format']}; this version reads up to {FORMAT}.", hint="Update Nightshift."
        )
    digest = told.pop("digest", "")
    try:
        found = Manifest.model_validate(told)
    except ValidationError as error:
        raise _corrupt(path) from error
    if digest != _digest(told):
        raise _corrupt(path)
    return found


def _corrupt(path: Path) -> CorruptFileError:
    return CorruptFileError(f"{path} is not what was saved.", hint="Save the model again, or copy it anew.")


def verified(folder: Path, manifest: Manifest) -> None:
    """Check that each file is there as it was saved.

    Raises:
        CorruptFileError: names the file that is not.
    """
    for name in manifest.files:
        path = _path(folder, manifest, name)
        if not path.is_file() or sha256_file(path) != manifest.files[name]:
            raise _other(path)


def hashed(folder: Path, manifest: Manifest, name: str) -> bytes:
    """Return the bytes of a file: those that were hashed, whatever happens to the file meanwhile.

    Raises:
        CorruptFileError: when they are not those that were saved.
    """
    path = _path(folder, manifest, name)
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != manifest.files[name]:
        raise _other(path)
    return data


def _path(folder: Path, manifest: Manifest, name: str) -> Path:
    inside = Path(name)
    if inside.is_absolute() or ".." in inside.parts or name not in manifest.files:
        raise CorruptFileError(f"{folder / NAME} names no file {name!r} of the model.", hint="Save the model again.")
    return folder / name


def _other(path: Path) -> CorruptFileError:
    return CorruptFileError(f"{path} is not the file that was saved.", hint="Copy the model anew, or save it again.")


def versions_of(libraries: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of Python and of libraries that are here."""
    from nightshift.trainer.provenance import versions

    found = versions(tuple(also for name in libraries for also in (name, *_ALSO.get(name, ()))))
    for name in libraries:
        told = next((found[also] for also in _ALSO.get(name, ()) if also in found), "")
        if told:
            found.setdefault(name, told)
    return found


def check_versions(manifest: Manifest, folder: Path) -> tuple[Finding, ...]:
    """Compare the libraries that a model was saved with to those that are here.

    Returns:
        A finding for each that differs in its last number alone.

    Raises:
        BundleError: when one is not here, or differs in its first two numbers.
    """
    here, found = versions_of(manifest.needs), []
    for name in manifest.needs:
        then, now = manifest.versions.get(name, ""), here.get(name, "")
        if not then or _plain(then) == _plain(now):
            continue
        if not now or _first_two(then) != _first_two(now):
            wanted = ".".join(_first_two(then))
            raise BundleError(
                f"{folder} was saved with {name} {then}; here is {now or 'none'}. Expected {wanted}.",
                hint=f"Install it: pip install '{name}=={wanted}.*', or train the model again.",
            )
        found.append(finding(_PATCH, f"It was saved with {name} {then}, and {now} reads it."))
    return tuple(found)


def _plain(version: str) -> str:
    """Return a version without its build, `+cpu`."""
    return version.partition("+")[0]


def _first_two(version: str) -> list[str]:
    return _plain(version).split(".")[:2]
