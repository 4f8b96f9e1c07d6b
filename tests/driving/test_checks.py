"""Scenarios that cannot be driven are named, with the car or the place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightshift.driving import made
from nightshift.driving.checks import check, gathered, overlapping, troubles
from nightshift.driving.scenario import ACROSS, Scenario, Tracks
from nightshift.errors import DataError


@pytest.fixture
def scenario() -> Scenario:
    return made.make("curve", 3)


def with_a_car_moved(scenario: Scenario, s_m: float) -> Scenario:
    """Put the first car that has one ahead on its lane to a metre of that lane."""
    moved = scenario.traffic.s_m.copy()
    moved[0] = s_m
    return replace(scenario, traffic=replace(scenario.traffic, s_m=moved))


def recorded(scenario: Scenario) -> Scenario:
    n = 1 + len(scenario.traffic.lane)
    far = np.tile(np.arange(n) * 50.0, (4, 1))
    there = np.ones((4, n), bool)
    there[:2, 2] = False
    return replace(scenario, tracks=Tracks(far, far.copy(), far * 0, far * 0 + 5.0, there))


def test_a_sound_scenario_passes(scenario: Scenario) -> None:
    check(scenario)
    check(recorded(scenario))
    assert list(troubles(scenario)) == []


def test_two_cars_in_one_place_are_named(scenario: Scenario) -> None:
    traffic = scenario.traffic
    other = int(np.flatnonzero(traffic.lane == traffic.lane[0])[1])
    broken = with_a_car_moved(scenario, float(traffic.s_m[other]) + 1.0)
    assert overlapping(broken) == (1, other + 1)
    with pytest.raises(DataError, match=f"D031: scenario 'curve_000003': car 1 and car {other + 1} overlap"):
        check(broken)


def test_a_car_in_the_ego_is_named(scenario: Scenario) -> None:
    own = int(scenario.route.lane[int(scenario.ego.s_m), ACROSS])
    lane = scenario.traffic.lane.copy()
    lane[0] = own
    broken = with_a_car_moved(scenario, scenario.ego.s_m)
    broken = replace(broken, traffic=replace(broken.traffic, lane=lane))
    with pytest.raises(DataError, match="the ego car and car 1 overlap"):
        check(broken)


def test_cars_side_by_side_and_cars_that_come_later_do_not_overlap(scenario: Scenario) -> None:
    close = recorded(scenario)
    assert close.tracks is not None
    # Two cars that are there from the beginning, abreast; and one in the place of another, but later.
    close.tracks.x[:, 3:] += 100.0
    close.tracks.x[:, 2] = close.tracks.x[:, 1]
    close.tracks.y[:, 2] = close.tracks.y[:, 1]
    assert overlapping(close) is None
    close.tracks.there[:, 2] = True
    assert overlapping(close) == (1, 2)
    close.tracks.y[:, 2] += 3.0
    assert overlapping(close) is None


@pytest.mark.parametrize("how", ["goal", "start", "aside", "none"])
def test_a_route_off_the_map_is_told_with_its_place(scenario: Scenario, how: str) -> None:
    route = scenario.route
    if how == "goal":
        broken, said = replace(route, length_m=len(route.x) + 5.0), "its goal lies at metre"
    elif how == "start":
        broken, said = replace(route, length_m=scenario.ego.s_m - 1.0), "its ego starts at metre 150.0"
    elif how == "aside":
        y = route.y.copy()
        y[77:] += 4.0
        broken, said = replace(route, y=y), "leaves the lanes at metre 77"
    else:
        lane = route.lane.copy()
        lane[40, ACROSS] = -1
        broken, said = replace(route, lane=lane), "leaves the lanes at metre 40"
    with pytest.raises(DataError, match=said) as refused:
        check(replace(scenario, route=broken))
    assert refused.value.what.startswith("D032")


def test_holes_in_tracks_and_in_traffic_are_told(scenario: Scenario) -> None:
    broken = recorded(scenario)
    assert broken.tracks is not None
    # Where a car is not seen, there need not be a number.
    broken.tracks.x[0, 2] = np.nan
    check(broken)
    broken.tracks.speed_mps[3, 2] = np.nan
    with pytest.raises(DataError, match=r"D033.*the track of car 2 has no speed_mps at step 3"):
        check(broken)
    speeds = scenario.traffic.speed_mps.copy()
    speeds[4] = np.inf
    with pytest.raises(DataError, match=r"traffic\.speed_mps"):
        check(replace(scenario, traffic=replace(scenario.traffic, speed_mps=speeds)))


def test_a_set_is_told_of_in_one_finding_a_code(scenario: Scenario) -> None:
    off = replace(scenario, route=replace(scenario.route, length_m=1e6))
    (found,) = gathered(t for s in (off, off, scenario, off, off) for t in troubles(s))
    assert (found.code, found.severity) == ("D032", "blocker")
    assert found.what.endswith("And 1 more.")
