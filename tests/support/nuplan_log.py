"""A nuPlan log made for tests, in the documented schema: one car drives a bend among others, 20 frames a second."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

# Columns and their order as in the devkit's docs/nuplan_schema.md.
SCHEMA = {
    "log": "token BLOB PRIMARY KEY, vehicle_name TEXT, date TEXT, timestamp INTEGER, logfile TEXT, location TEXT, "
    "map_version TEXT",
    "ego_pose": "token BLOB PRIMARY KEY, timestamp INTEGER, x REAL, y REAL, z REAL, qw REAL, qx REAL, qy REAL, "
    "qz REAL, vx REAL, vy REAL, vz REAL, acceleration_x REAL, acceleration_y REAL, acceleration_z REAL, "
    "angular_rate_x REAL, angular_rate_y REAL, angular_rate_z REAL, epsg INTEGER, log_token BLOB",
    "lidar_pc": "token BLOB PRIMARY KEY, next_token BLOB, prev_token BLOB, ego_pose_token BLOB, lidar_token BLOB, "
    "scene_token BLOB, filename TEXT, timestamp INTEGER",
    "lidar_box": "token BLOB PRIMARY KEY, lidar_pc_token BLOB, track_token BLOB, next_token BLOB, prev_token BLOB, "
    "x REAL, y REAL, z REAL, width REAL, length REAL, height REAL, vx REAL, vy REAL, vz REAL, yaw REAL, "
    "confidence REAL",
    "track": "token BLOB PRIMARY KEY, category_token BLOB, width REAL, length REAL, height REAL",
    "category": "token BLOB PRIMARY KEY, name TEXT, description TEXT",
    "scene": "token BLOB PRIMARY KEY, log_token BLOB, name TEXT, goal_ego_pose_token BLOB, roadblock_ids TEXT",
    "scenario_tag": "token BLOB PRIMARY KEY, lidar_pc_token BLOB, type TEXT, agent_track_token BLOB",
    "traffic_light_status": "token BLOB PRIMARY KEY, lidar_pc_token BLOB, lane_connector_id INTEGER, status TEXT",
}
FRAME_S, START_US = 0.05, 1_620_857_890_651_124
ORIGIN = (664_430.3, 3_997_660.8)
SPEED_MPS, RADIUS_M = 8.0, 80.0
#: Metres ahead of the recorder at the start, and to its left; the last one comes towards it, on another lane.
CARS = {1: (20.0, 0.0), 2: (12.0, 3.5), 3: (60.0, 7.0)}


def token(kind: int, number: int) -> bytes:
    """Return eight bytes, as nuPlan's tokens are."""
    return kind.to_bytes(2, "big") + number.to_bytes(6, "big")


def write_log(
    path: Path,
    *,
    seconds: float = 34.0,
    tags: tuple[tuple[float, str], ...] = ((1.0, "following_lane_with_lead"), (1.05, "medium_magnitude_speed")),
    scenes: int = 2,
    without: str = "",
) -> Path:
    """Write a log.

    Args:
        path: the file.
        seconds: it lasts.
        tags: of scenarios: when they begin, and of what kind.
        scenes: it is cut into.
        without: a table that is left out.
    """
    connection = sqlite3.connect(path)
    with connection:
        for table, columns in SCHEMA.items():
            if table != without:
                connection.execute(f"CREATE TABLE {table} ({columns})")
        for table, rows in _rows(round(seconds / FRAME_S), tags, scenes).items():
            if table != without and rows:
                connection.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)
    connection.close()
    return path


def _rows(frames: int, tags: tuple[tuple[float, str], ...], scenes: int) -> dict[str, list[tuple[object, ...]]]:
    found: dict[str, list[tuple[object, ...]]] = {
        "log": [
            (token(1, 0), "veh-35", "2021-05-12", START_US, "2021.05.12.22.18.10_veh-35", "us-nv-las-vegas", "1.0")
        ],
        "category": [(token(6, 0), "vehicle", ""), (token(6, 1), "traffic_cone", "")],
        "track": [(token(5, car), token(6, 0), 1.9, 4.6, 1.6) for car in CARS]
        + [(token(5, 9), token(6, 1), 0.4, 0.4, 0.9)],
        "scene": [(token(4, i), token(1, 0), f"scene-{i:04d}", None, "") for i in range(scenes)],
        "scenario_tag": [(token(7, i), token(3, round(at / FRAME_S)), kind, None) for i, (at, kind) in enumerate(tags)],
    }
    for table in ("ego_pose", "lidar_pc", "lidar_box"):
        found[table] = []
    for i in range(frames):
        # Real stamps tremble by some milliseconds.
        stamp = START_US + i * 50_000 + (i * 7919 % 5) * 400
        _add_frame(found, i, stamp, i * scenes // frames)
    return found


def _add_frame(found: dict[str, list[tuple[object, ...]]], i: int, stamp: int, scene: int) -> None:
    along = SPEED_MPS * (stamp - START_US) / 1e6
    x, y, yaw = _place(along, 0.0)
    half = 0.5 * yaw
    motion = (SPEED_MPS, 0.0, 0.0, 0.0, SPEED_MPS**2 / RADIUS_M, 0.0, 0.0, 0.0, SPEED_MPS / RADIUS_M)
    pose = (x, y, 600.0, math.cos(half), 0.0, 0.0, math.sin(half))
    found["ego_pose"].append((token(2, i), stamp, *pose, *motion, 26911, token(1, 0)))
    found["lidar_pc"].append((token(3, i), None, None, token(2, i), None, token(4, scene), "", stamp))
    for car, (ahead, left) in CARS.items():
        oncoming = car == 3
        bx, by, byaw = _place(ahead + (-0.5 if oncoming else 1.0) * along, left)
        size = (1.9, 4.6, 1.6, 0.0, 0.0, 0.0, byaw + (math.pi if oncoming else 0.0), 0.9)
        found["lidar_box"].append((token(8, i * 10 + car), token(3, i), token(5, car), None, None, bx, by, 0.0, *size))
    cone = (*_place(30.0, -4.0)[:2], 0.0, 0.4, 0.4, 0.9, 0.0, 0.0, 0.0, 0.0, 0.9)
    found["lidar_box"].append((token(8, i * 10 + 9), token(3, i), token(5, 9), None, None, *cone))


def _place(along_m: float, left_m: float) -> tuple[float, float, float]:
    """Return a place on a circle to the left: metres along it, and to the left of it."""
    angle = along_m / RADIUS_M
    radius = RADIUS_M - left_m
    return ORIGIN[0] + radius * math.sin(angle), ORIGIN[1] + RADIUS_M - radius * math.cos(angle), angle
