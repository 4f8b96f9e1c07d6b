"""A registered bundle as one file: all of it as a zip, or its graph alone; every byte held against its hash.

One that is not in this home any more, or never was, comes from DVC; it is kept for a while, beside the home's own.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
import zipfile
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from nightshift.dashboard.models import ModelId, chosen_version, registered_version
from nightshift.edge.bundle import file_of, read_listed, read_manifest
from nightshift.edge.manifest import MANIFEST_FILE, MODEL_FILE, SIGNATURE_FILE, BundleManifest
from nightshift.errors import BundleError, CorruptFileError, ServiceError, UnknownNameError
from nightshift.plan.past import utc
from nightshift.settings import Home
from nightshift.tracking.download import file_name
from nightshift.tracking.finished import LOGGED

ZIP, ONNX = "application/zip", "application/octet-stream"
# Stored as they are: a graph of floats hardly shrinks, and packing one of 50 MB takes seconds.
_PACKING = zipfile.ZIP_STORED
_CHUNK = 1 << 18
#: How long somebody waits for DVC, which goes on.
_PATIENCE_S = 10.0
#: So many requests wait for DVC, so many bundles are on their way from it, and so many that it brought are kept.
_FEW = 3
_SEATS = threading.BoundedSemaphore(_FEW)
#: By where the bundle goes: those on their way, and failures that nobody has been told yet.
_FETCHES: dict[Path, Future[None]] = {}
_FETCHES_LOCK, _ONE_AT_A_TIME = threading.Lock(), threading.Lock()


@dataclass(frozen=True)
class Delivery:
    """A file on its way.

    Attributes:
        name: such as `anomaly_pump_7_v1.3.0.zip`.
        media_type: of it.
        version: in the registry.
        content: its bytes, a piece at a time, of files that are open already; to be closed by who does not end it.
    """

    name: str
    media_type: str
    version: int
    content: Generator[bytes, None, None]


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
        ServiceError: when the registry or DVC does not answer, or DVC takes long or has much to do.
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
        return Delivery(long_name, ONNX, version, _begun(_graph(folder, graph, manifest)))
    packed = _begun(_zipped(folder, manifest, at))
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
    if _is_sound(place, bundle_id):
        return place
    fetching = _asked_for(home, bundle_id, place)
    if fetching is None or not _is_over(fetching):
        raise ServiceError(f"{what} has to come from DVC, which is at work.", hint="Ask again in a minute.")
    with _FETCHES_LOCK:
        if _FETCHES.get(place) is fetching:
            del _FETCHES[place]
    try:
        fetching.result()
    except UnknownNameError as error:
        train = f"nightshift train {model.family} --subject {model.machine} --target {model.target} --force"
        raise CorruptFileError(f"{what} is neither here nor in DVC.", hint=f"`{train}` makes another.") from error
    except ServiceError as error:
        raise ServiceError(f"{what} is not here, and DVC cannot bring it: {error.what}", hint=error.hint) from error
    return place


def _is_sound(place: Path, bundle_id: str) -> bool:
    """Whether a bundle that was fetched is there and whole; who asks for it keeps it for another while."""
    try:
        os.utime(place)
        manifest, _ = read_manifest(place, bundle_id=bundle_id, require_signature=False)
        for listed in manifest.hashes:
            read_listed(place, listed, manifest)
    except (OSError, BundleError):
        return False
    return True


def _asked_for(home: Home, bundle_id: str, place: Path) -> Future[None] | None:
    """Return the one fetch of a bundle, begun unless it was; None while too many others have to come first."""
    with _FETCHES_LOCK:
        if place not in _FETCHES:
            if sum(not fetching.done() for fetching in _FETCHES.values()) >= _FEW:
                return None
            told = _FETCHES[place] = Future()
            # A pool's threads would be waited for when the dashboard ends.
            threading.Thread(target=_fetch, args=(home, bundle_id, place, told), name="dvc", daemon=True).start()
        return _FETCHES[place]


def _is_over(fetching: Future[None]) -> bool:
    """Wait a little for a fetch, unless enough others wait: each takes one of the threads that answer everybody."""
    if not fetching.done() and _SEATS.acquire(blocking=False):
        try:
            wait([fetching], _PATIENCE_S)
        finally:
            _SEATS.release()
    return fetching.done()


def _fetch(home: Home, bundle_id: str, place: Path, told: Future[None]) -> None:
    try:
        with _ONE_AT_A_TIME:
            _bring(home, bundle_id, place)
    except BaseException as error:  # whatever it is, somebody waits for it
        told.set_exception(error)
    else:
        # The folder itself tells of a success, for as long as it is kept.
        with _FETCHES_LOCK:
            del _FETCHES[place]
        told.set_result(None)


def _bring(home: Home, bundle_id: str, place: Path) -> None:
    from nightshift.tracking.versioning import checkout

    if _is_sound(place, bundle_id):
        return
    shutil.rmtree(place, ignore_errors=True)
    checkout(home, "models", bundle_id, place)
    os.utime(place)
    # Nothing else is fetched now: what begins with a dot is left from a fetch that was killed.
    there = sorted(place.parent.iterdir(), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    kept = [folder for folder in there if not folder.name.startswith(".")][:_FEW]
    for folder in there:
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _begun(content: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    """Return a download that has opened its files: it ends whole where they are removed under way."""
    next(content)
    return content


@contextmanager
def _opened(folder: Path, names: Iterable[str]) -> Iterator[dict[str, BinaryIO]]:
    with ExitStack() as files:
        yield {name: files.enter_context((folder / name).open("rb")) for name in names}


def _graph(folder: Path, name: str, manifest: BundleManifest) -> Generator[bytes, None, None]:
    """Yield nothing once the file is open, then the file, a piece at a time."""
    with _opened(folder, [name]) as files:
        yield b""
        yield from _pieces(files[name], name, manifest)


def _pieces(file: BinaryIO, name: str, manifest: BundleManifest) -> Iterator[bytes]:
    """Yield a file that was checked, never the whole of it; what has changed since cuts the download off."""
    seen = hashlib.sha256()
    while piece := file.read(_CHUNK):
        seen.update(piece)
        yield piece
    if seen.hexdigest() != manifest.hashes[name]:
        raise CorruptFileError(f"{name} of the bundle has changed while it was sent.", hint="Fetch the bundle again.")


def _zipped(folder: Path, manifest: BundleManifest, at: datetime) -> Generator[bytes, None, None]:
    """Yield nothing once all files are open, then a zip of those that a device needs, a piece at a time."""
    sink = _Sink()
    beside = [name for name in (MANIFEST_FILE, SIGNATURE_FILE) if (folder / name).is_file()]
    order = dict.fromkeys([*(name for name in LOGGED if name in manifest.hashes or name in beside), *manifest.hashes])
    with _opened(folder, order) as files:
        yield b""
        with zipfile.ZipFile(sink, "w", _PACKING) as packed:
            for name, file in files.items():
                # The moment of registration: the same version packs to the same bytes.
                info = zipfile.ZipInfo(name, at.timetuple()[:6])
                info.compress_type, info.file_size = _PACKING, os.fstat(file.fileno()).st_size
                content = iter([file.read()]) if name in beside else _pieces(file, name, manifest)
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
