"""Each finding is made where it should be, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from support.datasets import SENSORS, calendar_rows, describe

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import land_parts
from nightshift.data.schema import LabelSource, Metadata, Provenance, Sensor, TimeKind
from nightshift.data.splits import split
from nightshift.data.validate import validate
from nightshift.findings import Finding, Severity
from nightshift.settings import Home

ALL = frozenset({"labels", "rul", "runs", "clock"})
Parts = dict[str, pd.DataFrame]
Spoil = Callable[[Parts], object]


def parts(seed: int = 0) -> Parts:
    return split(calendar_rows(runs=20, seed=seed), TimeKind.CALENDAR)


def found(home: Home, cut: Parts, metadata: Metadata | None = None, needs: frozenset[str] = ALL) -> list[Finding]:
    return validate(land_parts(home, cut, metadata or describe()), needs, "rul")


def codes(findings: list[Finding]) -> set[str]:
    return {f.code for f in findings}


def test_clean_rows_earn_no_finding(home: Home) -> None:
    assert found(home, parts()) == []


def test_a_part_of_a_few_rows_is_checked_without_a_warning_of_numpy(home: Home) -> None:
    cut = parts()
    cut["val"] = cut["val"].head(5)
    # With two telling sensors stretches of five rows are compared, and there is none.
    cut["val"]["load_nm"], cut["val"]["grade"] = np.nan, None
    assert "D014" not in codes(found(home, cut))


def put(part: str, column: str, rows: object, value: object) -> Spoil:
    def spoil(cut: Parts) -> None:
        cut[part] = cut[part].astype({column: object}) if isinstance(value, str) else cut[part]
        cut[part].loc[rows, column] = value

    return spoil


def swap_times(cut: Parts) -> None:
    cut["train"].loc[[70, 71], "time"] = cut["train"].loc[[71, 70], "time"].to_numpy()


def same_run_in_test(cut: Parts) -> None:
    cut["test"].loc[cut["test"]["run"] == cut["test"]["run"].max(), "run"] = 0


def copy_rows_to_test(cut: Parts) -> None:
    inputs = [s.name for s in SENSORS]
    cut["test"].loc[:20, inputs] = cut["train"].loc[100:120, inputs].to_numpy()


def drop_rows(cut: Parts) -> None:
    cut["train"] = cut["train"].drop(index=range(100, 110)).reset_index(drop=True)


def leak(cut: Parts) -> None:
    for frame in cut.values():
        frame["shake_mm_s"] = 1 + frame["failure_status"] * 3 + frame["heat_c"] / 1000


def leak_rul(cut: Parts) -> None:
    for frame in cut.values():
        frame["load_nm"] = frame["rul"] * 3


def shift(cut: Parts) -> None:
    cut["test"]["shake_mm_s"] += 2


def cap_rul(cut: Parts) -> None:
    for frame in cut.values():
        frame["rul"] = frame["rul"].clip(upper=5)


def constant(cut: Parts) -> None:
    for frame in cut.values():
        frame["load_nm"] = 3.0


@pytest.mark.parametrize(
    ("spoil", "code", "severity", "message"),
    [
        (
            put("train", "heat_c", slice(None), np.nan),
            "D002",
            "blocker",
            "critical sensor 'heat_c' has no value in train",
        ),
        (put("val", "load_nm", slice(None), np.nan), "D002", "warning", "sensor 'load_nm' has no value in val"),
        (swap_times, "D003", "blocker", "time goes back 1 times within a run, first in run 1"),
        (put("train", "time", 11, pd.Timestamp("2025-03-01 01:40", tz="UTC")), "D004", "warning", "1 rows repeat"),
        (drop_rows, "D005", "warning", "1 gaps within runs, the longest 6600 s; the usual step is 600 s"),
        (put("train", "shake_mm_s", slice(0, 55), 2.5), "D006", "warning", r"shake_mm_s \(56 rows\)"),
        (constant, "D006", "warning", "load_nm never changes"),
        (put("train", "load_nm", [3, 9, 200], -999.0), "D007", "warning", r"load_nm \(3 times -999\)"),
        (put("test", "heat_c", [1], 450.0), "D008", "warning", r"heat_c \(1 rows outside -50..200 degC, e.g. 450\)"),
        (put("test", "rul", [0], -1.0), "D011", "blocker", "negative in 1 rows"),
        (cap_rul, "D012", "warning", "does not fall by the time step"),
        (same_run_in_test, "D013", "blocker", "run 0 lies in train and in test"),
        (copy_rows_to_test, "D014", "warning", "21 of 180 rows of test"),
        (leak, "D015", "warning", r"shake_mm_s \(AUC"),
        (leak_rul, "D015", "warning", "load_nm.*alone tells `rul`"),
        (shift, "D016", "warning", r"shake_mm_s \(PSI"),
        (put("train", "load_nm", [1, 2], np.nan), "D018", "warning", "load_nm"),
        (put("train", "failure_status", [1, 2], np.nan), "D018", "tip", "2 rows have no label"),
        (put("val", "rul", slice(None), np.nan), "D019", "blocker", "`rul` is unknown in all rows of val"),
        (put("test", "failure_status", slice(None), 0), "D019", "blocker", "one class only in test"),
    ],
)
def test_each_fault_earns_its_finding(home: Home, spoil: Spoil, code: str, severity: str, message: str) -> None:
    cut = parts()
    spoil(cut)
    told = found(home, cut)
    fitting = [f for f in told if f.code == code and f.severity == severity and re.search(message, f.what)]
    assert len(fitting) == 1, [f.line() for f in told]
    assert fitting[0].remedy


def test_one_class_in_all_parts_is_one_blocker(home: Home) -> None:
    cut = {part: frame.assign(failure_status=0) for part, frame in parts().items()}
    told = [f for f in found(home, cut) if f.severity is Severity.BLOCKER]
    assert [f.code for f in told] == ["D009"]
    assert "only 0 in all 1200 rows" in told[0].what


def test_rare_failures_are_a_warning(home: Home) -> None:
    cut = parts()
    for frame in cut.values():
        frame["failure_status"] = 0
        frame.loc[:1, "failure_status"] = 1
    assert "D010" in codes(found(home, cut))


def test_labels_and_rul_are_judged_only_where_they_are_needed(home: Home) -> None:
    cut = {part: frame.assign(failure_status=0, rul=-1.0) for part, frame in parts().items()}
    assert found(home, cut, needs=frozenset({"clock"})) == []


def test_a_missing_need_says_how_to_mend_it(home: Home) -> None:
    metadata = describe(has_rul=False, label_source=LabelSource.ABSENT)
    told = found(home, parts(), metadata)
    assert codes(told) == {"D001"}
    assert [f.severity for f in told] == [Severity.BLOCKER] * 2
    lines = " ".join(f.line() for f in told)
    assert "`rul` column not found in rows.csv" in lines
    assert "Regenerate with RUL enabled." in lines


def test_unused_columns_of_the_source_are_a_tip(home: Home) -> None:
    source = Provenance(kind="import", source="rows.csv", details={"unused_columns": ["operator"]})
    told = found(home, parts(), describe(provenance=source))
    assert [(f.code, f.severity, f.columns) for f in told] == [("D021", Severity.TIP, ("operator",))]


def test_few_rows_are_a_blocker(home: Home) -> None:
    cut = {part: frame.iloc[-15:] for part, frame in parts().items()}
    assert "D017" in codes(found(home, cut))


def test_blockers_come_first(home: Home) -> None:
    cut = parts()
    for spoil in (constant, swap_times, leak):
        spoil(cut)
    severities = [f.severity for f in found(home, cut)]
    assert severities == sorted(severities, key=["blocker", "warning", "tip"].index)


def test_rows_that_break_the_schema_name_the_column(home: Home) -> None:
    data = land_parts(home, parts(), describe())
    frames = {part: data.frame(part).copy() for part in data.parts}
    frames["val"].loc[0, "load_nm"] = np.inf
    frames["test"]["grade"] = 3
    frames["train"]["extra"] = 1
    spoilt = Dataset(data.folder, data.metadata, data.fingerprint, {("frame", p): f for p, f in frames.items()})
    told = {f.columns[0]: f.what for f in validate(spoilt, ALL)}
    assert set(told) == {"load_nm", "grade", "extra"}
    assert "finite" in told["load_nm"]
    assert "not in the metadata" in told["extra"]


def test_independent_rows_may_repeat_a_single_column_but_not_whole_rows(home: Home) -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=400) for name in "abc"}
    rows = pd.DataFrame({"run": np.arange(400), **values, "failure_status": rng.integers(0, 2, 400)})
    metadata = describe(
        time_kind=TimeKind.NONE,
        time_unit="none",
        sampling_s=None,
        has_rul=False,
        sensors=tuple(Sensor(name=n) for n in "abc"),
    )
    needs = frozenset({"labels"})
    assert found(home, split(rows, TimeKind.NONE), metadata, needs) == []
    doubled = pd.concat([rows, rows], ignore_index=True).assign(run=np.arange(800))
    assert "D014" in codes(found(home, split(doubled, TimeKind.NONE), metadata, needs))
