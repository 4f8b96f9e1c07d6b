from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from nightshift.driving.bicycle import ACCEL_LAG_S, STEER_LAG_S, Ego, drive

WHEELBASE = 2.8


def ego(**given: float) -> Ego:
    return Ego(**{f.name: np.array([given.get(f.name, 0.0)]) for f in fields(Ego)})


def drive_for(car: Ego, seconds: float, accel: float, steer: float, dt: float = 0.2) -> None:
    for _ in range(round(seconds / dt)):
        drive(np, car, np.array([accel]), np.array([steer]), WHEELBASE, dt)


@pytest.mark.parametrize(("accel", "steer"), [(1.5, 0.0), (0.5, 0.03), (-2.0, -0.05)])
def test_steps_of_a_fifth_of_a_second_are_as_good_as_a_thousand_small_ones(accel: float, steer: float) -> None:
    coarse, fine = ego(speed=15.0), ego(speed=15.0)
    drive_for(coarse, 4.0, accel, steer)
    drive_for(fine, 4.0, accel, steer, 0.002)
    for name, within in (("x", 0.05), ("y", 0.05), ("heading", 0.002), ("speed", 1e-9), ("accel", 1e-9)):
        assert getattr(coarse, name)[0] == pytest.approx(getattr(fine, name)[0], abs=within), name


def test_actuators_lag_by_their_time_constants() -> None:
    car = ego(speed=10.0)
    drive(np, car, np.array([2.0]), np.array([0.1]), WHEELBASE, 0.2)
    assert car.accel[0] == pytest.approx(2.0 * (1 - np.exp(-0.2 / ACCEL_LAG_S)))
    assert car.steer[0] == pytest.approx(0.1 * (1 - np.exp(-0.2 / STEER_LAG_S)))
    assert car.jerk[0] == pytest.approx(car.accel[0] / 0.2)


def test_a_held_wheel_drives_a_circle() -> None:
    steer = np.arctan(WHEELBASE / 20.0)
    car = ego(speed=10.0, steer=steer)
    for _ in range(60):
        drive(np, car, np.array([0.0]), np.array([steer]), WHEELBASE, 0.2)
        assert np.hypot(car.x[0], car.y[0] - 20.0) == pytest.approx(20.0, abs=0.02)
    assert car.yaw_rate[0] == pytest.approx(0.5)


def test_it_never_drives_backwards_and_starts_again_at_once() -> None:
    car = ego(speed=1.0)
    drive_for(car, 3.0, -6.0, 0.0)
    stood = car.x[0]
    assert car.speed[0] == 0.0
    drive_for(car, 1.0, -6.0, 0.0)
    assert car.x[0] == stood
    drive_for(car, 0.2, 2.0, 0.0)
    assert car.speed[0] > 0.0


def test_what_the_actuators_cannot_do_is_cut_off() -> None:
    car, limit = ego(speed=10.0), ego(speed=10.0)
    drive_for(car, 1.0, 50.0, -3.0)
    drive_for(limit, 1.0, 3.0, -0.6)
    assert (car.speed, car.heading) == (limit.speed, limit.heading)
