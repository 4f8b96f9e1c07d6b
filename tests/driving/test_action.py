from __future__ import annotations

import numpy as np
import pytest
from array_api_compat import torch as xp_torch

from nightshift.driving.action import HIGH, LATERAL_MPS2, LOW, WHEELBASE_M, physical, route_steer, squashed, steer_limit
from nightshift.driving.bicycle import STEER_MAX_RAD
from nightshift.driving.sight import AHEAD_M


def route(metres: np.ndarray, *, bend_1pm: float = 0.0, turned_rad: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Points of an arc that begins at the axle, as seen from there, for each of some cars."""
    s = np.broadcast_to(np.array(AHEAD_M), (len(metres), len(AHEAD_M)))
    x, y = (s, 0.0 * s) if bend_1pm == 0.0 else (np.sin(bend_1pm * s) / bend_1pm, (1 - np.cos(bend_1pm * s)) / bend_1pm)
    cos, sin = np.cos(turned_rad), np.sin(turned_rad)
    return x * cos - y * sin, x * sin + y * cos


def test_ends_and_middle_of_the_range_mean_what_they_should() -> None:
    given = np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [7.0, -7.0]])
    made = physical(np, given, np.zeros(4), np.zeros(4))
    assert made == pytest.approx(np.array([LOW, [0.0, 0.0], HIGH, [HIGH[0], LOW[1]]]))


@pytest.mark.parametrize("speed", [3.0, 10.0, 20.0, 35.0])
def test_full_lock_stays_within_what_tyres_hold(speed: float) -> None:
    steer = physical(np, np.array([[0.0, 1.0]]), np.array([speed]), np.zeros(1))[0, 1]
    lateral = speed**2 * np.tan(steer) / WHEELBASE_M
    assert lateral <= LATERAL_MPS2 + 1e-9
    assert steer == pytest.approx(STEER_MAX_RAD) or lateral == pytest.approx(LATERAL_MPS2)


def test_squashed_takes_physical_back_and_torch_agrees() -> None:
    rng = np.random.default_rng(0)
    given, speed = rng.uniform(-1, 1, (50, 2)), rng.uniform(0, 40, 50)
    # So that nothing is cut off.
    given[:, 1] *= 0.4
    along = 0.5 * rng.uniform(-1, 1, 50) * steer_limit(np, speed)
    made = physical(np, given, speed, along)
    assert squashed(np, made, speed, along) == pytest.approx(given)
    there = physical(xp_torch, *(xp_torch.asarray(a) for a in (given, speed, along)))
    assert there.numpy() == pytest.approx(made, abs=1e-12)
    assert np.abs(squashed(np, np.array([[50.0, -3.0]]), np.array([30.0]), np.zeros(1))).tolist() == [[1.0, 1.0]]


def test_without_an_action_of_its_own_the_car_follows_the_route() -> None:
    speed = np.array([0.0, 8.0, 25.0])
    x, y = route(speed, bend_1pm=1 / 60)
    along = route_steer(np, x, y, speed)
    # Between two points that are seen the route is taken to be straight, and so lies a little inside of the arc.
    assert along == pytest.approx(np.full(3, np.arctan(WHEELBASE_M / 60)), rel=0.12)
    made = physical(np, np.zeros((3, 2)), speed, along)
    limit = steer_limit(np, speed)
    assert made.tolist() == np.stack([np.zeros(3), np.minimum(along, limit)], axis=1).tolist()
    # Turned to the left of a straight road it steers back to the right, never beyond what tyres hold.
    x, y = route(speed, turned_rad=-0.5)
    back = physical(np, np.zeros((3, 2)), speed, route_steer(np, x, y, speed))[:, 1]
    assert (back < 0).all()
    assert back[2] == -limit[2]
    torch_says = route_steer(xp_torch, *(xp_torch.asarray(a) for a in (x, y, speed)))
    assert torch_says.numpy() == pytest.approx(route_steer(np, x, y, speed), abs=1e-12)
