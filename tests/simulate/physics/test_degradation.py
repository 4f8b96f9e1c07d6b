"""Hidden wear: Miner's sum, ISO 281, Montsinger, the P-F curve and services."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.simulate.catalogue import MachineType, Mode
from nightshift.simulate.physics import degradation
from tests.simulate.physics.made import profile, units

STEPS = np.array([300, 200])
SHAPE = (2, 300)


def cost_of(mode: Mode, load: np.ndarray, winding_c: np.ndarray, **changes: object) -> np.ndarray:
    made = profile(**changes)
    return degradation.effort(made, units(2, mode), load, winding_c, STEPS, (1,))


def test_damage_is_zero_at_the_overhaul_grows_and_would_be_one_at_failure() -> None:
    made = profile()
    cost = cost_of(Mode.BEARING_WEAR, np.full(SHAPE, 0.7), np.full(SHAPE, 80.0))
    wear = degradation.wear(made, units(2, Mode.BEARING_WEAR), cost, STEPS, (1,))
    assert (wear.damage[:, 0] == 0).all()
    assert (np.diff(wear.damage[0, :300]) > 0).all()
    assert (np.diff(wear.damage[1, :200]) > 0).all()
    assert 0.97 < wear.damage[0, 299] < 1
    assert 0.97 < wear.damage[1, 199] < 1
    assert (wear.damage[1, 200:] == 1).all()


def test_a_ball_bearing_wears_with_the_cube_of_load_and_a_roller_with_ten_thirds() -> None:
    load = np.full(SHAPE, 0.5)
    load[1] = 1.0
    warm = np.full(SHAPE, 80.0)
    shocks = cost_of(Mode.BEARING_WEAR, np.ones(SHAPE), warm)
    ball = cost_of(Mode.BEARING_WEAR, load, warm)
    assert (ball[0, :100] / shocks[0, :100]) == pytest.approx(0.5**3, rel=1e-6)
    assert (ball[1, :100] / shocks[1, :100]) == pytest.approx(1.0, rel=1e-6)
    plate = {"rated_power_kw": 11, "rated_speed_rpm": 1460, "bearings": [{"designation": "NU310", "kind": "roller"}]}
    roller = cost_of(Mode.BEARING_WEAR, load, warm, nameplate=plate)
    assert (roller[0, :100] / shocks[0, :100]) == pytest.approx(0.5 ** (10 / 3), rel=1e-6)
    # What is written counts, whatever the bearing.
    stated = [{"mode": "bearing_wear", "share": 1, "load_exponent": 3.0}]
    written = cost_of(Mode.BEARING_WEAR, load, warm, nameplate=plate, failure_modes=stated)
    assert (written[0, :100] / shocks[0, :100]) == pytest.approx(0.5**3, rel=1e-6)


def test_insulation_ages_twice_as_fast_for_every_halving_interval() -> None:
    load = np.ones(SHAPE)
    cool = cost_of(Mode.INSULATION_AGEING, load, np.full(SHAPE, 90.0))
    warm = cost_of(Mode.INSULATION_AGEING, load, np.full(SHAPE, 110.0))
    assert (warm[:, :100] / cool[:, :100]) == pytest.approx(4.0, rel=1e-6)
    # A bearing does not care for the winding.
    assert cost_of(Mode.BEARING_WEAR, load, np.full(SHAPE, 90.0)) == pytest.approx(
        cost_of(Mode.BEARING_WEAR, load, np.full(SHAPE, 110.0))
    )


def test_the_symptom_is_small_before_the_onset_then_grows_convexly_to_one() -> None:
    wear = np.linspace(0, 1, 101)[None, :]
    shown = degradation.shape_of(wear, np.array([[0.6]]))[0]
    assert shown[0] == 0
    assert shown[60] < 0.2
    assert shown[100] == pytest.approx(1)
    assert (np.diff(shown) > 0).all()
    assert (np.diff(shown, 2)[61:] > 0).all()


def test_severity_scales_the_symptom_and_a_later_onset_hides_it() -> None:
    made = profile()
    cost = np.ones(SHAPE)
    kind = Mode.BEARING_WEAR
    usual = degradation.wear(made, units(2, kind), cost, STEPS, (1,)).symptom
    severe = degradation.wear(made, units(2, kind, severity=2.0), cost, STEPS, (1,)).symptom
    late = degradation.wear(made, units(2, kind, onset=0.8), cost, STEPS, (1,)).symptom
    assert severe == pytest.approx(2 * usual)
    assert (late[0, 160:290] < usual[0, 160:290]).all()


def test_other_modes_wear_up_to_their_share_and_services_take_it_back() -> None:
    kind = Mode.BEARING_WEAR
    served = profile(rates={"maintenance_interval_h": 60, "maintenance_restores": 0.8})
    never = profile(rates={"maintenance_interval_h": None})
    block = units(2, kind, secondary_wear=0.8)
    cost = np.ones(SHAPE)
    with_service = degradation.wear(served, block, cost, STEPS, (1,))
    without = degradation.wear(never, block, cost, STEPS, (1,))
    assert 0.3 < without.secondary[0].max() <= 0.8
    assert not without.service.any()
    assert (np.flatnonzero(with_service.service[0]) == [60, 120, 180, 240]).all()
    assert (with_service.since_service_h[0, [0, 59, 60, 61]] == [0, 59, 0, 1]).all()
    assert (np.diff(with_service.secondary[0])[[59, 119, 179]] < 0).all()
    assert with_service.secondary[0].max() < 0.5 * without.secondary[0].max()
    # The mode that kills is not taken back.
    assert with_service.damage == pytest.approx(without.damage)
    assert (with_service.by_mode[kind] == with_service.symptom).all()


@pytest.mark.parametrize("restores", [0.0, 1.0])
def test_services_may_restore_nothing_or_everything(restores: float) -> None:
    made = profile(rates={"maintenance_interval_h": 60, "maintenance_restores": restores})
    wear = degradation.wear(made, units(2, Mode.IMBALANCE, secondary_wear=1.0), np.ones(SHAPE), STEPS, (1,))
    if restores:
        assert (wear.secondary[:, [0, 60, 120]] == 0).all()
        assert wear.secondary[0, 59] > 0
    else:
        assert (np.diff(wear.secondary[0]) > 0).all()


def test_every_mode_of_every_machine_can_kill() -> None:
    for kind in MachineType:
        made = profile(kind)
        for spec in made.failure_modes:
            wear = degradation.wear(made, units(2, spec.mode), np.ones(SHAPE), STEPS, (1,))
            assert wear.by_mode[spec.mode][0, 299] > 0.9, (kind, spec.mode)
