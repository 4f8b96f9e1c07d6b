from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from support.nuplan_log import RADIUS_M, SCHEMA, SPEED_MPS, START_US, write_log

from nightshift.driving.drivers import LogReplay
from nightshift.driving.importers.cutting import cut
from nightshift.driving.importers.nuplan import EGO_WHEELBASE_M, read_nuplan
from nightshift.driving.importers.nuplan_db import TABLES
from nightshift.driving.importers.recording import NothingToDriveError
from nightshift.driving.observe import CLIP, LAYOUT
from nightshift.driving.rollout import drive
from nightshift.driving.scenario import STEP_S
from nightshift.driving.score import closed_loop
from nightshift.errors import DataError

SHORT_S = 6.0


def test_a_tagged_scene_becomes_a_scenario_on_lanes_along_the_paths(tmp_path: Path) -> None:
    (recording,) = read_nuplan(write_log(tmp_path / "a.db"))
    (only,) = cut(recording).scenarios
    start_s = (START_US + 1_000_000) / 1e6
    assert only.name == f"2021.05.12.22.18.10_veh-35_{start_s * 1e3:.0f}"
    assert (only.duration_s, only.details["tag"]) == (pytest.approx(15.0), "following_lane_with_lead")
    assert (only.details["map"], only.details["recording"]) == ("paths", "2021.05.12.22.18.10_veh-35")
    assert only.details["start_s"] == pytest.approx(start_s)
    assert only.expert_m == pytest.approx(15 * SPEED_MPS, abs=0.05)
    # The lead car is on the ego's lane; the one beside and the oncoming one have their own; the cone has none.
    assert only.traffic.lane.tolist() == [0, 1, 2, -1]
    assert only.details["sorts"] == ("vehicle", "vehicle", "vehicle", "object")
    assert only.traffic.s_m[0] - only.ego.s_m == pytest.approx(20.0, abs=0.1)
    np.testing.assert_allclose(only.traffic.length_m, [4.6, 4.6, 4.6, 0.4])
    assert np.abs(only.route.curvature[30:120] - 1 / RADIUS_M).max() < 0.002
    assert np.abs(only.route.x).max() < 500  # beside the origin, not in UTM's thousands of kilometres


def test_the_rear_axle_and_its_actions_are_those_that_were_driven(tmp_path: Path) -> None:
    (recording,) = read_nuplan(write_log(tmp_path / "a.db"))
    (only,) = cut(recording).scenarios
    assert (only.ego.wheelbase_m, only.ego.length_m, only.ego.rear_m) == (EGO_WHEELBASE_M, 5.176, 1.127)
    steer = np.arctan(EGO_WHEELBASE_M / RADIUS_M)
    np.testing.assert_allclose(only.details["actions"][5:-5, 1], steer, atol=0.003)
    np.testing.assert_allclose(only.details["actions"][5:-5, 0], 0.0, atol=0.2)
    assert only.details["reconstruction_worst_m"] < 0.02


def test_nothing_shows_where_the_driver_ended_up_and_the_clock_ends_the_episode(tmp_path: Path) -> None:
    (recording,) = read_nuplan(write_log(tmp_path / "a.db"))
    (only,) = cut(recording).scenarios
    goal = [entry.name for entry in LAYOUT].index("ego_to_goal")
    (driven,) = drive(LogReplay(), [only], traffic="log", observations=True)
    assert driven.observation is not None
    assert (driven.observation[:, goal] == CLIP).all()
    assert (driven.ending, len(driven.reward)) == ("timed_out", round(only.duration_s / STEP_S))
    assert closed_loop(driven).progress == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize(("scenes", "starts"), [(2, [0.0, 17.0]), (1, [0.0])])
def test_without_tags_scenes_are_cut_and_pieces_never_overlap(tmp_path: Path, scenes: int, starts: list[float]) -> None:
    found = list(read_nuplan(write_log(tmp_path / "a.db", tags=(), scenes=scenes)))
    assert [r.start_s - START_US / 1e6 for r in found] == pytest.approx(starts, abs=0.01)
    assert all(len(r.drives[0].x) == 301 for r in found)


