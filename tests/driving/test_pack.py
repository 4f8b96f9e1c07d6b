from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from array_api_compat import torch as xp_torch
from support.driving import WIDTH_M, cars_at, scenario

from nightshift.driving.made import make
from nightshift.driving.pack import EASE_MPS2, NEAR, NO_LINE_M, ROAD, SIDEWAYS_MPS2, Pack, pace, to_line
from nightshift.driving.roads import LaneMap, Pose, arc, straight
from nightshift.driving.routes import route_along
from nightshift.driving.scenario import Tracks
from nightshift.errors import UsageError

#: A lane, the one that follows it, and one that it meets.
WAYS = (Pose(0.0, 0.0, 0.0), Pose(60.0, 0.0, 0.0), Pose(50.0, -30.0, np.pi / 2))


def test_cars_are_padded_and_stand_where_their_lanes_are() -> None:
    pack = Pack.of([scenario("a", cars=3), scenario("b", cars=20, curvature=0.01, length_m=600.0)])
    assert (pack.scenarios, pack.columns) == (2, 21)
    assert pack.cars.there.sum(1).tolist() == [3, 20]
    assert not pack.cars.there[:, 0].any()
    first = pack.cars.there[0]
    assert np.array_equal(pack.cars.x[0, first], pack.cars.s[0, first])
    assert np.array_equal(pack.cars.y[0, first], np.where(pack.cars.lane[0, first] == 1, WIDTH_M, 0.0))
    # A circle of 100 m to the left: the right lane is the circle itself.
    right = pack.cars.lane[1] == 2
    assert np.hypot(pack.cars.x[1, right], pack.cars.y[1, right] - 100.0) == pytest.approx(100.0, abs=0.01)
    assert Pack.of([scenario(cars=0)]).columns == 1 + NEAR


def test_lanes_and_routes_of_later_maps_are_numbered_on() -> None:
    pack = Pack.of([scenario("a", length_m=100.0), scenario("b", length_m=200.0)])
    assert pack.first.tolist() == [0, 101]
    assert pack.count.tolist() == [101, 201]
    own = pack.lane[pack.first[1]]
    assert own[own >= 0].tolist() == [2, 3]
    assert set(pack.cars.lane[1][pack.cars.there[1]]) == {2, 3}


def test_scenarios_on_one_map_share_it() -> None:
    one = scenario("a")
    pack = Pack.of([one, replace(one, name="b"), scenario("c")])
    assert len(pack.lanes.first) == 4
    assert np.array_equal(pack.cars.lane[0], pack.cars.lane[1])
    assert np.array_equal(pack.lane[: pack.count[0]], pack.lane[pack.first[1] : pack.first[1] + pack.count[1]])


def test_recorded_tracks_are_found_by_their_scenario() -> None:
    traffic = replace(cars_at([(0, 20.0), (0, 50.0)]), lane=np.array([-1, -1]))
    times = np.arange(4.0)[:, None]
    tracks = Tracks(
        x=times + np.array([[60.0, 20.0, 50.0]]),
        y=times * 0 + np.array([[0.0, 1.0, 2.0]]),
        heading=times * 0 + np.zeros((1, 3)),
        speed_mps=times * 0 + 5.0 + np.zeros((1, 3)),
        there=np.array([[True, True, False]] * 2 + [[True, True, True]] * 2),
    )
    recorded = replace(scenario("r", traffic=traffic), kind="replay", tracks=tracks)
    pack = Pack.of([scenario("a"), recorded])
    assert pack.tracks is not None
    assert (pack.track_first.tolist(), pack.track_count.tolist()) == ([0, 0], [0, 4])
    assert pack.tracks.x[pack.track_first[1] + 2, :3].tolist() == [62.0, 22.0, 52.0]
    assert pack.cars.there[1, :3].tolist() == [False, True, False]
    assert (pack.cars.x[1, 1], pack.cars.y[1, 1], pack.cars.speed[1, 1]) == (20.0, 1.0, 5.0)
    assert pack.cars.on_track[1, 1]
    assert Pack.of([scenario("a")]).tracks is None


