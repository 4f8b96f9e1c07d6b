"""The store that the machines of a fleet share: whole folders under keys, and small objects, in S3 or a folder.

`NIGHTSHIFT_STORE_URL` names it; fsspec reaches it. A folder is kept as its files, each under its hash, and a manifest
that is written last: without the manifest nothing is there, and two machines that bring the same folder at once cannot
mix their files. What is fetched is checked against the manifest before it appears in the home, whole or not at all.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from nightshift.data.schema import Strict
from nightshift.errors import (
    ConfigError,
    DataError,
    NightshiftError,
    ServiceError,
    TransientError,
    first_line,
    without_credentials,
)
from nightshift.files import disk_full, fsync, sha256_file, write_atomic
from nightshift.settings import STORE_VARIABLE, Home

MANIFEST = "manifest.json"
_EXTRA = "Install the extra: pip install 'nightshift[scale]' (on a board: 'nightshift[board]')"
_LINE = f"See that {STORE_VARIABLE} is right and that the store can be reached, then run the same command again."
_KEYS = f"See that the bucket of {STORE_VARIABLE} exists and that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY open it."
_REFUSED = (PermissionError, FileNotFoundError)
# Without these a store that is not there keeps a command waiting for minutes.
_S3_PATIENCE = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 2, "mode": "standard"}}


class FileEntry(Strict):
    """A file of a folder: what it must be when it comes back."""

    size: int
    sha256: str


class Manifest(Strict):
    """The files of a folder by name."""

    files: dict[str, FileEntry]


@dataclass(frozen=True)
class Remote:
    """An open store.

    Attributes:
        url: of it, without credentials.
        files: fsspec's file system.
        root: its path in there.
    """

    url: str
    files: Any
    root: str

    def has_folder(self, key: str) -> bool:
        """Whether a whole folder is kept under a key.

        Raises:
            ServiceError, TransientError: when the store cannot be used.
        """
        with self._told():
            return bool(self.files.exists(self._at(key, MANIFEST)))

    def put_folder(self, key: str, folder: Path, names: Iterable[str]) -> bool:
        """Keep a folder's files under a key; False when the key is kept already.

        Raises:
            ServiceError, TransientError: when the store cannot be used.
        """
        if self.has_folder(key):
            return False
        paths = {name: folder / name for name in names}
        entries = {n: FileEntry(size=p.stat().st_size, sha256=sha256_file(p)) for n, p in paths.items()}
        with self._told():
            for name, path in paths.items():
                self._upload(path, self._file(key, name, entries[name]))
        self.put(f"{key}/{MANIFEST}", Manifest(files=entries).model_dump_json(indent=1).encode())
        return True

    def get_folder(self, key: str, into: Path, check: Callable[[Path], object] = lambda _folder: None) -> bool:
        """Bring a folder into the home, unless it has come meanwhile; False when the key is not kept.

        Args:
            key: of the folder.
            into: where it is to appear.
            check: sees the folder before it appears; what it raises refuses it.

        Raises:
            DataError: when a file is not what the manifest says.
            ServiceError, TransientError: when the store cannot be used.
        """
        found = self.get(f"{key}/{MANIFEST}")
        if found is None:
            return False
        manifest = self._manifest(key, found)
        into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as scratch:
            folder = Path(scratch) / "folder"
            folder.mkdir()
            for name, entry in manifest.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                self._download(key, name, entry, folder / name)
            check(folder)
            try:
                folder.rename(into)
            except OSError as error:
                # Another process has just brought it.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        fsync(into.parent)
        return True

    def put(self, key: str, data: bytes) -> str:
        """Keep a small object, and return the tag by which `listing` knows this content of it.

        Raises:
            ServiceError, TransientError: when the store cannot be used.
        """
        with self._told():
            if self._is_folder:
                write_atomic(Path(self._at(key)), data)
            else:
                self.files.pipe_file(self._at(key), data)
            return _tag(self.files.info(self._at(key)))

    def get(self, key: str) -> bytes | None:
        """Return a small object, None when there is none.

        Raises:
            ServiceError, TransientError: when the store cannot be used.
        """
        with self._told():
            try:
                return bytes(self.files.cat_file(self._at(key)))
            except FileNotFoundError:
                return None

    def listing(self, prefix: str) -> dict[str, str]:
        """Return the objects below a prefix, name -> a tag that changes with the content.

        Raises:
            ServiceError, TransientError: when the store cannot be used.
        """
        below = self._at(prefix)
        with self._told():
            try:
                found = self.files.find(below, detail=True)
            except FileNotFoundError:
                return {}
            names = {str(PurePosixPath(path).relative_to(below)): _tag(info) for path, info in found.items()}
        # What a write that was cut off left in a folder begins with a dot.
        return {name: tag for name, tag in names.items() if not PurePosixPath(name).name.startswith(".")}

    @property
    def _is_folder(self) -> bool:
        return "file" in (self.files.protocol if isinstance(self.files.protocol, tuple) else (self.files.protocol,))

    def _at(self, *pieces: str) -> str:
        return "/".join((self.root, *pieces))

    def _file(self, key: str, name: str, entry: FileEntry) -> str:
        return self._at(key, entry.sha256[:16], name)

    def _manifest(self, key: str, content: bytes) -> Manifest:
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError as error:
            raise DataError(f"the manifest of {key} in {self.url} cannot be read.", hint=_again(key)) from error
        for name in manifest.files:
            if any(piece in ("", ".", "..") or Path(piece).name != piece for piece in name.split("/")):
                raise DataError(f"the manifest of {key} in {self.url} names a file '{name[:80]}'.", hint=_again(key))
        return manifest

    def _upload(self, path: Path, place: str) -> None:
        if self.files.exists(place) and self.files.info(place)["size"] == path.stat().st_size:
            return  # an earlier attempt was cut off after it
        if not self._is_folder:
            self.files.put_file(str(path), place)
            return
        target = Path(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            shutil.copyfile(path, beside)
            fsync(beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)

    def _download(self, key: str, name: str, entry: FileEntry, target: Path) -> None:
        with self._told():
            try:
                self.files.get_file(self._file(key, name, entry), str(target))
            except FileNotFoundError:
                raise DataError(f"{name} of {key} is missing in {self.url}.", hint=_again(key)) from None
        if target.stat().st_size != entry.size or sha256_file(target) != entry.sha256:
            raise DataError(f"{name} of {key} in {self.url} was altered.", hint=_again(key))
        fsync(target)

    @contextmanager
    def _told(self) -> Iterator[None]:
        with told(self.url):
            yield


def open_remote(home: Home) -> Remote | None:
    """Open the store that `NIGHTSHIFT_STORE_URL` names; None when it names none. Reaches nothing yet.

    Raises:
        ConfigError: for a URL that no installed package knows.
    """
    url = home.store_url
    if not url:
        return None
    shown, protocol = without_credentials(url), urlsplit(url).scheme
    if protocol == "file":
        return Remote(shown, _fsspec("file", shown), unquote(urlsplit(url).path))
    files = _fsspec(protocol, shown, **(_s3_options() if protocol == "s3" else {}))
    return Remote(shown, files, str(files._strip_protocol(url)).rstrip("/"))


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turn what fsspec and botocore raise into one error that says what to do.

    Raises:
        TransientError: when the store cannot be reached.
        ServiceError: when it refuses.
        NightshiftError: when the disk of this machine is full.
    """
    try:
        yield
    except NightshiftError:
        raise
    except Exception as error:
        if why := disk_full(error):
            raise NightshiftError(f"{why.capitalize()}.", hint="Free space and run the same command again.") from error
        foreign = type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp")
        if not foreign and not isinstance(error, (OSError, TimeoutError)):
            raise
        if isinstance(error, _REFUSED) or "Credentials" in type(error).__name__:
            raise ServiceError(f"the store {url} refused: {first_line(error)}.", hint=_KEYS) from error
        raise TransientError(f"the store {url} cannot be reached: {first_line(error)}.", hint=_LINE) from error


def _s3_options() -> dict[str, Any]:
    # fsspec keeps what it has opened by its arguments: botocore's own look at the variable would not count.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return {"use_listings_cache": False, "config_kwargs": _S3_PATIENCE, "endpoint_url": endpoint}


def _fsspec(protocol: str, shown: str, **options: Any) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(protocol, **options)
    except ImportError as error:
        what = f"{STORE_VARIABLE} is {shown}, and the package that reaches {protocol}:// is not installed."
        raise ConfigError(what, hint=f"{_EXTRA}.") from error
    except ValueError as error:
        raise ConfigError(
            f"{STORE_VARIABLE} is {shown}: '{protocol}' is no kind of store.",
            hint="Give a folder, or s3://bucket/prefix.",
        ) from error


def _tag(info: dict[str, Any]) -> str:
    given = info.get("ETag") or f"{info.get('mtime') or info.get('LastModified')}-{info.get('ino', 0)}"
    return f"{str(given).strip(chr(34))}-{info['size']}"


def _again(key: str) -> str:
    what = "land the data again" if key.startswith("datasets/") else "train the cell again with --force"
    return f"Delete {key}/ in the store, then {what} where it came from."
