from __future__ import annotations

import numpy as np
import pytest
from support.driving import WIDTH_M, Still, cars_at, scenario

from nightshift.driving.facts import NEVER_S, NOBODY_M
from nightshift.driving.pack import Pack
from nightshift.driving.scenario import STEP_S, Scenario
from nightshift.driving.sight import AHEAD_M, Sight
from nightshift.driving.world import World

RADIUS_M = 60.0


def seen(of: Scenario, **moved: float) -> tuple[Sight, World]:
    """What the ego sees as it starts, put elsewhere by `moved`."""
    world = World(Pack.of([of]), 1, traffic=Still())
    world.reset()
    for name, value in moved.items():
        getattr(world.ego, name)[0] = value
    return world._eyes.look(world.ride, world.ego, world.cars, world.count.s_m), world


@pytest.mark.parametrize("curvature", [0.0, 1.0 / RADIUS_M, -1.0 / RADIUS_M])
def test_a_drive_along_a_bend_keeps_its_place_on_the_route(curvature: float) -> None:
    world = World(Pack.of([scenario(cars=0, curvature=curvature, length_m=300.0, ego_s_m=10.0)]), 1, traffic=Still())
    world.reset()
    for _ in range(60):
        # The wheel that drives the line itself; the lag averages to nothing as it never moves.
        world.step(np.array([[0.0, np.arctan(2.8 * curvature)]]))
    driven = 10.0 + 60 * STEP_S * 15.0
    assert world.sight.s_m[0] == pytest.approx(driven, abs=0.05)
    assert world.sight.d_m[0] == pytest.approx(0.0, abs=0.1)
    assert world.sight.heading_rad[0] == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("d_m", [-4.0, -1.0, 0.0, 2.5])
@pytest.mark.parametrize("s_m", [60.0, 60.3, 60.5, 60.9])
def test_foot_points_in_a_bend_are_those_of_geometry(s_m: float, d_m: float) -> None:
    angle = s_m / RADIUS_M
    x, y = (RADIUS_M - d_m) * np.sin(angle), RADIUS_M - (RADIUS_M - d_m) * np.cos(angle)
    sight, _ = seen(scenario(cars=0, curvature=1.0 / RADIUS_M, length_m=150.0), x=x, y=y, heading=angle + 0.1)
    assert sight.s_m[0] == pytest.approx(s_m, abs=0.01)
    assert sight.d_m[0] == pytest.approx(d_m, abs=0.01)
    assert sight.heading_rad[0] == pytest.approx(0.1, abs=0.003)


def test_the_way_ahead_lies_where_the_road_does() -> None:
    sight, _ = seen(scenario(cars=0, curvature=1.0 / RADIUS_M, length_m=300.0))
    angle = np.array(AHEAD_M) / RADIUS_M
    assert sight.way_x[0] == pytest.approx(RADIUS_M * np.sin(angle), abs=0.02)
    assert sight.way_y[0] == pytest.approx(RADIUS_M * (1 - np.cos(angle)), abs=0.02)
    straight, _ = seen(scenario(cars=0))
    assert straight.way_x[0] == pytest.approx(np.array(AHEAD_M))
    assert straight.way_cos[0] == pytest.approx(np.ones(len(AHEAD_M)))


@pytest.mark.parametrize(("y", "off"), [(0.0, False), (-1.05, False), (-1.15, True), (4.5, False), (4.65, True)])
def test_a_corner_may_be_a_foot_beyond_the_road(y: float, off: bool) -> None:
    # The road reaches from -1.75 to 5.25; the ego is 1.9 wide.
    sight, _ = seen(scenario(cars=0), y=y)
    assert bool(sight.off_road[0]) is off


def test_lanes_and_room_to_the_sides() -> None:
    right, _ = seen(scenario(cars=0))
    assert (right.lane[0], right.lane_left[0], right.lane_right[0]) == (0, True, False)
    assert right.lane_s_m[0] == pytest.approx(60.0 + 1.3)
    assert (right.left_m[0], right.right_m[0]) == pytest.approx((1.5 * WIDTH_M, 0.5 * WIDTH_M))
    left, _ = seen(scenario(cars=0), y=WIDTH_M + 0.2)
    assert (left.lane[0], left.lane_left[0], left.lane_right[0]) == (1, False, True)
    assert left.lane_offset_m[0] == pytest.approx(0.2)
    assert not left.straddles[0]
    between, _ = seen(scenario(cars=0), y=1.2)
    assert between.straddles[0]
    beside, _ = seen(scenario(cars=0), y=2.2 * WIDTH_M)
    assert beside.lane[0] == -1


