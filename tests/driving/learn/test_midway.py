from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.driving import cars_at, scenario

from nightshift.driving.drivers import ConstantSpeed, IdmDriver
from nightshift.driving.learn.midway import _arrays, along_the_way, kept_along
from nightshift.driving.pack import Pack
from nightshift.driving.scenario import STEP_S, Scenario, Tracks
from nightshift.driving.starts import Starts
from nightshift.driving.world import World

EACH = 5


def recorded() -> Scenario:
    """A column of cars at 15 m/s, 15 m apart, in which the ego is fourth of five."""
    time, first = np.arange(51) * STEP_S, np.array([60.0, 75.0, 45.0, 30.0, 15.0])
    made = scenario(traffic=cars_at([(0, x) for x in first[1:]]), duration_s=10.0)
    still = np.zeros((51, 5))
    tracks = Tracks(first + 15.0 * time[:, None], still, still, still + 15.0, still == 0.0)
    return replace(made, name="recorded_0", kind="replay", tracks=tracks)


def some(n_envs: int, **given: Any) -> tuple[World, World]:
    """The world to learn on, and the one in which the expert is watched."""
    pack = Pack.of([scenario(cars=3, name="a"), scenario(cars=0, name="b"), scenario(cars=2, name="c")])
    return World(pack, n_envs, seed=1, **given), World(pack, 2, seed=1, order="once")


def places(watched: World, expert: Any = None, seed: int = 0) -> Starts:
    return along_the_way(watched, expert or IdmDriver(), each=EACH, seed=seed)


def test_places_lie_on_the_experts_way_at_all_times_of_it() -> None:
    _, watched = some(1)
    starts = places(watched)
    assert len(starts.step) == 3 * (1 + EACH)
    assert (starts.step[:3] == 0).all()
    later = starts.step[3:].reshape(EACH, 3)
    assert (later > 0).all()
    assert len(np.unique(later)) > EACH
    assert (starts.ride.scenario.reshape(-1, 3) == [0, 1, 2]).all()
    # The expert without anybody ahead of it, driven once more by hand.
    alone = World(watched.pack, 1, seed=1, order="once")
    alone.reset(scenario=[1])
    way = [alone.sight.s_m[0]]
    while alone.ride.scenario[0] == 1 and len(way) < later[:, 1].max() + 1:
        alone.step(IdmDriver().act(alone))
        way.append(alone.sight.s_m[0])
    assert starts.sight.s_m[3:].reshape(EACH, 3)[:, 1] == pytest.approx([way[step] for step in later[:, 1]])
    again = places(some(1)[1])
    np.testing.assert_array_equal(again.observation, starts.observation)
    assert (places(some(1)[1], seed=1).step != starts.step).any()


def test_they_are_driven_once_for_the_same_facts_and_are_the_same_bits_when_read(tmp_path: Path) -> None:
    driven: list[int] = []

    def starts(dataset: str = "a", seed: int = 0) -> Starts:
        world, facts = some(1)[1], {"dataset": dataset, "seed": seed}

        def drive() -> Starts:
            return along_the_way(world, IdmDriver(), each=EACH, seed=seed, on_episodes=driven.append)

        return kept_along(tmp_path, facts, some(9)[0].starts, EACH, drive)

    def same(one: Any, other: Any) -> bool:
        pairs = zip(_arrays(one), _arrays(other), strict=True)
        return all(np.array_equal(a, b) and a.dtype == b.dtype and n == m for (n, a), (m, b) in pairs)

    whole = places(some(1)[1])
    assert same(starts(), whole)
    assert same(starts(), whole)
    assert len(driven) == 3
    assert not same(starts(seed=1), whole)
    assert same(starts("b"), whole)
    assert len(driven) == 9
    # Of another shape, with a hole, cut off: driven anew each time.
    path = max(tmp_path.iterdir(), key=lambda p: p.stat().st_mtime_ns)
    content, torn = dict(np.load(path)), path.read_bytes()[:-50]
    for spoilt in ({"step": content["step"][1:]}, {"ego.x": content["ego.x"] * np.nan}, {"other": content["step"]}):
        np.savez(path, **{**content, **spoilt})
        assert same(starts("b"), whole)
    path.write_bytes(torn)
    assert same(starts("b"), whole)
    assert len(driven) == 21


