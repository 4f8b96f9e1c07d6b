"""Made scenarios: the same bytes from a seed, roads that hold together, and cars that have room."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest

from nightshift.driving import made
from nightshift.driving.checks import troubles
from nightshift.driving.made.drivers import safe_gap_m
from nightshift.driving.roads import line_of, poses
from nightshift.driving.scenario import ACROSS, Scenario
from nightshift.errors import UnknownNameError, UsageError

SEEDS = range(12)
#: Of parallel lanes on the sharpest bends, and of connections of few metres.
STRETCH = 0.06


@pytest.fixture(scope="module", params=made.MADE)
def scenarios(request: pytest.FixtureRequest) -> list[Scenario]:
    return [made.make(request.param, seed) for seed in SEEDS]


def digest(scenario: Scenario) -> str:
    found = hashlib.sha256(repr((scenario.name, scenario.ego, scenario.duration_s, scenario.expert_m)).encode())
    for part in (scenario.lanes, scenario.route, scenario.traffic):
        for field in fields(part):
            found.update(np.ascontiguousarray(getattr(part, field.name)).tobytes())
    return found.hexdigest()


def test_a_seed_gives_the_same_bytes_and_another_one_another_scenario(scenarios: list[Scenario]) -> None:
    again = [made.make(s.kind, s.seed) for s in scenarios[:3]]
    assert [digest(s) for s in again] == [digest(s) for s in scenarios[:3]]
    assert len({digest(s) for s in scenarios}) == len(scenarios)
    assert [s.seed for s in scenarios] == list(SEEDS)


def test_nobody_overlaps_and_the_route_stays_on_the_map(scenarios: list[Scenario]) -> None:
    assert [t.what for s in scenarios for t in troubles(s)] == []


def test_lanes_are_lines_of_metres_that_join_where_they_follow_each_other(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        lanes = scenario.lanes
        for lane in range(len(lanes.count)):
            line = line_of(lanes, lane)
            step = np.hypot(np.diff(line.x), np.diff(line.y))
            assert np.abs(step - 1.0).max() < STRETCH, (scenario.name, lane)
            assert np.abs(np.diff(line.heading)).max() < 0.35
            for following in lanes.successor[lane][lanes.successor[lane] >= 0]:
                after = line_of(lanes, following)
                assert np.hypot(after.x[0] - line.x[-1], after.y[0] - line.y[-1]) < 0.02, (scenario.name, lane)
                assert np.cos(after.heading[0] - line.heading[-1]) > 0.999


def test_a_neighbour_lies_one_width_aside_at_the_metre_that_is_told(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        lanes = scenario.lanes
        for lane in np.flatnonzero(lanes.left >= 0):
            left, shift = lanes.left[lane], lanes.left_shift_m[lane]
            at = np.arange(0.0, min(lanes.length_m[lane], lanes.length_m[left] - shift))
            x, y, heading = poses(lanes, np.full(len(at), lane), at, np.zeros(len(at)))
            to_x, to_y, _ = poses(lanes, np.full(len(at), left), at + shift, np.zeros(len(at)))
            aside = (to_y - y) * np.cos(heading) - (to_x - x) * np.sin(heading)
            assert np.abs(aside - lanes.width_m[lane]).max() < 0.1, (scenario.name, lane)
            assert lanes.right[left] == lane


def test_gaps_along_a_lane_are_safe_at_the_start(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        traffic = scenario.traffic
        for lane in np.unique(traffic.lane):
            here = np.flatnonzero(traffic.lane == lane)
            here = here[np.argsort(traffic.s_m[here])]
            for behind, ahead in pairwise(here):
                gap = traffic.s_m[ahead] - traffic.s_m[behind] - 0.5 * traffic.length_m[[behind, ahead]].sum()
                needs = safe_gap_m(traffic.speed_mps[behind], traffic.speed_mps[ahead], 0.85, 1.4)
                assert gap > needs - 1e-9, (scenario.name, lane)


def test_the_ego_starts_on_the_route_with_road_and_time_before_it(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        route, ego = scenario.route, scenario.ego
        at = int(ego.s_m)
        assert route.lane[at, ACROSS] >= 0
        assert min(route.left_m[at], route.right_m[at]) > 0.5 * ego.width_m + 0.3
        assert (route.flow_left_m <= route.left_m + 1e-9).all()
        # What the policy sees of the way ahead does not end at the goal.
        assert len(route.x) - 1 >= route.length_m + 90.0
        assert 1.0 < scenario.expert_m <= route.length_m - ego.s_m + 1e-6
        assert np.abs(route.curvature).max() < 0.16
        assert len(scenario.traffic.lane) >= {"highway": 20, "merge": 20}.get(scenario.kind, 10)


def test_drivers_differ(scenarios: list[Scenario]) -> None:
    for name in ("desired_mps", "headway_s", "gap_m", "accel_mps2", "decel_mps2", "politeness", "length_m"):
        values = np.concatenate([getattr(s.traffic, name) for s in scenarios])
        assert len(np.unique(values)) > 0.5 * len(values), name


def test_at_crossings_somebody_goes_first_and_the_ego_not_always() -> None:
    crossings = [made.make("intersection", seed) for seed in range(20)]
    assert {s.details["priority"] for s in crossings} == {True, False}
    assert {s.details["turn"] for s in crossings} == {"straight", "right", "left"}
    for scenario in (*crossings[:6], made.make("roundabout", 0), made.make("merge", 0)):
        lanes = scenario.lanes
        rows = np.argwhere(lanes.yields_to >= 0)
        assert len(rows)
        for lane, i in rows:
            assert 0 < lanes.yield_at_m[lane, i] <= lanes.length_m[lane]
            assert lanes.yields_to[lane, i] != lane
    ways = {bool((s.lanes.yields_to[s.route.lane[:, ACROSS]] >= 0).any()) for s in crossings}
    assert ways == {True, False}


def test_nobody_goes_round_a_roundabout_for_ever() -> None:
    lanes = made.make("roundabout", 1).lanes
    for turn in range(3):
        for lane in range(len(lanes.count)):
            hops, at = 0, lane
            while at >= 0:
                row = lanes.successor[at]
                at, hops = int(row[turn] if row[turn] >= 0 else row[0]), hops + 1
                assert hops < 20


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="intersection"):
        made.make("intersektion", 0)
    with pytest.raises(UnknownNameError):
        made.make("replay", 0)
    with pytest.raises(UsageError, match="-1"):
        made.make("curve", -1)
