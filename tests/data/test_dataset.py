"""What families read from a dataset."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.datasets import calendar_rows, describe

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import land_parts, split_and_land
from nightshift.data.schema import TimeKind
from nightshift.data.splits import split
from nightshift.errors import UnknownNameError
from nightshift.settings import Home


@pytest.fixture
def data(home: Home) -> Dataset:
    rows = calendar_rows(runs=20)
    rows.loc[0, "heat_c"] = np.nan
    rows.loc[1, "grade"] = None
    cut = split(rows, TimeKind.CALENDAR)
    cut["test"].loc[0, "grade"] = "never seen"
    return land_parts(home, cut, describe())


def test_the_matrix_holds_sensors_in_order_with_codes_for_categories(data: Dataset) -> None:
    matrix = data.matrix("train")
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(data.frame("train")), 4)
    assert np.isnan(matrix[0, 0])
    assert matrix[1, 3] == -1
    assert data.matrix("test")[0, 3] == -1
    code = data.metadata.sensors[3].categories.index(data.frame("train")["grade"][5])
    assert matrix[5, 3] == code


def test_times_are_utc_and_civil_time_follows_the_machines_clock(data: Dataset) -> None:
    first = data.frame("test")["time"].iloc[0]
    assert data.times_s("test")[0] == first.timestamp()
    assert data.civil_s("train")[0] - data.times_s("train")[0] == 3600  # Berlin in winter


def test_civil_time_shifts_with_daylight_saving(home: Home) -> None:
    rows = calendar_rows().assign(time=lambda f: f["time"] + pd.Timedelta(days=28))
    summer = split_and_land(home, rows, describe("pump_2"))
    offset = summer.civil_s("train") - summer.times_s("train").astype(np.int64)
    assert set(offset.tolist()) == {3600, 7200}


def test_few_runs_count_by_civil_day_and_many_by_run(data: Dataset) -> None:
    assert data.units("train")[0] == "0"
    assert len(np.unique(data.runs("val"))) < 5
    local = data.frame("val")["time"].dt.tz_convert("Europe/Berlin").dt.strftime("%Y-%m-%d")
    assert data.units("val").tolist() == local.tolist()


def test_validation_halves_hold_whole_runs_and_cover_everything(data: Dataset) -> None:
    first, second = data.validation_halves()
    assert np.array_equal(first, ~second)
    runs = data.runs("val")
    assert not set(runs[first]) & set(runs[second])
    assert first.any()
    assert second.any()


def test_validation_of_a_single_run_is_halved_by_time(home: Home) -> None:
    rows = calendar_rows().assign(run=0)
    first, _ = split_and_land(home, rows, describe("pump_3")).validation_halves()
    assert first[: len(first) // 2].all()
    assert not first[len(first) // 2 :].any()


def test_validation_of_independent_rows_is_halved_within_each_class(home: Home) -> None:
    rows = calendar_rows().drop(columns=["time", "rul"]).assign(run=np.arange(480))
    data = split_and_land(
        home, rows, describe("pump_4", time_kind=TimeKind.NONE, time_unit="none", sampling_s=None, has_rul=False)
    )
    first, second = data.validation_halves()
    labels = data.labels("val")
    assert abs(int(labels[first].sum()) - int(labels[second].sum())) <= 1
    assert np.array_equal(first, data.validation_halves()[0])
    assert np.isnan(data.times_s("val")).all()


def test_unknown_parts_and_columns_name_the_nearest(data: Dataset) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        data.frame("trian")
    with pytest.raises(UnknownNameError, match="Did you mean 'heat_c'"):
        data.frame("train", ["heatc"])
