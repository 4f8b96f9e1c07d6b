"""Any table with a mapping becomes a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from support.datasets import calendar_rows

from nightshift.data.dataset import Dataset
from nightshift.data.importers.csv_file import import_csv
from nightshift.data.importers.landing import Check, refuse_blockers
from nightshift.data.importers.mapping import load_mapping, parse_mapping
from nightshift.data.schema import LabelSource
from nightshift.data.store import subjects
from nightshift.data.validate import validate
from nightshift.errors import BlockedError, ConfigError, DataError, UnknownNameError, UsageError
from nightshift.settings import Home

MAPPING: dict[str, Any] = {
    "machine": "pump_7",
    "time": {"column": "time", "timezone": "Europe/Berlin"},
    "run": "run",
    "sensors": {
        "heat_c": {"unit": "degC", "critical": True, "alarm_above": 68},
        "shake_mm_s": {"name": "shake"},
        "load_nm": {"role": "setting"},
        "grade": {"role": "category"},
    },
    "label": "failure_status",
    "rul": "rul",
    "horizon": 2,
    "embargo_h": 0,
}


def with_(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in (MAPPING | changes).items() if v is not None}


def land(
    home: Home, rows: pd.DataFrame, values: dict[str, Any], *, check: Check | None = refuse_blockers, **to_csv: Any
) -> Dataset:
    path = home.root / "rows.csv"
    rows.to_csv(path, index=False, **to_csv)
    return import_csv(home, path, parse_mapping(values, "rows.yaml"), check=check)


def whole(data: Dataset) -> pd.DataFrame:
    return pd.concat([data.frame(p) for p in data.parts], ignore_index=True)


def test_csv_and_parquet_of_the_same_rows_hold_the_same_values(home: Home) -> None:
    rows = calendar_rows()
    text = land(home, rows, MAPPING)
    rows.to_parquet(home.root / "rows.parquet")
    binary = import_csv(home, home.root / "rows.parquet", parse_mapping(MAPPING, "m"), "pump_8")
    pd.testing.assert_frame_equal(whole(text), whole(binary), rtol=1e-5)
    assert text.metadata.label_source is LabelSource.GIVEN
    assert text.metadata.provenance.mapping["shake_mm_s"] == "shake"
    assert text.metadata.sampling_s == 600


def test_the_same_table_in_another_dress_holds_the_same_values(home: Home) -> None:
    rows = calendar_rows()
    plain = whole(land(home, rows, MAPPING))
    german = rows.assign(time=rows["time"].dt.tz_convert("Europe/Berlin").dt.strftime("%d.%m.%Y %H:%M"))
    values = with_(time={"column": "time", "timezone": "Europe/Berlin", "format": "%d.%m.%Y %H:%M"})
    dressed = whole(land(home, german, values, sep=";", decimal=",", encoding="utf-16"))
    pd.testing.assert_frame_equal(dressed, plain, rtol=1e-5)


def test_a_mapping_column_that_the_file_lacks_names_the_nearest(home: Home) -> None:
    values = with_(sensors={"heat": {}})
    with pytest.raises(UnknownNameError, match=r"unknown column 'heat'.*Did you mean 'heat_c'"):
        land(home, calendar_rows(), values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sensor": {}}, "unknown key 'sensor'.*Did you mean 'sensors'"),
        ({"time": {"colum": "time"}}, "unknown key 'time.colum'.*Did you mean 'column'"),
        ({"sensors": {"heat_c": {"units": "K"}}}, "unknown key 'sensors.heat_c.units'.*Did you mean 'unit'"),
        ({"sensors": {}}, "sensors"),
        ({"time": {"kind": "calendar"}}, "give `column`"),
        ({"horizon": -1}, "horizon"),
        ({"sensors": {"a": {"name": "x"}, "b": {"name": "x"}}}, "two sensors are called 'x'"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_mapping(with_(**changes), "rows.yaml")


def test_mappings_are_found_by_name_own_before_shipped(home: Home) -> None:
    assert load_mapping(home, "victoria").machine == "victoria_demand"
    own = home.configs / "mappings" / "victoria.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(yaml.safe_dump(MAPPING))
    assert load_mapping(home, "victoria").machine == "pump_7"
    with pytest.raises(UnknownNameError, match="Did you mean 'victoria'"):
        load_mapping(home, "viktoria")


def test_without_a_machine_id_it_asks_for_one(home: Home) -> None:
    with pytest.raises(UsageError, match="names no machine"):
        land(home, calendar_rows(), with_(machine=None))
    with pytest.raises(UsageError, match="is not a machine id"):
        land(home, calendar_rows(), with_(machine="../x"))


def test_sentinels_and_missing_words_become_missing(home: Home) -> None:
    rows = calendar_rows().astype({"heat_c": object, "grade": object})
    rows.loc[[0, 1, 2], "heat_c"] = [-999, "n/a", ""]
    rows.loc[0, "grade"] = "?"
    data = land(home, rows, with_(sentinels=[-999]))
    train = data.frame("train")
    assert train["heat_c"].isna().tolist()[:4] == [True, True, True, False]
    assert train["grade"].iloc[0] is None


def test_text_in_a_number_column_is_refused_with_the_cell(home: Home) -> None:
    rows = calendar_rows().astype({"heat_c": object})
    rows.loc[3, "heat_c"] = "warm"
    with pytest.raises(DataError, match=r"column 'heat_c' holds 'warm' \(row 4\)"):
        land(home, rows, MAPPING)


def test_labels_follow_from_rul_and_horizon_when_none_are_given(home: Home) -> None:
    data = land(home, calendar_rows(), with_(label=None))
    rows = whole(data)
    assert data.metadata.label_source is LabelSource.FROM_RUL
    assert np.array_equal(rows["failure_status"] == 1, rows["rul"] <= 2)


def test_rul_follows_from_run_ends(home: Home) -> None:
    rows = whole(land(home, calendar_rows(), with_(label=None, rul={"run_end_is_failure": True})))
    assert rows.groupby("run")["rul"].min().eq(0).all()
    assert rows["rul"].max() == pytest.approx(59 / 6)


def test_labels_of_last_resort_come_from_alarm_limits_with_noise(home: Home) -> None:
    values = with_(label=None, rul=None, horizon=None)
    data = land(home, calendar_rows(), values)
    rows = whole(data)
    assert data.metadata.label_source is LabelSource.THRESHOLDS
    flipped = (rows["failure_status"] == 1) != (rows["heat_c"] > 68)
    assert 0 < flipped.mean() < 0.06
    without = land(home, calendar_rows(), values | {"label": {"absent": True}})
    assert without.metadata.label_source is LabelSource.ABSENT


@pytest.mark.parametrize(
    ("words", "positive"),
    [(["no", "yes"], []), (["False", "TRUE"], []), (["ok", "broken"], ["broken"]), ([0, 1.0], [1])],
)
def test_label_words_are_understood(home: Home, words: list[object], positive: list[object]) -> None:
    rows = calendar_rows()
    truth = rows["failure_status"]
    told = rows.assign(failure_status=truth.map({0: words[0], 1: words[1]}))
    data = land(home, told, with_(label={"column": "failure_status", "positive": positive}))
    assert whole(data)["failure_status"].tolist() == truth.tolist()


def test_a_label_word_that_could_mean_either_is_refused(home: Home) -> None:
    told = calendar_rows().assign(failure_status="maybe")
    with pytest.raises(DataError, match="'maybe'; is that failing or well"):
        land(home, told, MAPPING)


def test_runs_can_begin_at_pauses(home: Home) -> None:
    data = land(home, calendar_rows().drop(columns="run"), with_(run={"gap_s": 3600}))
    assert sum(p.runs for p in data.metadata.parts.values()) == 8


def test_duplicates_and_order_are_mended_only_when_asked(home: Home) -> None:
    rows = calendar_rows()
    messy = pd.concat([rows.iloc[:3], rows.iloc[[1]], rows.iloc[3:]])
    with pytest.raises(BlockedError, match="D003"):
        land(home, messy, MAPPING)
    assert subjects(home) == ()
    mended = land(home, messy, with_(sort=True, duplicates="first"))
    pd.testing.assert_frame_equal(whole(mended), whole(land(home, rows, MAPPING)))
    assert mended.metadata.provenance.details["duplicate_rows_merged"] == 1


def test_an_unread_column_is_recorded(home: Home) -> None:
    data = land(home, calendar_rows().assign(operator="Ada"), MAPPING)
    assert data.metadata.provenance.details["unused_columns"] == ["operator"]


def test_parquet_of_any_pandas_type_is_read(home: Home) -> None:
    rows = calendar_rows().assign(run=lambda f: "batch " + f["run"].astype(str)).set_index("time")
    typed = rows.astype(
        {"grade": "category", "heat_c": "Float64", "failure_status": "boolean", "run": "string", "load_nm": "Int64"},
        errors="ignore",
    )
    typed.iloc[3, typed.columns.get_loc("heat_c")] = pd.NA
    typed.to_parquet(home.root / "rows.parquet")
    data = import_csv(home, home.root / "rows.parquet", parse_mapping(MAPPING, "m"))
    back = whole(data)
    assert back["failure_status"].tolist() == rows["failure_status"].tolist()
    assert back["grade"].tolist() == rows["grade"].tolist()
    assert back["heat_c"].isna().tolist().index(True) == 3
    assert back["run"].tolist() == calendar_rows()["run"].tolist()


def test_run_numbers_are_kept_and_an_empty_one_is_refused(home: Home) -> None:
    rows = calendar_rows().assign(run=lambda f: f["run"] + 100)
    assert set(whole(land(home, rows, MAPPING))["run"]) == set(range(100, 108))
    rows = rows.astype({"run": object})
    rows.loc[7, "run"] = None
    with pytest.raises(DataError, match="column 'run' is empty in row 8"):
        land(home, rows, MAPPING)


def test_a_critical_sensor_without_any_value_is_refused(home: Home) -> None:
    rows = calendar_rows().assign(heat_c=None, grade=None)
    with pytest.raises(BlockedError, match="D002") as caught:
        land(home, rows, MAPPING)
    assert caught.value.codes == ("D002",)
    assert subjects(home) == ()
    data = land(home, rows, MAPPING, check=None)
    told = {(f.code, f.columns, str(f.severity)) for f in validate(data)}
    assert ("D002", ("heat_c",), "blocker") in told
    assert ("D002", ("grade",), "warning") in told


def test_a_truncated_parquet_source_is_refused(home: Home) -> None:
    path = home.root / "rows.parquet"
    calendar_rows().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="no parquet file, or cut short"):
        import_csv(home, path, parse_mapping(MAPPING, "m"))


def test_too_few_rows_are_refused(home: Home) -> None:
    with pytest.raises(DataError, match="40 rows, at least 50"):
        land(home, calendar_rows(runs=4, steps=10), MAPPING)


def test_victoria_is_read_with_its_shipped_mapping(home: Home, shared_data: Path) -> None:
    data = import_csv(home, shared_data / "vic_electricity" / "vic_electricity.csv", "victoria")
    assert data.metadata.offers == {"runs", "clock"}
    assert data.metadata.critical == ("demand_mw",)
    assert data.civil_s("train")[0] == pd.Timestamp("2012-01-01").timestamp()  # midnight in Melbourne
