from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.commonroad_xml import WIDTH_M, Car, write_file

from nightshift.driving.importers.commonroad import read_commonroad
from nightshift.driving.importers.recording import NothingToDriveError
from nightshift.errors import DataError

#: What the 13 parser cases hold: lanelets, and cars with a trajectory or standing; None: refused for want of a road.
CASES = {
    "test_3d_points": (6, 0),
    "test_reading_all": (6, 2),
    "test_reading_complex_tl": (95, 19),
    "test_reading_custom_state": (5, 1),
    "test_reading_intersection_traffic_sign": (21, 0),
    "test_reading_ks_state": (5, 1),
    "test_reading_lanelets": (6, 0),
    "test_reading_obstacles": None,
    "test_reading_planning_problem": None,
    "test_reading_pm_state": (5, 1),
    "test_reading_st_state": (5, 1),
    "test_reading_std_state": (5, 1),
    "test_writing_invalid": (91, 24),
}


def test_every_parser_case_is_read_or_refused_in_one_line(shared_data: Path) -> None:
    files = sorted((shared_data / "commonroad_scenarios" / "format_cases").glob("*.xml"))
    assert {f.stem for f in files} == set(CASES)
    for file in files:
        expected = CASES[file.stem]
        if expected is None:
            with pytest.raises(NothingToDriveError, match="no lanelet") as caught:
                read_commonroad(file)
            assert "\n" not in str(caught.value)
            continue
        found = read_commonroad(file)
        assert (len(found.lanelets), len(found.drives)) == expected, file.stem


def test_both_versions_of_ngsim_are_read_with_limits_and_neighbours(shared_data: Path) -> None:
    folder = shared_data / "commonroad_scenarios"
    lanker = read_commonroad(folder / "USA_Lanker-1_1_T-1.xml")
    assert {piece.limit_mps for piece in lanker.lanelets.values()} == {11.176, 13.4112}
    peach = read_commonroad(folder / "USA_Peach-4_8_T-1.xml")
    assert {piece.limit_mps for piece in peach.lanelets.values()} == {11.176, 15.6464}  # by signs
    freeway = read_commonroad(folder / "USA_US101-3_3_T-1.xml")
    assert freeway.limit_mps == pytest.approx(29.06)
    assert (freeway.group, freeway.step_s, len(freeway.drives)) == ("USA_US101-3", 0.1, 12)
    car = next(d for d in freeway.drives if d.name == "363")
    assert (len(car.x), car.length_m, car.width_m) == (32, 4.1148, 2.4079)
    assert sum(bool(piece.left_of) for piece in freeway.lanelets.values()) == 9


def test_uncertain_states_are_read_at_their_middle(shared_data: Path) -> None:
    found = read_commonroad(shared_data / "commonroad_scenarios" / "DEU_A9-3_1_T-1.xml")
    car = next(d for d in found.drives if d.name == "3536")
    assert found.step_s == 0.2
    assert car.x[0] == pytest.approx(351.6643758)
    assert car.heading[0] == pytest.approx((0.0011 + 0.0347) / 2)


def test_a_made_file_is_read_as_it_was_made(tmp_path: Path) -> None:
    found = read_commonroad(write_file(tmp_path / "a.xml"))
    assert (found.name, found.group, list(found.lanelets)) == ("TST_Road-1_1_T-1", "TST_Road-1", ["1", "2"])
    right, left = found.lanelets["1"], found.lanelets["2"]
    assert (right.left_of, right.right_of, left.right_of, right.limit_mps) == ("2", "", "1", 15.5)
    assert right.successors == ()  # it lies outside of the map
    np.testing.assert_allclose(right.left[:, 1], WIDTH_M / 2)
    np.testing.assert_allclose(found.drives[0].x, 30.0 + np.arange(61))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (("<x>31.0000</x>", "<x>NaN</x>"), "x of car 1 is nan at moment 1"),
        (("<x>31.0000</x>", "<x>inf</x>"), "x of car 1 is inf"),
        (("<x>31.0000</x>", "<x>131.0</x>"), "car 1 jumps by 101 m after moment 0; expected at most 15 m in 0.1 s"),
        (("<x>31.0000</x>", "<x>here</x>"), "is 'here'; expected a number"),
        (("<exact>0.0</exact>", "<exact>nan</exact>"), "obstacle 1: its heading is nan at moment 0"),
        (("<time><exact>5</exact>", "<time><exact>4</exact>"), "not in order of time"),
        (("<time><exact>60</exact>", "<time><exact>90</exact>"), "not seen for 31 time steps"),
        (("<length>4.6</length>", "<length>-4.6</length>"), "4.6 m long"),
        (("<length>4.6</length>", ""), "length is ''"),
        (('<lanelet id="2">', '<lanelet id="1">'), "stands twice"),
        (('<dynamicObstacle id="2">', '<dynamicObstacle id="1">'), "stands twice"),
        (("<initialState>", "<oddState>"), "no whole XML"),
        (('commonRoadVersion="2020a"', 'commonRoadVersion="2017a"'), "version '2017a'"),
        (("commonRoad ", "otherRoad "), "no whole XML"),
        (('timeStepSize="0.1"', 'timeStepSize="9"'), "time steps of 9 s"),
        (("TST_Road-1_1_T-1", "../../etc"), "has the benchmarkID"),
        (("15.5", "-1"), "speed limit of -1"),
        (("<x>0</x>", "<x>nan</x>"), "lanelet 1 has a point that is no number"),
    ],
)
def test_what_is_damaged_is_told_with_its_place(tmp_path: Path, spoil: tuple[str, str], told: str) -> None:
    file = write_file(tmp_path / "a.xml", spoil=spoil)
    with pytest.raises(DataError, match=told) as caught:
        read_commonroad(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_another_format_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<OpenDRIVE/>", encoding="utf-8")
    with pytest.raises(DataError, match="no CommonRoad file of version 2018b or 2020a: it has <OpenDRIVE>"):
        read_commonroad(tmp_path / "a.xml")


def test_a_gap_of_a_few_steps_is_drawn_straight(tmp_path: Path) -> None:
    whole = write_file(tmp_path / "a.xml", [Car(1, 30.0)]).read_text()
    begin = whole.index("<state><position><point><x>33.0000")
    end = whole.index("<state><position><point><x>35.0000")
    (tmp_path / "b.xml").write_text(whole[:begin] + whole[end:])
    np.testing.assert_allclose(read_commonroad(tmp_path / "b.xml").drives[0].x, 30.0 + np.arange(61))
