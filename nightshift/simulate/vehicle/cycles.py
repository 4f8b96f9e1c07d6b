"""Speed cycles: read from a folder of CSV files, or made where there are none; kin stay together."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import DataError, UsageError
from nightshift.simulate.vehicle.columns import Floats

if TYPE_CHECKING:
    import pandas as pd


_TIMES = ("cycsecs", "time_s", "cycle_sec", "seconds", "time", "t")
#: Column of speed -> metres per second of its unit.
_SPEEDS = {
    **dict.fromkeys(("cycmps", "mps", "speed_mps", "velocity", "velocity_mps"), 1.0),
    **dict.fromkeys(("speed_kmh", "kmh", "kph", "speed_kph", "km/h"), 1 / 3.6),
    **dict.fromkeys(("speed_mph", "mph"), 0.44704),
}
#: No road car gains or loses more within a second: what does is a test of something else, or in another unit.
_MOST_MPS2 = 11.0
_FASTEST_MPS = 90.0
_SHORTEST_S = 60
_LONGEST_GAP_S = 3
#: A week at 1 Hz has some 10 MB.
_MOST_BYTES = 20_000_000
#: Two cycles that share so many seconds of driving are kin, as a cycle and its phases.
_SHARED_S = 40


@dataclass(frozen=True)
class Cycle:
    """A speed over time.

    Attributes:
        name: its file's name without ending, or `made_…`.
        kin: cycles of one kin are of one origin and stay in one part.
        speed_mps: `(seconds,)`, 1 Hz.
    """

    name: str
    kin: str
    speed_mps: Floats


@dataclass(frozen=True)
class Cycles:
    """What trips are made from.

    Attributes:
        cycles: all of them.
        source: for people and provenance: a folder's name, or that the traffic is made.
        left_out: a sentence for each file that holds no usable cycle.
    """

    cycles: tuple[Cycle, ...]
    source: str
    left_out: tuple[str, ...] = ()


def read_cycles(folder: Path) -> Cycles:
    """Read every CSV file below a folder as a speed cycle, brought to 1 Hz.

    A file has a column of time (`cycSecs`, `time_s`, …) and one of speed (`cycMps`, `mps`, `speed_kmh`, `speed_mph`,
    …). Where time jumps, a cycle ends and another of the same kin begins.

    Raises:
        UsageError: when there is no such folder, or no CSV file in it.
        DataError: when fewer than three kins of cycles remain: each part needs its own.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder '{folder.name}' of drive cycles.", hint="Check --cycles.")
    files = sorted(p for p in folder.rglob("*.csv") if not p.is_dir() and not p.name.startswith("."))
    if not files:
        raise UsageError(
            f"the folder '{folder.name}' holds no .csv file.",
            hint="A cycle is a CSV file with a column of seconds (cycSecs) and one of speed (cycMps).",
        )
    found: list[Cycle] = []
    left_out: list[str] = []
    for file in files:
        try:
            found.extend(_read(file))
        except DataError as error:
            left_out.append(str(error))
    cycles = tuple(_with_kin(found))
    kins = {c.kin for c in cycles}
    if len(kins) < 3:
        raise DataError(
            f"'{folder.name}' holds {len(kins)} different drive cycles; train, val and test need one each at least.",
            hint="Add cycles, or leave --cycles out to drive in made traffic. " + " ".join(left_out[:3]),
        )
    return Cycles(cycles, folder.name, tuple(left_out))


