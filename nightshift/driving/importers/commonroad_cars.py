"""Obstacles of a CommonRoad file: cars that drive along trajectories, and what stands still."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from nightshift.driving.importers.recording import MOST_CARS, MOST_MOMENTS, Drive
from nightshift.driving.importers.xml_values import flag, number, place, point, points, value
from nightshift.errors import DataError

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

#: Moments that a car may be unseen for between two states; what lies between is drawn straight.
_LONGEST_GAP = 5
_MOST_POSES = 20_000_000
_TAGS = ("obstacle", "dynamicObstacle", "staticObstacle")


def cars_of(root: ET.Element, file: str) -> tuple[list[Drive], tuple[str, ...]]:
    """Read all obstacles; returns them, and what is left out.

    Raises:
        DataError: when one is damaged.
    """
    elements = [e for e in root if e.tag in _TAGS]
    if len(elements) > MOST_CARS:
        raise DataError(f"{file} has {len(elements):,} obstacles; at most {MOST_CARS:,}.", hint="Cut the file.")
    names = [e.get("id", "") for e in elements]
    if len(set(names)) < len(names):
        twice = next(n for n, times in Counter(names).items() if times > 1)
        raise DataError(f"{file}: the obstacle id '{twice[:40]}' stands twice.", hint="Mend the file.")
    moving = {n: _states(e, f"{file}: obstacle {n[:40]}") for n, e in zip(names, elements, strict=True)}
    last = max((s[-1][0] for s in moving.values()), default=0)
    # What stands is there from the first moment to the last: a few lines of a file may ask for gigabytes.
    if len(elements) * (last + 1) > _MOST_POSES:
        raise DataError(f"{file}: {len(elements):,} cars for {last:,} time steps are too many.", hint="Cut the file.")
    drives, left_out = [], []
    for name, element in zip(names, elements, strict=True):
        where = f"{file}: obstacle {name[:40]}"
        if element.find("occupancySet") is not None and element.find("trajectory") is None:
            left_out.append(f"obstacle {name[:40]} has an occupancy set instead of a trajectory and is left out")
            continue
        drives.append(_drive(element, name, moving[name], last, where))
    return drives, tuple(left_out)


def _states(element: ET.Element, where: str) -> list[tuple[int, float, float, float]]:
    """Return moment, x, y and heading (NaN: not told) of every state, the first one first."""
    first = element.find("initialState")
    if first is None:
        raise DataError(f"{where} has no initialState.", hint="Mend the file.")
    trajectory = element.find("trajectory")
    later = [] if trajectory is None else trajectory.findall("state")
    found = [_state(state, where) for state in (first, *later)]
    moments = [s[0] for s in found]
    if any(b <= a for a, b in pairwise(moments)) or not 0 <= moments[-1] < MOST_MOMENTS:
        raise DataError(f"{where}: its states are not in order of time.", hint="Mend the file.")
    gap = max((b - a for a, b in pairwise(moments)), default=1)
    if gap > _LONGEST_GAP:
        raise DataError(f"{where} is not seen for {gap} time steps; at most {_LONGEST_GAP}.", hint="Cut it in two.")
    return found


def _state(state: ET.Element, where: str) -> tuple[int, float, float, float]:
    time = value(state.find("time"), where, "time")
    if time is None or not math.isfinite(time):
        raise DataError(f"{where} has a state without a time.", hint="Mend the file.")
    x, y = place(state.find("position"), where)
    heading = value(state.find("orientation"), where, "orientation")
    if heading is None:
        # A point mass tells where it goes by its velocities.
        along = value(state.find("velocity"), where, "velocity")
        across = value(state.find("velocityY"), where, "velocityY")
        return round(time), x, y, _UNKNOWN if along is None or across is None else math.atan2(across, along)
    if not math.isfinite(heading):
        raise DataError(f"{where}: its heading is {heading} at moment {round(time)}.", hint="Mend the file.")
    return round(time), x, y, heading


#: A heading that the file does not tell.
_UNKNOWN = math.nan


def _drive(
    element: ET.Element, name: str, states: list[tuple[int, float, float, float]], last: int, where: str
) -> Drive:
    length, width, middle, turned = _box(element.find("shape"), where)
    moments, x, y, told = (np.asarray(column, float) for column in zip(*states, strict=True))
    stands = element.tag == "staticObstacle" or flag(element, "role") == "static"
    if stands:
        moments = np.array([0.0, last])
        x, y, told = (np.repeat(values[:1], 2) for values in (x, y, told))
    every = np.arange(int(moments[0]), int(moments[-1]) + 1)
    heading = _filled(told, x, y) + turned
    at = np.interp(every, moments, np.unwrap(heading))
    cos, sin = np.cos(at), np.sin(at)
    return Drive(
        name=name,
        kind=flag(element, "type") or "unknown",
        first=int(every[0]),
        x=np.interp(every, moments, x) + (middle[0] * cos - middle[1] * sin if any(middle) else 0.0),
        y=np.interp(every, moments, y) + (middle[0] * sin + middle[1] * cos if any(middle) else 0.0),
        heading=at,
        length_m=length,
        width_m=width,
    )


def _filled(told: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Headings that the file does not tell are those of the way from state to state."""
    unknown = np.isnan(told)
    if not unknown.any() or len(x) < 2:
        return np.where(unknown, 0.0, told)
    way = np.arctan2(np.gradient(y), np.gradient(x))
    return np.where(unknown, way, told)


def _box(shape: ET.Element | None, where: str) -> tuple[float, float, tuple[float, float], float]:
    """Return length, width, the middle and the turn of a shape's box against its position."""
    rectangle = None if shape is None else shape.find("rectangle")
    if rectangle is not None:
        centre = rectangle.find("center")
        return (
            number(rectangle.findtext("length"), where, "length"),
            number(rectangle.findtext("width"), where, "width"),
            (0.0, 0.0) if centre is None else point(centre, where, "center"),
            number(rectangle.findtext("orientation") or "0", where, "orientation"),
        )
    circle = None if shape is None else shape.find("circle")
    if circle is not None:
        size = 2 * number(circle.findtext("radius"), where, "radius")
        return size, size, (0.0, 0.0), 0.0
    outline = np.asarray(points(None if shape is None else shape.find("polygon"), where, "shape"), float)
    low, high = outline.min(axis=0), outline.max(axis=0)
    middle = (low + high) / 2
    return float(high[0] - low[0]), float(high[1] - low[1]), (float(middle[0]), float(middle[1])), 0.0
