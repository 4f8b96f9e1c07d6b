"""Rows that arrive one at a time are answered as they would be all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import clock_graph, forecast_bundle, interface, manifest, sum_graph, write_bundle

from nightshift.edge.manifest import Output
from nightshift.edge.rows import rows_of
from nightshift.edge.runtime import Model
from nightshift.edge.stream import Stream
from nightshift.errors import (
    BundleError,
    ColumnError,
    DtypeError,
    OrderError,
    ShapeError,
    UnitError,
)

RUNS = ["a", "a", "a", "b", "b", "a", "a"]
TIMES = [f"2026-03-01T0{hour}:00:00Z" for hour in (1, 2, 3, 0, 1, 5, 6)]


def table() -> dict[str, list[object]]:
    rng = np.random.default_rng(2)
    speed: list[object] = [float(v) for v in rng.normal(size=len(RUNS))]
    speed[2], speed[4] = None, "n/a"
    return {
        "time": list(TIMES),
        "grade": ["L", "H", "?", "M", None, "L", "H"],
        "temperature [degC]": [int(v) for v in rng.integers(-5, 50, len(RUNS))],
        "speed": speed,
        "run": list(RUNS),
    }


def one_by_one(given: dict[str, list[object]]) -> list[dict[str, object]]:
    return [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]


def test_windows_are_those_of_the_whole_table(tmp_path: Path) -> None:
    face = interface(window_rows=3)
    model = Model.load(write_bundle(tmp_path / "v1", sum_graph(window_rows=3), interface=face))
    rows = rows_of({k.replace(" [degC]", ""): v for k, v in table().items()}, model.manifest)
    want = np.concatenate([inputs["window"] for inputs in model.windows(rows)])
    stream = Stream(model.manifest)
    got = np.concatenate([stream.push(row)["window"] for row in one_by_one(table())])
    np.testing.assert_array_equal(got, want)
    whole = model.predict(rows)
    parts = list(model.predict_stream(one_by_one(table())))
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values)


def test_a_forecast_reads_each_rows_own_clock(tmp_path: Path) -> None:
    model = Model.load(forecast_bundle(tmp_path / "v1", "Europe/Berlin"))
    rows = rows_of({k.replace(" [degC]", ""): v for k, v in table().items()}, model.manifest)
    got = [answer["yhat"] for answer in model.predict_stream(one_by_one(table()))]
    np.testing.assert_array_equal(np.concatenate(got), model.predict(rows)["yhat"])
    without = [{name: value for name, value in row.items() if name != "time"} for row in one_by_one(table())]
    with pytest.raises(ColumnError, match="row 1 has no time"):
        next(model.predict_stream(without))


def test_arrays_are_answered_and_each_answer_comes_before_the_next_row(tmp_path: Path) -> None:
    model = Model.load(write_bundle(tmp_path / "v1"))
    asked: list[int] = []

    def sensor() -> Any:
        for i in range(3):
            asked.append(i)
            yield np.array([i, 1, 0], np.float32)

    answers = model.predict_stream(sensor(), columns=("speed [rpm]", "temperature", "grade"))
    assert next(answers)["value"].tolist() == [1.0]
    assert asked == [0]
    assert [answer["value"].item() for answer in answers] == [2.0, 3.0]


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ({"speed": 1, "temperature": 2}, ColumnError, "column 'grade' is missing"),
        ({"speed [Hz]": 1, "temperature": 2, "grade": "L"}, UnitError, "'speed' is in 'Hz', the model takes 'rpm'"),
        ({"speed": "warm", "temperature": 2, "grade": "L"}, DtypeError, "row 2, column 'speed': 'warm' is no number"),
        ({"speed": [1], "temperature": 2, "grade": "L"}, DtypeError, "no number"),
        (
            {"speed": 1, "temperature": 2, "grade": "L", "time": "noon"},
            DtypeError,
            "row 2, column 'time': 'noon' is no time",
        ),
        (
            {"speed": 1, "temperature": 2, "grade": "L", "time": "2026-01-01T00:00:00Z"},
            OrderError,
            "row 2: time goes back within a run",
        ),
        (np.zeros(4, np.float32), ShapeError, r"shape \(4,\), expected \(3,\)"),
        (np.zeros(3), DtypeError, "float64, expected float32"),
    ],
)
def test_a_row_that_is_refused_leaves_the_window_as_it_was(row: Any, error: type[BundleError], words: str) -> None:
    stream = Stream(manifest(sum_graph()))
    good = {"speed": 1.0, "temperature": 2.0, "grade": "M", "time": "2026-03-01T00:00:00Z"}
    stream.push(good)
    with pytest.raises(error, match=words):
        stream.push(row)
    np.testing.assert_array_equal(stream.push(good)["window"], [[[1, 2, 1], [1, 2, 1]]])


def test_a_naive_clock_may_show_the_hour_twice() -> None:
    shape = Output(name="yhat", dtype="float32", shape=("batch", 2, 1))
    face = interface(window_rows=1, uses_time=True, outputs=(shape,), sensors=("speed",), steps=2, step_s=600.0)
    stream = Stream(manifest(clock_graph(), interface=face, timezone="Europe/Berlin"))
    for clock in ("2026-10-25T02:50:00", "2026-10-25T02:10:00"):
        stream.push({"speed": 1, "temperature": 2, "grade": "L", "time": clock})


def test_a_row_without_a_time_hides_no_step_back() -> None:
    stream = Stream(manifest(sum_graph()))
    row = {"speed": 1, "temperature": 2, "grade": " L "}
    assert stream.push({**row, "time": "2026-03-02T00:00:00Z"})["window"][0, -1].tolist() == [1, 2, 0]
    stream.push(row)
    with pytest.raises(OrderError, match="row 3: time goes back"):
        stream.push({**row, "time": "2026-03-01T00:00:00Z"})
    stream.push({**row, "time": "2026-03-01T00:00:00Z", "run": 2})


def test_a_column_named_by_a_number_is_refused() -> None:
    with pytest.raises(ColumnError, match="a column is named 1, a int"):
        Stream(manifest(sum_graph())).push({1: 2.0})  # type: ignore[dict-item]