def test_a_tag_too_near_the_end_is_left_out(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.db", seconds=SHORT_S, tags=((1.0, "stopping"), (4.0, "late")))
    assert [(len(r.drives[0].x), r.windows[0].kind) for r in read_nuplan(log)] == [(100, "stopping")]
    assert list(read_nuplan(write_log(tmp_path / "b.db", seconds=SHORT_S, tags=((4.0, "late"),)))) == []


def test_a_car_unseen_for_long_is_another_one_afterwards(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.db", seconds=SHORT_S, tags=((0.0, "any"),))
    _change(log, f"DELETE FROM lidar_box WHERE track_token = x'{_CAR_1}' AND rowid BETWEEN 160 AND 240")
    (recording,) = read_nuplan(log)
    spans = [(d.name, d.first, d.end) for d in recording.drives if d.name.split(".")[0] == "1"]
    assert [name for name, _, _ in spans] == ["1", "1.1"]
    assert spans[1][1] - spans[0][2] >= 10


def test_a_scene_ends_where_frames_are_missing(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.db", seconds=SHORT_S, tags=((0.0, "any"),))
    _change(log, "DELETE FROM lidar_pc WHERE rowid BETWEEN 81 AND 100")
    assert [len(r.drives[0].x) for r in read_nuplan(log)] == [80]


def test_a_recorder_that_begins_inside_another_car_is_told(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.db", seconds=SHORT_S, tags=((0.0, "any"),))
    _change(log, f"UPDATE lidar_box SET (x, y) = (SELECT x, y FROM ego_pose LIMIT 1) WHERE track_token = x'{_CAR_1}'")
    (recording,) = read_nuplan(log)
    with pytest.raises(NothingToDriveError, match="cars ego and 1 overlap at the start"):
        cut(recording)


def test_a_log_is_only_read(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.db", seconds=SHORT_S)
    before, log_mode = log.read_bytes(), 0o444
    log.chmod(log_mode)
    list(read_nuplan(log))
    assert log.read_bytes() == before
    assert list(tmp_path.iterdir()) == [log]


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_missing_table_is_named(tmp_path: Path, table: str) -> None:
    log = write_log(tmp_path / "a.db", seconds=1.0, without=table)
    with pytest.raises(DataError, match=f"a.db has no table '{table}'"):
        list(read_nuplan(log))


def test_the_fixtures_schema_holds_what_is_read() -> None:
    for table, columns in TABLES.items():
        assert set(columns) <= {c.split()[0] for c in SCHEMA[table].split(", ")}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE lidar_box DROP COLUMN yaw", "its table 'lidar_box' has no column 'yaw'"),
        ("UPDATE ego_pose SET x = NULL WHERE rowid = 50", "ego_pose.x is None in row"),
        ("UPDATE ego_pose SET qw = 9e999 WHERE rowid = 50", "ego_pose.qw is inf"),
        ("UPDATE ego_pose SET qw = 3.0 WHERE rowid = 50", "a quaternion of 'ego_pose' is none"),
        ("UPDATE lidar_box SET x = 0.0 WHERE rowid % 30 = 1", "car 1 jumps by"),
        ("UPDATE lidar_box SET y = 'east' WHERE rowid = 50", "lidar_box.y holds what is no number"),
        ("UPDATE lidar_box SET yaw = NULL WHERE rowid = 130", "lidar_box.yaw is None"),
        ("DELETE FROM ego_pose", "no pose in 'ego_pose'"),
        ("DELETE FROM lidar_pc", "0 frames"),
        ("DELETE FROM log", "'log' is empty"),
        ("UPDATE lidar_pc SET timestamp = 9000000000000000000 WHERE rowid = 9", "its frames span"),
    ],
)
def test_what_is_damaged_is_told(tmp_path: Path, change: str, told: str) -> None:
    log = write_log(tmp_path / "a.db", seconds=SHORT_S, tags=((0.0, "any"),))
    _change(log, change)
    with pytest.raises(DataError, match=told):
        list(read_nuplan(log))


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("nothing")
    with pytest.raises(DataError, match="is no SQLite database"):
        list(read_nuplan(tmp_path / "a.db"))
    whole = write_log(tmp_path / "b.db", seconds=SHORT_S).read_bytes()
    (tmp_path / "c.db").write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_nuplan(tmp_path / "c.db"))


_CAR_1 = "0005000000000001"


def _change(log: Path, statement: str) -> None:
    connection = sqlite3.connect(log)
    with connection:
        connection.execute(statement)
    connection.close()
