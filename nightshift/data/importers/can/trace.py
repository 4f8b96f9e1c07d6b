"""A trace: the frames that one log holds, and which of them somebody marked as an attack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightshift.edge.can import EXTENDED, PAYLOAD_BYTES, Frames
from nightshift.errors import DataError

NORMAL = "normal"
#: Kinds of attack in the order of their codes.
KINDS = ("dos", "fuzzy", "spoof", "replay", "suspension", "masquerade", "other")
#: What a path says of the attack in it, the first that fits.
_TOLD = (
    ("masquerade", r"masq|impersonat"),
    ("suspension", r"suspen|unplug"),
    ("dos", r"dos(?![a-z])|denial|flood|lowestid"),
    ("fuzzy", r"fuzz"),
    ("replay", r"replay|(?<![a-z])id_[0-9a-f]{1,8}_|(?<![a-z])n_\d+_"),
    ("spoof", r"spoof|rpm|gear|malfunction"),
)
_NORMAL = r"normal|clean|benign|attack[-_ ]?free|ambient"
#: A log whose clock goes back in more than this share of its steps holds no times but differences.
_MOST_BACK = 0.01


@dataclass(frozen=True)
class Trace:
    """One log of one bus.

    Attributes:
        name: of its file.
        frames: in the order of time.
        attack: `(n,)` whether a frame belongs to an attack; None where the log marks nothing.
        kind: of the attack in it, one of `KINDS`; of the first where it holds several.
        notes: what was repaired or left out while reading.
        labelled: `(n,)` the kind of each frame, where one trace holds several kinds.
    """

    name: str
    frames: Frames
    attack: NDArray[np.bool_] | None
    kind: str
    notes: tuple[str, ...] = ()
    labelled: NDArray[np.object_] | None = None

    @property
    def attacked(self) -> bool:
        """Whether any frame is marked."""
        return self.attack is not None and bool(self.attack.any())

    def kinds(self) -> set[str]:
        """Return the kinds of attack in it."""
        return set(np.unique(self.labels().astype(np.str_)).tolist()) - {NORMAL}

    def labels(self) -> NDArray[np.object_]:
        """Return the kind of each frame, `(n,)`."""
        if self.labelled is not None:
            return self.labelled
        marked = np.zeros(len(self.frames), bool) if self.attack is None else self.attack
        return np.where(marked, self.kind, NORMAL).astype(object)


def kind_told(path: str) -> str:
    """Return the kind of attack that a path's words tell."""
    words = path.lower()
    return next((kind for kind, rule in _TOLD if re.search(rule, words)), "other")


def tells_normal(path: str) -> bool:
    """Whether a path says that nothing is wrong in it."""
    return bool(re.search(_NORMAL, path.lower()))


@dataclass(frozen=True)
class Cells:
    """What the lines of a log say, as text.

    Attributes:
        lines: number of each frame's line.
        time_s: `(n,)`.
        ids: hexadecimal; more than three digits beyond `7FF` are of 29 bits.
        payloads: hexadecimal, without spaces.
        dlc: the length in bytes where the line states it.
        attack: `(n,)`, None where nothing is marked.
    """

    lines: Sequence[int] | NDArray[np.int64]
    time_s: NDArray[np.float64]
    ids: Sequence[str]
    payloads: Sequence[str]
    dlc: NDArray[np.int64] | None
    attack: NDArray[np.bool_] | None


def assemble(name: str, cells: Cells) -> tuple[Frames, NDArray[np.bool_] | None]:
    """Return the frames of some lines.

    Raises:
        DataError: names the first line whose time, id, length or payload is none.
    """
    bad = ~np.isfinite(cells.time_s)
    if bad.any():
        raise _wrong(name, cells, int(np.argmax(bad)), "has no time that is a number")
    width = 2 * PAYLOAD_BYTES
    try:
        packed = bytes.fromhex("".join([text[:width].ljust(width, "0") for text in cells.payloads]))
    except ValueError:
        row = next(i for i, text in enumerate(cells.payloads) if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})*", text))
        raise _wrong(name, cells, row, f"has the payload '{cells.payloads[row][:40]}', which is no bytes") from None
    digits = np.array([len(text) for text in cells.payloads], np.int64)
    if (digits % 2).any():
        raise _wrong(name, cells, int(np.argmax(digits % 2)), "has half a byte in its payload")
    length = digits // 2 if cells.dlc is None else cells.dlc
    wrong = (length < 0) | (length > 64) | (digits // 2 > 64)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _wrong(name, cells, row, f"has {max(length[row], digits[row] // 2)} bytes; a frame has up to 64")
    data = np.frombuffer(packed, np.uint8).reshape(-1, PAYLOAD_BYTES)
    return Frames(cells.time_s, _numbers(name, cells), length.astype(np.uint8), data), cells.attack


def _numbers(name: str, cells: Cells) -> NDArray[np.uint32]:
    known: dict[str, int] = {}
    for row, text in enumerate(cells.ids):
        if text in known:
            continue
        if not re.fullmatch(r"(?:0[xX])?[0-9A-Fa-f]{1,8}", text) or int(text, 16) > 0x1FFF_FFFF:
            raise _wrong(name, cells, row, f"has the id '{text[:20]}', which is no hexadecimal number of up to 29 bits")
        number = int(text, 16)
        known[text] = number | EXTENDED if number > 0x7FF or len(text) == 8 else number
    return np.array([known[text] for text in cells.ids], np.uint32)


def _wrong(name: str, cells: Cells, row: int, what: str) -> DataError:
    return DataError(f"line {int(cells.lines[row])} of {name} {what}.", hint="Mend or remove the line.")


def joined(
    name: str,
    kind: str,
    pieces: Sequence[tuple[Frames, NDArray[np.bool_] | None]],
    notes: Sequence[str] = (),
    labelled: Sequence[NDArray[np.object_]] = (),
) -> Trace:
    """Return a trace of pieces that follow each other, in the order of time.

    Args:
        name: of the log.
        kind: of the attack in it.
        pieces: frames and marks.
        notes: what was left out.
        labelled: the kind of each frame, piece by piece, where the log tells it.

    Raises:
        DataError: for a log without frames, or one whose clock is none.
    """
    if not sum(len(frames) for frames, _ in pieces):
        raise DataError(f"{name} holds no frame.", hint="Check that it is a log of CAN traffic.")
    frames = Frames(
        *(
            np.concatenate([getattr(frames, field) for frames, _ in pieces])
            for field in ("time_s", "can_id", "dlc", "data")
        )
    )
    marks = [attack for _, attack in pieces if attack is not None]
    attack = np.concatenate(marks) if len(marks) == len(pieces) else None
    told = np.concatenate(labelled) if labelled else None
    return _sorted(Trace(name, frames, attack, kind, tuple(notes), told))


def _sorted(trace: Trace) -> Trace:
    time = trace.frames.time_s
    back = int((np.diff(time) < 0).sum())
    if not back:
        return trace
    if back > max(10, _MOST_BACK * len(time)):
        raise DataError(
            f"time goes back {back:,} times in {trace.name}.",
            hint="If it holds times since the frame before (candump -td), log with `candump -L`.",
        )
    order = np.argsort(time, kind="stable")
    frames = Frames(time[order], trace.frames.can_id[order], trace.frames.dlc[order], trace.frames.data[order])
    attack = None if trace.attack is None else trace.attack[order]
    labelled = None if trace.labelled is None else trace.labelled[order]
    note = f"{trace.name}: time went back {back} times; the frames were sorted"
    return replace(trace, frames=frames, attack=attack, labelled=labelled, notes=(*trace.notes, note))
