"""Calendar, shifts in local time, and air."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from nightshift.errors import UsageError
from nightshift.simulate.physics import clock
from nightshift.simulate.profile_parts import Schedule
from tests.simulate.physics.made import profile

PLAIN = profile()
LIVES = np.array([80.0, 120.0, 95.5, 101.0])


def test_runs_follow_each_other_with_an_overhaul_between_on_the_sampling_grid() -> None:
    made = profile(rates={"censored": 0, "overhaul_h": [5, 9]})
    plan = clock.lives(made, LIVES, seed=1, rows=None, start=None)
    hour = 3_600_000_000_000
    assert plan.shown.tolist() == plan.steps.tolist() == [80, 120, 96, 101]
    assert plan.start_ns[0] == pd.Timestamp(made.start).value
    pauses = (np.diff(plan.start_ns) - plan.shown[:-1] * hour) / hour
    assert ((pauses >= 5) & (pauses <= 9) & (pauses == np.round(pauses))).all()
    later = clock.lives(made, LIVES, seed=1, rows=None, start=datetime(2030, 5, 1, 7, tzinfo=UTC))
    assert later.start_ns[0] == pd.Timestamp("2030-05-01T07:00Z").value


def test_the_stated_share_of_runs_is_ended_before_failure() -> None:
    made = profile(rates={"censored": 0.3})
    plan = clock.lives(made, np.full(2000, 100.0), seed=1, rows=None, start=None)
    assert plan.censored.mean() == pytest.approx(0.3, abs=0.03)
    assert (plan.shown[~plan.censored] == 100).all()
    ended = plan.shown[plan.censored]
    assert ended.min() >= 50
    assert ended.max() <= 95


def test_a_cut_shows_exactly_the_rows_asked_for_and_leaves_the_last_run_running() -> None:
    made = profile(rates={"censored": 0})
    plan = clock.lives(made, LIVES, seed=1, rows=210, start=None)
    assert plan.shown.tolist() == [80, 120, 10]
    assert plan.censored.tolist() == [False, False, True]
    assert plan.steps[2] == 96
    whole = clock.lives(made, LIVES, seed=1, rows=200, start=None)
    assert whole.censored.tolist() == [False, False]


@pytest.mark.parametrize("rows", [0, -1, 398])
def test_rows_that_the_units_do_not_last_for_are_refused_with_both_figures(rows: int) -> None:
    made = profile(rates={"censored": 0})
    with pytest.raises(UsageError, match=f"4 units last for 397 rows; {rows} are asked for"):
        clock.lives(made, LIVES, seed=1, rows=rows, start=None)


def test_a_calendar_that_ends_after_what_timestamps_hold_is_refused() -> None:
    made = profile(sampling_s=86_400, life={"mean_h": 24_000}, labels={"horizon_h": 3_600})
    with pytest.raises(UsageError, match=r"would end in 2\d{3}; it holds up to 2262"):
        clock.lives(made, np.full(200, 24_000.0), seed=1, rows=None, start=None)


def test_shifts_are_in_local_time_on_both_sides_of_the_clock_change() -> None:
    stamps = pd.to_datetime(["2024-01-15T09:00Z", "2024-07-15T09:00Z"]).to_numpy("datetime64[ns]").view(np.int64)
    local = clock.local_ns(stamps[None, :], "Europe/Berlin")
    assert ((local // 3_600_000_000_000) % 24).tolist() == [[10, 11]]


def test_the_week_has_its_shifts_with_smooth_edges_and_idles_outside() -> None:
    schedule = Schedule.model_validate(
        {
            "shifts": [
                {"begin": "06:00", "end": "14:00", "days": ["mon"], "load": 0.9},
                {"begin": "22:00", "end": "04:00", "days": ["sun"]},
            ],
            "idle_load": 0.2,
        }
    )
    week = clock.week_profile(schedule)
    assert week[10 * 60] == pytest.approx(0.9)
    assert week[24 * 60 + 600] == pytest.approx(0.2)
    assert week[6 * 60] == pytest.approx(0.55, abs=0.02)
    assert np.abs(np.diff(week)).max() < 0.03
    # Sunday's night shift ends on Monday morning, around the week's end.
    assert week[6 * 24 * 60 + 23 * 60] == pytest.approx(1.0, abs=0.01)
    assert week[2 * 60] == pytest.approx(1.0, abs=0.01)
    assert week[6 * 24 * 60 + 2 * 60] == pytest.approx(0.2)


def test_a_shift_of_a_whole_day_never_idles_within_it() -> None:
    every_day = Schedule.model_validate({"shifts": [{"begin": "00:00", "end": "24:00"}], "idle_load": 0.1})
    assert clock.week_profile(every_day).min() > 0.5


def test_load_follows_the_shifts_by_the_unit_s_swing_around_one_mean() -> None:
    quiet = profile(schedule={"shifts": [{"begin": "06:00", "end": "18:00"}], "load_noise": 0})
    local = np.arange(0, 14 * 24)[None, :] * 3_600_000_000_000 + np.zeros((2, 1), dtype=np.int64)
    level, swing = np.array([[0.8], [0.8]]), np.array([[1.0], [0.0]])
    load = clock.load(quiet, local, level, swing, (1,))
    assert np.ptp(load[0]) > 0.5
    assert np.ptp(load[1]) == pytest.approx(0)
    assert load[0].mean() == pytest.approx(load[1].mean(), rel=0.03)
    hour = np.arange(14 * 24) % 24
    assert load[0, hour == 12].mean() > 2 * load[0, hour == 0].mean()


def test_orders_make_load_drift_within_what_a_machine_can_carry() -> None:
    loud = profile(schedule={"shifts": [{"begin": "00:00", "end": "24:00"}], "load_noise": 0.5})
    local = np.arange(2000)[None, :] * 3_600_000_000_000
    load = clock.load(loud, local, np.array([[1.2]]), np.array([[0.5]]), (1,))
    assert load.std() > 0.2
    assert load.min() > 0
    assert load.max() <= 1.3


def test_air_is_warmest_in_the_afternoon_of_the_hottest_day_and_each_place_has_its_own() -> None:
    season = {"mean_c": 15, "yearly_swing_k": 10, "daily_swing_k": 4, "weather_k": 0, "hottest_day": 200}
    made = profile(schedule={"shifts": [{"begin": "06:00", "end": "18:00"}], "season": season})
    local = np.arange(365 * 24)[None, :] * 3_600_000_000_000 + np.zeros((2, 1), dtype=np.int64)
    air = clock.ambient(made, local, np.array([[0.0], [3.0]]), (1,))
    assert air[1] - air[0] == pytest.approx(3.0)
    assert air[0].max() == pytest.approx(29, abs=0.1)
    warmest = int(air[0].argmax())
    assert abs(warmest // 24 - 200) <= 1
    assert warmest % 24 == 15
    assert air[0].mean() == pytest.approx(15, abs=0.1)
