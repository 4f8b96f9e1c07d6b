"""Recordings cut into scenarios: an ego, its route, the cars around it, and what its driver asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.importers.inverse import Path, actions_of
from nightshift.driving.importers.network import Network, network_of, paths_as_network
from nightshift.driving.importers.polylines import on_polyline
from nightshift.driving.importers.recording import Drive, NothingToDriveError, Recording, Window
from nightshift.driving.importers.routing import chains_along
from nightshift.driving.importers.smoothing import SmoothTrack, smooth_track
from nightshift.driving.importers.surround import Seen, boxes_at, sorts_of, traffic_and_tracks
from nightshift.driving.scenario import STEP_S, EgoStart, Route, Scenario
from nightshift.driving.score_geometry import Boxes, overlap
from nightshift.errors import DataError

Floats = NDArray[np.float64]
#: Who may be chosen as an ego: cars of ordinary size that are seen and driven for so long.
_SIZES_M, _WIDEST_M, _SHORTEST_S, _SHORTEST_M = (3.0, 6.6), 2.6, 3.0, 10.0
_MAY_DRIVE = {"car", "unknown", "taxi", "priorityVehicle", "vehicle"}
#: Longest scenario, s.
LONGEST_S = 20.0
#: Boxes of other cars that overlap by less at the start do so by the noise of their measured sizes and places, m.
_NOISE_M = 1.0
#: As the score's drivable area: a corner so far beyond the edge is off the road, m.
_OFF_ROAD_M = 0.3
#: An expert whose actions miss his track by more teaches something else, m.
WORST_RMSE_M = 0.3


@dataclass(frozen=True)
class Cut:
    """The scenarios of one recording, and which cars could not be an ego, and why."""

    scenarios: tuple[Scenario, ...]
    remarks: tuple[str, ...]


class _UnfitError(Exception):
    """A car that cannot be the ego, with the reason."""


def cut(recording: Recording) -> Cut:
    """Cut a recording into scenarios.

    With a recorder, every window gives one scenario with it as the ego; else every car that drives far and long enough
    is the ego of one, from its first moment on.

    Raises:
        NothingToDriveError: when no car can be an ego, such as a recorder whose route leaves the map or that overlaps
            another car at the start.
        DataError: when cars that are no ego overlap at the start.
    """
    tracks = {
        d.name: (d, t)
        for d in recording.drives
        if (t := smooth_track(d, recording.step_s, recording.cutoff_hz)) is not None
    }
    seen = {name: Seen(drive, track) for name, (drive, track) in tracks.items()}
    network = network_of(recording) if recording.lanelets else None
    if recording.ego:
        made = [_scenario(recording, network, seen, recording.ego, window) for window in recording.windows]
        return Cut(tuple(made), recording.remarks)
    found, unfit = [], []
    for name, one in seen.items():
        try:
            _refuse_unfit(one)
            found.append(_scenario(recording, network, seen, name, None))
        except _UnfitError as reason:
            unfit.append(f"car {name} {reason}")
    if not found:
        raise NothingToDriveError(
            f"{recording.name}: none of its {len(recording.drives)} cars can be the ego"
            f"{' (' + '; '.join(unfit[:3]) + ')' if unfit else ''}.",
            hint="Leave the file out.",
        )
    return Cut(tuple(found), (*recording.remarks, *(f"{u}, and is no ego" for u in unfit)))


def _refuse_unfit(one: Seen) -> None:
    drive, track = one.drive, one.track
    if drive.kind not in _MAY_DRIVE:
        raise _UnfitError(f"is a {drive.kind}")
    if not (_SIZES_M[0] <= drive.length_m <= _SIZES_M[1] and drive.width_m <= _WIDEST_M):
        raise _UnfitError(f"is {drive.length_m:.1f} m long and {drive.width_m:.1f} m wide")
    seconds = (len(track.x) - 1) * STEP_S
    if seconds < _SHORTEST_S - 1e-6:
        raise _UnfitError(f"is seen for {seconds:.1f} s")
    metres = float(np.hypot(np.diff(track.x), np.diff(track.y)).sum())
    if metres < _SHORTEST_M:
        raise _UnfitError(f"drives {metres:.1f} m")


def _scenario(
    recording: Recording, network: Network | None, seen: Mapping[str, Seen], ego: str, window: Window | None
) -> Scenario:
    """Make one scenario; of a car that nobody chose to record, what does not fit makes it unfit."""
    chosen = window is None
    one = seen[ego]
    begin, end = _span(recording, one.track, window)
    track, raw = _rear_axle(one, begin, end)
    start = _start_of(one.drive, track)
    others = [s for s in seen.values() if s is not one and s.track.first < end and s.track.end > begin]
    net = network or paths_as_network(one.track, [o.track for o in others], _limit(recording, track))
    name = f"{recording.name}_{window.name if window else ego}"
    route, at, beside = _route(net, track, start, chosen, name)
    turned = track.heading[0] - np.interp(at[0], np.arange(len(route.x)), route.heading)
    start = replace(start, s_m=float(at[0]), d_m=float(beside[0]), heading=float(_wrapped(turned)))
    _refuse_crash(chosen, name, one, others, begin, end)
    actions = actions_of(track, start.wheelbase_m)
    if chosen and actions.rmse_m > WORST_RMSE_M:
        raise _UnfitError(f"drives as no car can: its actions miss its track by {actions.rmse_m:.2f} m")
    traffic, tracks = traffic_and_tracks(net, track, others, begin, end)
    return Scenario(
        name=name,
        kind="replay",
        seed=0,
        duration_s=(end - begin - 1) * STEP_S,
        lanes=net.lanes,
        route=route,
        ego=start,
        traffic=traffic,
        tracks=tracks,
        # Of a driver who stood it is known that he stood: 0 would say that nobody knows.
        expert_m=float(max(1.0, at[-1] - at[0])),
        details={
            "recording": recording.group,
            "source": recording.source,
            "tag": window.kind if window else "",
            "ego": ego,
            "start_s": recording.start_s + begin * STEP_S,
            "map": net.kind,
            "actions": actions.asked,
            "reconstruction_rmse_m": actions.rmse_m,
            "reconstruction_worst_m": actions.worst_m,
            "sorts": sorts_of(others),
            "smoothing_rmse_m": float(np.sqrt(np.mean((track.x - raw[0]) ** 2 + (track.y - raw[1]) ** 2))),
        },
    )


def _route(net: Network, track: Path, start: EgoStart, chosen: bool, name: str) -> tuple[Route, Floats, Floats]:
    """Return the route and the track's places along and beside it.

    Its goal is its end: where the recorded driver ended up is told to nobody who drives, and the clock ends an episode.
    """
    out_m = np.inf
    for chain in chains_along(net, track.x, track.y, track.heading):
        route = net.route(chain.lanes)
        at, beside = on_polyline(route, track.x, track.y)
        out_m = beyond_edge(route, at, beside, track.heading, start)
        if out_m <= _OFF_ROAD_M:
            return replace(route, length_m=len(route.x) - 1.0), at, beside
    how = f"the road by {out_m:.1f} m" if np.isfinite(out_m) else "the map's lanes"
    raise _refusal(chosen, f"leaves {how}", f"{name}: the ego's route leaves {how}.")


def _span(recording: Recording, track: SmoothTrack, window: Window | None) -> tuple[int, int]:
    """Return the steps of a scenario: first one, and the one after the last."""
    most = round(LONGEST_S / STEP_S) + 1
    if window is None:
        return track.first, min(track.end, track.first + most)
    begin = max(track.first, int(np.ceil(window.begin * recording.step_s / STEP_S - 1e-6)))
    end = min(track.end, int(np.floor((window.end - 1) * recording.step_s / STEP_S + 1e-6)) + 1, begin + most)
    if end - begin < 2:
        raise DataError(f"{recording.name}: the ego is not seen in '{window.name}'.", hint="Leave the log out.")
    return begin, end


def _rear_axle(one: Seen, begin: int, end: int) -> tuple[Path, tuple[Floats, Floats]]:
    """Return the rear axle's track between two steps, and as it was recorded."""
    track, here = one.track, slice(begin - one.track.first, end - one.track.first)
    back = 0.0 if one.drive.rear_axle else one.drive.axle_to_middle_m
    cos, sin = np.cos(track.heading[here]), np.sin(track.heading[here])
    path = Path(track.x[here] - back * cos, track.y[here] - back * sin, track.heading[here], track.speed_mps[here])
    return path, (track.raw_x[here] - back * cos, track.raw_y[here] - back * sin)


