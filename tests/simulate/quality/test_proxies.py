"""The proxies learn what is there to learn, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nightshift.simulate.quality.proxies import CAP_H, Examples, learn_and_test
from nightshift.simulate.quality.report import ProblemScores
from nightshift.simulate.quality.rows import Rows
from tests.simulate.quality.made import frame, motor

PROFILE = motor()
NAMES = [s.name for s in PROFILE.sensors]


def _examples(table: pd.DataFrame, rows: int = 2000) -> Examples:
    return Examples(Rows.of(PROFILE, table), rows, 0)


def _scores(train: pd.DataFrame, test: pd.DataFrame) -> ProblemScores:
    return learn_and_test(_examples(train), _examples(test))


@pytest.fixture(scope="module")
def test_rows() -> pd.DataFrame:
    return frame(PROFILE, runs=8, seed=1)


@pytest.fixture(scope="module")
def sound(test_rows: pd.DataFrame) -> ProblemScores:
    return _scores(frame(PROFILE, runs=10, seed=2), test_rows)


def test_all_four_problems_are_learned_from_rows_that_hold_them(sound: ProblemScores) -> None:
    assert sound.f1 is not None
    assert sound.f1 > 0.9
    # The sensors rise over the last 60 of 240 h only: what came before cannot be told apart.
    assert sound.rul_r2 is not None
    assert 0.25 < sound.rul_r2 < 0.9
    # By chance it would be the share of failing rows, 0.15.
    assert sound.pr_auc is not None
    assert sound.pr_auc > 0.8
    assert sound.forecast_skill is not None
    assert sound.forecast_skill > 0.0


def test_rows_that_mislead_teach_less(sound: ProblemScores, test_rows: pd.DataFrame) -> None:
    wrong = frame(PROFILE, runs=10, seed=3)
    order = np.random.default_rng(0).permutation(len(wrong))
    wrong[NAMES] = wrong[NAMES].to_numpy()[order]
    misled = _scores(wrong, test_rows)
    for problem in ("f1", "rul_r2", "forecast_skill"):
        assert (getattr(misled, problem) or 0.0) < getattr(sound, problem) - 0.1


def test_same_rows_same_figures(sound: ProblemScores, test_rows: pd.DataFrame) -> None:
    assert _scores(frame(PROFILE, runs=10, seed=2), test_rows) == sound


def test_missing_readings_and_censored_runs_are_bearable(test_rows: pd.DataFrame) -> None:
    train = frame(PROFILE, runs=10, seed=4)
    train.loc[np.random.default_rng(0).random(len(train)) < 0.2, NAMES] = np.nan
    cut = train["run"] == 2
    train.loc[cut, "rul"] = np.nan
    train.loc[cut & (train["failure_status"] == 1), "failure_status"] = np.nan
    found = _scores(train, test_rows)
    assert found.f1 is not None
    assert found.f1 > 0.8
    assert found.rul_r2 is not None


def test_without_labels_only_the_forecast_is_left(test_rows: pd.DataFrame) -> None:
    train = frame(PROFILE, runs=10, seed=5).drop(columns=["failure_status", "rul"])
    found = _scores(train, test_rows)
    assert (found.f1, found.rul_r2, found.pr_auc) == (None, None, None)
    assert found.forecast_skill is not None


def test_rows_of_one_class_teach_no_classifier(test_rows: pd.DataFrame) -> None:
    found = _scores(frame(PROFILE, runs=10, seed=6).assign(failure_status=0.0), test_rows)
    assert (found.f1, found.pr_auc) == (None, None)
    assert found.rul_r2 is not None


def test_life_beyond_the_cap_counts_as_the_cap() -> None:
    far = frame(PROFILE, runs=10, seed=7)
    far["rul"] = far["rul"] + 10 * CAP_H
    found = _scores(far, far)
    assert found.rul_r2 is None


def test_a_forecast_needs_rows_a_day_ahead_within_a_run(test_rows: pd.DataFrame) -> None:
    short = frame(PROFILE, runs=30, rows=20, seed=8)
    assert _scores(short, test_rows).forecast_skill is None
