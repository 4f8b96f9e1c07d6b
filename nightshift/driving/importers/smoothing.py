"""Recorded tracks without their noise, at the world's steps.

Positions of NGSIM jump by decimetres from one tenth of a second to the next: differenced twice they would ask for
accelerations that no car has. A spline that punishes the third difference (jerk) takes the noise and leaves manoeuvres:
what swings clearly slower than the recording's cutoff stays. A lane change takes 4 to 6 s, a firm braking 3 s; with
0.3 Hz 92 % are left of what swings at 0.2 Hz, and accelerations of NGSIM's cars are those of cars.

Source: Eilers, "A perfect smoother", Analytical Chemistry 75, 2003; the noise: Coifman and Li, "A critical evaluation
of the Next Generation Simulation (NGSIM) vehicle trajectory dataset", Transportation Research B 105, 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.importers.recording import Drive
from nightshift.driving.scenario import STEP_S

Floats = NDArray[np.float64]
#: Below this speed a car's course says nothing of its heading, m/s.
_COURSE_MPS = 1.5


@dataclass(frozen=True)
class SmoothTrack:
    """A drive at `STEP_S` steps.

    Attributes:
        begin_s: of its first step, on the recording's clock; a multiple of `STEP_S`.
        x, y, heading, speed_mps: `(steps,)`; of the same point of the car as the drive's.
        raw_x, raw_y: `(steps,)` as recorded, drawn straight between moments.
    """

    begin_s: float
    x: Floats
    y: Floats
    heading: Floats
    speed_mps: Floats
    raw_x: Floats
    raw_y: Floats

    @property
    def first(self) -> int:
        """Step of the recording at which it begins."""
        return round(self.begin_s / STEP_S)

    @property
    def end(self) -> int:
        """Step after its last one."""
        return self.first + len(self.x)


def smoothed(values: Floats, step_s: float, cutoff_hz: float) -> Floats:
    """Return `(n,)` values, `step_s` apart, without what swings faster than `cutoff_hz`; straight ends stay straight.

    Minimises the squared distance plus the squared third difference, weighted so that the gain at `cutoff_hz` is half.
    """
    from scipy.sparse import diags_array, eye_array
    from scipy.sparse.linalg import spsolve

    n = len(values)
    if n < 5:
        return values.astype(float)
    weight = (2 * math.sin(math.pi * min(cutoff_hz * step_s, 0.5))) ** -6
    third = diags_array([-1.0, 3.0, -3.0, 1.0], offsets=[0, 1, 2, 3], shape=(n - 3, n))
    system = (eye_array(n) + weight * (third.T @ third)).tocsc()
    return np.asarray(spsolve(system, values.astype(float)))


def smooth_track(drive: Drive, step_s: float, cutoff_hz: float) -> SmoothTrack | None:
    """Smooth a drive and take it at the world's steps; None where it is seen for fewer than two of them."""
    begin, last = drive.first * step_s, (drive.end - 1) * step_s
    first = math.ceil(begin / STEP_S - 1e-6)
    steps = math.floor(last / STEP_S + 1e-6) - first + 1
    if steps < 2:
        return None
    moments = begin + np.arange(len(drive.x)) * step_s
    at = (first + np.arange(steps)) * STEP_S
    # Beside the origin differences keep their digits: UTM northings are millions of metres.
    ox, oy = float(drive.x[0]), float(drive.y[0])
    x, y = (smoothed(values, step_s, cutoff_hz) for values in (drive.x - ox, drive.y - oy))
    vx, vy = _rate(x, step_s), _rate(y, step_s)
    heading = _heading(vx, vy, np.unwrap(drive.heading))
    speed = np.maximum(0.0, vx * np.cos(heading) + vy * np.sin(heading))
    return SmoothTrack(
        begin_s=first * STEP_S,
        x=np.interp(at, moments, x) + ox,
        y=np.interp(at, moments, y) + oy,
        heading=np.interp(at, moments, heading),
        speed_mps=np.interp(at, moments, speed),
        raw_x=np.interp(at, moments, drive.x),
        raw_y=np.interp(at, moments, drive.y),
    )


def _rate(values: Floats, step_s: float) -> Floats:
    return np.gradient(values, step_s, edge_order=2 if len(values) > 2 else 1)


def _heading(vx: Floats, vy: Floats, told: Floats) -> Floats:
    """The course where a car moves; where it stands, what is between, or what the log tells if it never moves.

    A car that drives backwards keeps its heading: its course is turned round.
    """
    moves = np.hypot(vx, vy) > _COURSE_MPS
    if not moves.any():
        return np.full(len(told), float(np.median(told)))
    course = np.arctan2(vy[moves], vx[moves])
    back = np.cos(course - told[moves]) < -0.5
    course = np.unwrap(np.where(back, course + np.pi, course))
    course += 2 * np.pi * round((float(told[moves][0]) - float(course[0])) / (2 * np.pi))
    return np.interp(np.arange(len(told)), np.flatnonzero(moves), course)
