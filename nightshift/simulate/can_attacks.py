"""Attacks on a simulated bus: what an attacker adds to the frames that units send, or takes away.

Source of the kinds: HCRL's Car-Hacking data (Song, Woo, Kim, Vehicular Communications 2020) for DoS, fuzzy and
RPM/gear spoofing; ROAD (Verma et al., 2020) for suspension and masquerade; DAGA (Stabili et al., 2022) for replay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.can_signals import MESSAGES, Drive, packed

#: Kinds in the order of their codes; 0 is what no attack has touched.
KINDS = ("dos", "fuzzy", "spoof", "replay", "suspension", "masquerade")
_BY_ID = {m.can_id: m for m in MESSAGES}
_UNITS = sorted({m.unit for m in MESSAGES})


@dataclass(frozen=True)
class Sent:
    """Frames as they are handed to the bus, in the order of time.

    Attributes:
        time_s: `(n,)`.
        can_id: `(n,)` uint32.
        dlc: `(n,)` uint8.
        data: `(n, 8)` uint8.
        kind: `(n,)` uint8: 1 + place in `KINDS` of the attack that a frame belongs to.
    """

    time_s: NDArray[np.float64]
    can_id: NDArray[np.uint32]
    dlc: NDArray[np.uint8]
    data: NDArray[np.uint8]
    kind: NDArray[np.uint8]

    def chosen(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Sent:
        """Return some of the frames."""
        return Sent(self.time_s[rows], self.can_id[rows], self.dlc[rows], self.data[rows], self.kind[rows])

    def between(self, begin_s: float, end_s: float) -> NDArray[np.bool_]:
        """Return which frames lie in a stretch of time, `(n,)`."""
        return np.asarray((self.time_s >= begin_s) & (self.time_s < end_s))


def merged(*parts: Sent) -> Sent:
    """Return all frames in the order of time."""
    names = ("time_s", "can_id", "dlc", "data", "kind")
    whole = Sent(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    return whole.chosen(np.argsort(whole.time_s, kind="stable"))


def attack(sent: Sent, drive: Drive, kind: str, begin_s: float, end_s: float, rng: np.random.Generator) -> Sent:
    """Return the frames with one attack among them, marked.

    What suspension leaves has no frame of its own: every frame of its time is marked. Of other attacks the attacker's
    own frames are.
    """
    return _DO[kind](sent, drive, begin_s, end_s, rng)


def _injected(
    time_s: NDArray[np.float64], can_id: NDArray[np.uint32], data: NDArray[np.uint8], dlc: int, kind: str
) -> Sent:
    code = np.full(len(time_s), 1 + KINDS.index(kind), np.uint8)
    return Sent(time_s, can_id, np.full(len(time_s), dlc, np.uint8), data, code)


def _beats(begin_s: float, end_s: float, step_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    steps = step_s * (1 + 0.02 * rng.normal(size=int((end_s - begin_s) / step_s) + 1))
    time = begin_s + np.cumsum(np.maximum(steps, 0.2 * step_s))
    return time[time < end_s]


def _dos(sent: Sent, drive: Drive, begin_s: float, end_s: float, rng: np.random.Generator) -> Sent:
    """A flood of the highest priority; units' frames wait."""
    time = _beats(begin_s, end_s, rng.uniform(0.00028, 0.0006), rng)
    ids = np.zeros(len(time), np.uint32)
    return merged(sent, _injected(time, ids, np.zeros((len(time), 8), np.uint8), 8, "dos"))


def _fuzzy(sent: Sent, drive: Drive, begin_s: float, end_s: float, rng: np.random.Generator) -> Sent:
    """Random ids with random payloads."""
    time = _beats(begin_s, end_s, rng.uniform(0.001, 0.006), rng)
    ids = rng.integers(1, 0x800, len(time)).astype(np.uint32)
    return merged(sent, _injected(time, ids, rng.integers(0, 256, (len(time), 8)).astype(np.uint8), 8, "fuzzy"))


