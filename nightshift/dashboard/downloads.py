"""A registered bundle as one file: all of it as a zip, or its graph alone; every byte held against its hash."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nightshift.dashboard.models import ModelId, chosen_version
from nightshift.edge.bundle import file_of, read_listed, read_manifest
from nightshift.edge.manifest import MANIFEST_FILE, SIGNATURE_FILE, BundleManifest
from nightshift.errors import CorruptFileError
from nightshift.settings import Home
from nightshift.tracking.download import file_name
from nightshift.tracking.finished import LOGGED

ZIP, ONNX = "application/zip", "application/octet-stream"
# Stored as they are: a graph of floats hardly shrinks, and packing one of 50 MB takes seconds.
_PACKING = zipfile.ZIP_STORED
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Delivery:
    """A file on its way.

    Attributes:
        name: such as `anomaly_pump_7_v1.3.0.zip`.
        media_type: of it.
        version: in the registry.
        content: its bytes, a piece at a time.
    """

    name: str
    media_type: str
    version: int
    content: Iterator[bytes]


def deliver(
    home: Home, model: ModelId, number: int | None = None, *, variant: str = "", graph_alone: bool = False
) -> Delivery:
    """Return a version's bundle, which was read and checked whole before the first byte leaves.

    Args:
        home: where bundles lie.
        model: of the version.
        number: of the version; None = the champion, else the newest.
        variant: a form that was made for the device, "" = `model.onnx`.
        graph_alone: the graph without the rest.

    Raises:
        UnknownNameError: for a version that is not there.
        BundleError: for a variant that it does not have.
        CorruptFileError: when a file is not what was registered.
    """
    version = chosen_version(home, model, number)
    folder = model.folder(home, version.version)
    if not folder.is_dir():
        raise CorruptFileError(
            f"the bundle of version {version.version} of {model.name} is not here.",
            hint=f"`nightshift download {model.machine} {model.family} --version {version.version}` takes DVC's copy.",
        )
    # One that is known by its id needs no signature: the key may be younger than the bundle.
    manifest, _ = read_manifest(folder, bundle_id=version.bundle_id, require_signature=not version.bundle_id)
    graph = file_of(variant, manifest)
    long_name = file_name(manifest, version.version, variant)
    for listed in (graph,) if graph_alone else manifest.hashes:
        read_listed(folder, listed, manifest)
    if graph_alone:
        return Delivery(long_name, ONNX, version.version, _pieces(folder, graph, manifest))
    packed = _zipped(folder, manifest, version.at)
    return Delivery(f"{long_name.removesuffix('.onnx')}.zip", ZIP, version.version, packed)


def _pieces(folder: Path, name: str, manifest: BundleManifest) -> Iterator[bytes]:
    """Yield a file that was checked, never the whole of it; what has changed since cuts the download off."""
    seen = hashlib.sha256()
    with (folder / name).open("rb") as file:
        while piece := file.read(_CHUNK):
            seen.update(piece)
            yield piece
    if seen.hexdigest() != manifest.hashes[name]:
        raise CorruptFileError(f"{name} of the bundle has changed while it was sent.", hint="Fetch the bundle again.")


def _zipped(folder: Path, manifest: BundleManifest, at: datetime) -> Iterator[bytes]:
    """Yield a zip of the files that a device needs, a piece at a time."""
    sink = _Sink()
    beside = [name for name in (MANIFEST_FILE, SIGNATURE_FILE) if (folder / name).is_file()]
    order = dict.fromkeys([*(name for name in LOGGED if name in manifest.hashes or name in beside), *manifest.hashes])
    with zipfile.ZipFile(sink, "w", _PACKING) as packed:
        for name in order:
            # The moment of registration: the same version packs to the same bytes.
            info = zipfile.ZipInfo(name, at.timetuple()[:6])
            info.compress_type, info.file_size = _PACKING, (folder / name).stat().st_size
            content = iter([(folder / name).read_bytes()]) if name in beside else _pieces(folder, name, manifest)
            with packed.open(info, "w") as entry:
                for piece in content:
                    entry.write(piece)
                    yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Takes what is written, for whoever sends it on; nobody goes back in it."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: object) -> int:
        taken = bytes(memoryview(piece))  # type: ignore[arg-type]
        self._pieces.append(taken)
        return len(taken)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        found, self._pieces = b"".join(self._pieces), []
        return found
