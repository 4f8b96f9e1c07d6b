"""A simulated CAN bus of 500 kbit/s: periodic frames of a driving car, attacks among them, in the bus's own order."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.data.dataset import Dataset
from nightshift.data.importers.can.importing import can_metadata, frames_of_parts
from nightshift.data.importers.can.parts import Block
from nightshift.data.importers.can.trace import Trace
from nightshift.data.importers.landing import Check, land_parts, refuse_blockers
from nightshift.data.schema import Provenance
from nightshift.edge.can import Frames
from nightshift.errors import UsageError
from nightshift.settings import Home
from nightshift.simulate.can_attacks import KINDS, Sent, attack, merged
from nightshift.simulate.can_drives import make_drives
from nightshift.simulate.can_signals import MESSAGES, Drive, payloads
from nightshift.simulate.vehicle.cycles import Cycles, made_cycles, read_cycles

SUBJECT = "can_synthetic"
#: A frame with an id of 11 bits: 47 bits around its payload, and about one stuffed bit in ten.
#: Source: Bosch, CAN Specification 2.0.
_BIT_S, _AROUND_BITS, _STUFFED = 1 / 500_000, 47, 1.1
#: Before the first attack, a quiet time in which a reader learns the bus.
_QUIET_S, _LEAST_S = 10.0, 40.0
#: Parts of the drives: normal ones for train; then normal and attacked ones, such that each half of val has both.
_SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}
_EPOCH_S = 1_767_225_600.0  # 2026-01-01


@dataclass(frozen=True)
class CanOptions:
    """What to simulate.

    Attributes:
        drives: in all parts together, of the simulated vehicle's cars.
        seconds: of one drive.
        seed: of everything random.
    """

    drives: int = 16
    seconds: float = 60.0
    seed: int = 7

    def __post_init__(self) -> None:
        if not 8 <= self.drives <= 1000:
            raise UsageError(f"--drives is {self.drives}, expected 8 to 1000.", hint="16 make about 800,000 frames.")
        if not _LEAST_S <= self.seconds <= 3600:
            raise UsageError(
                f"--seconds is {self.seconds:g}, expected {_LEAST_S:g} to 3600.",
                hint="Attacks of each kind must find room in a drive.",
            )
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed is {self.seed}, expected a whole number from 0.")


def simulate_drive(seconds: float, seed: int, *, attacked: bool) -> tuple[Frames, NDArray[np.uint8]]:
    """Return one drive's frames as a logger on the bus sees them, and the attack that each belongs to.

    Args:
        seconds: its length.
        seed: of everything random in it.
        attacked: whether each kind of attack comes once, in random order, with quiet between.

    Returns:
        The frames, and `(n,)` codes: 0 = none, else 1 + the place in `can_attacks.KINDS`.
    """
    drive = next(make_drives({"train": 1}, seconds, seed)).drive
    return _frames_of(drive, seconds, seed, attacked=attacked)


def _frames_of(drive: Drive, seconds: float, seed: int, *, attacked: bool) -> tuple[Frames, NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    sent = _normal_traffic(drive, seconds, rng)
    if attacked:
        slot = (seconds - _QUIET_S) / len(KINDS)
        for i, kind in enumerate(rng.permutation(KINDS)):
            begin = _QUIET_S + i * slot + rng.uniform(0.0, 0.2) * slot
            sent = attack(sent, drive, str(kind), begin, begin + 0.5 * slot, rng)
    return _on_the_bus(sent)


def _normal_traffic(drive: Drive, seconds: float, rng: np.random.Generator) -> Sent:
    """Return what all units send, each by its own clock."""
    skew = {unit: rng.normal(0.0, 60e-6) for unit in sorted({m.unit for m in MESSAGES})}
    parts = []
    for message in MESSAGES:
        period = message.period_s * (1 + skew[message.unit])
        time = rng.uniform(0.0, period) + period * np.arange(int(seconds / period))
        # A unit's program is a little late by turns: mostly some hundred microseconds, at times a millisecond.
        sent_s: NDArray[np.float64] = np.sort(time + rng.gamma(1.5, 0.00012, len(time)))
        first = int(rng.integers(16))
        parts.append(
            Sent(
                sent_s,
                np.full(len(sent_s), message.can_id, np.uint32),
                np.full(len(sent_s), message.dlc, np.uint8),
                payloads(message, drive, sent_s, first),
                np.zeros(len(sent_s), np.uint8),
            )
        )
    return merged(*parts)


def _on_the_bus(sent: Sent) -> tuple[Frames, NDArray[np.uint8]]:
    """Return the frames in the order in which the bus carries them: of those that wait, the lowest id goes first."""
    lasts = ((_AROUND_BITS + 8.0 * sent.dlc) * _STUFFED * _BIT_S).tolist()
    release, ids = sent.time_s.tolist(), sent.can_id.tolist()
    n, i, now = len(release), 0, 0.0
    waiting: list[tuple[int, int]] = []
    order, end = np.empty(n, np.intp), np.empty(n)
    for place in range(n):
        if not waiting:
            now = max(now, release[i])
        while i < n and release[i] <= now:
            heapq.heappush(waiting, (ids[i], i))
            i += 1
        _, row = heapq.heappop(waiting)
        now += lasts[row]
        order[place], end[place] = row, now
    there = sent.chosen(order)
    # A logger's clock counts microseconds.
    return Frames(np.round(end, 6), there.can_id, there.dlc, there.data), there.kind


def simulate_can(options: CanOptions, cycles: Cycles | None = None) -> dict[str, list[tuple[Trace, int]]]:
    """Return the drives of each part with the number of their vehicle; no vehicle drives in two parts.

    Args:
        options: what to simulate.
        cycles: that the cars drive on; made traffic without.
    """
    counts = {part: max(2, round(share * options.drives)) for part, share in _SHARES.items()}
    counts["train"] = options.drives - counts["val"] - counts["test"]
    driven = make_drives(counts, options.seconds, options.seed, cycles)
    seeds = np.random.SeedSequence(options.seed).generate_state(options.drives).tolist()
    parts: dict[str, list[tuple[Trace, int]]] = {part: [] for part in counts}
    for done, one in enumerate(driven):
        i = len(parts[one.part])
        attacked = _is_attacked(one.part, i, counts[one.part])
        parts[one.part].append((_trace(options, one.drive, seeds[done], done, attacked=attacked), one.vehicle))
    return parts


def _is_attacked(part: str, i: int, count: int) -> bool:
    """Half of val is normal, in both of its halves (its runs are taken in turn); a quarter of test is."""
    if part == "train":
        return False
    return i >= (count // 2 if part == "val" else max(1, count // 4))


def _trace(options: CanOptions, drive: Drive, seed: int, number: int, *, attacked: bool) -> Trace:
    frames, kind = _frames_of(drive, options.seconds, seed, attacked=attacked)
    start = _EPOCH_S + 3600.0 * number
    moved = Frames(frames.time_s + start, frames.can_id, frames.dlc, frames.data)
    names = np.array(["normal", *KINDS], object)
    return Trace(f"drive {number}", moved, kind > 0, "other", labelled=names[kind])


def land_can(home: Home, options: CanOptions, *, event: bool = True, check: Check | None = refuse_blockers) -> Dataset:
    """Simulate drives and land them as `can_synthetic`; on the home's `data/drive_cycles` where there are any.

    Raises:
        DataError: when these cannot be used.
        UsageError: for a seed that is none.
        BlockedError: when the checks find a blocker.
        NightshiftError: when the disk is full.
    """
    own = home.data / "drive_cycles"
    cycles = read_cycles(own) if own.is_dir() else made_cycles()
    parts = simulate_can(options, cycles)
    origin = Provenance(
        kind="synthetic",
        source="simulated CAN bus (nightshift simulate can)",
        details={
            "drives": options.drives,
            "seconds": options.seconds,
            "seed": options.seed,
            "cycles": cycles.source,
            "bit_rate": 500_000,
        },
    )
    blocks = {part: [(Block(t, 0, len(t.frames)), vehicle) for t, vehicle in drives] for part, drives in parts.items()}
    title = f"simulated CAN bus, {options.drives} drives of {options.seconds:g} s"
    return land_parts(
        home, frames_of_parts(blocks), can_metadata(SUBJECT, KINDS, origin, title), event=event, check=check
    )
