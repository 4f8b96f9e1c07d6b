"""Lines, maps of lanes, and routes along them."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.driving.roads import (
    LaneMap,
    Piece,
    Pose,
    arc,
    bend,
    between,
    chained,
    laid,
    offset,
    poses,
    respaced,
    reversed_line,
    shifted,
    straight,
    through,
)
from nightshift.driving.routes import EDGE_M, route_along
from nightshift.driving.scenario import ACROSS

HERE = Pose(3.0, -2.0, 0.4)


def steps(line: object) -> np.ndarray:
    return np.hypot(np.diff(line.x), np.diff(line.y))  # type: ignore[attr-defined]


def test_a_bend_turns_by_its_angle_and_keeps_to_its_radius() -> None:
    line = laid([Piece(20.0), *bend(50.0, 1.2, 15.0), Piece(20.0)], HERE)
    assert line.heading[-1] - line.heading[0] == pytest.approx(1.2, abs=1e-3)
    assert np.abs(line.curvature).max() == pytest.approx(1 / 50.0)
    np.testing.assert_allclose(steps(line), 1.0, atol=1e-4)
    # A right bend mirrors a left one.
    right = laid([Piece(20.0), *bend(50.0, -1.2, 15.0)], HERE)
    assert right.heading[-1] - right.heading[0] == pytest.approx(-1.2, abs=1e-3)


def test_an_arc_closes_a_circle_and_a_bezier_curve_meets_both_poses() -> None:
    circle = arc(HERE, 20.0, 2 * np.pi)
    assert np.hypot(circle.x[-1] - 3.0, circle.y[-1] + 2.0) < 1e-9
    end = Pose(25.0, 14.0, 1.7)
    line = between(HERE, end)
    assert (line.x[0], line.y[0], line.heading[0]) == pytest.approx((HERE.x, HERE.y, HERE.heading))
    assert (line.x[-1], line.y[-1], line.heading[-1]) == pytest.approx((end.x, end.y, end.heading))
    np.testing.assert_allclose(steps(line), 1.0, atol=0.03)


def test_lanes_beside_a_bend_lie_at_their_distance_and_share_its_stations() -> None:
    middle = laid(bend(60.0, 1.0, 20.0), HERE)
    left = offset(middle, 3.5)
    np.testing.assert_allclose(np.hypot(left.x - middle.x, left.y - middle.y), 3.5)
    assert left.curvature.max() == pytest.approx(1 / 56.5)
    even = respaced(left)
    np.testing.assert_allclose(steps(even), steps(even).mean(), atol=2e-3)
    assert abs(steps(even).mean() - 1.0) < 0.02
    assert even.curvature.max() == pytest.approx(1 / 56.5, rel=1e-3)
    back = reversed_line(left)
    assert back.curvature.min() == pytest.approx(-1 / 56.5)
    assert np.cos(back.heading[0] - left.heading[-1]) == pytest.approx(-1.0)


def test_a_taper_points_where_it_leads_and_a_recorded_line_is_walked_in_metres() -> None:
    taper = shifted(straight(HERE, 60), np.linspace(0.0, 3.0, 61))
    along = np.arctan2(np.diff(taper.y), np.diff(taper.x))
    np.testing.assert_allclose(taper.heading[1:-1], along[1:], atol=1e-6)
    line = through(np.array([0.0, 3.3, 10.0, 40.0]), np.array([0.0, 0.1, 0.2, 0.4]))
    np.testing.assert_allclose(steps(line), 1.0, atol=0.01)


def test_headings_go_on_where_lines_of_other_turns_are_chained() -> None:
    one = straight(HERE, 10)
    other = straight(Pose(one.end.x, one.end.y, HERE.heading + 4 * np.pi), 10)
    whole = chained([one, other])
    assert len(whole.x) == 21
    np.testing.assert_allclose(whole.heading, HERE.heading)


def road() -> LaneMap:
    """Two lanes one way, one lane the other way, 100 m long, and a crossing lane in the middle."""
    made = LaneMap()
    ours = [made.add(straight(Pose(0.0, 3.5 * k, 0.0), 100), width_m=3.5, limit_mps=20.0) for k in range(2)]
    made.abreast(ours)
    made.add(straight(Pose(100.0, 7.0, np.pi), 100), width_m=3.5, limit_mps=20.0)
    made.add(straight(Pose(50.0, -30.0, np.pi / 2), 60), width_m=3.5, limit_mps=10.0)
    return made


def test_a_map_knows_neighbours_successors_and_who_goes_first() -> None:
    made = road()
    made.then(0, 3, 1)
    made.give_way(0, 40.0, [(3, 30.0)])
    lanes = made.lanes()
    assert lanes.left.tolist() == [1, -1, -1, -1]
    assert lanes.right.tolist() == [-1, 0, -1, -1]
    assert lanes.successor[0].tolist() == [3, 1, -1]
    assert (lanes.yields_to[0, 0], lanes.yield_at_m[0, 0], lanes.yield_their_m[0, 0]) == (3, 40.0, 30.0)
    assert (lanes.yields_to[1:] == -1).all()
    x, y, heading = poses(lanes, np.array([1, 2]), np.array([10.5, 10.5]), np.array([1.0, 1.0]))
    np.testing.assert_allclose(x, [10.5, 89.5])
    np.testing.assert_allclose(y, [4.5, 6.0], atol=1e-9)
    np.testing.assert_allclose(heading, [0.0, np.pi])


def test_a_route_knows_the_lanes_across_and_how_far_the_road_reaches() -> None:
    route = route_along(road().lanes(), [0])
    assert len(route.x) == 101
    assert route.lane[20, ACROSS - 1 : ACROSS + 3].tolist() == [-1, 0, 1, -1]
    assert route.lane_s_m[20, ACROSS + 1] == pytest.approx(20.0)
    assert route.right_m[20] == pytest.approx(1.75 + EDGE_M)
    # All three lanes are road; those who come towards us have the third one and its side.
    assert route.left_m[20] == pytest.approx(7.0 + 1.75 + EDGE_M)
    assert route.flow_left_m[20] == pytest.approx(3.5 + 1.75)
    # The crossing lane is road too.
    assert route.right_m[50] > 8.0
    assert (route.length_m, route.limit_mps[0], route.width_m[0]) == (100.0, 20.0, 3.5)


def test_a_route_over_several_lanes_counts_in_metres_of_its_own() -> None:
    made = LaneMap()
    first = made.add(offset(laid(bend(40.0, 1.0, 10.0), HERE), -2.0), width_m=3.5, limit_mps=12.0)
    second = made.add(straight(made.lines[first].end, 30), width_m=3.0, limit_mps=8.0)
    made.then(first, second)
    route = route_along(made.lanes(), [first, second], goal_m=50.0)
    np.testing.assert_allclose(np.hypot(np.diff(route.x), np.diff(route.y)), 1.0, atol=2e-3)
    under = route.lane[:, ACROSS]
    assert set(under.tolist()) == {first, second}
    assert (np.diff(under) >= 0).all()
    x, y, _ = poses(made.lanes(), under, route.lane_s_m[:, ACROSS], np.zeros(len(under)))
    assert np.hypot(x - route.x, y - route.y).max() < 0.01
    assert (route.limit_mps[0], route.limit_mps[-1], route.length_m) == (12.0, 8.0, 50.0)
