"""How a machine's data changed."""

from __future__ import annotations

import pytest
from support.datasets import SENSORS, calendar_rows, describe

from nightshift.data.history import diff, log
from nightshift.data.importers.landing import split_and_land
from nightshift.data.schema import Sensor
from nightshift.errors import UnknownNameError, UsageError
from nightshift.settings import Home


def test_the_log_lists_versions_newest_first_and_marks_the_present_one(home: Home) -> None:
    old = split_and_land(home, calendar_rows(), describe())
    new = split_and_land(home, calendar_rows(runs=9), describe())
    table = log(home, "pump_1")
    assert [row[0] for row in table.rows] == [f"{new.fingerprint[:12]} *", old.fingerprint[:12]]
    assert all(len(row) == len(table.headers) for row in table.rows)
    split_and_land(home, calendar_rows(), describe())
    assert [row[0] for row in log(home, "pump_1").rows] == [new.fingerprint[:12], f"{old.fingerprint[:12]} *"]


def test_diff_shows_rows_columns_and_drift(home: Home) -> None:
    split_and_land(home, calendar_rows(), describe())
    rows = calendar_rows(runs=12).drop(columns="load_nm").assign(noise_db=1.0)
    rows["shake_mm_s"] += 3
    sensors = (SENSORS[0].model_copy(update={"unit": "K"}), SENSORS[1], SENSORS[3], Sensor(name="noise_db", unit="dB"))
    split_and_land(home, rows, describe(sensors=sensors))
    change = diff(home, "pump_1")
    assert change.rows["train"][1] > change.rows["train"][0]
    assert (change.added, change.removed) == (("noise_db",), ("load_nm",))
    assert change.altered == {"heat_c": "unit degC -> K"}
    assert [d.name for d in change.drifted if d.drifted] == ["shake_mm_s"]
    text = str(change)
    assert "columns added: noise_db; removed: load_nm" in text
    assert "shake_mm_s: PSI" in text


def test_diff_takes_beginnings_of_fingerprints(home: Home) -> None:
    old = split_and_land(home, calendar_rows(), describe())
    new = split_and_land(home, calendar_rows(runs=9), describe())
    change = diff(home, "pump_1", new.fingerprint[:6], old.fingerprint[:6])
    assert (change.before, change.after) == (new.fingerprint[:12], old.fingerprint[:12])
    with pytest.raises(UnknownNameError, match="unknown version of 'pump_1' 'zz'"):
        diff(home, "pump_1", "zz")


def test_a_beginning_that_fits_two_versions_is_refused(home: Home) -> None:
    seen: set[str] = set()
    for seed in range(17):  # 16 digits: two versions begin alike at the latest with the 17th
        digit = split_and_land(home, calendar_rows(seed=seed), describe()).fingerprint[0]
        if digit in seen:
            break
        seen.add(digit)
    with pytest.raises(UsageError, match=f"'{digit}' fits 2 versions"):
        diff(home, "pump_1", digit)


def test_a_first_version_has_nothing_to_compare_with(home: Home) -> None:
    split_and_land(home, calendar_rows(), describe())
    with pytest.raises(UsageError, match="no version before"):
        diff(home, "pump_1")
    with pytest.raises(UnknownNameError, match="unknown machine"):
        diff(home, "pump_9")
