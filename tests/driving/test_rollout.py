"""Scenarios driven once each, whole and alike in whatever company."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from support.driving import scenario
from support.episodes import recorded

from nightshift.driving.drivers import ConstantSpeed, IdmDriver, LogReplay
from nightshift.driving.history import History
from nightshift.driving.made import make
from nightshift.driving.observe import N_OBS
from nightshift.driving.rollout import MADE_TRAFFIC, RECORDED_TRAFFIC, drive, judged, rivals, traffic_for
from nightshift.driving.scenario import STEP_S, Scenario
from nightshift.driving.score import SUB_SCORES, closed_loop
from nightshift.driving.world import World


def some() -> list[Scenario]:
    """Of different lengths, kinds and numbers of cars; the last two end before their time."""
    return [
        scenario("a_0", duration_s=3.0),
        scenario("a_1", duration_s=5.0, curvature=1 / 150.0, cars=3),
        scenario("a_2", duration_s=2.0, cars=0),
        scenario("a_3", duration_s=8.0, goal_m=120.0),
        scenario("a_4", duration_s=4.0, goal_m=90.0, speed_mps=10.0),
    ]


def arrays(history: History) -> dict[str, np.ndarray]:
    return {f.name: v for f in fields(History) if isinstance(v := getattr(history, f.name), np.ndarray)}


@pytest.mark.parametrize("n_envs", [1, 2, 3])
def test_histories_are_the_same_in_batches_of_any_size(n_envs: int) -> None:
    made = some()
    want, got = drive(IdmDriver(), made), drive(IdmDriver(), made, n_envs=n_envs)
    for a, b in zip(want, got, strict=True):
        for name, array in arrays(a).items():
            assert np.array_equal(array, arrays(b)[name], equal_nan=True), name


def test_a_history_holds_the_start_every_step_and_the_end() -> None:
    made = some()
    for one, history in zip(made, drive(ConstantSpeed(), made, observations=True), strict=True):
        steps, n = len(history.reward), len(one.traffic.lane)
        assert history.x[0] == pytest.approx(60.0 if one.kind == "highway" else 150.0 * np.sin(60 / 150))
        assert history.s_m[0] == pytest.approx(60.0)
        assert {len(v) for name, v in arrays(history).items() if name[:4] != "cars"} == {steps, steps + 1}
        assert history.action.shape == (steps, 2)
        assert history.observation.shape == (steps, N_OBS)
        assert history.cars_x.shape == (steps + 1, n)
        assert np.diff(history.s_m) == pytest.approx(history.speed_mps[:-1] * STEP_S, abs=0.01)
        assert history.reward.sum() > 0
    endings = [h.ending for h in drive(ConstantSpeed(), made)]
    assert endings == ["timed_out", "timed_out", "timed_out", "arrived", "arrived"]


class Restless:
    """The IDM driver with an unsteady hand and foot."""

    def __init__(self) -> None:
        self.rng, self.off = np.random.default_rng(0), np.zeros(2)

    def act(self, world: World) -> np.ndarray:
        action = IdmDriver().act(world)
        self.off = 0.9 * self.off + self.rng.normal(size=action.shape) * [1.4, 0.016]
        asked: np.ndarray = action + self.off
        return asked


def test_the_score_sees_the_crashes_that_the_world_sees() -> None:
    histories = drive(Restless(), [make("highway", i) for i in range(12)])
    scores = [closed_loop(h) for h in histories]
    crashed = [h.ending == "collision" for h in histories]
    assert [s.collision for s in scores] == crashed
    assert [s.drivable_area == 0.0 for s in scores] == [h.ending == "off_road" for h in histories]
    # The reward of the last step is negative where the world thought it the ego's fault.
    at_fault = [bool(h.reward[-1] < 0) and crash for h, crash in zip(histories, crashed, strict=True)]
    assert [s.no_at_fault_collision == 0.0 for s in scores] == at_fault
    assert 3 < sum(crashed) < 12
    assert any(at_fault)


def test_absent_cars_stand_as_nothing() -> None:
    made = recorded()
    assert made.tracks is not None
    there = made.tracks.there.copy()
    there[:, 1] = False
    there[0, 1] = True
    gone = drive(IdmDriver(), [replace(made, tracks=replace(made.tracks, there=there))], traffic="log")[0]
    assert np.isfinite(gone.cars_x[0]).all()
    assert np.isnan(gone.cars_x[1:]).all()
    assert np.isfinite(drive(IdmDriver(), [made], traffic="log")[0].cars_x).all()


def test_made_and_recorded_scenarios_have_their_own_traffic() -> None:
    assert traffic_for(some()) == MADE_TRAFFIC
    assert traffic_for([recorded()]) == RECORDED_TRAFFIC
    assert traffic_for([recorded(), some()[0]]) == MADE_TRAFFIC


def test_judged_drives_have_every_measure() -> None:
    got = judged("IDM driver", "baseline", drive(IdmDriver(), some()))
    assert [e.scenario for e in got.episodes] == [s.name for s in some()]
    assert [e.kind for e in got.episodes] == [s.kind for s in some()]
    assert {e.traffic for e in got.episodes} == {"idm"}
    assert set(got.episodes[0].measures) == {"score", "collision", *SUB_SCORES}
    assert got.rows("test")[0].metrics["score"] == pytest.approx(np.mean([e.measures["score"] for e in got.episodes]))


def test_the_rivals_of_made_scenarios_are_rules_and_of_recorded_ones_people_too() -> None:
    made = rivals(some()[:2])
    assert [(d.who, d.kind) for d in made] == [("IDM driver", "baseline"), ("constant speed", "baseline")]
    assert [(e.scenario, e.traffic) for e in made[0].episodes] == [
        ("a_0", "idm"), ("a_1", "idm"), ("a_0", "gipps"), ("a_1", "gipps"),
    ]  # fmt: skip
    assert made[0].statistics().units == ["a_0", "a_1"]
    people = rivals([recorded()])[-1]
    assert (people.who, people.kind) == ("log replay", "reference")
    assert [e.traffic for e in people.episodes] == ["log_reactive", "log"]
    assert people.episodes[1].measures["progress"] == 1.0


def test_others_replay_their_recording_too() -> None:
    made = recorded()
    assert made.tracks is not None
    history = drive(LogReplay(), [made], traffic="log")[0]
    assert (history.cars_x[:, 0] == made.tracks.x[:, 1]).all()
    assert (history.cars_speed_mps[:, 0] == made.tracks.speed_mps[:, 1]).all()
