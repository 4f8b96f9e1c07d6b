"""A registered bundle as one file: all of it as a zip, or its graph alone; every byte held against its hash.

One that is not in this home any more, or never was, comes from DVC; it is kept for a while, beside the home's own.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillFetchingError
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nightshift.dashboard.models import ModelId, chosen_version, registered_version
from nightshift.edge.bundle import file_of, read_listed, read_manifest
from nightshift.edge.manifest import MANIFEST_FILE, MODEL_FILE, SIGNATURE_FILE, BundleManifest
from nightshift.errors import CorruptFileError, ServiceError, UnknownNameError
from nightshift.plan.past import utc
from nightshift.settings import Home
from nightshift.tracking.download import file_name
from nightshift.tracking.finished import LOGGED

ZIP, ONNX = "application/zip", "application/octet-stream"
# Stored as they are: a graph of floats hardly shrinks, and packing one of 50 MB takes seconds.
_PACKING = zipfile.ZIP_STORED
_CHUNK = 1 << 18
#: How long somebody waits for DVC, which goes on; so many of the bundles that it brought are kept.
_PATIENCE_S, _KEPT = 20.0, 3
#: DVC does one thing at a time.
_DVC = ThreadPoolExecutor(1, "dvc")


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
        home: where bundles lie, and whose registry and DVC are asked for one that does not.
        model: of the version.
        number: of the version; None = the champion, else the newest.
        variant: a form that was made for the device, "" = `model.onnx`.
        graph_alone: the graph without the rest.

    Raises:
        UnknownNameError: for a version that neither files nor the registry know.
        ServiceError: when the registry or DVC does not answer, or DVC takes long.
        BundleError: for a variant that it does not have.
        CorruptFileError: when a file is not what was registered, or there is no copy.
    """
    version, bundle_id, at = _wanted(home, model, number)
    folder = model.folder(home, version)
    if not (folder / MODEL_FILE).is_file():
        folder = _from_dvc(home, model, version, bundle_id)
    # One that is known by its id needs no signature: the key may be younger than the bundle.
    manifest, _ = read_manifest(folder, bundle_id=bundle_id, require_signature=not bundle_id)
    graph = file_of(variant, manifest)
    long_name = file_name(manifest, version, variant)
    for listed in (graph,) if graph_alone else manifest.hashes:
        read_listed(folder, listed, manifest)
    if graph_alone:
        return Delivery(long_name, ONNX, version, _pieces(folder, graph, manifest))
    packed = _zipped(folder, manifest, at)
    return Delivery(f"{long_name.removesuffix('.onnx')}.zip", ZIP, version, packed)


def _wanted(home: Home, model: ModelId, number: int | None) -> tuple[int, str, datetime]:
    """Return a version's number, its bundle's id, and when it was registered."""
    try:
        known = chosen_version(home, model, number)
    except UnknownNameError:
        if number is None:
            raise
        found = registered_version(home, model, number)
        return found.version, found.bundle_id, utc(found.created_at)
    return known.version, known.bundle_id, known.at


def _from_dvc(home: Home, model: ModelId, version: int, bundle_id: str) -> Path:
    """Return a bundle that DVC holds, fetched unless that was done a short while ago."""
    what = f"version {version} of {model.name}"
    place = home.machinery / "dashboard" / "bundles" / (bundle_id[:12] or "unknown")
    fetching = _DVC.submit(_fetch, home, bundle_id, place)
    try:
        fetching.result(_PATIENCE_S)
        os.utime(place)
    except StillFetchingError:
        # One that has not begun waits for somebody who asks again.
        fetching.cancel()
        raise ServiceError(f"{what} is being fetched from DVC.", hint="Ask again in a minute.") from None
    except UnknownNameError as error:
        train = f"nightshift train {model.family} --subject {model.machine} --target {model.target} --force"
        raise CorruptFileError(f"{what} is neither here nor in DVC.", hint=f"`{train}` makes another.") from error
    except ServiceError as error:
        raise ServiceError(f"{what} is not here, and DVC cannot bring it: {error.what}", hint=error.hint) from error
    return place


def _fetch(home: Home, bundle_id: str, place: Path) -> None:
    from nightshift.tracking.versioning import checkout

    if not place.is_dir():
        checkout(home, "models", bundle_id, place)
        newest_first = sorted(place.parent.iterdir(), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
        for folder in newest_first[_KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)


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
