"""nuPlan's closed-loop score on episodes made by hand, each part at its threshold."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from support.episodes import Car, episode, road

from nightshift.driving.history import History
from nightshift.driving.lanes import Lanes, joined
from nightshift.driving.reward import RewardSettings
from nightshift.driving.scenario import STEP_S, Scenario
from nightshift.driving.score import SUB_SCORES, closed_loop, combined, mean_measures
from nightshift.driving.score_comfort import LIMITS, comfort, smoothed

# Behind the ego's rear axle lies 1 m of its 4.6 m: its front bumper is 3.6 m ahead of x.
FRONT = 3.6


def test_a_calm_drive_at_the_experts_pace_scores_one_in_every_part() -> None:
    got = closed_loop(episode(cars=[Car(90.0, speed=12.0), Car(40.0, speed=12.0), Car(62.0, 3.5, speed=12.0)]))
    assert {name: getattr(got, name) for name in SUB_SCORES} == dict.fromkeys(SUB_SCORES, 1.0)
    assert got.score == 1.0
    assert not got.collision
    assert got.min_ttc_s == np.inf


@pytest.mark.parametrize(
    ("faults", "want"),
    [
        ({}, 1.0),
        ({"progress": 0.5}, 13.5 / 16),
        ({"ttc": 0.0}, 11 / 16),
        ({"speed_limit": 0.25}, 13 / 16),
        ({"comfort": 0.0}, 14 / 16),
        ({"driving_direction": 0.5, "comfort": 0.0}, 7 / 16),
        ({"no_at_fault_collision": 0.5, "driving_direction": 0.5}, 0.25),
        ({"drivable_area": 0.0}, 0.0),
        ({"making_progress": 0.0, "progress": 0.1}, 0.0),
    ],
)
def test_parts_combine_as_factors_and_a_weighted_mean(faults: dict[str, float], want: float) -> None:
    assert combined(dict.fromkeys(SUB_SCORES, 1.0) | faults) == pytest.approx(want)


@pytest.mark.parametrize(
    ("speed", "expert_m", "share", "makes"),
    [
        (12.0, 240.0, 1.0, 1.0),
        (12.0, 200.0, 1.0, 1.0),
        (6.0, 240.0, 0.5, 1.0),
        (12.0, 1200.0, 0.2, 1.0),
        (12.0, 1201.0, 240 / 1201, 0.0),
        # Where the expert hardly moves, standing is as good.
        (0.0, 1.0, 1.0, 1.0),
        # No expert: what there is to the goal, 340 m.
        (8.5, 0.0, 0.5, 1.0),
    ],
)
def test_progress_is_the_share_of_the_experts_metres(speed: float, expert_m: float, share: float, makes: float) -> None:
    got = closed_loop(episode(speed=speed, on=road(expert_m=expert_m)))
    assert got.progress == pytest.approx(share)
    assert got.making_progress == makes


def test_going_back_is_no_progress() -> None:
    assert closed_loop(episode(speed=2.0, heading=np.pi, steps=10)).progress == 0.0


# Six steps of 0.2 s are looked at together, as in the devkit.
@pytest.mark.parametrize(("against_m", "want"), [(1.99, 1.0), (2.0, 0.5), (5.99, 0.5), (6.0, 0.0)])
def test_driving_against_the_route_counts_by_its_metres_within_a_second(against_m: float, want: float) -> None:
    got = closed_loop(episode(speed=against_m / (6 * STEP_S) + 1e-9, heading=np.pi, steps=20))
    assert got.driving_direction == want


@pytest.mark.parametrize(("flow_left_m", "want"), [(1.75, 0.0), (5.25, 1.0)])
def test_the_lane_of_oncoming_traffic_is_driven_against_its_flow(flow_left_m: float, want: float) -> None:
    got = closed_loop(episode(y=3.5, on=road(route_flow_left_m=flow_left_m)))
    assert got.driving_direction == want


@pytest.mark.parametrize(("over", "want"), [(-1.0, 1.0), (0.0, 1.0), (1.115, 1 - 0.5 * 1.01), (2.23, 0.0)])
def test_speeding_counts_by_how_much_and_how_long(over: float, want: float) -> None:
    got = closed_loop(episode(speed=15.0, steps=100, on=road(route_limit_mps=15.0 - over)))
    assert got.speed_limit == pytest.approx(want)


@pytest.mark.parametrize(("out_m", "want"), [(-0.1, 1.0), (0.0, 1.0), (0.299, 1.0), (0.301, 0.0)])
def test_a_corner_may_be_thirty_centimetres_beside_the_road(out_m: float, want: float) -> None:
    # The right edge lies 1.75 m from the line, the ego's right side 0.95 m from its middle.
    assert closed_loop(episode(y=-(1.75 + out_m - 0.95))).drivable_area == want


def crash(car: Car, **given: object) -> History:
    return episode(steps=20, cars=[car], ending="collision", **given)  # type: ignore[arg-type]


FRONT_CRASH = Car(60.0 + FRONT + 10.0, speed=4.0)
STANDING = Car(80.0)
FROM_BEHIND = Car(40.0, speed=20.0)
# Comes from the left, hits the ego's side behind its bumper.
ASIDE = Car(60.0, 3.0, speed=12.02, heading=-0.06)


@pytest.mark.parametrize(
    ("history", "want"),
    [
        (crash(FRONT_CRASH), 0.0),
        (crash(STANDING), 0.0),
        (crash(FROM_BEHIND), 1.0),
        (crash(FROM_BEHIND, speed=0.05), 1.0),
        (crash(Car(70.0, speed=5.0, heading=np.pi), speed=0.05), 1.0),
        (crash(Car(70.0, speed=5.0, heading=np.pi), speed=0.06), 0.0),
        (crash(ASIDE), 1.0),
        (crash(replace(ASIDE, y=4.5), y=1.0), 0.0),
    ],
    ids=["front", "standing", "hit behind", "ego stands", "ego stands, ahead", "creeps", "in lane", "between lanes"],
)
def test_a_collision_counts_where_it_is_the_egos_fault(history: History, want: float) -> None:
    got = closed_loop(history)
    assert got.collision
    assert got.no_at_fault_collision == want
    assert want or got.score == 0.0
    assert (got.min_ttc_s == 0.0) == (want == 0.0)


@pytest.mark.parametrize(
    ("sorts", "want"),
    [
        (("object", "vehicle"), 0.0),
        (("object", "object"), 0.0),
        (("object", None), 0.5),
        (("person", None), 0.0),
        (("vehicle", None), 0.0),
    ],
)
def test_one_object_halves_and_people_vehicles_and_a_second_one_take_all(
    sorts: tuple[str, str | None], want: float
) -> None:
    cars = [Car(80.0), Car(90.0, y=0.0 if sorts[1] else 50.0)]
    at = road(details={"sorts": (sorts[0], sorts[1] or "object")})
    assert closed_loop(episode(steps=20, cars=cars, on=at)).no_at_fault_collision == want


@pytest.mark.parametrize(("sort", "want"), [("vehicle", 1.0), ("person", 1.0), ("object", 0.5)])
def test_an_object_stands_whatever_the_noise_of_its_track_says(sort: str, want: float) -> None:
    # From aside, fully in one lane: a vehicle's own fault, were it not a thing that stands.
    at = road(details={"sorts": (sort,)})
    assert closed_loop(crash(ASIDE, on=at)).no_at_fault_collision == want


def nearing(gap_m: float, *, x: float = 60.0, y: float = 0.0, ego_y: float = 0.0) -> History:
    """A car `gap_m` ahead with the ego's pace, which for one moment drives 5 m/s more slowly."""
    made = episode(cars=[Car(x + FRONT + gap_m + 2.3, y, speed=12.0)], y=ego_y)
    speed = made.cars_speed_mps.copy()
    speed[50] = 7.0
    return replace(made, cars_speed_mps=speed)


