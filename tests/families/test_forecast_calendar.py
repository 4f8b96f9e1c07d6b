"""What a user tells a forecast of the calendar, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from nightshift.data.importers.landing import split_and_land
from nightshift.data.schema import LabelSource, Metadata, Provenance, Sensor, TimeKind
from nightshift.errors import ConfigError
from nightshift.families._forecast_calendar import HolidayConfig, RegressorConfig, holiday_table
from nightshift.families._forecast_fit import ForecastConfig
from nightshift.families.forecast import FAMILY
from nightshift.family import Limits, RunContext
from nightshift.graphs.forecast_parameters import ProphetParameters
from nightshift.graphs.parity import compare
from nightshift.settings import Home
from nightshift.validation import validated

CONFIG: dict[str, Any] = {
    "test_origins": 14,
    "val_origins": 1,
    "fit_step_min": 120,
    "daily_order": 2,
    "n_changepoints": 2,
    "history_days": 60,
    "holidays": {"country": "DE", "subdivision": "BY", "dates": {"stocktaking": ["2025-03-14", "2025-06-30"]}},
    "regressors": {"early": {"weekdays": ["mon", "tue", "wed", "thu", "fri"], "hours": [[6, 14]]}},
}


def table() -> pd.DataFrame:
    """Sixty days before Labour Day and a little after; the line stands still on holidays and at stocktaking."""
    time = pd.date_range("2025-03-08", periods=60 * 24, freq="1h")
    rng = np.random.default_rng(0)
    still = np.isin(time.strftime("%m-%d"), ["04-18", "04-21", "05-01", "03-14"])
    shift = (time.dayofweek < 5) & (time.hour >= 6) & (time.hour < 14)
    load = 50 + 5 * np.sin(2 * np.pi * time.hour / 24) + 12 * shift - 25 * still + rng.normal(0, 0.5, len(time))
    return pd.DataFrame({"time": time.tz_localize("UTC"), "run": 0, "load": load.astype("float32")})


def test_holidays_and_shifts_are_learned_leave_in_the_graph_and_are_told(session_home: Home, tmp_path: Path) -> None:
    metadata = Metadata(
        subject="forecast_calendar",
        time_kind=TimeKind.CALENDAR,
        time_unit="hours",
        sampling_s=3600.0,
        sensors=(Sensor(name="load", unit="kW", critical=True),),
        label_source=LabelSource.ABSENT,
        has_rul=False,
        provenance=Provenance(kind="synthetic", source="test"),
    )
    data = split_and_land(session_home, table(), metadata)
    config = ForecastConfig.model_validate(CONFIG)
    ctx = RunContext(
        cell="0" * 64, seed=1, limits=Limits(), work=tmp_path, checkpoints=tmp_path / "checkpoints", time_limit_s=600.0
    )
    fitted = FAMILY.train(data, config, ctx)
    model = fitted.parameters.sensors[0].model
    assert isinstance(model, ProphetParameters)
    changes = {effect.name: effect for effect in model.calendar}
    assert set(changes) == {"public_holiday", "stocktaking", "early"}
    assert model.holidays[0].beta * model.y_scale == pytest.approx(-25, abs=3)
    assert model.patterns[0].on * model.y_scale == pytest.approx(12, abs=3)
    FAMILY.save(fitted, tmp_path / "native")
    loaded = FAMILY.load(tmp_path / "native")
    inputs = FAMILY.parity_inputs(loaded, data, ctx)
    graph = FAMILY.export(loaded, ctx).SerializeToString()
    parity = compare(graph, lambda rows: FAMILY.predict(loaded, rows), inputs, FAMILY.tolerances(loaded))
    assert parity.ok, parity
    assert set(parity.cases) == {"real", "on a border", "infinite"}
    assert sum(parity.cases.values()) == parity.rows
    met = {int(t + 3600) // 86_400 for t in inputs["time_s"]}
    assert model.holidays[0].days[-1] in met  # the last holiday that the graph knows, ten years on
    evaluation = FAMILY.evaluate(loaded, data, config, ctx)
    assert any("The graph knows holidays until 2035-12-26" in note for note in evaluation.notes)
    assert not any("Nothing is learned" in note for note in evaluation.notes)
    assert "calendar_load" in {figure.key for figure in evaluation.figures}


def test_the_holidays_of_a_country_share_one_effect_unless_each_has_its_own() -> None:
    shared = holiday_table(HolidayConfig(country="DE", subdivision="BY", days_before=1), 2025, 2025)
    each = holiday_table(HolidayConfig(country="DE", subdivision="BY", each=True), 2025, 2025)
    assert shared is not None
    assert each is not None
    assert set(shared["holiday"]) == {"public_holiday"}
    assert {"Corpus Christi", "Christmas Day"} <= set(each["holiday"])
    assert sorted(shared["ds"]) == sorted(set(each["ds"]))
    assert (shared["ds"].min().year, shared["ds"].max().year) == (2025, 2035)
    assert set(zip(shared["lower_window"], shared["upper_window"], strict=True)) == {(-1, 0)}
    assert holiday_table(HolidayConfig(), 2025, 2025) is None


def test_the_example_in_the_docs_is_one_that_works() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "forecast.md").read_text(encoding="utf-8")
    block = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    config = validated(ForecastConfig, yaml.safe_load(block)["families"]["forecast"], "docs")
    found = holiday_table(config.holidays, 2026, 2026)
    assert found is not None
    assert set(found["holiday"]) == {"public_holiday", "works_shutdown"}
    assert config.patterns()["weekend_cleaning"].spans == (((5 * 24 + 22) * 3600, (6 * 24 + 2) * 3600),)


def test_own_dates_stand_beside_those_of_the_country_whatever_their_year() -> None:
    config = HolidayConfig.model_validate({"country": "FR", "dates": {"shutdown": ["2019-12-27", "2049-08-01"]}})
    found = holiday_table(config, 2025, 2025)
    assert found is not None
    own = found.loc[found["holiday"] == "shutdown", "ds"]
    assert [str(day.date()) for day in own] == ["2019-12-27", "2049-08-01"]


def test_hours_over_midnight_run_into_the_next_day() -> None:
    night = RegressorConfig(weekdays=("sun",), hours=((22.0, 6.0),)).pattern()
    assert night.spans == ((0, 6 * 3600), ((6 * 24 + 22) * 3600, 7 * 24 * 3600))
    assert RegressorConfig().pattern().spans == ((0, 7 * 24 * 3600),)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"holidays": {"country": "DEE"}}, "no holidays are known of country 'DEE'. Did you mean '"),
        ({"holidays": {"country": "DE", "subdivision": "BYY"}}, "of 'BYY' in 'DE'. Did you mean 'BY'?"),
        ({"holidays": {"subdivision": "BY"}}, "subdivision 'BY' needs its country"),
        ({"holidays": {"dates": {"shutdown": ["2026-13-01"]}}}, "holidays.dates.shutdown.0"),
        ({"holidays": {"dates": {"shutdown": []}}}, "'shutdown' has no date"),
        ({"holidays": {"dates": {"weekly": ["2026-01-01"]}}}, "the name 'weekly' is taken"),
        ({"holidays": {"dates": {"a b": ["2026-01-01"]}}}, "'a b' is no name"),
        ({"holidays": {"contry": "DE"}}, "Did you mean 'holidays.country'?"),
        ({"regressors": {"early": {"weekdays": ["monday"]}}}, "'sat' or 'sun', got 'monday'"),
        ({"regressors": {"early": {"hours": [[6, 25]]}}}, "another hour in 0..24, got [6, 25]"),
        ({"regressors": {"early": {"column": "speed"}}}, "unknown key 'regressors.early.column'"),
        ({"regressors": {"trend": {}}}, "the name 'trend' is taken"),
        ({"regressors": {"public_holiday": {}}}, "is the name of a holiday and of a regressor"),
    ],
)
def test_what_makes_no_sense_is_one_readable_error(values: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(ForecastConfig, values, "forecast config")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
