from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.commonroad_xml import WIDTH_M, Car, write_file

from nightshift.driving.importers.commonroad import read_commonroad
from nightshift.driving.importers.cutting import Cut, cut
from nightshift.driving.importers.recording import NothingToDriveError
from nightshift.driving.scenario import ACROSS
from nightshift.errors import DataError


def cut_of(folder: Path, *cars: Car) -> Cut:
    return cut(read_commonroad(write_file(folder / "a.xml", cars)))


def test_every_car_that_drives_long_enough_is_an_ego_once(tmp_path: Path) -> None:
    made = cut_of(
        tmp_path,
        Car(1, 30.0),
        Car(2, 60.0, length_m=12.0),
        Car(3, 40.0, WIDTH_M, steps=20),
        Car(4, 80.0, WIDTH_M, speed_mps=0.0),
        Car(5, 10.0, WIDTH_M, kind="bicycle"),
    )
    assert [s.name for s in made.scenarios] == ["TST_Road-1_1_T-1_1"]
    assert len(made.remarks) == 4
    assert all("is no ego" in remark for remark in made.remarks)
    only = made.scenarios[0]
    assert only.duration_s == pytest.approx(6.0)
    assert (len(only.traffic.lane), only.kind) == (4, "replay")
    assert only.expert_m == pytest.approx(60.0, abs=0.01)
    assert only.route.length_m == len(only.route.x) - 1  # where its driver ended up is no goal


def test_cars_are_on_their_lanes_and_neighbours_are_known(tmp_path: Path) -> None:
    only = cut_of(
        tmp_path, Car(1, 30.0), Car(2, 60.0, length_m=9.0), Car(3, 40.0, WIDTH_M - 0.5, length_m=9.0)
    ).scenarios[0]
    assert only.traffic.lane.tolist() == [0, 1]
    np.testing.assert_allclose(only.traffic.s_m, [60.0, 40.0], atol=0.01)
    np.testing.assert_allclose(only.traffic.d_m, [0.0, -0.5], atol=0.01)
    assert (only.lanes.left.tolist(), only.lanes.right.tolist()) == ([1, -1], [-1, 0])
    assert only.route.lane[0, ACROSS - 1 : ACROSS + 2].tolist() == [-1, 0, 1]
    np.testing.assert_allclose(only.lanes.limit_mps, [15.5, 29.06])  # the sign; the freeway's
    rear = 30.0 - (4.6 / 2 - 1.0)
    assert [only.ego.s_m, only.ego.d_m] == pytest.approx([rear, 0.0], abs=0.01)


def test_people_and_things_are_told_from_vehicles(tmp_path: Path) -> None:
    kinds = ("pedestrian", "constructionZone", "bicycle", "truck", "unknown", "pillar")
    others = (Car(i, 20.0 + 20.0 * i, WIDTH_M, speed_mps=0.0, kind=kind) for i, kind in enumerate(kinds, start=2))
    only = cut_of(tmp_path, Car(1, 30.0), *others).scenarios[0]
    assert only.details["sorts"] == ("person", "object", "person", "vehicle", "vehicle", "object")
    assert (only.traffic.lane >= 0).tolist() == [False, False, False, True, True, False]


def test_a_car_that_changes_lanes_is_led_by_the_one_it_wanted(tmp_path: Path) -> None:
    made = cut_of(tmp_path, Car(1, 20.0, turn=WIDTH_M / 60))
    only = made.scenarios[0]
    assert only.route.lane[0, ACROSS] == 1
    assert only.ego.d_m == pytest.approx(-WIDTH_M, abs=0.2)


def test_overlapping_cars_at_the_start_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cars 2 and 3 overlap at the start"):
        cut_of(tmp_path, Car(1, 30.0), Car(2, 60.0), Car(3, 62.0))


def test_a_car_recorded_inside_another_one_is_no_ego(tmp_path: Path) -> None:
    made = cut_of(tmp_path, Car(1, 30.0), Car(2, 60.0, speed_mps=5.0, length_m=9.0), Car(3, 20.0, WIDTH_M))
    assert [s.details["ego"] for s in made.scenarios] == ["3"]
    assert "car 1 was recorded inside car 2, and is no ego" in made.remarks


def test_a_car_beside_the_road_and_one_that_leaves_it_are_no_egos(tmp_path: Path) -> None:
    with pytest.raises(NothingToDriveError, match=r"car 1 leaves the map's lanes; car 2 leaves"):
        cut_of(tmp_path, Car(1, 30.0, 20.0), Car(2, 30.0, turn=-0.3))


def test_lanes_that_are_none_are_told(tmp_path: Path) -> None:
    long = read_commonroad(write_file(tmp_path / "a.xml", spoil=("<x>200</x>", "<x>90000</x>")))
    with pytest.raises(DataError, match="lanelet 1 is 90,000 m long; at most 20,000 m"):
        cut(long)
    piece = long.lanelets["2"]
    wide = replace(long, lanelets={"2": replace(piece, left=piece.left + np.array([0.0, 30.0]))})
    with pytest.raises(DataError, match=r"lanelet 2 is 200\.00 m long and 33\.50 m wide"):
        cut(wide)
