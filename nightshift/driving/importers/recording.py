"""What any recording holds before it is cut into scenarios: a road map, and how cars drove on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import DataError

Floats = NDArray[np.float64]
#: A recording longer than this, or with more cars, is no excerpt of a log: it would not fit into memory.
MOST_MOMENTS, MOST_CARS = 200_000, 20_000
#: m; coordinates beyond these are damage: also UTM northings lie below.
_FARTHEST_M = 2e7
#: Nobody drives faster, m/s, and no position is worse, m.
_FASTEST_MPS, _NOISE_M = 100.0, 5.0
#: Of an ordinary car, as shares of its length: the wheelbase, and what lies behind the rear axle (see `EgoStart`).
_WHEELBASE, _REAR = 2.8 / 4.6, 1.0 / 4.6


class NothingToDriveError(DataError):
    """A whole and readable file that holds no car, road or scene to make a scenario of."""


@dataclass(frozen=True)
class Lanelet:
    """A piece of one lane.

    Attributes:
        left, right: `(points, 2)` m, its bounds in driving direction.
        successors: pieces that begin where it ends.
        left_of, right_of: the neighbour that runs the same way, "" for none.
        limit_mps: speed limit; None where the map tells none.
        cars_may: False of footpaths, tracks and the like.
    """

    left: Floats
    right: Floats
    successors: tuple[str, ...] = ()
    left_of: str = ""
    right_of: str = ""
    limit_mps: float | None = None
    cars_may: bool = True


@dataclass(frozen=True)
class Drive:
    """How one car drove while it was seen, without gaps.

    Attributes:
        name: the car's, unique in its recording.
        kind: `car`, `truck`, `bus`, `motorcycle`, `bicycle`, `pedestrian`, ... as the source has it.
        first: moment of the recording at which it is seen first.
        x, y, heading: `(moments,)` m and rad; of the middle of the car, of the rear axle where `rear_axle`.
        length_m, width_m: its box.
        rear_axle: see `x`.
        wheelbase_m, rear_m: where its axles are, `rear_m` before its back; None where nobody knows: as of other cars.
    """

    name: str
    kind: str
    first: int
    x: Floats
    y: Floats
    heading: Floats
    length_m: float
    width_m: float
    rear_axle: bool = False
    wheelbase_m: float | None = None
    rear_m: float | None = None

    @property
    def axle_to_middle_m(self) -> float:
        """From the rear axle forwards to the middle of the car."""
        return 0.5 * self.length_m - self.rear_overhang_m

    @property
    def rear_overhang_m(self) -> float:
        """What lies behind the rear axle."""
        return self.length_m * _REAR if self.rear_m is None else self.rear_m

    @property
    def axles_m(self) -> float:
        """The wheelbase."""
        return self.length_m * _WHEELBASE if self.wheelbase_m is None else self.wheelbase_m

    @property
    def end(self) -> int:
        """Moment after the last one."""
        return self.first + len(self.x)


@dataclass(frozen=True)
class Window:
    """A span of a recording that is to become scenarios: moments `begin` to `end` (one past the last)."""

    begin: int
    end: int
    name: str
    kind: str = ""


@dataclass(frozen=True)
class Recording:
    """One recording of traffic.

    Attributes:
        name: unique in its set; scenario names begin with it.
        group: recordings of one group saw the same road at the same time: they stay in one part.
        step_s: time between its moments.
        start_s: of its first moment, on a clock that the recordings of one group share.
        lanelets: the map; empty where there is none.
        drives: of the cars, the ego among them.
        ego: the car that recorded it, "" where nobody did: then cars are chosen.
        windows: what to cut; empty for all of it.
        limit_mps: speed limit where the map tells none.
        source: where it comes from, for people.
        cutoff_hz: what swings faster is taken for noise of its tracks (see `smoothing`).
        remarks: what was left out.
    """

    name: str
    group: str
    step_s: float
    start_s: float
    lanelets: Mapping[str, Lanelet]
    drives: Sequence[Drive]
    ego: str = ""
    windows: tuple[Window, ...] = ()
    limit_mps: float = 50 / 3.6
    source: str = ""
    cutoff_hz: float = 0.3
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for drive in self.drives:
            _check_drive(self.name, drive)
            _check_jumps(self.name, drive, self.step_s)
        for name, piece in self.lanelets.items():
            for bound in (piece.left, piece.right):
                if not _sound(bound):
                    raise DataError(
                        f"{self.name}: lanelet {name} has a point that is no number or lies beyond {_FARTHEST_M:g} m.",
                        hint="Mend the file, or leave it out.",
                    )


def _check_drive(recording: str, drive: Drive) -> None:
    for what, values in (("x", drive.x), ("y", drive.y), ("heading", drive.heading)):
        bad = ~np.isfinite(values) | (np.abs(values) > _FARTHEST_M)
        if bad.any():
            at = drive.first + int(np.flatnonzero(bad)[0])
            raise DataError(
                f"{recording}: {what} of car {drive.name} is {values[at - drive.first]} at moment {at}; expected a "
                "finite number.",
                hint="Mend the log, or leave the file out.",
            )
    if not (0.1 <= drive.length_m <= 60 and 0.1 <= drive.width_m <= 20):
        raise DataError(
            f"{recording}: car {drive.name} is {drive.length_m:g} m long and {drive.width_m:g} m wide; expected 0.1 to "
            "60 m and 0.1 to 20 m.",
            hint="Mend the log, or leave the file out.",
        )


def _check_jumps(recording: str, drive: Drive, step_s: float) -> None:
    moved = np.hypot(np.diff(drive.x), np.diff(drive.y))
    most = _FASTEST_MPS * step_s + _NOISE_M
    if len(moved) and moved.max() > most:
        at = int(np.argmax(moved))
        raise DataError(
            f"{recording}: car {drive.name} jumps by {moved[at]:.0f} m after moment {drive.first + at}; expected at "
            f"most {most:.0f} m in {step_s:g} s.",
            hint="Mend the log, or leave the file out.",
        )


def _sound(points: Floats) -> bool:
    return bool(np.isfinite(points).all() and (np.abs(points) <= _FARTHEST_M).all())
