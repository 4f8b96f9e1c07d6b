"""Logs of can-utils' candump: its log file (`-L`, `-l`), and what it shows on a terminal with `-ta`, `-tA`, `-tz`.

Source: linux-can/can-utils, candump.c and lib.c (`snprintf_canframe`, `snprintf_long_canframe`).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from nightshift.data.importers.can.trace import Cells, Trace, assemble, joined, kind_told
from nightshift.errors import DataError

_DIRECTION = {"RX", "TX", "-", "B", "E"}
_ERROR_BIT = 0x2000_0000


@dataclass
class _Bus:
    """The lines of one interface."""

    lines: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    payloads: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)


def read_candump(content: bytes, name: str, path: str) -> list[Trace]:
    """Return a trace per interface; nothing is marked.

    Error frames are left out and counted. A remote frame has its length and no payload.

    Raises:
        DataError: names the line that is no frame.
    """
    buses: dict[str, _Bus] = {}
    left_out: Counter[str] = Counter()
    for at, line in enumerate(content.decode("latin-1").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            _take(line, at, buses, left_out)
        except (ValueError, IndexError):
            raise DataError(
                f"line {at} of {name} is no frame of candump: '{line.strip()[:60]}'.",
                hint="Log with `candump -L`, or `candump -ta` for a readable one; mend or remove the line.",
            ) from None
    notes = [f"{name}: {count} error frames were left out" for count in left_out.values()]
    traces = []
    for interface, bus in buses.items():
        cells = Cells(
            bus.lines, np.array(bus.times), bus.ids, bus.payloads, np.array(bus.lengths, np.int64), attack=None
        )
        own = name if len(buses) == 1 else f"{name}:{interface}"
        traces.append(joined(own, kind_told(path), [assemble(name, cells)], notes))
    if not traces:
        raise DataError(f"{name} holds no frame.", hint="Check that it is a log of candump.")
    return traces


def _take(line: str, at: int, buses: dict[str, _Bus], left_out: Counter[str]) -> None:
    stamp, _, rest = line.partition(")")
    words = rest.split()
    interface, compact = words[0], "#" in words[1]
    if compact:
        number, length, payload = _compact(words[1])
    else:
        number, length, payload = _spaced(words[1:])
    if int(number, 16) & _ERROR_BIT and len(number) == 8:
        left_out["error"] += 1
        return
    bus = buses.setdefault(interface, _Bus())
    bus.times.append(_seconds(stamp.strip()))
    bus.lines.append(at)
    bus.ids.append(number)
    bus.lengths.append(length)
    bus.payloads.append(payload)


def _seconds(stamp: str) -> float:
    if not stamp.startswith("("):
        raise ValueError(stamp)
    text = stamp[1:].strip()
    if "-" not in text[1:]:
        return float(text)
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _compact(word: str) -> tuple[str, int, str]:
    """Return id, length and payload of `044#2A366C2BBA`, `5AA#R8`, `123##1AABB` (CAN FD) or `123#AABB_9`."""
    number, _, payload = word.partition("#")
    if payload.startswith("#"):
        int(payload[1], 16)
        payload = payload[2:]
    elif payload.startswith("R"):
        asked = payload[1:].partition("_")[0]
        return number, int(asked or "0", 16), ""
    payload = payload.partition("_")[0].replace(".", "")
    return number, len(payload) // 2, payload


def _spaced(words: list[str]) -> tuple[str, int, str]:
    """Return id, length and payload of `044  [5]  2A 36 6C 2B BA`, with or without directions before."""
    at = next(i for i, word in enumerate(words) if word.startswith("["))
    number = next(word for word in words[:at] if word not in _DIRECTION)
    length = int(words[at].strip("[]"))
    rest = words[at + 1 :]
    if rest[:1] == ["remote"]:
        return number, length, ""
    data = rest[:length]
    if len(data) < length or not all(re.fullmatch(r"[0-9A-Fa-f]{2}", word) for word in data):
        raise ValueError(words)
    return number, length, "".join(data)