def _start_of(drive: Drive, track: Path) -> EgoStart:
    return EgoStart(
        s_m=0.0,
        speed_mps=float(track.speed_mps[0]),
        length_m=drive.length_m,
        width_m=drive.width_m,
        wheelbase_m=drive.axles_m,
        rear_m=drive.rear_overhang_m,
    )


def _limit(recording: Recording, track: Path) -> float:
    """Nobody knows the limit where there is no map: the recorder is taken not to speed."""
    return max(recording.limit_mps, float(track.speed_mps.max()))


def _refusal(chosen: bool, short: str, what: str) -> Exception:
    return _UnfitError(short) if chosen else NothingToDriveError(what, hint="Leave it out, or mend it.")


def _refuse_crash(chosen: bool, name: str, one: Seen, others: Sequence[Seen], begin: int, end: int) -> None:
    """Refuse overlapping cars at the start, and a chosen ego that was recorded inside another car."""
    cars = [one, *(o for o in others if o.track.first <= begin < o.track.end)]
    each = [boxes_at(car, begin, begin + 1) for car in cars]
    boxes = Boxes(*(np.concatenate([getattr(box, f.name) for box in each]) for f in fields(Boxes)))
    slim = replace(boxes, length=boxes.length - _NOISE_M, width=boxes.width - _NOISE_M)
    hit = np.triu(overlap(slim.at(slice(None), None), slim.at(None)), k=1)
    hit[0, 1:] |= overlap(boxes.at(slice(1)), boxes.at(slice(1, None)))
    for i, j in np.argwhere(hit):
        a, b = cars[int(i)].drive.name, cars[int(j)].drive.name
        told = f"{name}: cars {a} and {b} overlap at the start."
        if chosen and i:
            raise DataError(told, hint="Leave the file out, or mend it.")
        raise _refusal(chosen, f"overlaps car {b}", told)
    for other in others if chosen else ():
        low, high = max(begin, other.track.first), min(end, other.track.end)
        if low < high and overlap(boxes_at(one, low, high), boxes_at(other, low, high)).any():
            raise _UnfitError(f"was recorded inside car {other.drive.name}")


def beyond_edge(route: Route, s_m: Floats, d_m: Floats, heading: Floats, ego: EgoStart) -> float:
    """Return how far a corner of the ego's box lay beyond the drivable edge at most, m; below 0 where none did.

    Reckoned as the world does (`sight`): the road bends away from a car's ends by its curvature there.
    """
    turned = heading - np.interp(s_m, np.arange(len(route.x), dtype=np.float64), route.heading)
    last = len(route.x) - 1
    bend = 0.5 * route.curvature[np.clip(s_m.astype(np.int64), 0, last)]
    half = 0.5 * ego.width_m * np.abs(np.cos(turned))
    worst = -np.inf
    for ahead in (-ego.rear_m, ego.length_m - ego.rear_m):
        point = np.clip((s_m + ahead).astype(np.int64), 0, last)
        d = d_m + ahead * np.sin(turned) - bend * ahead**2
        worst = max(
            worst, float((d + half - route.left_m[point]).max()), float((half - d - route.right_m[point]).max())
        )
    return worst


def _wrapped(angle: float) -> float:
    return (angle + np.pi) % (2 * np.pi) - np.pi
