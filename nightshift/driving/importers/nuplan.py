"""nuPlan logs: scenes of a recording car, cut where the log tags them.

nuPlan's maps are files of their own and are not read: lanes are laid along the paths that were driven, and a scenario
says so (`map: paths`). Traffic lights belong to the map and are left out likewise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.importers.nuplan_db import LogDatabase, Row, open_log
from nightshift.driving.importers.recording import Drive, Recording, Window
from nightshift.errors import DataError

Floats = NDArray[np.float64]
#: Time between a log's frames, s, and the longest that a car may go unseen before it counts as another one.
FRAME_S, LONGEST_GAP_S = 0.05, 0.5
#: A scenario begins at its tag and lasts so long, as the devkit's do; it is left out if the log ends sooner than that.
SCENARIO_S, SHORTEST_S = 15.0, 3.0
_LONGEST_LOG_S = 86_400.0
#: Poses of the recorder are good to centimetres; of boxes, the detector's are smoothed already.
CUTOFF_HZ = 0.5
#: The recording car, a Chrysler Pacifica: length, width, wheelbase, and what lies behind its rear axle; m.
EGO_LENGTH_M, EGO_WIDTH_M, EGO_WHEELBASE_M, EGO_REAR_M = 5.176, 2.297, 3.089, 1.127
#: Vehicles further from the recorder than this all the time are left out, m; things that stand beside the road sooner.
_NEAR_M, _NEAR_THINGS_M = 80.0, 30.0
_VEHICLES = {"vehicle", "bicycle", "pedestrian"}
#: m; of shorter ones a path has no direction.
_SHORTEST_M = 5.0
_EGO = "ego"


def read_nuplan(path: Path) -> Iterator[Recording]:
    """Yield a log's scenes, each as a recording of its own, in order of time; they do not overlap.

    Raises:
        DataError: when the file is damaged, lacks a table or column of the schema, or holds values that are no numbers.
    """
    with open_log(path) as log:
        name, place = _log_of(log, path)
        frames = log.rows("SELECT timestamp, token, ego_pose_token, scene_token FROM lidar_pc ORDER BY timestamp")
        if len(frames) < 2:
            raise DataError(f"{path.name} has {len(frames)} frames in its table 'lidar_pc'.", hint="Leave the log out.")
        stamps = _numbers([f[0] for f in frames], f"{path.name}: lidar_pc.timestamp") / 1e6
        if stamps[-1] - stamps[0] > _LONGEST_LOG_S:
            raise DataError(f"{path.name}: its frames span {stamps[-1] - stamps[0]:,.0f} s.", hint="Leave the log out.")
        for begin, end, kind in _windows(log, frames, stamps):
            made = _scene(log, name, place, stamps[begin:end], kind)
            if made is not None:
                yield made


def _log_of(log: LogDatabase, path: Path) -> tuple[str, str]:
    found = log.rows("SELECT logfile, location, vehicle_name FROM log LIMIT 1")
    if not found:
        raise DataError(f"{path.name}: its table 'log' is empty.", hint="Leave the log out.")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", str(found[0][0] or path.stem)).strip("._-")[:100]
    return name or "log", f"nuPlan, {found[0][1]}, {found[0][2]}"


def _windows(log: LogDatabase, frames: list[Row], stamps: Floats) -> list[tuple[int, int, str]]:
    """Return what becomes scenarios: first frame, the one after the last, and kind; by tags, else by scenes, else all.

    Tags stand at every frame that they are true of: one is taken when the scenario before it is over.
    """
    at = {frame[1]: i for i, frame in enumerate(frames)}
    tags = sorted((at[token], str(kind)) for token, kind in log.rows(_TAGS) if token in at)
    scenes: dict[bytes, list[int]] = {}
    for i, frame in enumerate(frames):
        scenes.setdefault(frame[3], []).append(i)
    names: dict[bytes, object] = dict(log.rows("SELECT token, name FROM scene"))
    if tags:
        starts = tags
    elif len(scenes) > 1 or None not in scenes:
        starts = [(members[0], str(names.get(token) or "")) for token, members in scenes.items()]
    else:
        starts = [(int(i), "") for i in np.searchsorted(stamps, np.arange(stamps[0], stamps[-1], SCENARIO_S))]
    found, over, holes = [], -1, np.flatnonzero(np.diff(stamps) > LONGEST_GAP_S)
    for begin, kind in sorted(starts):
        if begin < over:
            continue
        end = int(np.searchsorted(stamps, stamps[begin] + SCENARIO_S + 1e-3))
        # Where frames are missing nobody knows what was driven.
        end = int(min([end, *(holes[holes >= begin] + 1)]))
        if stamps[end - 1] - stamps[begin] >= SHORTEST_S:
            found.append((begin, end, kind))
            over = end
    return found


_TAGS = "SELECT lidar_pc_token, type FROM scenario_tag"
_POSES = (
    "SELECT p.timestamp, e.x, e.y, e.qw, e.qx, e.qy, e.qz FROM lidar_pc p "
    "JOIN ego_pose e ON e.token = p.ego_pose_token WHERE p.timestamp BETWEEN ? AND ? ORDER BY p.timestamp"
)
_BOXES = (
    "SELECT b.track_token, p.timestamp, b.x, b.y, b.yaw, t.length, t.width, c.name FROM lidar_pc p "
    "JOIN lidar_box b ON b.lidar_pc_token = p.token JOIN track t ON t.token = b.track_token "
    "JOIN category c ON c.token = t.category_token WHERE p.timestamp BETWEEN ? AND ? "
    "ORDER BY b.track_token, p.timestamp"
)


def _scene(log: LogDatabase, name: str, place: str, stamps: Floats, kind: str) -> Recording | None:
    """Read the frames of one scene; None where the recorder stands."""
    span = (round(stamps[0] * 1e6) - 1, round(stamps[-1] * 1e6) + 1)
    poses = _table(log.rows(_POSES, *span), f"{log.name}: ego_pose", ("timestamp", "x", "y", "qw", "qx", "qy", "qz"))
    if len(poses) < 2:
        raise DataError(f"{log.name}: frames have no pose in 'ego_pose'.", hint="Leave the log out.")
    turns = np.abs(poses[:, 3:])
    if turns.max() > 1.1 or (turns**2).sum(axis=1).min() < 0.9:
        raise DataError(f"{log.name}: a quaternion of 'ego_pose' is none: its length is not 1.", hint="Mend the log.")
    times = poses[:, 0] / 1e6 - stamps[0]
    # Kilometres from the origin, differences of coordinates lose digits where they are computed in single precision.
    origin = np.round(poses[0, 1:3])
    x, y = poses[:, 1] - origin[0], poses[:, 2] - origin[1]
    if np.hypot(np.diff(x), np.diff(y)).sum() < _SHORTEST_M:
        return None
    moments = np.arange(int((stamps[-1] - stamps[0]) / FRAME_S + 1e-3) + 1) * FRAME_S
    ego = Drive(
        name=_EGO,
        kind="vehicle",
        first=0,
        x=np.interp(moments, times, x),
        y=np.interp(moments, times, y),
        heading=np.interp(moments, times, np.unwrap(_yaw(poses[:, 3:]))),
        length_m=EGO_LENGTH_M,
        width_m=EGO_WIDTH_M,
        rear_axle=True,
        rear_m=EGO_REAR_M,
        wheelbase_m=EGO_WHEELBASE_M,
    )
    others = _others(log.rows(_BOXES, *span), log.name, stamps[0], origin)
    return Recording(
        name=name,
        group=name,
        step_s=FRAME_S,
        start_s=float(stamps[0]),
        lanelets={},
        drives=[ego, *(o for o in others if _near(o, ego))],
        ego=_EGO,
        cutoff_hz=CUTOFF_HZ,
        windows=(Window(0, len(moments), f"{stamps[0] * 1e3:.0f}", kind),),
        source=f"{log.name}: {place}",
    )


def _others(rows: list[Row], file: str, start_s: float, origin: Floats) -> list[Drive]:
    """Return the boxes of each track as drives; one that is unseen for long is another car afterwards."""
    of: dict[bytes, list[Row]] = {}
    for row in rows:
        of.setdefault(row[0], []).append(row)
    found = []
    for number, boxes in enumerate(of.values(), start=1):
        values = _table(
            [b[1:7] for b in boxes], f"{file}: lidar_box", ("timestamp", "x", "y", "yaw", "length", "width")
        )
        times = values[:, 0] / 1e6 - start_s
        # A frame that stands twice would stop the clock.
        values, times = values[np.diff(times, prepend=-np.inf) > 0], times[np.diff(times, prepend=-np.inf) > 0]
        parts = np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > LONGEST_GAP_S) + 1)
        found += [
            drive
            for i, part in enumerate(parts)
            if (
                drive := _other(
                    f"{number}" + (f".{i}" if i else ""), str(boxes[0][7]), times[part], values[part], origin
                )
            )
        ]
    return found


def _other(name: str, kind: str, times: Floats, values: Floats, origin: Floats) -> Drive | None:
    first, last = int(np.ceil(times[0] / FRAME_S - 1e-3)), int(np.floor(times[-1] / FRAME_S + 1e-3))
    moments = np.arange(first, last + 1) * FRAME_S
    if len(moments) < 2:
        return None
    return Drive(
        name=name,
        kind=kind,
        first=first,
        x=np.interp(moments, times, values[:, 1] - origin[0]),
        y=np.interp(moments, times, values[:, 2] - origin[1]),
        heading=np.interp(moments, times, np.unwrap(values[:, 3])),
        length_m=max(0.1, float(values[0, 4])),
        width_m=max(0.1, float(values[0, 5])),
    )


def _near(other: Drive, ego: Drive) -> bool:
    low, high = max(other.first, ego.first), min(other.end, ego.end)
    if low >= high:
        return False
    mine, its = slice(low - ego.first, high - ego.first), slice(low - other.first, high - other.first)
    nearest = np.hypot(ego.x[mine] - other.x[its], ego.y[mine] - other.y[its]).min()
    return bool(nearest <= (_NEAR_M if other.kind in _VEHICLES else _NEAR_THINGS_M))


def _yaw(q: Floats) -> Floats:
    """Return the heading of `(n, 4)` quaternions w, x, y, z."""
    w, x, y, z = q.T
    yaw: Floats = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return yaw


def _table(rows: list[Row], where: str, columns: tuple[str, ...]) -> Floats:
    return np.column_stack(
        [_numbers([row[i] for row in rows], f"{where}.{name}") for i, name in enumerate(columns)]
    ).reshape(len(rows), len(columns))


def _numbers(values: list[object], where: str) -> Floats:
    """Return a column as numbers; SQLite keeps NaN as an empty value.

    Raises:
        DataError: when one is none, or not finite.
    """
    try:
        found = np.array(values, float)
    except (TypeError, ValueError):
        raise DataError(f"{where} holds what is no number.", hint="Leave the log out.") from None
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise DataError(
            f"{where} is {values[int(bad[0])]} in row {int(bad[0])} of a scene; expected a finite number.",
            hint="Mend the log, or leave it out.",
        )
    return found
