"""From what is to what is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nightshift.simulate.physics.instruments import limits, reading
from nightshift.simulate.profile_parts import SensorSpec
from tests.simulate.physics.made import profile

TRUTH = np.linspace(40.0, 60.0, 4000)[None, :] + np.zeros((5, 1))
QUIET = {"missing": 0, "sensor_faults_per_1000_h": 0}


def sensor(**changes: Any) -> SensorSpec:
    content = {"name": "t", "measures": "bearing_temperature", "range": [-30, 160], "noise": 0.5, **changes}
    return SensorSpec.model_validate(content)


def shown(spec: SensorSpec, *, bias: float = 0.0, scale: float = 1.0, truth: np.ndarray = TRUTH, **rates: float) -> Any:
    made = profile(rates={**QUIET, **rates})
    return reading(made, spec, truth, np.full((len(truth), 1), bias), np.full((len(truth), 1), scale), (1, 3, 0))


def test_noise_and_offset_are_those_of_the_profile_and_the_unit() -> None:
    error = shown(sensor(), bias=2.0, scale=1.5) - TRUTH
    assert error.mean() == pytest.approx(2.0, abs=0.03)
    assert error.std() == pytest.approx(0.75, rel=0.03)


def test_a_slow_instrument_holds_its_reading() -> None:
    values = shown(sensor(sampling_s=4 * 3600))
    assert (values[:, 0:4] == values[:, :1]).all()
    assert (values[:, 4] != values[:, 3]).all()


def test_readings_are_lost_at_the_stated_rate() -> None:
    assert np.isnan(shown(sensor(), missing=0.1)).mean() == pytest.approx(0.1, abs=0.01)
    assert not np.isnan(shown(sensor())).any()


def begun(within: np.ndarray) -> int:
    """Return how many stretches begin, over all units."""
    return int((within & ~np.pad(within, ((0, 0), (1, 0)))[:, :-1]).sum())


@pytest.mark.parametrize("per_1000_h", [0.5, 3.0])
def test_faults_stick_drop_out_and_spike_at_the_stated_rate(per_1000_h: float) -> None:
    truth = np.full((100, 4000), 50.0)
    values = shown(sensor(), truth=truth, sensor_faults_per_1000_h=per_1000_h, sensor_fault_h=6.0)
    # A third of each kind, in 400,000 hours. A stuck reading shows from its second row on: from 1.5 hours.
    each = per_1000_h * 400 / 3
    stuck = begun(np.pad(values[:, 1:] == values[:, :-1], ((0, 0), (1, 0))))
    lost = begun(np.isnan(values))
    spikes = int((np.abs(values - truth) > 20).sum())
    seen = each * np.exp(-1.5 / 6)
    assert abs(stuck - seen) < 4 * np.sqrt(seen)
    assert abs(lost - each) < 4 * np.sqrt(each)
    assert abs(spikes - each) < 4 * np.sqrt(each)
    # Lengths are exponential, so their standard deviation is their mean.
    assert abs(np.isnan(values).sum() / lost - 6.0) < 4 * 6.0 / np.sqrt(each)


def test_readings_stay_in_range_also_in_single_precision() -> None:
    spec = sensor(range=[40.1, 59.7])
    values = shown(spec, sensor_faults_per_1000_h=20.0)
    single = values[~np.isnan(values)].astype(np.float32).astype(np.float64)
    assert single.min() >= 40.1
    assert single.max() <= 59.7
    assert limits(spec) == pytest.approx((40.1, 59.7), abs=1e-5)


def test_an_hour_meter_has_no_noise_and_does_not_break() -> None:
    meter = SensorSpec.model_validate(
        {"name": "h", "measures": "hours_since_overhaul", "range": [0, 9000], "noise": 3, "bias": 1}
    )
    values = shown(meter, bias=5.0, missing=0.2, sensor_faults_per_1000_h=50.0)
    assert (values == TRUTH).all()


def test_what_is_true_is_left_as_it_was() -> None:
    truth = TRUTH.copy()
    shown(sensor(), truth=truth, missing=0.2, sensor_faults_per_1000_h=50.0)
    assert (truth == TRUTH).all()
