"""A registered model as one file to hand on: named by what it answers and its version, held against its hashes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightshift.edge.manifest import MANIFEST_FILE, MODEL_FILE, VARIANT_FILES, BundleManifest, sha256_bytes
from nightshift.errors import CorruptFileError, NightshiftError, UnknownNameError, UsageError
from nightshift.files import write_atomic
from nightshift.settings import Home
from nightshift.tracking import versioning
from nightshift.tracking.mlflow_store import Store
from nightshift.tracking.versions import CHAMPION, PRUNED, STATE, Version, inventory

#: family -> what its model answers, in a file's name.
_ANSWERS = {"tcn": "fuel", "lstm_ae": "driving", "behaviour": "driver", "carbon": "co2"}
#: Data that go without saying in a file's name.
_UNNAMED = ("carla_synthetic", "can_synthetic")
_FRAMES = "can_id"


@dataclass(frozen=True)
class Download:
    """A model's file.

    Attributes:
        name: such as `tcn_fuel_v1.4.0.onnx`.
        content: what the bundle's hashes are of.
        version: in the registry.
        champion: whether it is the champion.
    """

    name: str
    content: bytes
    version: int
    champion: bool

    @property
    def sha256(self) -> str:
        """Of the content."""
        return sha256_bytes(self.content)

    def save(self, folder: Path, *, force: bool = False) -> tuple[Path, bool]:
        """Write it into a folder, whole or not at all; returns its path, and False where it was there already.

        Raises:
            UsageError: where another file has its name.
        """
        path = folder / self.name
        if path.is_file() and path.read_bytes() == self.content:
            return path, False
        if path.exists() and not force:
            raise UsageError(f"{path} is there with other content.", hint="--force replaces it; --to names a folder.")
        try:
            write_atomic(path, self.content)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}.", hint="--to names a folder that you may write to."
            ) from error
        return path, True


def read_model(home: Home, store: Store, name: str, number: int | None = None, variant: str = "") -> Download:
    """Read a model's file: from its bundle here, else from DVC where that is gone or altered.

    Args:
        home: where bundles lie.
        store: the registry.
        name: `<subject>.<family>.<target>`.
        number: of the version; None = the champion, else the newest.
        variant: a form that was made for the device, "" = `model.onnx`.

    Raises:
        UsageError: for a version or variant that is not there; names those that are.
        CorruptFileError: where no copy is, byte for byte, what was registered.
    """
    held = [h for h in inventory(store, name).get(name, []) if h.version.tags.get(STATE) != PRUNED]
    chosen = [h for h in held if h.version.version == number] if number is not None else held
    chosen = [h for h in chosen if number is None and CHAMPION in h.aliases] or chosen
    if not chosen:
        there = ", ".join(str(h.version.version) for h in held) or "none"
        raise UsageError(f"{name} has no version {number}; there are: {there}.")
    found = chosen[0].version
    file, manifest = _first_sound(home, found, variant)
    return Download(file_name(manifest, found.version, variant), file, found.version, CHAMPION in chosen[0].aliases)


def file_name(manifest: BundleManifest, version: int, variant: str = "") -> str:
    """Return what a model's file is called: `tcn_fuel_v1.4.0.onnx`, of other data `tcn_fuel_my_trips_v1.4.0.onnx`."""
    answers = _ANSWERS.get(manifest.family, "")
    if manifest.family == "lstm_ae" and any(c.name == _FRAMES for c in manifest.interface.columns):
        answers = "can"
    subject = "" if answers and manifest.subject in _UNNAMED else manifest.subject
    parts = [manifest.family, answers, subject, f"v1.{version}.0", variant]
    return "_".join(part for part in parts if part) + ".onnx"


def _first_sound(home: Home, found: Version, variant: str) -> tuple[bytes, BundleManifest]:
    subject, family, target = found.name.rsplit(".", 2)
    here = home.models / family / subject / target / f"v{found.version}"
    why = "its bundle is not here"
    if here.is_dir():
        try:
            return _sound(here, found, variant)
        except CorruptFileError as error:
            why = error.what.rstrip(".")
    try:
        with _from_dvc(home, found) as folder:
            return _sound(folder, found, variant)
    except NightshiftError as error:
        if isinstance(error, UsageError) and not isinstance(error, UnknownNameError):
            raise
        raise CorruptFileError(
            f"version {found.version} of {found.name} cannot be had: {why}, and DVC has no sound copy ({error.what})",
            hint=f"Train it again: nightshift train {family} --subject {subject} --target {target} --force.",
        ) from error


@contextmanager
def _from_dvc(home: Home, found: Version) -> Iterator[Path]:
    home.tmp.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.tmp) as scratch:
        yield versioning.checkout(home, "models", found.bundle_id, Path(scratch) / "bundle")


def _sound(folder: Path, found: Version, variant: str) -> tuple[bytes, BundleManifest]:
    """Return a bundle's file and manifest when both are what was registered.

    Raises:
        CorruptFileError: when one is not.
        UsageError: for a variant that the bundle does not have.
    """
    raw = _read(folder / MANIFEST_FILE)
    if sha256_bytes(raw) != found.bundle_id:
        raise CorruptFileError(f"{MANIFEST_FILE} is not the one that was registered.")
    manifest = BundleManifest.model_validate_json(raw)
    name = MODEL_FILE if not variant else VARIANT_FILES.get(variant, "")
    if name not in manifest.hashes:
        made = [v for v, file in VARIANT_FILES.items() if file in manifest.hashes]
        raise UsageError(
            f"version {found.version} of {found.name} has no variant '{variant}'.",
            hint=f"It has {', '.join(made)}." if made else "It has model.onnx alone: leave out --variant.",
        )
    content = _read(folder / name)
    if sha256_bytes(content) != manifest.hashes[name]:
        raise CorruptFileError(f"{name} is not the one that was registered.")
    return content, manifest


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"{path.name} cannot be read.") from error
