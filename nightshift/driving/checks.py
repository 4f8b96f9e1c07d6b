"""Whether a scenario can be driven: no two cars in one place, a route on the map, and tracks without holes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.lanes import on_line
from nightshift.driving.roads import Floats, poses
from nightshift.driving.scenario import ACROSS, Scenario, Traffic
from nightshift.driving.score_geometry import Boxes, overlap
from nightshift.errors import DataError
from nightshift.findings import Finding, finding

#: Boxes of recorded cars overlap by so much from the noise of their measured sizes and places, m.
_NOISE_M = 0.5
#: The reference line lies at most so far from the middle of the lane under it, m.
_OFF_LANE_M = 1.0
#: Scenarios that are named in a message.
_NAMED = 3


def check(scenario: Scenario) -> None:
    """Refuse a scenario that cannot be driven.

    Raises:
        DataError: says of which of its cars or places, and what to do.
    """
    for found in troubles(scenario):
        raise DataError(f"{found.code}: {found.what}", hint=found.remedy)


def gathered(of_scenarios: Iterable[Finding]) -> list[Finding]:
    """Return one finding a code, D031, D032, D033, of what is wrong with single scenarios."""
    found: dict[str, list[Finding]] = {}
    for trouble in of_scenarios:
        found.setdefault(trouble.code, []).append(trouble)
    return [
        finding(code, " ".join(f.what for f in same[:_NAMED]) + _and_more(len(same) - _NAMED))
        for code, same in sorted(found.items())
    ]


def troubles(scenario: Scenario) -> Iterator[Finding]:
    """Yield what is wrong with a scenario; what is worst first, and nothing that follows from it."""
    holes = _holes(scenario)
    if holes:
        yield finding("D033", f"scenario '{scenario.name}': {holes}.")
        return
    astray = _astray(scenario)
    if astray:
        yield finding("D032", f"scenario '{scenario.name}': {astray}.")
        return
    pair = overlapping(scenario)
    if pair is not None:
        one, other = ("the ego car" if i == 0 else f"car {i}" for i in pair)
        yield finding("D031", f"scenario '{scenario.name}': {one} and {other} overlap at the start.")


def overlapping(scenario: Scenario) -> tuple[int, int] | None:
    """Return the first two cars that stand in one place at the start, 0 for the ego; None where there are none."""
    x, y, heading, length, width = _starts(scenario)
    spare = 0.0 if scenario.tracks is None else _NOISE_M
    length, width = np.maximum(length - spare, 0.5), np.maximum(width - spare, 0.5)
    one, other = np.triu_indices(len(x), 1)
    near = np.hypot(x[one] - x[other], y[one] - y[other]) < 0.5 * (np.hypot(length, width)[one] + length[other] + 3.0)
    one, other = one[near], other[near]
    boxes = Boxes(x, y, heading, length, width)
    hit = np.flatnonzero(overlap(boxes.at(one), boxes.at(other)))
    return (int(one[hit[0]]), int(other[hit[0]])) if len(hit) else None


def _starts(scenario: Scenario) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return x, y, heading of the middles, length and width, m and rad, of the cars that are there at the start.

    The first is the ego's; of cars that are not there yet the size is none, and their place is nobody's.
    """
    ego, route, traffic = scenario.ego, scenario.route, scenario.traffic
    ego_x, ego_y, ego_heading = on_line(route, np.array([ego.s_m]), ego.d_m)
    ego_heading = ego_heading + ego.heading
    ahead = 0.5 * ego.length_m - ego.rear_m
    ego_x, ego_y = ego_x + ahead * np.cos(ego_heading), ego_y + ahead * np.sin(ego_heading)
    if scenario.tracks is None:
        x, y, heading = poses(scenario.lanes, traffic.lane, traffic.s_m, traffic.d_m)
    else:
        here = scenario.tracks.there[0, 1:]
        # Cars that come later lie far from everything, and from each other.
        away = 1e6 * (1 + np.arange(len(here)))
        x, y, heading = (
            np.where(here, values[0, 1:], away)
            for values in (scenario.tracks.x, scenario.tracks.y, scenario.tracks.heading)
        )
    return (
        np.concatenate([ego_x, x]),
        np.concatenate([ego_y, y]),
        np.concatenate([ego_heading, heading]),
        np.concatenate([[ego.length_m], traffic.length_m]),
        np.concatenate([[ego.width_m], traffic.width_m]),
    )


def _astray(scenario: Scenario) -> str:
    """Say where a route leaves the map, "" where it does not."""
    route, lanes = scenario.route, scenario.lanes
    under, at = route.lane[:, ACROSS], route.lane_s_m[:, ACROSS]
    if not 0.0 <= scenario.ego.s_m < route.length_m:
        return f"its ego starts at metre {scenario.ego.s_m:.1f} of a route of {route.length_m:.1f} m"
    if route.length_m > len(route.x) - 1 + 1e-6:
        return f"its goal lies at metre {route.length_m:.1f}, its route ends at {len(route.x) - 1}"
    off = under < 0
    wrong = off | (under >= len(lanes.count))
    lane = np.where(wrong, 0, under)
    x, y, _ = poses(lanes, lane, at, np.zeros(len(at)))
    wrong |= np.hypot(x - route.x, y - route.y) > _OFF_LANE_M
    wrong |= (at < -1.0) | (at > lanes.length_m[lane] + 1.0)
    if not wrong.any():
        return ""
    first = int(np.argmax(wrong))
    return f"its route leaves the lanes at metre {first} ({route.x[first]:.1f}, {route.y[first]:.1f})"


def _holes(scenario: Scenario) -> str:
    """Say which number of a scenario is none, "" where all are."""
    for what, of, names in (
        ("route", scenario.route, ("x", "y", "heading", "curvature", "left_m", "right_m", "limit_mps", "width_m")),
        ("traffic", scenario.traffic, [f.name for f in fields(Traffic)]),
        ("ego", scenario.ego, ("s_m", "d_m", "heading", "speed_mps")),
    ):
        for name in names:
            if not np.isfinite(np.asarray(getattr(of, name), np.float64)).all():
                return f"{what}.{name} has a value that is no finite number"
    if scenario.tracks is None:
        return ""
    there: NDArray[np.bool_] = scenario.tracks.there
    for name in ("x", "y", "heading", "speed_mps"):
        hole = there & ~np.isfinite(getattr(scenario.tracks, name))
        if hole.any():
            step, car = np.argwhere(hole)[0]
            who = f"car {car}" if car else "the ego car"
            return f"the track of {who} has no {name} at step {step}, though it is seen then"
    return ""


def _and_more(n: int) -> str:
    return f" And {n} more." if n > 0 else ""
