"""What a step is worth: metres as a share of the expert's, little faults as factors, grave ones as the end."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import array_api_compat.torch as torch
import numpy as np
import pytest
from pydantic import ValidationError

from nightshift.driving.facts import NEVER_S, Facts
from nightshift.driving.reward import Marks, RewardSettings, reward

SETTINGS = RewardSettings()
#: Four metres of 200 that the expert drives, after 60; 10 for all of them.
STEP = 10.0 * 4.0 / 200.0
#: What is left of a step that is uncomfortable: for itself, and since it has happened.
HARSH = 0.5 * 0.6
FLAGS = ("collided", "at_fault", "off_road", "wrong_way", "straddles", "arrived", "timed_out")


def facts(n: int = 1, xp: Any = np, **given: Any) -> Facts:
    calm = dict.fromkeys((f.name for f in fields(Facts)), 0.0) | dict.fromkeys(FLAGS, False)
    calm |= {"progress_m": 4.0, "s_m": 120.0, "start_m": 60.0, "expert_m": 200.0}
    calm |= {"speed_mps": 20.0, "limit_mps": 20.0, "ttc_s": NEVER_S}
    arrays = {name: np.broadcast_to(np.asarray(value), n) for name, value in (calm | given).items()}
    return Facts(**{name: xp.asarray(array.copy()) for name, array in arrays.items()})


def marks(n: int = 1, xp: Any = np, *, close: bool = False, uncomfortable: bool = False) -> Marks:
    return Marks(xp.asarray(np.full(n, close)), xp.asarray(np.full(n, uncomfortable)))


def worth(**given: Any) -> tuple[float, bool]:
    gained, ended = reward(np, facts(**given), marks(), SETTINGS)
    return float(gained[0]), bool(ended[0])


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({}, STEP),
        ({"progress_m": 0.0}, 0.0),
        ({"speed_mps": 5.0}, STEP),
        ({"speed_mps": 21.115}, 0.5 * STEP),
        ({"speed_mps": 25.0}, 0.0),
        ({"ttc_s": 0.95}, 0.0),
        ({"ttc_s": 0.96}, STEP),
        ({"accel_mps2": -4.1}, HARSH * STEP),
        ({"lateral_mps2": -5.0}, HARSH * STEP),
        ({"jerk_mps3": 4.2}, HARSH * STEP),
        ({"yaw_rate_radps": -0.96}, HARSH * STEP),
        ({"yaw_accel_radps2": 2.0}, HARSH * STEP),
        ({"straddles": True}, 0.9 * STEP),
        ({"straddles": True, "jerk_mps3": 5.0}, 0.9 * HARSH * STEP),
        ({"wrong_way": True}, 0.0),
        # All of the step lies beyond the expert's metres, or half of it.
        ({"s_m": 300.0}, 0.25 * STEP),
        ({"s_m": 262.0}, 0.625 * STEP),
    ],
)
def test_little_faults_multiply_what_metres_are_worth(given: dict[str, Any], want: float) -> None:
    assert worth(**given) == (pytest.approx(want), False)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"collided": True, "at_fault": True}, -6.0),
        # Whom another one runs into loses what would have followed, and no more.
        ({"collided": True}, 0.0),
        ({"off_road": True}, -6.0),
    ],
)
def test_grave_ones_end_the_episode(given: dict[str, Any], want: float) -> None:
    assert worth(**given) == (want, True)


def test_what_has_happened_once_lowers_what_all_later_metres_are_worth() -> None:
    had = Marks(np.zeros(3, np.bool_), np.zeros(3, np.bool_))
    reward(np, facts(3, ttc_s=[0.5, NEVER_S, 0.5], jerk_mps3=[0.0, 9.0, 9.0]), had, SETTINGS)
    assert (had.close.tolist(), had.uncomfortable.tolist()) == ([True, False, True], [False, True, True])
    later, ended = reward(np, facts(3), had, SETTINGS)
    assert later == pytest.approx(np.array([0.5, 0.6, 0.3]) * STEP)
    assert not ended.any()
    assert (had.close.tolist(), had.uncomfortable.tolist()) == ([True, False, True], [False, True, True])
    # No metres, nothing to lose: who is close while it stands is not paid less for that.
    still, _ = reward(np, facts(1, progress_m=0.0, ttc_s=0.1), marks(), SETTINGS)
    assert still.tolist() == [0.0]


def test_arriving_and_time_are_no_infractions() -> None:
    assert worth(arrived=True) == worth(timed_out=True) == (pytest.approx(STEP), False)


def test_the_experts_drive_brings_what_the_settings_say() -> None:
    metres = np.arange(1, 51) * 4.0
    gained, _ = reward(np, facts(50, s_m=60.0 + metres), marks(50), RewardSettings(completion=7.0))
    assert gained.sum() == pytest.approx(7.0)


def test_torch_gives_the_same() -> None:
    rng = np.random.default_rng(0)
    given = {f.name: rng.uniform(-3.0, 30.0, 64) for f in fields(Facts) if f.name not in FLAGS}
    given |= {name: rng.random(64) < 0.3 for name in FLAGS}
    want, ended = reward(np, facts(64, **given), marks(64), SETTINGS)
    got, ends = reward(torch, facts(64, torch, **given), marks(64, torch), SETTINGS)
    assert np.abs(got.numpy() - want).max() < 1e-12
    assert (ends.numpy() == ended).all()
    assert 0 < ended.sum() < 64


def test_settings_refuse_what_makes_no_sense() -> None:
    for wrong in ({"completion": 0.0}, {"close": 1.5}, {"speeding": 0.0}, {"shaping": 1.0}):
        with pytest.raises(ValidationError):
            RewardSettings(**wrong)
