from __future__ import annotations

import pytest
from pydantic import ValidationError

from nightshift.errors import ConfigError, UnknownNameError
from nightshift.plan.options import TrainOptions, settings_of


def test_empty_options_change_nothing():
    assert settings_of(TrainOptions(), "anomaly") == {}


def test_named_fields_settings_and_the_familys_own_merge_in_this_order():
    options = TrainOptions(
        contamination=0.1, seed=1, settings={"seed": 2, "n_trees": 5}, families={"anomaly": {"n_trees": 9}}
    )
    assert settings_of(options, "anomaly") == {"contamination": 0.1, "seed": 2, "n_trees": 9}


def test_a_setting_that_another_family_of_the_run_knows_is_left_out():
    options = TrainOptions(contamination=0.1, seed=3)
    assert settings_of(options, "forecast", ("anomaly", "forecast")) == {"seed": 3}


def test_a_setting_that_no_family_knows_names_the_nearest():
    with pytest.raises(ConfigError, match="contamination"):
        settings_of(TrainOptions(settings={"contaminaton": 0.1}), "anomaly", ("anomaly", "forecast"))


def test_settings_of_an_unknown_family_name_the_nearest():
    with pytest.raises(UnknownNameError, match="anomaly"):
        settings_of(TrainOptions(families={"anomali": {}}), "anomaly")


def test_the_forecast_hours_reach_the_forecast():
    from nightshift import families

    values = settings_of(TrainOptions(forecast_h=48), "forecast")
    (key,) = values
    assert values == {key: 48}
    field = families.get("forecast").config.model_fields[key]
    assert isinstance(field.json_schema_extra, dict)
    assert field.json_schema_extra["flag"] == "--forecast-hours"


def test_an_unknown_option_is_refused():
    with pytest.raises(ValidationError):
        TrainOptions.model_validate({"time_limit": 3})