@pytest.mark.parametrize(("gap_m", "ttc", "want"), [(14.6, np.inf, 1.0), (4.9, 1.0, 1.0), (4.4, 0.9, 0.0)])
def test_time_to_collision_is_found_in_steps_of_a_tenth(gap_m: float, ttc: float, want: float) -> None:
    got = closed_loop(nearing(gap_m))
    assert got.min_ttc_s == pytest.approx(ttc)
    assert got.ttc == want


def beside(**given: object) -> History:
    """A car beside the ego that for one moment points into it."""
    made = episode(cars=[Car(62.0, 3.0, speed=12.0)], **given)  # type: ignore[arg-type]
    heading = made.cars_heading.copy()
    heading[50] = -0.5
    return replace(made, cars_heading=heading, cars_speed_mps=made.cars_speed_mps / np.cos(heading))


def test_a_car_beside_counts_while_the_ego_is_between_lanes_or_at_a_crossing() -> None:
    assert closed_loop(beside()).ttc == 1.0
    assert closed_loop(beside(y=0.9)).ttc == 0.0
    assert closed_loop(beside(on=crossed(road(), 182.0))).ttc == 0.0


def crossed(scenario: Scenario, x_m: float) -> Scenario:
    """The same with a lane that runs across the road."""
    lanes, n = scenario.lanes, 61
    alone = {f.name: getattr(lanes, f.name)[:1] for f in fields(Lanes)}
    points = {
        "x": np.full(n, x_m),
        "y": np.arange(n) - 30.0,
        "heading": np.full(n, np.pi / 2),
        "curvature": np.zeros(n),
    }
    both, _ = joined([lanes, Lanes(**alone | points | {"count": np.array([n])})])
    return replace(scenario, lanes=both)


