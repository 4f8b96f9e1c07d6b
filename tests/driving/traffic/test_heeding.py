"""Other drivers heed an ego car whose way meets theirs, whatever right of way it had."""

from __future__ import annotations

import array_api_compat.torch as torch
import numpy as np
import pytest

from nightshift.driving.drivers import IdmDriver
from nightshift.driving.made import make
from nightshift.driving.pack import Pack
from nightshift.driving.rollout import drive
from nightshift.driving.traffic.heeding import Heeding
from nightshift.driving.traffic.ways import Ways
from nightshift.driving.world import World

#: Scenarios in which an IDM driver, who gives way to nobody, met cars that had a chance to brake.
MET = {
    "idm": {"intersection": (70039, 85005, 85010, 85017, 85019, 85020, 85029, 85050), "merge": (70008, 70027, 85043)},
    "gipps": {"intersection": (85020, 85037, 85052), "merge": (85058,)},
}


@pytest.mark.parametrize("traffic", ["idm", "gipps"])
def test_nobody_runs_into_an_ego_that_drives_steadily(traffic: str) -> None:
    scenarios = [make(kind, seed) for kind in ("intersection", "merge") for seed in MET[traffic][kind]]
    histories = drive(IdmDriver(), scenarios, traffic=traffic)
    assert [h.scenario.name for h in histories if h.ending == "collision"] == []


def test_an_ego_that_stands_in_a_crossing_is_not_driven_into() -> None:
    world = World(Pack.of([make("intersection", seed) for seed in range(8)]), 8, order="once")
    world.reset()
    for _ in range(190):
        # From before the crossing they go on at a walk, and stop for good in the midst of it.
        left = 14.0 + np.array([world.pack.lanes.length_m[lane] for lane in world.pack.lane[world.pack.first, 5]])
        speed = np.where(world.sight.s_m > left - 3.0, 0.0, 4.0)
        steer = np.arctan2(world.sight.way_y[:, 0], world.sight.way_x[:, 0])
        world.advance(np.stack([np.clip(2.0 * (speed - world.ego.speed), -6.0, 2.0), steer], axis=1))
        assert not (world.sight.collided & ~world.sight.at_fault).any()
        world.renew()
    assert (world.ego.speed < 0.1).sum() >= 4


def test_the_others_know_which_way_the_ego_turns() -> None:
    scenarios = [make("intersection", seed) for seed in range(6)]
    pack = Pack.of(scenarios)
    heeding = Heeding.of(np, pack, Ways.of(np, pack.lanes))
    for k, scenario in enumerate(scenarios):
        inwards, across = scenario.route.lane[[0, int(scenario.route.length_m) - 85], 5]
        turn = heeding.turn[heeding.lane_shift[k] + pack.lane_first[k] + inwards]
        assert scenario.lanes.successor[inwards, turn] == across
    assert heeding.turns


def test_worlds_of_torch_heed_alike() -> None:
    pack = Pack.of([make("intersection", 85020), make("merge", 70027), make("roundabout", 85020)])
    worlds = World(pack, 3, order="once"), World(pack, 3, order="once", xp=torch)
    for world in worlds:
        world.reset()
    for _ in range(100):
        for world, driver in zip(worlds, (IdmDriver(), IdmDriver(xp=torch)), strict=True):
            world.step(driver.act(world))
    assert np.abs(worlds[0].cars.x - worlds[1].cars.x.numpy()).max() < 1e-9
