"""Values come to the stored types, or the column is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.datasets import calendar_rows, describe

from nightshift.data.normalise import normalise
from nightshift.data.schema import TimeKind
from nightshift.errors import DataError


def parts(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {part: rows.iloc[i::3] for i, part in enumerate(("train", "val", "test"))}


def test_stored_types_are_the_stated_ones_and_inputs_are_not_changed() -> None:
    rows = calendar_rows()
    before = rows.copy()
    stored, described = normalise(parts(rows), describe())
    train = stored["train"]
    assert train.dtypes.astype(str).to_dict() == {
        "time": "datetime64[ns, UTC]",
        "run": "int64",
        "heat_c": "float32",
        "shake_mm_s": "float32",
        "load_nm": "float32",
        "grade": "object",
        "failure_status": "int8",
        "rul": "float64",
    }
    pd.testing.assert_frame_equal(rows, before)
    assert described.parts["val"].rows == len(stored["val"])
    assert described.parts["train"].first == "2025-03-01T00:00:00Z"


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_an_infinity_is_refused_with_the_column_and_row_named(value: float) -> None:
    rows = calendar_rows()
    rows.loc[0, "load_nm"] = value
    with pytest.raises(DataError, match=r"D020: column 'load_nm' holds an infinite value \(row 1\)"):
        normalise(parts(rows), describe())


def test_text_in_a_sensor_is_refused_with_the_cell_named() -> None:
    rows = calendar_rows().astype({"heat_c": object})
    rows.loc[3, "heat_c"] = "hot"
    with pytest.raises(DataError, match=r"D020: column 'heat_c' holds 'hot' \(row 2\), which is no number"):
        normalise(parts(rows), describe())


def test_missing_values_stay_missing() -> None:
    rows = calendar_rows()
    rows.loc[[0, 4], ["heat_c", "grade", "failure_status"]] = None
    stored, _ = normalise(parts(rows), describe())
    assert np.isnan(stored["train"]["heat_c"].iloc[0])
    assert stored["train"]["grade"].iloc[0] is None
    assert {str(f["failure_status"].dtype) for f in stored.values()} == {"float32"}


def test_a_label_other_than_0_and_1_is_refused() -> None:
    rows = calendar_rows()
    rows.loc[0, "failure_status"] = 2
    with pytest.raises(DataError, match="'failure_status' holds 2"):
        normalise(parts(rows), describe())


def test_an_empty_or_zoneless_time_is_refused() -> None:
    rows = calendar_rows()
    with pytest.raises(DataError, match="no times with a zone"):
        normalise(parts(rows.assign(time=rows["time"].dt.tz_localize(None))), describe())
    rows.loc[0, "time"] = pd.NaT
    with pytest.raises(DataError, match="column 'time' is empty in row 1"):
        normalise(parts(rows), describe())


def test_cycle_numbers_keep_one_type_in_all_parts() -> None:
    rows = calendar_rows().assign(time=np.arange(480, dtype=float))
    rows.loc[0, "time"] = 0.5
    metadata = describe(time_kind=TimeKind.CYCLES, time_unit="cycles", sampling_s=None)
    stored, _ = normalise(parts(rows), metadata)
    assert {str(f["time"].dtype) for f in stored.values()} == {"float64"}
