"""Experts watched on a hand-made road, and what is kept of it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from support.driving import scenario

from nightshift.driving import keeping
from nightshift.driving.drivers import ConstantSpeed, IdmDriver
from nightshift.driving.imitate.demonstrations import Demonstrations, Disturbance, joined, kept, watch
from nightshift.driving.imitate.experts import RecordedExpert, demonstrations_of
from nightshift.driving.observe import LAYOUT
from nightshift.driving.pack import Pack
from nightshift.driving.scenario import Scenario, Tracks
from nightshift.driving.world import World
from nightshift.errors import DataError, InterruptedTraining

PUSHED = Disturbance(accel_mps2=2.0, steer_share=0.2, share=1.0)


def roads(n: int = 2, duration_s: float = 4.0) -> list[Scenario]:
    return [scenario(f"road_{i}", duration_s=duration_s, speed_mps=12.0 + i) for i in range(n)]


def world(scenarios: list[Scenario], n_envs: int = 2) -> World:
    return World(Pack.of(scenarios), n_envs, traffic="idm", order="once")


def same(a: Demonstrations, b: Demonstrations) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def test_every_step_of_every_scenario_is_kept_episode_by_episode() -> None:
    found = watch(world(roads(3)), IdmDriver())
    assert len(found) == 3 * 20
    assert np.unique(found.episode, return_counts=True)[1].tolist() == [20, 20, 20]
    assert (np.diff(found.episode) >= 0).all()
    assert not found.over.any()
    assert found.observation.dtype == found.action.dtype == np.float32


def test_a_disturbance_changes_what_is_driven_and_not_what_is_answered() -> None:
    still, pushed = watch(world(roads()), ConstantSpeed()), watch(world(roads()), ConstantSpeed(), disturbance=PUSHED)
    # This driver never touches a pedal: whatever speeds the car up is the disturbance.
    assert (pushed.action[:, 0] == 0).all()
    assert np.ptp(still.observation[:, 0]) < 0.05
    assert np.ptp(pushed.observation[:, 0]) > np.ptp(still.observation[:, 0])
    # Off the line, where an undisturbed one never is, it still follows the route, which is what actions are about.
    aside = [entry.name for entry in LAYOUT].index("ego_route_d")
    assert np.abs(pushed.observation[:, aside]).max() > 5 * np.abs(still.observation[:, aside]).max()
    assert np.abs(pushed.action[:, 1]).max() < 1e-6


def test_the_same_seed_sees_the_same_and_another_seed_something_else() -> None:
    one, again, other = (watch(world(roads()), IdmDriver(), disturbance=PUSHED, seed=seed) for seed in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other)


def test_an_episode_in_which_the_expert_crashes_is_no_example() -> None:
    fast = scenario("fast", speed_mps=20.0, duration_s=6.0)
    slow = replace(fast.traffic, speed_mps=np.zeros(6), desired_mps=np.full(6, 0.1))
    crashing = replace(fast, traffic=slow)
    found = watch(world([crashing, roads(1)[0]]), ConstantSpeed())
    assert len(np.unique(found.episode)) == 1
    with pytest.raises(DataError, match="no demonstration"):
        watch(world([crashing], 1), ConstantSpeed())


def test_watching_ends_when_it_is_asked_to() -> None:
    with pytest.raises(InterruptedTraining):
        watch(world(roads()), IdmDriver(), should_stop=lambda: True)


def recorded() -> Scenario:
    road, steps = scenario("recorded", duration_s=2.0), 11
    pose = {name: np.zeros((steps, 7)) for name in ("x", "y", "heading", "speed_mps")}
    tracks = Tracks(**pose, there=np.zeros((steps, 7), bool))
    actions = np.column_stack([np.linspace(0.0, 1.5, steps - 1), np.full(steps - 1, 0.001)])
    return replace(road, kind="replay", tracks=tracks, details={"actions": actions})


def test_a_recorded_driver_asks_for_what_was_recorded_step_by_step() -> None:
    expert, drives = RecordedExpert([recorded(), recorded()]), World(Pack.of(roads(2)), 2, order="once")
    drives.reset()
    assert expert.act(drives).tolist() == [[0.0, 0.001], [0.0, 0.001]]
    for _ in range(12):
        drives.step(expert.act(drives))
    assert expert.act(drives)[:, 0].tolist() == [1.5, 1.5]


def test_made_and_recorded_scenarios_give_one_set_of_episodes() -> None:
    heard: list[int] = []
    made = demonstrations_of(roads(1), disturbance=PUSHED, seed=0)
    both = demonstrations_of([*roads(1), recorded()], disturbance=PUSHED, seed=0, on_episodes=heard.append)
    assert heard == [1, 2]
    assert len(np.unique(both.episode)) == 2
    assert np.array_equal(both.action[: len(made)], made.action)
    # Never disturbed: half of 3 m/s2 at the end, as it was recorded.
    assert both.action[-1, 0] == pytest.approx(0.5)


def test_what_cannot_teach_is_refused() -> None:
    with pytest.raises(DataError, match="no recorded actions"):
        RecordedExpert(roads(1))
    with pytest.raises(DataError, match="no scenario"):
        demonstrations_of([], disturbance=PUSHED, seed=0)
    good = watch(world(roads(1), 1), IdmDriver())
    bad = good.action.copy()
    bad[3, 0] = np.nan
    with pytest.raises(DataError, match="missing or infinite"):
        replace(good, action=bad).checked()
    with pytest.raises(DataError, match=r"\[-1, 1\]"):
        replace(good, action=good.action + 2).checked()
    with pytest.raises(DataError, match="different widths"):
        joined([good, replace(good, observation=good.observation[:, :5])])


def test_demonstrations_are_made_once_for_the_same_facts(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> Demonstrations:
        made.append(1)
        return watch(world(roads(1), 1), IdmDriver())

    first = kept(tmp_path, {"dataset": "a"}, make)
    again = kept(tmp_path, {"dataset": "a"}, make)
    assert same(first, again)
    assert len(made) == 1
    kept(tmp_path, {"dataset": "b"}, make)
    assert len(made) == 2
    max(tmp_path.iterdir()).write_bytes(b"PK nothing")
    kept(tmp_path, {"dataset": "a"}, make)
    kept(tmp_path, {"dataset": "b"}, make)
    assert len(made) == 3
    whole = min(tmp_path.iterdir())
    whole.write_bytes(whole.read_bytes()[:-50])
    kept(tmp_path, {"dataset": "a"}, make)
    kept(tmp_path, {"dataset": "b"}, make)
    assert len(made) == 4


def test_demonstrations_of_other_code_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Demonstrations:
        return watch(world(roads(1), 1), IdmDriver())

    kept(tmp_path, {"dataset": "a"}, make)
    monkeypatch.setattr(keeping, "code_of", lambda _module: "another driver")
    kept(tmp_path, {"dataset": "a"}, make)
    assert len(list(tmp_path.iterdir())) == 2
