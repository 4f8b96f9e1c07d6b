"""Recorded traffic: as it drove, and along its own paths behind whoever is on them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from support.driving_lanes import overlapping, straight_road

from nightshift.driving.cars import Cars
from nightshift.driving.made import make as make_scenario
from nightshift.driving.pack import Pack
from nightshift.driving.routes import route_along
from nightshift.driving.scenario import STEP_S, EgoStart, Scenario, Tracks, Traffic
from nightshift.driving.traffic import MODELS, make
from nightshift.driving.traffic.ways import plain
from nightshift.errors import UsageError

TIMES = 60


def recorded(lane: int = 0) -> Scenario:
    """Car 1 drives 10 m/s and stands from 4 s to 6 s; car 2 follows at 25 m; car 3 turns left, and comes at 2 s."""
    t = np.arange(TIMES) * STEP_S
    speed = np.where((t >= 4.0) & (t < 6.0), 0.0, 10.0)
    speed = np.convolve(np.pad(speed, 5, "edge"), np.ones(11) / 11, "valid")
    x = 60.0 + np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * STEP_S)])
    angle = np.maximum(t - 2.0, 0.0) * 0.15
    turn_x, turn_y = 20.0 + 30.0 * np.sin(angle), -60.0 + 30.0 * (1 - np.cos(angle))
    one, zero = np.ones(TIMES), np.zeros(TIMES)
    columns = {
        "x": [5.0 + 8.0 * t, x, x - 25.0, turn_x],
        "y": [zero, zero, zero, turn_y],
        "heading": [zero, zero, zero, angle],
        "speed_mps": [8.0 * one, speed, speed, np.where(t >= 2.0, 4.5, 0.0)],
        "there": [one > 0, one > 0, one > 0, t >= 2.0],
    }
    tracks = Tracks(**{name: np.stack(values, axis=1) for name, values in columns.items()})
    lanes = straight_road(1, 300.0)
    n, full = 3, np.full
    numbers = {
        "length_m": 4.5, "width_m": 1.9, "desired_mps": 12.0, "headway_s": 1.2, "gap_m": 2.0, "accel_mps2": 1.5,
        "decel_mps2": 2.0, "politeness": 0.2, "d_m": 0.0,
    }  # fmt: skip
    traffic = Traffic(
        lane=np.array([lane, lane, -1]),
        s_m=np.array([60.0, 35.0, 0.0]),
        speed_mps=np.array([10.0, 10.0, 4.5]),
        turn=np.zeros(n, np.int64),
        **{name: full(n, value) for name, value in numbers.items()},
    )
    return Scenario("log", "replay", 0, 12.0, lanes, route_along(lanes, [0]), EgoStart(5.0), traffic, tracks)


def played(name: str, scenarios: list[Scenario], ego: tuple[float, float] | None = None, xp: Any = np) -> list[Cars]:
    """Drive with a model; the ego stands at a place, or nowhere. Returns copies of all moments."""
    pack = Pack.of(scenarios).to(xp)
    model, cars, seen = make(name, xp, pack), pack.cars, []
    numbers = xp.arange(len(scenarios))
    if ego is not None:
        cars.there[:, 0], cars.x[:, 0], cars.y[:, 0] = True, ego[0], ego[1]
        cars.length[:, 0], cars.width[:, 0] = 4.6, 1.9
    for moment in range(1, TIMES):
        noise = xp.full((len(scenarios), cars.s.shape[1] - 1), 0.9)
        model.step(cars, STEP_S, noise, numbers, numbers * 0 + moment)
        copies = {f.name: plain(getattr(cars, f.name)).copy() for f in fields(Cars)}
        seen.append(Cars(**copies))
    return seen


def test_a_log_is_replayed_as_it_was_whatever_the_ego_does() -> None:
    scenario = recorded()
    tracks = scenario.tracks
    assert tracks is not None
    for moment, cars in enumerate(played("log", [scenario], ego=(100.0, 0.0)), start=1):
        np.testing.assert_array_equal(cars.there[0, 1:4], tracks.there[moment, 1:])
        for name in ("x", "y", "heading"):
            seen = tracks.there[moment, 1:]
            np.testing.assert_array_equal(getattr(cars, name)[0, 1:4][seen], getattr(tracks, name)[moment, 1:][seen])
        assert cars.x[0, 0] == 100.0


def test_reactive_cars_keep_their_times_where_nobody_is_in_the_way() -> None:
    scenario = recorded()
    tracks = scenario.tracks
    assert tracks is not None
    for moment, cars in enumerate(played("log_reactive", [scenario]), start=1):
        seen = tracks.there[moment, 1:]
        np.testing.assert_array_equal(cars.there[0, 1:4], seen)
        off = np.hypot(cars.x[0, 1:4] - tracks.x[moment, 1:], cars.y[0, 1:4] - tracks.y[moment, 1:])
        assert off[seen].max() < 1.0, moment


def test_reactive_cars_stop_behind_an_ego_on_their_path_and_the_log_does_not() -> None:
    reactive, log = (played(name, [recorded()], ego=(110.0, 0.3)) for name in ("log_reactive", "log"))
    assert all(overlapping(cars) == [] for cars in reactive)
    assert reactive[-1].x[0, 1] < 110.0 - 4.55
    assert reactive[-1].x[0, 2] < reactive[-1].x[0, 1] - 4.5
    assert any(overlapping(cars) for cars in log)
    # The one that turns has its own way, and an ego that stands there stops it too.
    assert reactive[-1].y[0, 3] == pytest.approx(log[-1].y[0, 3], abs=0.7)
    assert played("log_reactive", [recorded()], ego=(48.9, -38.0))[-1].y[0, 3] < -40.0


def test_cars_of_a_recording_that_are_on_lanes_drive_by_models_and_the_others_by_their_tracks() -> None:
    last = played("idm", [recorded()])[-1]
    tracks = recorded().tracks
    assert tracks is not None
    assert last.lane[0, 1] == 0
    assert last.x[0, 1] > tracks.x[-1, 1] + 10.0
    assert last.x[0, 3] == tracks.x[-1, 3]


def test_a_batch_of_any_size_and_torch_agree() -> None:
    import array_api_compat.torch as torch

    other = replace(recorded(), name="other")
    both = played("log_reactive", [recorded(), other], ego=(110.0, 0.3))
    one = played("log_reactive", [other], ego=(110.0, 0.3))
    tensors = played("log_reactive", [recorded(), other], ego=(110.0, 0.3), xp=torch)
    for field in fields(Cars):
        if field.name != "lane":
            np.testing.assert_array_equal(getattr(both[-1], field.name)[1:], getattr(one[-1], field.name))
        np.testing.assert_allclose(getattr(both[-1], field.name), getattr(tensors[-1], field.name), rtol=0, atol=1e-9)


def test_made_scenarios_among_recorded_ones_drive_by_idm_and_alone_have_no_log() -> None:
    made = make_scenario("curve", 0)
    cars = played("log", [recorded(), made])[-1]
    assert (cars.speed[1, 1:][cars.there[1, 1:]] > 1.0).all()
    assert (cars.lane[1, 1:][cars.there[1, 1:]] >= 0).all()
    with pytest.raises(UsageError, match="none of these scenarios was recorded"):
        make("log", np, Pack.of([made]))


def test_an_unknown_model_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="no traffic model 'idm2'") as told:
        make("idm2", np, Pack.of([recorded()]))
    assert list(MODELS) == ["idm", "gipps", "log", "log_reactive"]
    assert "idm, gipps, log, log_reactive" in str(told.value.hint)


def test_many_environments_are_looked_at_in_blocks_to_the_same_end() -> None:
    many = played("log_reactive", [recorded()] * 40, ego=(110.0, 0.3))[-1]
    one = played("log_reactive", [recorded()], ego=(110.0, 0.3))[-1]
    for name in ("x", "y", "speed", "there"):
        np.testing.assert_array_equal(getattr(many, name), np.repeat(getattr(one, name), 40, axis=0))