@pytest.mark.parametrize("curvature", [0.0, 0.02, -0.02])
def test_the_car_ahead_is_the_one_on_its_path_round_bends_too(curvature: float) -> None:
    # Beside it, behind it, ahead on the other lane; the leader; another one ahead of that.
    traffic = cars_at([(1, 62.0), (0, 40.0), (1, 75.0), (0, 91.3), (0, 120.0)], speed_mps=9.0)
    sight, _ = seen(scenario(curvature=curvature, length_m=200.0, traffic=traffic))
    # 91.3 m less the ego's middle at 61.3 m, and half of both lengths.
    assert sight.lead_gap_m[0] == pytest.approx(30.0 - 4.55, abs=0.15)
    assert sight.lead_speed_mps[0] == pytest.approx(9.0, abs=0.01)
    if curvature >= 0.0:
        assert sight.ttc_s[0] == pytest.approx((30.0 - 4.55) / 6.0, abs=0.05)
    else:
        # Straight on, the one ahead on the outer lane would be met before.
        assert 0.5 < sight.ttc_s[0] < 1.0


@pytest.mark.parametrize(("y", "want"), [(0.0, NEVER_S), (1.2, 0.3)])
def test_a_car_beside_that_comes_nearer_is_minded_between_lanes(y: float, want: float) -> None:
    """Turned by 0.3 rad at 10 m/s, it takes its corner 0.3 s to the ego's side; along, both go alike."""
    world = World(Pack.of([scenario(traffic=cars_at([(1, 60.5)]), speed_mps=10.0 * np.cos(0.3))]), 1)
    world.reset()
    reach = 0.9 * np.cos(0.3) + 2.25 * np.sin(0.3)
    world.cars.y[:, 1], world.cars.heading[:, 1] = 1.2 + 0.95 + reach + 0.3 * 10.0 * np.sin(0.3), -0.3
    world.cars.speed[:, 1], world.ego.y = 10.0, world.ego.y + y
    sight = world._eyes.look(world.ride, world.ego, world.cars, world.count.s_m)
    assert sight.ttc_s[0] == pytest.approx(want, abs=0.01)


def test_an_empty_road_has_nobody_ahead() -> None:
    sight, world = seen(scenario(cars=0))
    assert (sight.lead_gap_m[0], sight.ttc_s[0]) == (NOBODY_M, NEVER_S)
    assert sight.lead_speed_mps[0] == world.ego.speed[0]
    assert not sight.near_there.any()
    assert not sight.collided.any()


def test_near_cars_stand_in_the_order_of_nearness_with_the_side_they_are_on() -> None:
    traffic = cars_at([(0, 20.0), (1, 64.3), (0, 86.3), (0, 300.0)], speed_mps=9.0)
    sight, _ = seen(scenario(traffic=traffic))
    assert sight.near_there[0].tolist() == [True] * 3 + [False] * (sight.near_there.shape[1] - 3)
    assert sight.near_column[0, :3].tolist() == [2, 3, 1]
    assert sight.near_x[0, :3] == pytest.approx([3.0, 25.0, -41.3])
    assert sight.near_y[0, :3] == pytest.approx([WIDTH_M, 0.0, 0.0])
    assert sight.near_vx[0, :3] == pytest.approx([-6.0] * 3)
    assert sight.near_d_m[0, :3] == pytest.approx([WIDTH_M, 0.0, 0.0])


@pytest.mark.parametrize(("x", "y", "hit", "fault"), [(64.0, 0.0, True, True), (50.0, 0.0, False, False)])
def test_driving_into_the_car_ahead_is_seen_and_its_fault(x: float, y: float, hit: bool, fault: bool) -> None:
    sight, _ = seen(scenario(traffic=cars_at([(0, 68.0)], speed_mps=5.0)), x=x - 1.3, y=y)
    assert (bool(sight.collided[0]), bool(sight.at_fault[0])) == (hit, fault)
