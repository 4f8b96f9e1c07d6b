"""A trend that levels off is learned between the cap and the floor of the config; wrong ones are told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import split_and_land
from nightshift.data.schema import LabelSource, Metadata, Provenance, Sensor, TimeKind
from nightshift.errors import ConfigError
from nightshift.families._forecast_bounds import check_measured
from nightshift.families._forecast_fit import ForecastConfig
from nightshift.families._forecast_series import even_series
from nightshift.families.forecast import FAMILY
from nightshift.family import Limits, RunContext
from nightshift.graphs.forecast_parameters import ProphetParameters, prophet_trend
from nightshift.graphs.parity import compare
from nightshift.settings import Home
from nightshift.validation import validated

FLOOR, CAP = 10.0, 100.0
CONFIG: dict[str, Any] = {
    "test_origins": 14,
    "val_origins": 1,
    "fit_step_min": 120,
    "daily_order": 1,
    "weekly_order": 0,
    "day_types": False,
    "n_changepoints": 0,
    "growth": "logistic",
    "cap": {"level": CAP},
    "floor": {"level": FLOOR},
}


@pytest.fixture(scope="module")
def data(session_home: Home) -> Dataset:
    """Sixty days of a level that rises most in the middle, and has all but levelled off at the end."""
    time = pd.date_range("2025-03-08", periods=60 * 24, freq="1h")
    day = np.arange(len(time)) / 24
    rng = np.random.default_rng(0)
    level = FLOOR + (CAP - FLOOR) / (1 + np.exp(-(day - 30) / 7)) + np.sin(2 * np.pi * day)
    level = np.clip(level + rng.normal(0, 0.3, len(time)), FLOOR + 0.5, CAP - 0.5)
    table = pd.DataFrame({"time": time.tz_localize("UTC"), "run": 0, "level": level.astype("float32")})
    metadata = Metadata(
        subject="forecast_bounds",
        time_kind=TimeKind.CALENDAR,
        time_unit="hours",
        sampling_s=3600.0,
        sensors=(Sensor(name="level", unit="%", critical=True),),
        label_source=LabelSource.ABSENT,
        has_rul=False,
        provenance=Provenance(kind="synthetic", source="test"),
    )
    return split_and_land(session_home, table, metadata)


def test_a_trend_levels_off_below_the_cap_in_fit_graph_and_notes(data: Dataset, tmp_path: Path) -> None:
    config = validated(ForecastConfig, CONFIG, "test")
    ctx = RunContext(
        cell="0" * 64, seed=1, limits=Limits(), work=tmp_path, checkpoints=tmp_path / "checkpoints", time_limit_s=600.0
    )
    FAMILY.save(FAMILY.train(data, config, ctx), tmp_path / "native")
    fitted = FAMILY.load(tmp_path / "native")
    model = fitted.parameters.sensors[0].model
    assert isinstance(model, ProphetParameters)
    assert (model.growth, model.floor, model.cap) == ("logistic", FLOOR, CAP)
    years = prophet_trend(model, model.start_s + np.arange(0, 3 * 365, 5, dtype=np.int64) * 86_400)
    assert years[-1] == pytest.approx(CAP, abs=0.01)
    assert np.all((years > FLOOR) & (years <= CAP))
    inputs = FAMILY.parity_inputs(fitted, data, ctx)
    graph = FAMILY.export(fitted, ctx).SerializeToString()
    parity = compare(graph, lambda rows: FAMILY.predict(fitted, rows), inputs, FAMILY.tolerances(fitted))
    assert parity.ok, parity
    notes = FAMILY.evaluate(fitted, data, config, ctx).notes
    assert any("level between 10 and 100" in note for note in notes)


def test_the_same_bounds_are_no_bounds_where_the_growth_is_another() -> None:
    assert ForecastConfig().bounds("level") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cap": {"level": 90.0}}, "the cap of 'level' is 90, and 99.5 was measured. Raise it above 99.5"),
        ({"floor": {}, "cap": {"levl": 100}}, "cap names 'levl', which is not forecast. Did you mean 'level'?"),
        ({"floor": {"level": 30.0}}, "the floor of 'level' is 30, and 10.5 was measured. Say a floor below 10.5"),
    ],
)
def test_bounds_that_the_data_do_not_keep_are_one_readable_error(
    changes: Mapping[str, Any], said: str, data: Dataset, tmp_path: Path
) -> None:
    config = validated(ForecastConfig, CONFIG | dict(changes), "test")
    ctx = RunContext(
        cell="0" * 64, seed=1, limits=Limits(), work=tmp_path, checkpoints=tmp_path / "checkpoints", time_limit_s=600.0
    )
    with pytest.raises(ConfigError) as caught:
        FAMILY.train(data, config, ctx)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_sensor_that_is_forecast_needs_a_cap(data: Dataset) -> None:
    series = replace(even_series(data, ["level"], 600), sensors=("level", "wear"))
    with pytest.raises(ConfigError, match=r"growth is logistic and 'wear' has no cap. Add `cap: \{wear: ...\}`"):
        check_measured(series, "logistic", {"level": 100.0}, {})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"growth": "logistic"}, "'cap': Value error, growth logistic needs the value that each sensor stays below"),
        ({"cap": {"level": 9}}, "growth linear has no cap"),
        ({"growth": "logistic", "cap": {"level": 9}, "floor": {"level": 9}}, "'level', 9, is not below its cap, 9"),
        ({"growth": "logistic", "cap": {"level": -9}}, "the floor of 'level', 0, is not below its cap, -9"),
        ({"growth": "logistic", "cap": {"level": 9}, "floor": {"wear": 1}}, "'wear' has a floor and no cap"),
        ({"growth": "logistic", "cap": {"level": float("nan")}}, "'level' is no finite number"),
        ({"floor": {"level": 1}}, "'level' has a floor and no cap"),
    ],
)
def test_bounds_that_make_no_sense_are_one_readable_error(values: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(ForecastConfig, values, "forecast config")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_example_in_the_docs_is_one_that_works() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "forecast.md").read_text(encoding="utf-8")
    block = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[1]
    config = validated(ForecastConfig, yaml.safe_load(block)["families"]["forecast"], "docs")
    assert config.cap.keys() == set(config.sensors)
