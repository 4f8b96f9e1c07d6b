"""The cars around a recorded ego: where they begin, and how they drove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.importers.inverse import Path
from nightshift.driving.importers.network import Network
from nightshift.driving.importers.recording import Drive
from nightshift.driving.importers.routing import lane_under
from nightshift.driving.importers.scenario_file import Sort
from nightshift.driving.importers.smoothing import SmoothTrack
from nightshift.driving.scenario import Tracks, Traffic
from nightshift.driving.score_geometry import Boxes

Floats = NDArray[np.float64]
#: Drivers of whom nothing is known but their track: IDM as nuPlan's agents have it, MOBIL's usual politeness.
HEADWAY_S, GAP_M, ACCEL_MPS2, DECEL_MPS2, POLITENESS = 1.5, 1.0, 1.0, 2.0, 0.3
#: Kinds that are no vehicles, as nuPlan's categories and CommonRoad's obstacle types name them.
_PEOPLE = {"bicycle", "pedestrian"}
_THINGS = {"generic_object", "traffic_cone", "barrier", "czone_sign"} | {
    "static",
    "constructionZone",
    "roadBoundary",
    "building",
    "pillar",
    "median_strip",
    "medianStrip",
}
#: These have no lane: only their tracks move them.
_NO_DRIVERS = _PEOPLE | _THINGS


@dataclass(frozen=True)
class Seen:
    """A car as recorded and as smoothed."""

    drive: Drive
    track: SmoothTrack


def sorts_of(others: Sequence[Seen]) -> tuple[Sort, ...]:
    """Return of each car what the score takes it for; of an unknown kind, for a vehicle.

    Source:
        motional/nuplan-devkit 1.2, `nuplan/common/actor_state/tracked_objects_types.py` and the collision metric: who
        walks or rides a bicycle is a person, cones, barriers, signs and the like are objects.
    """
    kinds = [one.drive.kind for one in others]
    return tuple("person" if k in _PEOPLE else "object" if k in _THINGS else "vehicle" for k in kinds)


def boxes_at(one: Seen, begin: int, end: int) -> Boxes:
    """Return a car's boxes between two steps, `(end - begin,)`."""
    track, here = one.track, slice(begin - one.track.first, end - one.track.first)
    ahead = one.drive.axle_to_middle_m if one.drive.rear_axle else 0.0
    heading = track.heading[here]
    return Boxes(
        track.x[here] + ahead * np.cos(heading),
        track.y[here] + ahead * np.sin(heading),
        heading,
        np.full(len(heading), one.drive.length_m),
        np.full(len(heading), one.drive.width_m),
    )


def traffic_and_tracks(
    network: Network, ego: Path, others: Sequence[Seen], begin: int, end: int
) -> tuple[Traffic, Tracks]:
    """Return the cars at the start and all tracks between two steps; absent cars hold their nearest pose."""
    starts = [_start(network, one, begin) for one in others]
    lane, s_m, d_m, speed, desired = (
        (np.array(column, float) for column in zip(*starts, strict=True)) if starts else (np.zeros(0) for _ in range(5))
    )
    n = len(others)
    traffic = Traffic(
        lane=lane.astype(np.int64),
        s_m=s_m,
        d_m=d_m,
        speed_mps=speed,
        length_m=np.array([o.drive.length_m for o in others]),
        width_m=np.array([o.drive.width_m for o in others]),
        desired_mps=desired,
        headway_s=np.full(n, HEADWAY_S),
        gap_m=np.full(n, GAP_M),
        accel_mps2=np.full(n, ACCEL_MPS2),
        decel_mps2=np.full(n, DECEL_MPS2),
        politeness=np.full(n, POLITENESS),
        turn=np.zeros(n, np.int64),
    )
    steps = np.arange(begin, end)
    columns = [(ego.x, ego.y, ego.heading, ego.speed_mps, np.ones(len(steps), bool))]
    for one in others:
        track = one.track
        at = np.clip(steps, track.first, track.end - 1) - track.first
        there = (steps >= track.first) & (steps < track.end)
        columns.append((track.x[at], track.y[at], track.heading[at], track.speed_mps[at], there))
    x, y, heading, speed_mps, seen = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
    return traffic, Tracks(x=x, y=y, heading=heading, speed_mps=speed_mps, there=seen)


def _start(network: Network, one: Seen, begin: int) -> tuple[float, float, float, float, float]:
    """Return lane (-1: none), metre, distance to the left, speed and desired speed of a car."""
    track, at = one.track, begin - one.track.first
    fastest = max(float(track.speed_mps.max()), 1.0)
    if not 0 <= at < len(track.x):
        return -1.0, 0.0, 0.0, float(track.speed_mps[0]), fastest
    speed = float(track.speed_mps[at])
    under = None
    if one.drive.kind not in _NO_DRIVERS:
        under = lane_under(network, float(track.x[at]), float(track.y[at]), float(track.heading[at]))
    if under is None:
        return -1.0, 0.0, 0.0, speed, fastest
    lane, s_m, d_m = under
    return float(lane), s_m, d_m, speed, max(fastest, float(network.lanes.limit_mps[lane]))
