from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.driving import Still, cars_at, scenario

from nightshift.driving.observe import CLIP, LAYOUT, N_OBS, SPEED, SPEED_SCALE, fingerprint, table
from nightshift.driving.pack import Pack
from nightshift.driving.scenario import Scenario
from nightshift.driving.world import World

PLACE = {entry.name: i for i, entry in enumerate(LAYOUT)}


def observed(of: Scenario, **moved: float) -> np.ndarray:
    world = World(Pack.of([of]), 1, traffic=Still())
    world.reset()
    for name, value in moved.items():
        getattr(world.ego, name)[0] = value
    # A step of nothing brings the ego's new place into sight.
    found: np.ndarray = world.step(np.zeros((1, 2)))[0][0]
    return found


def test_every_entry_has_a_name_of_its_own_a_scale_and_a_meaning() -> None:
    assert len(PLACE) == N_OBS
    assert all(entry.scale > 0 and entry.meaning for entry in LAYOUT)
    assert table().count("\n") == N_OBS + 1
    assert "| `car1_vx` | m/s | 20 |" in table()
    assert len(fingerprint()) == 16


def test_values_are_in_the_frame_of_the_ego_on_their_scales() -> None:
    traffic = cars_at([(1, 81.3)], speed_mps=11.0)
    got = observed(scenario(traffic=traffic, speed_mps=15.0))
    # After a step of 0.2 s the ego is 3 m on, the other car 2.2 m.
    wanted = {
        "ego_speed": 15.0 / 40,
        "ego_limit": 20.0 / 40,
        "ego_over_limit": -5.0 / 10,
        "ego_route_cos": 1.0,
        "ego_lane_left": 1.0,
        "ego_lane_right": 0.0,
        "ego_room_left": 5.25 / 10,
        "ego_lead_gap": 1.0,
        "ego_lead_closing": 0.0,
        "ego_lead_time": 1.5,
        "ego_lead_press": 0.0,
        "way20_x": 20.0 / 100,
        "way20_y": 0.0,
        "car1_there": 1.0,
        "car1_x": 19.2 / 120,
        "car1_y": 3.5 / 60,
        "car1_meets": 19.2 * 4.0 / (16.0 * 6.0),
        "car1_misses": 3.5 / 20,
        "ego_to_line": 1.0,
        "ego_over_pace": -5.0 / 10,
        "car1_vx": -4.0 / 20,
        "car1_cos": 1.0,
        "car1_route_s": 19.2 / 120,
        "car1_route_d": 3.5 / 20,
        "car2_there": 0.0,
        "car2_x": 0.0,
        "car2_length": 0.0,
    }
    assert {name: got[PLACE[name]] for name in wanted} == pytest.approx(wanted, abs=1e-6)


def test_a_car_close_ahead_is_seen_by_the_time_that_is_left() -> None:
    got = observed(scenario(traffic=cars_at([(0, 72.0)], speed_mps=11.0), speed_mps=15.0))
    gap_m = got[PLACE["ego_lead_gap"]] * 200
    assert 0 < gap_m < 20
    assert got[PLACE["ego_lead_time"]] * 4 == pytest.approx(gap_m / 15, abs=1e-5)
    assert got[PLACE["ego_lead_press"]] * 0.5 == pytest.approx(4 / gap_m, rel=1e-2)


@pytest.mark.parametrize("speed", [0.0, 13.37, 59.9])
def test_the_speed_can_be_read_back(speed: float) -> None:
    got = observed(scenario(cars=0), speed=speed)
    assert got[SPEED] * SPEED_SCALE == pytest.approx(speed, rel=1e-6)


def test_nothing_is_beyond_the_bounds_even_far_from_the_road() -> None:
    got = observed(scenario(cars=20), y=500.0, heading=2.0, speed=200.0)
    assert np.isfinite(got).all()
    assert np.abs(got).max() == CLIP
    assert got.dtype == np.float32


def test_the_docs_hold_the_layout_as_it_is() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "driving-world.md").read_text(encoding="utf-8")
    assert text.endswith(f"\n\n{table()}\n")