def test_episodes_begin_there_by_their_share_and_the_first_ones_all() -> None:
    world, watched = some(400)
    world.begin_along(places(watched), 0.25)
    seen = world.reset()
    assert (world.count.step > 0).all()
    assert len(np.unique(world.count.step)) > EACH
    row = np.flatnonzero((world.starts.observation == seen[7]).all(axis=1))
    assert (world.starts.step[row] == world.count.step[7]).all()
    world.abandon()
    later = world.count.step > 0
    assert 0.18 < later.mean() < 0.32
    # The way that the expert has driven counts for nobody.
    assert (world.count.begun_m[later] > world.count.start_m[later]).all()
    assert (world.count.begun_m[~later] == world.count.start_m[~later]).all()
    left = world.pack.expert_m[world.ride.scenario] - (world.count.begun_m - world.count.start_m)
    begun, running = world.count.begun_m, np.ones(400, np.bool_)
    while running.any():
        farthest = world.count.farthest_m + world.ego.speed * STEP_S
        _, _, _, _, ended = world.step(np.zeros((400, 2)))
        over = ended.done & running
        wanted = np.minimum((farthest - begun) / np.maximum(left, 1.0), 1.0)
        assert ended.progress[over] == pytest.approx(wanted[over], abs=1e-3)
        running &= ~over


def test_the_state_goes_on_exactly_from_places_too() -> None:
    worlds = []
    for _ in range(2):
        world, watched = some(8)
        world.begin_along(places(watched), 0.5)
        worlds.append(world)
    whole, taken_up = worlds
    whole.reset()
    taken_up.reset(seed=9)
    action = np.zeros((8, 2))
    for _ in range(20):
        whole.step(action)
    taken_up.load_state_dict(whole.state_dict())
    for _ in range(60):
        one, other = whole.step(action), taken_up.step(action)
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_nobody_begins_where_the_expert_is_about_to_crash() -> None:
    # A car that stands 100 m ahead, and an expert who keeps its speed of 15 m/s.
    standing = replace(
        scenario(traffic=cars_at([(0, 160.0)], speed_mps=0.0, desired_mps=0.0), speed_mps=15.0), name="a"
    )
    world = World(Pack.of([standing]), 1, seed=1, order="once")
    ends = world.reset() is not None and 0
    while world.running.any():
        _, _, _, _, ended = world.step(ConstantSpeed().act(world))
        ends = int(ended.steps[0]) if ended.done[0] else ends
    assert 20 < ends < 40
    starts = along_the_way(World(world.pack, 1, seed=1, order="once"), ConstantSpeed(), each=40, seed=0)
    assert starts.step.max() <= ends - 15
    assert (starts.step[1:] == 0).any()
    assert (starts.step[1:] > 0).any()


@pytest.mark.parametrize("traffic", ["log", "log_reactive"])
def test_the_cars_of_a_recording_are_where_they_were_at_that_time(traffic: str) -> None:
    pack = Pack.of([recorded(), scenario(cars=3)])
    world = World(pack, 32, seed=1, traffic=traffic)
    world.begin_along(
        along_the_way(World(pack, 2, traffic=traffic, order="once"), ConstantSpeed(), each=8, seed=0), 0.5
    )
    world.reset()
    row = world.ride.scenario == 0
    assert 8 < row.sum() < 24
    assert len(np.unique(world.count.step[row])) > 3
    if traffic == "log":
        where = 75.0 + 15.0 * STEP_S * world.count.step[row]
        assert world.cars.x[row, 1] == pytest.approx(where)
    x, there = world.cars.x[row].copy(), world.cars.there[row].copy()
    _, _, terminated, truncated = world.step(np.zeros((32, 2)))[:4]
    on = row & ~(terminated | truncated)
    assert on.sum() > row.sum() // 2
    still = on[row]
    moved = (world.cars.x[on] - x[still])[there[still]]
    np.testing.assert_allclose(moved, 15.0 * STEP_S, atol=0.6)
