from __future__ import annotations

import numpy as np
import pytest

from nightshift.driving.importers.recording import Drive
from nightshift.driving.importers.smoothing import smooth_track, smoothed

T = np.arange(0, 10, 0.1)


def drive(x: np.ndarray, y: np.ndarray, heading: np.ndarray | None = None, first: int = 0) -> Drive:
    told = np.zeros(len(x)) if heading is None else heading
    return Drive("1", "car", first, np.asarray(x, float), np.asarray(y, float), told, 4.6, 1.9)


def test_a_constant_acceleration_stays_what_it_is() -> None:
    motion = 3.0 + 2.0 * T + 0.7 * T**2
    np.testing.assert_allclose(smoothed(motion, 0.1, 0.3), motion, atol=1e-6)


def test_the_gain_at_the_cutoff_is_half() -> None:
    t = np.arange(0, 60, 0.1)
    swing = np.sin(2 * np.pi * 0.3 * t)
    middle = slice(200, 400)
    assert np.abs(smoothed(swing, 0.1, 0.3)[middle]).max() == pytest.approx(0.5, abs=0.02)
    slow = np.sin(2 * np.pi * 0.12 * t)
    assert np.abs(smoothed(slow, 0.1, 0.3) - slow)[middle].max() < 0.02


def test_noise_of_decimetres_asks_for_no_accelerations_afterwards() -> None:
    noise = np.random.default_rng(0).normal(0, 0.15, (2, len(T)))
    track = smooth_track(drive(12.0 * T + noise[0], noise[1]), 0.1, 0.3)
    assert track is not None
    raw = np.abs(np.diff(np.hypot(np.diff(track.raw_x), np.diff(track.raw_y)))).max() / 0.2**2
    assert raw > 5.0
    assert np.abs(np.diff(track.speed_mps)).max() / 0.2 < 1.5
    assert np.abs(track.y).max() < 0.3


def test_steps_are_the_worlds_and_begin_on_its_clock() -> None:
    track = smooth_track(drive(10.0 * T, 0 * T, first=3), 0.1, 0.3)
    assert track is not None
    assert (track.first, len(track.x)) == (2, 50)
    assert track.begin_s == pytest.approx(0.4)
    np.testing.assert_allclose(track.x, 10.0 * (0.1 + 0.2 * np.arange(50)), atol=1e-6)
    np.testing.assert_allclose(track.speed_mps, 10.0, atol=1e-6)


def test_a_standing_car_keeps_the_heading_it_came_with() -> None:
    x = np.where(T < 4, 10 * T - 1.25 * T**2, 20.0)
    y = 0.05 * np.sin(40 * T)
    track = smooth_track(drive(x, y, np.full(len(T), 2 * np.pi)), 0.1, 0.3)
    assert track is not None
    assert np.abs(track.heading - 2 * np.pi).max() < 0.05
    assert track.speed_mps.min() >= 0


def test_a_car_that_never_moves_has_the_heading_that_is_told() -> None:
    track = smooth_track(drive(0 * T, 0 * T, np.full(len(T), 1.2)), 0.1, 0.3)
    assert track is not None
    np.testing.assert_allclose(track.heading, 1.2)


def test_a_glimpse_is_no_track() -> None:
    assert smooth_track(drive(T[:2], T[:2]), 0.1, 0.3) is None
