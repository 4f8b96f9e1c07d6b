from __future__ import annotations

import numpy as np
import pytest

from nightshift.driving.importers.inverse import Path, actions_of, drive_open_loop

WHEELBASE_M = 2.8


def driven(asked: np.ndarray, speed_mps: float = 8.0) -> Path:
    """The track that actions drive, from the origin."""
    start = Path(*(np.array([v]) for v in (3.0, -2.0, 0.4, speed_mps)))
    return Path(*drive_open_loop(start, asked, WHEELBASE_M))


def test_the_actions_that_drove_a_track_are_found_again() -> None:
    t = np.arange(60) * 0.2
    asked = np.column_stack([1.2 * np.sin(0.5 * t), 0.06 * np.sin(0.7 * t)])
    found = actions_of(driven(asked), WHEELBASE_M)
    assert found.worst_m < 0.02
    assert np.abs(found.asked - asked)[2:-3].max(axis=0) == pytest.approx([0, 0], abs=0.1)


def test_a_start_from_standing_and_a_stop_are_driven() -> None:
    asked = np.zeros((60, 2))
    asked[5:20, 0], asked[30:50, 0] = 2.0, -2.5
    found = actions_of(driven(asked, speed_mps=0.0), WHEELBASE_M)
    assert found.rmse_m < 0.05


def test_what_no_car_can_drive_is_told_by_its_error() -> None:
    x = 6.0 * (np.arange(20) * 0.2) ** 2  # 12 m/s2
    track = Path(x, 0 * x, 0 * x, 12.0 * np.arange(20) * 0.2)
    found = actions_of(track, WHEELBASE_M)
    assert found.asked[:, 0].max() <= 3.0
    assert found.rmse_m > 5.0


def test_many_tries_are_driven_as_one_is() -> None:
    rng = np.random.default_rng(1)
    asked = rng.uniform([-2, -0.1], [2, 0.1], (4, 10, 2))
    start = Path(*(np.array([v]) for v in (0.0, 0.0, 0.0, 5.0)))
    together = drive_open_loop(start, asked, WHEELBASE_M)
    for i in range(4):
        for many, one in zip(together, drive_open_loop(start, asked[i], WHEELBASE_M), strict=True):
            np.testing.assert_array_equal(many[i], one)
