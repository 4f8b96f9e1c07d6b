"""Finds the logs among files, folders and zip archives, and reads each by its form. Nothing is unpacked to the disk."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nightshift.data.importers.can.candump import read_candump
from nightshift.data.importers.can.tables import read_hcrl_text, read_headed, read_headless
from nightshift.data.importers.can.trace import Trace
from nightshift.errors import DataError
from nightshift.files import read_plain

Layout = Literal["auto", "candump", "car-hacking", "daga"]
LAYOUTS: tuple[Layout, ...] = ("auto", "candump", "car-hacking", "daga")
#: A log beyond this, or an archive that grows more than so many times, is refused before it is read.
MAX_LOG_BYTES, MAX_GROWTH, _SMALL = 2 * 1024**3, 200, 10 * 1024**2
MAX_FRAMES = 20_000_000
_SUFFIXES = {".csv", ".txt", ".log", ".zip", ".can"}
_HEAD = 4096


@dataclass(frozen=True)
class _Log:
    """One log: its name, the words of its path, its bytes, and whether somebody named it."""

    name: str
    path: str
    content: bytes
    named: bool


def read_traces(paths: Sequence[Path], layout: Layout = "auto") -> tuple[list[Trace], list[str]]:
    """Read all logs of files, folders and archives; what a folder holds besides is left out and noted.

    Raises:
        DataError: for a path without a log, a log that cannot be read, an archive that is none or grows too much,
            or more than 20 million frames.
    """
    traces: list[Trace] = []
    notes: list[str] = []
    frames = 0
    for log in (log for path in paths for log in _logs(path)):
        form = _form(log.content)
        if form is None and not log.named:
            notes.append(f"{log.name} is no log of CAN frames and was left out")
            continue
        for trace in _read(log, form, layout):
            traces.append(trace)
            frames += len(trace.frames)
        if frames > MAX_FRAMES:
            raise _too_many(log.name)
    if not traces:
        raise DataError(
            f"there is no log of CAN frames in {', '.join(p.name for p in paths)}.",
            hint=f"Logs end in {', '.join(sorted(_SUFFIXES))}.",
        )
    return traces, [*notes, *(note for trace in traces for note in trace.notes)]


def _too_many(name: str) -> DataError:
    return DataError(
        f"the logs hold more than {MAX_FRAMES:,} frames (reached in {name}).",
        hint="Import fewer logs at a time, or a part of a long one.",
    )


def _form(content: bytes) -> str | None:
    """Tell the form of a log by its first line."""
    head = content[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip()
    line = head.split(b"\n", 1)[0].decode("latin-1").strip().lower()
    if line.startswith("timestamp:"):
        return "hcrl-text"
    if re.match(r"\(\s*\d[\d .:+T-]*\)\s+\S+\s+\S", line):
        return "candump"
    if re.match(r"\d+(\.\d*)?(e[-+]?\d+)?,\s*[0-9a-f]{1,8},\s*\d+,", line):
        return "headless"
    columns = {cell.strip() for cell in line.split(",")}
    return "headed" if {"timestamp", "time"} & columns and {"can_id", "arbitration_id", "id"} & columns else None


_FORMS_OF = {
    "auto": {"hcrl-text", "candump", "headless", "headed"},
    "candump": {"candump"},
    "car-hacking": {"hcrl-text", "headless", "headed"},
    "daga": {"headed"},
}


def _read(log: _Log, form: str | None, layout: Layout) -> list[Trace]:
    if form is None or form not in _FORMS_OF[layout]:
        first = log.content[:_HEAD].lstrip().split(b"\n", 1)[0].decode("latin-1").strip()[:60]
        wanted = "a log of CAN frames" if layout == "auto" else f"in the layout '{layout}'"
        raise DataError(
            f"{log.name} is not {wanted}; it begins with '{first}'.",
            hint="Known: candump logs, Timestamp,ID,DLC,DATA0..7,Flag (Car-Hacking), and tables with a header that "
            "names timestamp, can_id, dlc, payload and anomaly (DAGA).",
        )
    content = log.content.removeprefix(b"\xef\xbb\xbf")
    if content.count(b"\n") > MAX_FRAMES:
        raise _too_many(log.name)
    if form == "candump":
        return read_candump(content, log.name, log.path)
    table = {"headless": read_headless, "headed": read_headed, "hcrl-text": read_hcrl_text}[form]
    return [table(content, log.name, log.path)]


def _logs(path: Path) -> Iterator[_Log]:
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
        if not found:
            raise DataError(f"there is no log in {path.name}/.", hint=f"Logs end in {', '.join(sorted(_SUFFIXES))}.")
        for file in found:
            yield from _file(file, file.relative_to(path.parent).as_posix(), named=False)
    else:
        yield from _file(path, f"{path.parent.name}/{path.name}", named=True)


def _file(path: Path, told: str, *, named: bool) -> Iterator[_Log]:
    if path.suffix.lower() == ".zip":
        yield from _archive(path, told, named=named)
        return
    try:
        content = read_plain(path, MAX_LOG_BYTES + 1)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path.name}.", hint="Check the path.") from error
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.", hint="Check the file.") from error
    if len(content) > MAX_LOG_BYTES:
        raise DataError(f"{path.name} is larger than {MAX_LOG_BYTES:,} bytes.", hint="Cut it into several logs.")
    yield _Log(path.name, told, content, named)


def _archive(path: Path, told: str, *, named: bool) -> Iterator[_Log]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            for member in members:
                _hold_size(path, member)
            for member in members:
                alone = named and len(members) == 1
                # A name out of an archive may hold anything; it is shown, and read for words.
                inside = "".join(c if c.isprintable() else "?" for c in member.filename)
                yield _Log(Path(inside).name, f"{told}/{inside}", _bytes(archive, member), alone)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path.name}.", hint="Check the path.") from error
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        # RuntimeError: it asks for a password.
        raise DataError(f"{path.name} cannot be unpacked: {error}.", hint="Fetch it again, or unpack it.") from error


def _hold_size(path: Path, member: zipfile.ZipInfo) -> None:
    grows = member.file_size > _SMALL and member.file_size > MAX_GROWTH * max(member.compress_size, 1)
    if member.file_size > MAX_LOG_BYTES or grows:
        raise DataError(
            f"{ascii(member.filename)[1:-1][-80:]} in {path.name} would grow from {member.compress_size:,} to "
            f"{member.file_size:,} bytes.",
            hint="Unpack it yourself if you trust it, and cut it into logs of less than 2 GiB.",
        )


def _bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Read a member, and not a byte more than it has stated."""
    with archive.open(member) as file:
        content = file.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise zipfile.BadZipFile(f"{member.filename} is not as long as it says")
    return content
