"""The expert of made scenarios."""

from __future__ import annotations

import array_api_compat.torch as torch
import numpy as np
import pytest
from support.driving import cars_at, scenario

from nightshift.driving.drivers import IdmDriver
from nightshift.driving.expert import Expert
from nightshift.driving.made import make
from nightshift.driving.pack import Pack
from nightshift.driving.rollout import drive
from nightshift.driving.score import closed_loop
from nightshift.driving.world import World


@pytest.mark.parametrize("traffic", ["idm", "gipps"])
def test_it_drives_better_than_the_idm_driver_where_roads_meet(traffic: str) -> None:
    scenarios = [make("intersection", seed) for seed in range(70000, 70016)]
    scenarios += [make("merge", seed) for seed in range(70000, 70008)]
    expert, idm = (drive(driver, scenarios, traffic=traffic) for driver in (Expert(), IdmDriver()))
    assert [h.scenario.name for h in expert if h.ending in ("collision", "off_road")] == []
    better, than = (np.mean([closed_loop(h).score for h in of]) for of in (expert, idm))
    assert better > than + 0.005


def test_it_overtakes_who_is_slower_smoothly() -> None:
    slow = cars_at([(0, 110.0)], speed_mps=8.0, desired_mps=8.0)
    history = drive(Expert(), [scenario(traffic=slow, duration_s=30.0, length_m=600.0)])[0]
    assert history.ending in ("timed_out", "arrived")
    assert history.speed_mps[-1] > 14.0
    # To the middle of the lane beside it, and no further.
    aside = np.abs(history.d_m)
    assert 3.0 < aside.max() < 4.2
    assert np.abs(np.diff(history.d_m)).max() < 0.5
    assert closed_loop(history).comfort == 1.0


def test_what_it_does_depends_on_no_other_environment_and_torch_agrees() -> None:
    scenarios = [make(kind, 70003) for kind in ("merge", "intersection", "highway")]
    one, all_ = (drive(Expert(), scenarios, n_envs=n) for n in (1, 3))
    assert all((a.x == b.x).all() and (a.action == b.action).all() for a, b in zip(one, all_, strict=True))
    pack = Pack.of(scenarios)
    worlds, drivers = (World(pack, 3), World(pack, 3, xp=torch)), (Expert(), Expert(xp=torch))
    for world in worlds:
        world.reset()
    for _ in range(60):
        asked = [driver.act(world) for driver, world in zip(drivers, worlds, strict=True)]
        assert np.abs(asked[0] - asked[1].numpy()).max() < 1e-9
        for world, action in zip(worlds, asked, strict=True):
            world.step(action)
