"""Cars of all environments at one moment, a struct of arrays; column 0 is the ego car of each environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Cars:
    """Arrays of shape `(envs, 1 + n)`, float64 where nothing else is said. Absent cars are `there == False`.

    Attributes:
        there: bool; an absent car is nobody's leader and hits nobody.
        lane: int64, number in the world's joined lanes, -1 for none (a car on a track, the ego beside the road).
        s, d: m along the lane, and to the left of its middle.
        speed, accel: forwards, m/s and m/s2.
        x, y, heading: of the middle of the car, m and rad; the traffic model keeps them in step with lane, s and d.
        length, width: m.
        desired, headway, gap, accel_max, decel, politeness: of the drivers (see `scenario.Traffic`).
        turn: int64, which successor is taken at forks.
        on_track: bool; moved by its recorded track, not by a traffic model.
    """

    there: Any
    lane: Any
    s: Any
    d: Any
    speed: Any
    accel: Any
    x: Any
    y: Any
    heading: Any
    length: Any
    width: Any
    desired: Any
    headway: Any
    gap: Any
    accel_max: Any
    decel: Any
    politeness: Any
    turn: Any
    on_track: Any
