"""From CAN frames to rows: one reader that training and the device share, so that both see the same numbers.

What a row holds is learnt from the bus itself while it is read, from the reader's start on: no database of signals, no
list of ids. `read_frames` takes a whole trace, `FrameReader.push` one frame after the other; both give the same rows,
to the last bit.

What frames of an id usually are is learnt only from frames that came about when they were due: a flood of false ones
between them teaches nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import DtypeError, OrderError, ShapeError

CAN_ID = "can_id"
#: The numbers of a row, in order.
SINCE_FRAME, ID_RATE, DLC, CHANGED_BITS, RESIDUAL, EARLY, OVERDUE, FRAMES, AGE = range(9)
COLUMNS = (
    "since_frame_ms",  # since the frame before, whatever its id
    "id_rate",  # usual interval of the id over the present one: 1 in time, 2 in half the time
    "dlc",
    "changed_bits",  # against the id's frame before
    "signal_residual",  # by how much more than usual a byte leaves its straight line; its square root
    "early_residual",  # the same, not its root, of a frame that comes long before its time; else 0
    "overdue_ids",  # ids that were periodic and are silent for three of their intervals
    "frames_20ms",  # frames of all ids in the last 20 ms
    "id_age",  # since the id was first seen, beside the reader's own age; below 1 for new ids
)
#: Marks an id of 29 bits, as SocketCAN does.
EXTENDED = 0x8000_0000
#: The bytes of a payload that are looked into; a longer one (CAN FD) counts by its length.
PAYLOAD_BYTES = 8
#: A bus has some hundred ids. A flood of made-up ones must not fill the device's memory: later ones stay new.
MAX_IDS = 4096

#: An id's usual interval is the mean of its first ones, known from the fourth on: a later attack does not move it.
_FEWEST_INTERVALS, _MOST_INTERVALS = 4, 64
#: A frame that comes more than so many times sooner than usual teaches nothing. It is called early from the lower rate
#: on, which few true frames reach, and wholly at the higher one.
_RATHER_EARLY, _EARLY = 1.5, 2.0
#: An interval is about the usual one down to this rate.
_LATE = 0.5
_MAX_RATE, _MAX_RESIDUAL = 8.0, 32.0
#: What a payload usually does is known after this many learnt changes.
_FEWEST_CHANGES = 16
#: An id is overdue after so many of its intervals, if it was there for some time and kept to its interval in most of
#: it, as an attacker's own id does not. It counts as gone for good later on.
_OVERDUE, _THERE_S, _STEADY, _GONE_S = 3.0, 5.0, 0.6, 30.0
#: Frames that came within 20 ms are counted, up to more than any bus carries in them.
_BUSY_S, _MOST_RECENT = 0.020, 1_000
#: An id's age counts up to this: beside a car that has run for hours, an id of a minute is no new one.
_GROWN_S = 60.0


@dataclass(frozen=True)
class Frames:
    """Frames of one bus in the order of time.

    Attributes:
        time_s: `(n,)` float64, never going back.
        can_id: `(n,)` uint32, `EXTENDED` set for ids of 29 bits.
        dlc: `(n,)` uint8, length of the payload in bytes.
        data: `(n, 8)` uint8, the first bytes of the payload, zeros behind its end.
    """

    time_s: NDArray[np.float64]
    can_id: NDArray[np.uint32]
    dlc: NDArray[np.uint8]
    data: NDArray[np.uint8]

    def __post_init__(self) -> None:
        n = len(self.time_s)
        if self.can_id.shape != (n,) or self.dlc.shape != (n,) or self.data.shape != (n, PAYLOAD_BYTES):
            raise ShapeError(
                f"frames have {n} times, ids {self.can_id.shape}, lengths {self.dlc.shape} and payloads "
                f"{self.data.shape}.",
                hint=f"Give n of each, payloads as (n, {PAYLOAD_BYTES}).",
            )

    def __len__(self) -> int:
        return len(self.time_s)


def id_text(can_id: int) -> str:
    """Return an id as people write it: `1A0`, or eight digits for one of 29 bits."""
    return f"{can_id & 0x1FFF_FFFF:08X}" if can_id & EXTENDED else f"{can_id:03X}"


def read_frames(frames: Frames) -> NDArray[np.float32]:
    """Return the rows of a trace, `(n, 9)` float32 in the order of `COLUMNS`; NaN where nothing is known yet.

    Raises:
        OrderError: when time goes back or is no number.
    """
    n, time = len(frames), frames.time_s
    rows = np.full((n, len(COLUMNS)), np.nan)
    if not n:
        return rows.astype(np.float32)
    back = np.flatnonzero(~(np.diff(time) >= 0))
    if len(back) or not np.isfinite(time[0]):
        at = int(back[0]) + 2 if len(back) else 1
        raise OrderError(f"time goes back, or is none, at frame {at}.", hint="Sort the frames by time.")
    rows[1:, SINCE_FRAME] = np.diff(time) * 1000.0
    rows[:, DLC] = frames.dlc
    rows[:, OVERDUE] = 0.0
    recent = np.arange(1, n + 1) - np.searchsorted(time, time - _BUSY_S, side="right")
    rows[:, FRAMES] = np.minimum(recent, _MOST_RECENT)
    age_s = np.minimum(time - time[0], _GROWN_S) + 1.0
    rows[:, AGE] = 1.0 / age_s
    overdue = np.zeros(n + 1)
    for own in _by_id(frames.can_id):
        rows[own, AGE] = (np.minimum(time[own] - time[own[0]], _GROWN_S) + 1.0) / age_s[own]
        _read_id(frames, own, rows, overdue)
    rows[:, OVERDUE] = np.cumsum(overdue[:n])
    return rows.astype(np.float32)


def _by_id(can_id: NDArray[np.uint32]) -> list[NDArray[np.intp]]:
    """Return the rows of each id, for the ids that came first."""
    order = np.argsort(can_id, kind="stable")
    starts = np.flatnonzero(np.append(True, can_id[order][1:] != can_id[order][:-1]))
    groups = np.split(order, starts[1:])
    groups.sort(key=lambda at: int(at[0]))
    return groups[:MAX_IDS]


def _read_id(frames: Frames, at: NDArray[np.intp], rows: NDArray[np.float64], overdue: NDArray[np.float64]) -> None:
    """Fill in what one id's frames, at the rows `at`, tell."""
    time = frames.time_s[at]
    if len(at) < 2:
        return
    since = np.diff(time)
    usual = _usual_intervals(time)
    rate = np.minimum(_MAX_RATE, usual[:-1] / np.maximum(since, 1e-9))
    rows[at[1:], ID_RATE] = rate
    learnt = ~(rate > _EARLY)
    data = frames.data[at]
    rows[at[1:], CHANGED_BITS] = np.unpackbits(data[1:] ^ data[:-1], axis=1).sum(axis=1)
    residual = _residuals(data, learnt)
    rows[at[2:], RESIDUAL] = np.sqrt(residual)
    rows[at[2:], EARLY] = residual * np.clip((rate[1:] - _RATHER_EARLY) / (_EARLY - _RATHER_EARLY), 0.0, 1.0)
    kept = np.append(0.0, np.cumsum(np.where(learnt & (rate >= _LATE), since, 0.0)))
    steady = (time - time[0] >= _THERE_S) & (kept >= _STEADY * (time - time[0]))
    _count_overdue(frames.time_s, at, np.where(steady, time + _OVERDUE * usual, np.inf), overdue)