def felt_by(name: str, share: float) -> History:
    """An episode in which one thing is felt, `share` of its limit."""
    limit = LIMITS[name][1] * share
    t = np.arange(8) * STEP_S
    if name == "acceleration_mps2":
        return episode(steps=7, accel=limit)
    if name == "jerk_along_mps3":
        return episode(steps=7, accel=-3.45 + limit * t)
    if name == "yaw_acceleration_radps2":
        # Turns one way, then the other, so that the rate stays small.
        t = t[:5] - 0.4
        return episode(steps=4, speed=0.1, heading=limit * t**2 / 2)
    if name == "jerk_mps3":
        t = t[:3]
        return episode(steps=2, speed=60.0, heading=limit * t**2 / 2 / 60.0, on=road(route_limit_mps=60.0))
    speed = 20.0 if name == "sideways_mps2" else 1.0
    return episode(steps=7, speed=speed, heading=limit / speed * t)


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_of_comfort_is_where_the_devkit_has_it(name: str) -> None:
    assert comfort(felt_by(name, 0.99)) == (1.0, ())
    assert comfort(felt_by(name, 1.01)) == (0.0, (name,))


def test_braking_has_its_own_limit() -> None:
    assert comfort(episode(accel=-4.04))[0] == 1.0
    assert comfort(episode(accel=-4.06)) == (0.0, ("acceleration_mps2",))


def test_a_single_rough_sample_is_smoothed_as_by_the_filter() -> None:
    from scipy.signal import savgol_filter

    rough = np.zeros(30)
    rough[12] = 2.0
    assert smoothed(rough, 7, 2, 1) == pytest.approx(savgol_filter(rough, 7, 2, deriv=1, delta=STEP_S))
    assert smoothed(rough[:2], 7, 2, 1) == pytest.approx(np.zeros(2))
    assert smoothed(rough[:1], 7, 2, 1) == pytest.approx([0.0])


def test_the_shortest_episode_has_a_score() -> None:
    got = closed_loop(episode(steps=0, cars=[Car(90.0, speed=12.0)]))
    assert got.making_progress == 0.0
    assert got.comfort == got.speed_limit == got.ttc == 1.0


def test_absent_cars_hit_nobody() -> None:
    made = episode(cars=[Car(100.0)])
    gone = np.full_like(made.cars_x, np.nan)
    got = closed_loop(replace(made, cars_x=gone, cars_y=gone, cars_heading=gone, cars_speed_mps=gone))
    assert got.score == 1.0
    assert not got.collision


def test_means_are_taken_measure_by_measure() -> None:
    got = mean_measures([closed_loop(episode()), closed_loop(crash(STANDING))])
    assert got["score"] == pytest.approx(0.5)
    assert got["collision"] == pytest.approx(0.5)
    assert mean_measures([]) == {}


def test_the_documentation_names_every_part_setting_and_limit() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "driving-score.md").read_text(encoding="utf-8")
    assert [name for name in SUB_SCORES if f"| `{name}` |" not in text] == []
    settings = {k: f.default for k, f in RewardSettings.model_fields.items()}
    assert [k for k, v in settings.items() if f"| `{k}` | {v:g} |" not in text] == []
    assert [high for _, high in LIMITS.values() if f"{high:.2f}" not in text] == []