def _spoof(sent: Sent, drive: Drive, begin_s: float, end_s: float, rng: np.random.Generator) -> Sent:
    """A false engine speed or gear between the true ones, the counter copied, the checksum right."""
    can_id, signal, value = ((0x0A6, "rpm", 6200.0), (0x18F, "gear", 1.0), (0x316, "rpm", 300.0))[rng.integers(3)]
    message = _BY_ID[can_id]
    time = _beats(begin_s, end_s, message.period_s * rng.uniform(0.1, 0.5), rng)
    values = [
        (f, np.full(len(time), value) if f.signal == signal else drive.at(f.signal, time)) for f in message.fields
    ]
    data = packed(message, values, (time / message.period_s).astype(np.intp))
    return merged(sent, _injected(time, np.full(len(time), can_id, np.uint32), data, message.dlc, "spoof"))


def _replay(sent: Sent, drive: Drive, begin_s: float, end_s: float, rng: np.random.Generator) -> Sent:
    """What a unit sent some seconds ago, once more, while it goes on sending."""
    unit = _UNITS[rng.integers(len(_UNITS))]
    ids = [m.can_id for m in MESSAGES if m.unit == unit]
    back = rng.uniform(3.0, 6.0)
    length = min(end_s - begin_s, back)
    old = sent.chosen(sent.between(begin_s - back, begin_s - back + length) & np.isin(sent.can_id, ids))
    again = replace(old, time_s=old.time_s + back, kind=np.full(len(old.kind), 1 + KINDS.index("replay"), np.uint8))
    return merged(sent, again)


def _suspension(sent: Sent, drive: Drive, begin_s: float, end_s: float, rng: np.random.Generator) -> Sent:
    """A unit, or one of its messages, falls silent."""
    message = MESSAGES[rng.integers(len(MESSAGES) - 6)]
    whole = rng.random() < 0.5
    ids = [m.can_id for m in MESSAGES if m.can_id == message.can_id or (whole and m.unit == message.unit)]
    inside = sent.between(begin_s, end_s)
    kind = np.where(inside, np.uint8(1 + KINDS.index("suspension")), sent.kind)
    return replace(sent, kind=kind.astype(np.uint8)).chosen(~(inside & np.isin(sent.can_id, ids)))


def _masquerade(sent: Sent, drive: Drive, begin_s: float, end_s: float, rng: np.random.Generator) -> Sent:
    """A unit's message falls silent and the attacker sends it in its place and rhythm, drifting from the truth.

    The hard one: the rows of `edge.can` tell it neither by time nor by payload; what other units say of the same
    quantity would. A reader needs some 40 s of driving to learn which bytes go together: in 10 s, words that only
    happen to run alike cannot be told from those that say the same.
    """
    can_id, signal, drift = ((0x0A6, "rpm", 90.0), (0x153, "speed_mps", 1.2), (0x0E4, "steer_deg", 6.0))[
        rng.integers(3)
    ]
    message = _BY_ID[can_id]
    gone = sent.between(begin_s, end_s) & (sent.can_id == can_id)
    time = sent.time_s[gone] + np.abs(rng.normal(0.0, 0.0003, int(gone.sum())))
    counts = (
        sent.data[gone][:, message.counter].astype(np.intp) if message.counter is not None else np.arange(len(time))
    )
    false = drive.at(signal, np.full(len(time), begin_s)) + drift * (time - begin_s)
    values = [(f, false if f.signal == signal else drive.at(f.signal, time)) for f in message.fields]
    data = packed(message, values, counts)
    own = _injected(time, np.full(len(time), can_id, np.uint32), data, message.dlc, "masquerade")
    return merged(sent.chosen(~gone), own)


_Do = Callable[[Sent, Drive, float, float, np.random.Generator], Sent]
_DO: dict[str, _Do] = dict(zip(KINDS, (_dos, _fuzzy, _spoof, _replay, _suspension, _masquerade), strict=True))