def _read(file: Path) -> list[Cycle]:
    """Return the cycles of one file.

    Raises:
        DataError: when it holds none; says why.
    """
    import pandas as pd

    if not file.is_file():
        raise DataError(f"{file.name} is left out: it is no plain file.")
    if file.stat().st_size > _MOST_BYTES:
        raise DataError(f"{file.name} is left out: it has more than {_MOST_BYTES // 1_000_000} MB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = pd.read_csv(file, encoding="utf-8-sig", sep=None, engine="python")
    except (ValueError, OSError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{file.name} is left out: it cannot be read as CSV ({type(error).__name__}).") from None
    time, speed = _columns(file, table)
    kept = np.isfinite(time) & np.isfinite(speed)
    time, speed = time[kept], speed[kept]
    pieces = np.split(np.arange(len(time)), np.flatnonzero((np.diff(time) <= 0) | (np.diff(time) > _LONGEST_GAP_S)) + 1)
    resampled = [_at_1hz(time[p], speed[p]) for p in pieces if len(p) > 1]
    long = [s for s in resampled if len(s) >= _SHORTEST_S]
    if not long:
        raise DataError(f"{file.name} is left out: no stretch of it lasts {_SHORTEST_S} s.")
    most = max(float(np.abs(np.diff(s)).max()) for s in long)
    if most > _MOST_MPS2 or max(float(s.max()) for s in long) > _FASTEST_MPS:
        raise DataError(f"{file.name} is left out: its speed changes by {most:.1f} m/s in a second, which no car does.")
    names = [file.stem] if len(long) == 1 else [f"{file.stem}_{i}" for i in range(len(long))]
    return [Cycle(name, file.stem, s.clip(0).astype(np.float32)) for name, s in zip(names, long, strict=True)]


def _columns(file: Path, table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import pandas as pd

    known = {str(c).strip().lower(): c for c in table.columns}
    time = next((known[n] for n in _TIMES if n in known), None)
    speed = next((n for n in known if n in _SPEEDS), None)
    if time is None or speed is None:
        raise DataError(f"{file.name} is left out: it has no column of seconds (cycSecs) and of speed (cycMps).")
    numbers = [pd.to_numeric(table[c], errors="coerce").to_numpy(np.float64) for c in (time, known[speed])]
    return numbers[0], numbers[1] * _SPEEDS[speed]


def _at_1hz(time: NDArray[np.float64], speed: NDArray[np.float64]) -> NDArray[np.float64]:
    grid = np.arange(np.ceil(time[0]), np.floor(time[-1]) + 1)
    return np.interp(grid, time, speed)


def _with_kin(cycles: Sequence[Cycle]) -> list[Cycle]:
    """Give cycles that share a stretch of driving the same kin: a cycle and its phases, or two copies of a file."""
    leader = {c.kin: c.kin for c in cycles}

    def top(kin: str) -> str:
        while leader[kin] != kin:
            kin = leader[kin]
        return kin

    owner: dict[bytes, str] = {}
    for cycle in cycles:
        tenths = np.round(cycle.speed_mps * 10).astype(np.int32)
        for first in range(len(tenths) - _SHARED_S + 1):
            stretch = tenths[first : first + _SHARED_S]
            # Standing still is alike everywhere, and so is a steady test speed.
            if np.count_nonzero(np.diff(stretch)) < _SHARED_S // 2:
                continue
            print_of = hashlib.blake2b(stretch.tobytes(), digest_size=12).digest()
            other = top(owner.setdefault(print_of, cycle.kin))
            leader[max(other, top(cycle.kin))] = min(other, top(cycle.kin))
    return [Cycle(c.name, top(c.kin), c.speed_mps) for c in cycles]


def made_cycles(n: int = 60, seed: int = 0) -> Cycles:
    """Make speed cycles of town, country road and motorway, for where there are no real ones."""
    rng = np.random.default_rng([seed, 61])
    kinds = ((4, 14, 0.9), (12, 25, 0.3), (22, 36, 0.06))
    cycles = []
    for i in range(n):
        low, high, stops = kinds[i % 3]
        cycles.append(Cycle(f"made_{i:02d}", f"made_{i:02d}", _made(low, high, stops, rng)))
    return Cycles(tuple(cycles), "made traffic (no recorded drive cycles)")


def _made(low: float, high: float, stops: float, rng: np.random.Generator, seconds: int = 900) -> Floats:
    """Return one made cycle: levels held for a while, joined by ramps, some of them stops, with a slow wobble."""
    times, speeds = [0.0, float(rng.uniform(2, 12))], [0.0, 0.0]
    while times[-1] < seconds:
        level = float(rng.uniform(low, high))
        times.append(times[-1] + max(2.0, abs(level - speeds[-1]) / float(rng.uniform(0.6, 1.6))))
        speeds.append(level)
        times.append(times[-1] + float(rng.uniform(8, 60)))
        speeds.append(level * float(rng.uniform(0.92, 1.05)))
        if rng.uniform() < stops:
            times.append(times[-1] + speeds[-1] / float(rng.uniform(0.7, 1.6)))
            times.append(times[-1] + float(rng.uniform(3, 35)))
            speeds.extend([0.0, 0.0])
    grid = np.arange(seconds)
    base = np.interp(grid, times, speeds)
    wobble = np.convolve(rng.standard_normal(seconds + 14), np.ones(15) / 15, mode="valid") * 1.5
    return np.where(base > 0.5, (base + wobble * np.minimum(base / 8, 1)).clip(0.5), 0).astype(np.float32)


def turning_points(speed: Floats, least_mps: float = 1.5) -> NDArray[np.intp]:
    """Return the seconds at which a cycle turns by more than `least_mps`, or begins or ends to stand, in order."""
    still = speed < 0.3
    edges = np.flatnonzero(still[1:] != still[:-1])
    found = {0, len(speed) - 1, *(e + int(still[e + 1]) for e in edges.tolist())}
    bounds = sorted(found)
    for first, last in pairwise(bounds):
        if not still[first + 1 : last].all():
            found.update(first + i for i in _turns(speed[first : last + 1], least_mps))
    return np.asarray(sorted(found), np.intp)


def _turns(speed: Floats, least_mps: float) -> list[int]:
    """Return the inner turning points of a stretch of driving (zigzag with a threshold)."""
    found: list[int] = []
    low = high = 0
    rising: bool | None = None
    values = speed.tolist()
    for i, value in enumerate(values):
        if value > values[high]:
            high = i
        if value < values[low]:
            low = i
        if rising is not False and values[high] - value >= least_mps:
            found.append(high)
            rising, low = False, i
            high = i
        elif rising is not True and value - values[low] >= least_mps:
            found.append(low)
            rising, high = True, i
            low = i
    return found
