"""Lags and noise along time."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.simulate.physics.series import drift, lag, stream


def test_a_lag_follows_a_step_by_the_exponential_of_its_time_constant() -> None:
    target = np.where(np.arange(50) < 10, 0.0, 1.0)[None, :]
    out = lag(target, step_h=0.5, tau_h=2.0)
    assert (out[0, :10] == 0).all()
    assert out[0, 10:] == pytest.approx(1 - np.exp(-0.25 * np.arange(1, 41)))


def test_a_lag_starts_in_the_steady_state_and_does_not_depend_on_the_sampling() -> None:
    assert lag(np.full((2, 5), 7.0), 1.0, 3.0) == pytest.approx(7.0)
    ramp = np.linspace(0, 10, 101)[None, :]
    fine, coarse = lag(ramp, 0.1, 2.0)[0, ::10], lag(ramp[:, ::10], 1.0, 2.0)[0]
    assert fine == pytest.approx(coarse, abs=0.6)


def test_drift_is_stationary_from_the_first_row_and_forgets_by_its_memory() -> None:
    noise = drift(np.random.default_rng(1), (4000, 60), 2.0, 1.0, 8.0)
    assert noise.std(axis=0) == pytest.approx(2.0, rel=0.06)
    lagged = np.corrcoef(noise[:, 20], noise[:, 28])[0, 1]
    assert lagged == pytest.approx(np.exp(-1), abs=0.05)


def test_named_streams_are_their_own_and_repeat() -> None:
    assert (stream((1, 2), "a").random(5) == stream((1, 2), "a").random(5)).all()
    assert (stream((1, 2), "a").random(5) != stream((1, 2), "b").random(5)).all()
    assert (stream((1, 2), "a").random(5) != stream((1, 3), "a").random(5)).all()