def test_objects_stand_whatever_the_noise_of_their_tracks_says() -> None:
    traffic = replace(cars_at([(0, 20.0), (0, 50.0)]), lane=np.array([-1, -1]))
    still = np.zeros((4, 3))
    tracks = Tracks(still + np.array([60.0, 20.0, 50.0]), still, still, still + 0.3, still == 0.0)
    recorded = replace(scenario("r", traffic=traffic), kind="replay", tracks=tracks)
    pack = Pack.of([replace(recorded, details={"sorts": ("person", "object")})])
    assert pack.tracks is not None
    assert pack.tracks.speed_mps[:, :3].tolist() == [[0.3, 0.3, 0.0]] * 4
    assert pack.cars.speed[0, 1:3].tolist() == [0.3, 0.0]


def test_it_moves_to_torch_whole() -> None:
    pack = Pack.of([scenario()])
    there = pack.to(xp_torch)
    for part, name in ((there, "line"), (there.cars, "x"), (there.lanes, "heading"), (there.ego, "x")):
        assert isinstance(getattr(part, name), xp_torch.Tensor)
    assert pack.to(np) is pack


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(UsageError, match="no scenario"):
        Pack.of([])
    with pytest.raises(UsageError, match="'many' has 1100 cars, over 1023"):
        Pack.of([scenario("many", traffic=cars_at([(0, float(i)) for i in range(1100)]))])
    short = scenario("short")
    route = replace(short.route, **{n: getattr(short.route, n)[:1] for n in ("x", "y", "heading", "curvature")})
    with pytest.raises(UsageError, match="'short' has 1 points"):
        Pack.of([replace(short, route=route)])


def test_a_route_knows_how_far_ahead_it_has_to_give_way() -> None:
    road = LaneMap()
    own, on, main = (road.add(straight(pose, 60.0), width_m=3.5, limit_mps=10.0) for pose in WAYS)
    road.then(own, on)
    road.give_way(own, 40.0, [(main, 30.0)])
    lanes = road.lanes()
    told = to_line(lanes, route_along(lanes, [own, on], goal_m=100.0))
    assert told[:41] == pytest.approx(np.arange(40.0, -1.0, -1.0))
    assert (told[41:] == NO_LINE_M).all()
    assert (to_line(lanes, route_along(lanes, [main], goal_m=50.0)) == NO_LINE_M).all()
    made = make("intersection", 3)
    assert made.details["priority"] is False
    told = Pack.of([made]).road[:, ROAD.index("to_line_m")]
    line = int(np.argmin(told))
    assert 0.0 <= told[line] < 1.0
    assert told[line - 50 : line] == pytest.approx(told[line] + np.arange(50.0, 0.0, -1.0))


def test_a_route_knows_the_pace_that_its_bends_allow() -> None:
    road = LaneMap()
    first = straight(Pose(0.0, 0.0, 0.0), 80.0)
    lanes = [road.add(line, width_m=3.5, limit_mps=20.0) for line in (first, arc(first.end, 20.0, 1.5))]
    road.then(*lanes)
    built = road.lanes()
    told = pace(route_along(built, lanes, goal_m=100.0))
    bend = np.sqrt(SIDEWAYS_MPS2 * 20.0)
    assert told[90:100] == pytest.approx(np.full(10, bend), rel=0.01)
    # Fifty metres before it one may be as much faster as is lost by easing off, but never beyond the limit.
    assert told[30] == pytest.approx(np.sqrt(bend**2 + 2 * EASE_MPS2 * 50.0), rel=0.03)
    assert (np.diff(told[:80] ** 2) >= -2 * EASE_MPS2 - 1e-9).all()
    assert told.max() <= 20.0
    assert pace(route_along(built, lanes[:1], goal_m=80.0))[10] == pytest.approx(20.0)
