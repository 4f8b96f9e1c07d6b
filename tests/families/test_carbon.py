"""CO2: the truth of windows, what is left out, and answers that stay within what was seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.family_runs import small_context
from support.vehicles import metadata, trips

from nightshift.data.dataset import Dataset
from nightshift.data.store import land
from nightshift.errors import ConfigError, DataError
from nightshift.families._boosted import BoostedModel
from nightshift.families._consumption import known_windows
from nightshift.families.carbon import FAMILY, CarbonConfig
from nightshift.family import RunContext
from nightshift.problems.regression import PROBLEM
from nightshift.settings import Home

Made = tuple[BoostedModel, CarbonConfig, RunContext]


@pytest.fixture(scope="module")
def made(session_home: Home, vehicle_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    config, ctx = small_context(session_home, "carbon", tmp_path_factory.mktemp("carbon"))
    assert isinstance(config, CarbonConfig)
    few = config.model_copy(update={"n_estimators": 60, "min_leaf_rows": 10, "leave_out": ()})
    return FAMILY.train(vehicle_data, few, ctx), few, ctx


def test_the_model_beats_mean_and_persistence_on_cars_it_has_not_seen(made: Made, vehicle_data: Dataset) -> None:
    evaluation = FAMILY.evaluate(made[0], vehicle_data, made[1], made[2])
    best, own = evaluation.best_baseline(), evaluation.score("test")
    assert evaluation.primary == "rmse"
    assert {r.who for r in evaluation.rows} == {"model", "mean", "persistence"}
    assert best is not None
    assert own is not None
    assert own < 0.6 * best[1]
    accuracy = evaluation.score("test", "accuracy_pct")
    assert accuracy is not None
    assert accuracy > 80
    assert evaluation.statistics is not None
    sums = np.array(evaluation.statistics.values).sum(axis=0)
    assert PROBLEM.from_sums(sums) == pytest.approx(own)
    samples = FAMILY.samples(made[0].interface, vehicle_data, "test")
    assert PROBLEM.statistics(FAMILY.predict(made[0], samples.inputs), samples).values == evaluation.statistics.values
    assert {"consumption_trips", "importance"} < {f.key for f in evaluation.figures}


def test_fuel_is_never_an_input_and_a_column_can_be_left_out(made: Made, vehicle_data: Dataset) -> None:
    names = [c.name for c in made[0].interface.columns]
    assert names == list(vehicle_data.metadata.columns)
    assert not {"fuel_consumption", "co2"} & set(names)
    with pytest.raises(ConfigError, match="no column 'fuel_consumption'"):
        FAMILY.train(vehicle_data, made[1].model_copy(update={"columns": ("fuel_consumption",)}), made[2])
    few = made[1].model_copy(update={"leave_out": ("steer", "gear"), "n_estimators": 5})
    left = [c.name for c in FAMILY.train(vehicle_data, few, made[2]).interface.columns]
    assert left == [n for n in names if n not in ("steer", "gear")]


def test_columns_made_of_two_stand_where_the_data_have_both(made: Made, vehicle_data: Dataset) -> None:
    names = [d.name for d in made[0].spec.derived]
    assert names == ["engine_rpm_x_throttle", "velocity_x_acceleration", "engine_rpm_per_velocity"]
    none = made[1].model_copy(update={"leave_out": ("velocity",), "n_estimators": 5})
    left = FAMILY.train(vehicle_data, none, made[2]).spec
    assert [d.name for d in left.derived] == ["engine_rpm_x_throttle"]
    assert "engine_rpm_x_throttle__mean" in left.feature_names


def test_answers_stay_between_nothing_and_the_largest_rate_seen(made: Made, vehicle_data: Dataset) -> None:
    _, truth = known_windows(vehicle_data, "train", "carbon", window_rows=20, stride_rows=10)
    top = made[0].interface.thresholds["largest_answer"]
    assert top == np.float32(truth.value.max())
    extreme = np.full((2, 20, len(made[0].interface.columns)), 1e30, np.float32)
    extreme[1] = -1e30
    said = FAMILY.predict(made[0], {"window": extreme})["value"]
    assert said.dtype == np.float32
    assert said.min() >= 0
    assert said.max() <= np.float32(top)


def test_the_truth_of_a_window_is_its_mean_or_that_of_the_next(vehicle_data: Dataset) -> None:
    rate, run = vehicle_data.truth("val", "carbon"), vehicle_data.runs("val")
    ends, truth = known_windows(vehicle_data, "val", "carbon", window_rows=20, stride_rows=10)
    at = {int(e): i for i, e in enumerate(ends)}
    assert truth.value[at[19]] == pytest.approx(rate[:20].mean())
    assert np.isnan(truth.before[at[29]]), "no whole window ended before this one began"
    assert truth.before[at[39]] == pytest.approx(rate[:20].mean())
    second = int(np.flatnonzero(run != run[0])[0])
    assert np.isnan(truth.before[at[second + 19]]), "the window before is of another trip"
    assert truth.before[at[second + 39]] == pytest.approx(rate[second : second + 20].mean())
    ends, ahead = known_windows(vehicle_data, "val", "carbon", window_rows=20, stride_rows=10, ahead_rows=30)
    assert ahead.value[0] == pytest.approx(rate[20:50].mean())
    assert ends.max() + 30 < len(run)
    assert np.isnan(ahead.before[0]), "thirty rows did not go before"
    assert ahead.before[1] == pytest.approx(rate[:30].mean())


def test_trips_whose_rate_is_not_known_are_left_out_and_counted(session_home: Home, made: Made, tmp_path: Path) -> None:
    parts = trips()
    parts["train"].loc[parts["train"]["run"] < 4, "co2"] = np.nan
    ctx = dataclasses.replace(made[2], work=tmp_path, findings=[])
    fitted = FAMILY.train(land(session_home, parts, metadata("part_measured")), made[1], ctx)
    assert fitted.summary["train_windows"] == 11 * 17
    assert [f.what for f in ctx.findings] == ["4 of 15 trips of the train part have no known carbon and are left out."]
    parts["val"]["co2"] = np.nan
    with pytest.raises(DataError, match="no window of the val part of 'unmeasured' has a known carbon rate"):
        FAMILY.train(land(session_home, parts, metadata("unmeasured")), made[1], ctx)


def test_more_windows_than_allowed_are_drawn_by_seed_and_said(made: Made, vehicle_data: Dataset) -> None:
    ctx = dataclasses.replace(made[2], findings=[])
    fitted = FAMILY.train(vehicle_data, made[1].model_copy(update={"max_rows": 100, "loss": "absolute"}), ctx)
    assert fitted.summary["train_windows"] == 100
    assert [f.code for f in ctx.findings] == ["T008"]