def _usual_intervals(time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an id's usual interval as known after each of its frames, `(k,)` s; NaN before."""
    count = np.arange(len(time))
    used = np.minimum(count, _MOST_INTERVALS)
    usual = (time[used] - time[0]) / np.maximum(used, 1)
    return np.where(count >= _FEWEST_INTERVALS, usual, np.nan)


def _before(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums of all rows before each."""
    return np.cumsum(values, axis=0) - values


def _residuals(data: NDArray[np.uint8], learnt: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return by how much more than usual a byte left its straight line, of the worst byte, `(k - 2,)`.

    Bytes are counted in a circle, so that counters and low bytes of longer signals run straight on.
    """
    step = np.diff(data, axis=0)
    bend = np.abs(np.diff(step, axis=0).view(np.int8).astype(np.int64))
    taught = learnt[1:] & learnt[:-1]
    known = _before(taught.astype(np.int64))
    usual = _before(bend * taught[:, None]) / np.maximum(known, 1)[:, None]
    worst = np.minimum(_MAX_RESIDUAL, (bend / (usual + 1.0)).max(axis=1, initial=0.0))
    return np.where(known >= _FEWEST_CHANGES, worst, np.nan)


def _count_overdue(
    time: NDArray[np.float64], at: NDArray[np.intp], due: NDArray[np.float64], overdue: NDArray[np.float64]
) -> None:
    """Add 1 to `overdue` (as steps up and down) wherever an id is silent past what was due after each of its frames."""
    first = np.searchsorted(time, due, side="right")
    last = np.minimum(np.append(at[1:], len(time)), np.searchsorted(time, time[at] + _GONE_S, side="right"))
    late = first < last
    np.add.at(overdue, first[late], 1.0)
    np.add.at(overdue, last[late], -1.0)


@dataclass
class _Id:
    """What a reader knows of one id."""

    place: int
    first_s: float
    last_s: float
    payload: bytes
    bits: int
    usual_s: float = float("nan")
    kept_s: float = 0.0
    count: int = 0
    step: tuple[int, ...] = ()
    was_learnt: bool = False
    bends_known: int = 0
    bends: list[int] = field(default_factory=lambda: [0] * PAYLOAD_BYTES)


class FrameReader:
    """Makes a row of each frame as it arrives.

    reader = FrameReader()
    inputs = stream.push(reader.push(time_s, 0x1A0, payload))

    A run begins with a new reader.
    """

    def __init__(self) -> None:
        self._ids: dict[int, _Id] = {}
        self._start_s = self._latest_s = float("nan")
        self._recent: deque[float] = deque(maxlen=_MOST_RECENT)
        self._due = np.full(64, np.inf)
        self._gone = np.full(64, np.inf)

    def push(
        self, time_s: float, can_id: int, data: bytes | Sequence[int], dlc: int | None = None
    ) -> dict[str, object]:
        """Take the next frame and return its row: `can_id` as text, then the numbers by `COLUMNS`.

        Args:
            time_s: when it came, in seconds; never before the frame before.
            can_id: with `EXTENDED` set for ids of 29 bits.
            data: its payload.
            dlc: its length where it is not that of `data` (a remote frame asks for so many bytes).

        Raises:
            OrderError: when time goes back.
            DtypeError: for an id, a payload or a time that is none.
        """
        payload = _checked(time_s, can_id, data)
        if self._recent and not time_s >= self._latest_s:
            raise OrderError(
                f"the frame at {time_s:.6f} s comes after one at {self._latest_s:.6f} s.",
                hint="Begin a new reader, or sort the frames.",
            )
        row = [float("nan")] * len(COLUMNS)
        if self._recent:
            row[SINCE_FRAME] = (time_s - self._latest_s) * 1000.0
        else:
            self._start_s = time_s
        self._latest_s = time_s
        row[DLC] = float(len(data) if dlc is None else dlc)
        row[FRAMES] = float(self._busy(time_s))
        age_s = min(time_s - self._start_s, _GROWN_S) + 1.0
        row[AGE] = 1.0 / age_s
        known = self._ids.get(can_id)
        if known is not None:
            row[AGE] = (min(time_s - known.first_s, _GROWN_S) + 1.0) / age_s
            _compare(known, time_s, payload, row)
            self._expect(known, time_s)
        elif len(self._ids) < MAX_IDS:
            self._meet(can_id, time_s, payload)
        row[OVERDUE] = float(((self._due < time_s) & (time_s <= self._gone)).sum())
        return {CAN_ID: id_text(can_id), **dict(zip(COLUMNS, row, strict=True))}

    def _busy(self, time_s: float) -> int:
        self._recent.append(time_s)  # the oldest goes where there are too many: a clock may stand still
        while self._recent[0] <= time_s - _BUSY_S:
            self._recent.popleft()
        return len(self._recent)

    def _meet(self, can_id: int, time_s: float, payload: bytes) -> None:
        place = len(self._ids)
        if place == len(self._due):
            more = np.full(place, np.inf)
            self._due, self._gone = np.append(self._due, more), np.append(self._gone, more)
        self._ids[can_id] = _Id(place, time_s, time_s, payload, int.from_bytes(payload))

    def _expect(self, known: _Id, time_s: float) -> None:
        """Learn when the id is overdue next."""
        lasted = time_s - known.first_s
        steady = lasted >= _THERE_S and known.kept_s >= _STEADY * lasted
        self._due[known.place] = time_s + _OVERDUE * known.usual_s if steady else np.inf
        self._gone[known.place] = time_s + _GONE_S


def _checked(time_s: float, can_id: int, data: bytes | Sequence[int]) -> bytes:
    """Return the first bytes of a payload, padded with zeros."""
    try:
        payload = bytes(data[:PAYLOAD_BYTES]).ljust(PAYLOAD_BYTES, b"\0")
    except (TypeError, ValueError):
        raise DtypeError("a payload holds something else than bytes.", hint="Give numbers from 0 to 255.") from None
    if not 0 <= can_id & ~EXTENDED <= 0x1FFF_FFFF:
        raise DtypeError(f"{can_id} is no CAN id.", hint="Give 11 bits, or 29 bits with EXTENDED set.")
    if not np.isfinite(time_s):
        raise DtypeError(f"{time_s} is no time of a frame.", hint="Give seconds.")
    return payload


def _compare(known: _Id, time_s: float, payload: bytes, row: list[float]) -> None:
    """Fill in what a frame tells beside the earlier ones of its id, and learn from it."""
    since = time_s - known.last_s
    rate = known.usual_s / max(since, 1e-9)
    rate = _MAX_RATE if rate > _MAX_RATE else rate
    row[ID_RATE] = rate
    learnt = not rate > _EARLY
    known.kept_s += since if learnt and rate >= _LATE else 0.0
    bits = int.from_bytes(payload)
    row[CHANGED_BITS] = float((known.bits ^ bits).bit_count())
    step = tuple((b - a) & 0xFF for a, b in zip(known.payload, payload, strict=True))
    if known.step:
        _compare_steps(known, step, learnt and known.was_learnt, row)
    known.payload, known.bits, known.step, known.was_learnt = payload, bits, step, learnt
    known.last_s, known.count = time_s, known.count + 1
    if _FEWEST_INTERVALS <= known.count <= _MOST_INTERVALS:
        known.usual_s = (time_s - known.first_s) / known.count


def _compare_steps(known: _Id, step: tuple[int, ...], learnt: bool, row: list[float]) -> None:
    bends = [abs(((b - a + 128) & 0xFF) - 128) for a, b in zip(known.step, step, strict=True)]
    if known.bends_known >= _FEWEST_CHANGES:
        usual = [total / known.bends_known + 1.0 for total in known.bends]
        residual = min(_MAX_RESIDUAL, max(bend / u for bend, u in zip(bends, usual, strict=True)))
        row[RESIDUAL] = math.sqrt(residual)
        early = (row[ID_RATE] - _RATHER_EARLY) / (_EARLY - _RATHER_EARLY)
        row[EARLY] = residual * min(max(early, 0.0), 1.0)
    if learnt:
        known.bends = [total + bend for total, bend in zip(known.bends, bends, strict=True)]
        known.bends_known += 1
