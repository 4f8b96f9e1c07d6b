"""What is measured: sound values on every machine type, and every failure mode shows where it should."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.simulate.catalogue import KINDS, QUANTITIES, MachineType, Mode
from nightshift.simulate.physics.quantities import clean, known
from tests.simulate.physics.made import PLATES, profile, state

BALL = [{"designation": "6209"}]

PLAUSIBLE: dict[str, tuple[float, float]] = {
    "winding_temperature": (20, 150),
    "bearing_temperature": (15, 90),
    "oil_temperature": (10, 110),
    "discharge_temperature": (50, 110),
    "oil_pressure": (1, 12),
    "oil_particles": (100, 2_000),
    "vibration_drive_end": (0.2, 4.5),
    "vibration_non_drive_end": (0.2, 4.5),
    "vibration_acceleration": (0.1, 20),
    "sound_level": (50, 100),
    "suction_pressure": (0.5, 2),
    "filter_pressure_drop": (0.01, 5),
    "thermal_growth": (-100, 300),
}
#: Quantities that a mode moves at full symptom, and the sign.
SIGNS: dict[Mode, dict[str, int]] = {
    Mode.BEARING_WEAR: {
        **{"vibration_drive_end": 1, "vibration_non_drive_end": 1, "vibration_acceleration": 1},
        **{"bearing_temperature": 1, "oil_particles": 1, "thermal_growth": 1, "stator_current": 1, "input_power": 1},
    },
    Mode.INSULATION_AGEING: {"winding_temperature": 1, "stator_current": 1, "shaft_speed": -1, "input_power": 1},
    Mode.CAVITATION: {
        **{"flow": -1, "discharge_pressure": -1, "suction_pressure": -1, "vibration_acceleration": 1},
        **{"vibration_drive_end": 1, "sound_level": 1, "stator_current": 1, "input_power": 1},
    },
    Mode.IMBALANCE: {
        **{"vibration_drive_end": 1, "vibration_non_drive_end": 1, "bearing_temperature": 1},
        **{"stator_current": 1, "input_power": 1},
    },
    Mode.FOULING: {
        **{"flow": -1, "input_power": 1, "stator_current": 1, "filter_pressure_drop": 1, "discharge_temperature": 1},
    },
    Mode.LUBRICATION_LOSS: {
        **{"bearing_temperature": 1, "oil_pressure": -1, "oil_particles": 1, "vibration_acceleration": 1},
        **{"oil_temperature": 1, "stator_current": 1, "input_power": 1},
    },
}


def test_every_quantity_of_the_catalogue_has_a_model() -> None:
    assert known() == set(QUANTITIES)


@pytest.mark.parametrize("kind", MachineType)
def test_a_sound_machine_shows_plausible_values(kind: MachineType) -> None:
    block = state(profile(kind))
    for name in KINDS[kind].quantities:
        values = clean(block, name)
        assert values.shape == block.load.shape
        assert np.isfinite(values).all(), name
        low, high = PLAUSIBLE.get(name, (QUANTITIES[name].low, QUANTITIES[name].high))
        assert low <= values.min(), name
        assert values.max() <= high, name
        assert QUANTITIES[name].role == "age" or values.std() > 0, name


@pytest.mark.parametrize("kind", MachineType)
def test_every_mode_shows_where_it_should_and_settings_do_not_know_of_it(kind: MachineType) -> None:
    made = profile(kind)
    sound = state(made)
    for mode in KINDS[kind].modes:
        failing = state(made, mode, 1.0)
        moved = 0
        for name in KINDS[kind].quantities:
            change = (clean(failing, name) - clean(sound, name)).mean()
            sign = SIGNS[mode].get(name, 0)
            assert sign * change >= 0, (mode, name)
            assert not sign or abs(change) > 1e-3, (mode, name)
            moved += bool(sign)
            if QUANTITIES[name].role != "sensor":
                assert change == 0, name
        assert moved >= 2, mode


def test_a_profile_s_parameter_is_the_size_of_the_symptom_at_rated_load() -> None:
    small = profile(failure_modes=[{"mode": "imbalance", "share": 1, "vibration_rise_mm_s": 2}])
    large = profile(failure_modes=[{"mode": "imbalance", "share": 1, "vibration_rise_mm_s": 8}])
    rises = [
        (clean(state(p, Mode.IMBALANCE, 1.0), "vibration_drive_end") - clean(state(p), "vibration_drive_end")).mean()
        for p in (small, large)
    ]
    assert rises[1] == pytest.approx(4 * rises[0], rel=1e-6)
    assert 1 < rises[0] < 2.5


def test_friction_costs_the_power_that_its_heat_carries_away() -> None:
    block = {"share": 1, "mode": "lubrication_loss"}
    sizes = (0.0, 15.0, 30.0)
    power, current, speed = (
        np.array(
            [
                clean(
                    state(
                        profile(MachineType.SCREW_COMPRESSOR, failure_modes=[{**block, "friction_rise_k": k}]),
                        Mode.LUBRICATION_LOSS,
                        1.0,
                    ),
                    name,
                ).mean()
                for k in sizes
            ]
        )
        for name in ("input_power", "stator_current", "shaft_speed")
    )
    rated_kw = PLATES[MachineType.SCREW_COMPRESSOR]["rated_power_kw"]
    # Twice the heat takes twice the power: 30 K about 2 % of rated, and the losses of the motor that carries it.
    assert np.diff(power)[1] == pytest.approx(np.diff(power)[0], rel=0.1)
    assert 0.015 * rated_kw < power[2] - power[0] < 0.03 * rated_kw
    assert (np.diff(current) > 0).all()
    assert (np.diff(speed) < 0).all()


def test_sound_rises_with_the_power_of_flow_machines_and_as_the_constants_say() -> None:
    small, large = (
        clean(
            state(profile(nameplate={**PLATES[MachineType.INDUCTION_MOTOR], "rated_power_kw": kw, "bearings": BALL})),
            "sound_level",
        )
        for kw in (10, 100)
    )
    assert large - small == pytest.approx(8.0)


def test_pump_and_fan_obey_the_affinity_laws() -> None:
    block = state(profile(MachineType.CENTRIFUGAL_PUMP))
    speed = block.speed_share
    assert speed**3 == pytest.approx(np.minimum(block.load, 1.0))
    assert np.corrcoef(clean(block, "flow").ravel(), speed.ravel())[0, 1] > 0.98
    raised = clean(block, "discharge_pressure") - clean(block, "suction_pressure")
    assert np.corrcoef(raised.ravel(), speed.ravel() ** 2)[0, 1] > 0.98
    assert raised.max() < 1.2 * block.machine.pressure_bar


def test_power_current_and_speed_follow_the_load() -> None:
    block = state(profile())
    load = block.load.ravel()
    power = clean(block, "input_power").ravel()
    assert (power > block.machine.plate.rated_power_kw * load).all()
    assert np.corrcoef(load, clean(block, "stator_current").ravel())[0, 1] > 0.95
    assert np.corrcoef(load, clean(block, "shaft_speed").ravel())[0, 1] < -0.95
    assert (clean(block, "shaft_speed") < block.machine.synchronous_rpm).all()
    # P = M omega, from two quantities that are computed apart.
    omega = clean(block, "shaft_speed").ravel() * 2 * np.pi / 60
    assert clean(block, "torque").ravel() * omega / 1000 == pytest.approx(
        block.machine.plate.rated_power_kw * load, rel=0.04
    )


def test_temperatures_lag_behind_the_load_and_stay_above_the_air() -> None:
    large = {"rated_power_kw": 1000, "rated_speed_rpm": 1490, "bearings": [{"designation": "6330"}]}
    block = state(profile(nameplate=large))
    for name in ("winding_temperature", "bearing_temperature"):
        rise = clean(block, name) - block.ambient_c
        assert (rise > 0).all()
        # The shifts' steps arrive an hour or two later.
        delays = [np.corrcoef(block.load[:, : -d or None].ravel(), rise[:, d:].ravel())[0, 1] for d in range(5)]
        assert delays[1] > delays[0]
        assert delays[1] > delays[4]
