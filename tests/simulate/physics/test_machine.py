"""What follows from a nameplate."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.simulate.catalogue import MachineType
from nightshift.simulate.physics.machine import build_machine, synchronous_rpm, zone
from tests.simulate.physics.made import PLATES, profile


@pytest.mark.parametrize(
    ("rated", "synchronous"),
    [(1460, 1500), (2950, 3000), (980, 1000), (735, 750), (1755, 1800), (3550, 3600), (1180, 1200)],
)
def test_a_motor_s_synchronous_speed_is_the_next_of_50_or_60_hz(rated: float, synchronous: float) -> None:
    assert synchronous_rpm(rated) == synchronous


def test_behind_an_inverter_or_a_gear_it_is_a_little_above_the_rated_speed() -> None:
    assert synchronous_rpm(8000) == pytest.approx(8000 / 0.98)
    assert synchronous_rpm(42) == pytest.approx(42 / 0.98)


def test_the_rated_current_is_that_of_the_plate() -> None:
    # An 11 kW Siemens 1LA7 at 400 V: about 21 A in the catalogue.
    plate = {**PLATES[MachineType.INDUCTION_MOTOR], "efficiency": 0.89, "power_factor": 0.84}
    machine = build_machine(profile(nameplate={**plate, "bearings": [{"designation": "6209"}]}))
    assert machine.rated_current_a == pytest.approx(21.2, abs=0.3)
    assert machine.rated_torque_nm == pytest.approx(72, abs=0.5)


def test_zones_are_those_of_iso_10816_for_the_class() -> None:
    machine = build_machine(profile())
    assert zone(machine, np.array([[0.5, 1.0, 3.0, 5.0]])).tolist() == [[0, 1, 2, 3]]


def test_flow_and_pressure_come_from_the_plate_or_from_power() -> None:
    for kind in (MachineType.CENTRIFUGAL_PUMP, MachineType.FAN, MachineType.SCREW_COMPRESSOR):
        machine = build_machine(profile(kind))
        power_kw = machine.flow_m3_h / 3600 * machine.pressure_bar * 100
        assert 0.2 * machine.plate.rated_power_kw < power_kw < machine.plate.rated_power_kw * 3, kind
    stated = {**PLATES[MachineType.FAN], "rated_flow_m3_h": 5000, "rated_pressure_bar": 0.02}
    machine = build_machine(profile(MachineType.FAN, nameplate={**stated, "bearings": [{"designation": "6209"}]}))
    assert (machine.flow_m3_h, machine.pressure_bar) == (5000, 0.02)
    assert build_machine(profile()).flow_m3_h == 0
