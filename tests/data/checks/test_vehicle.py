"""Each finding on trips is made where it should be, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from support.vehicles import metadata, trips

from nightshift.data.importers.landing import land_parts, refuse_blockers
from nightshift.data.schema import TruthColumn
from nightshift.data.validate import validate
from nightshift.errors import BlockedError, DataError
from nightshift.findings import Severity
from nightshift.settings import Home

Parts = dict[str, pd.DataFrame]


def codes(home: Home, cut: Parts, *needs: str) -> set[str]:
    """Return the codes found but those of chance and of the gaps that these trips have."""
    return {f.code for f in validate(land_parts(home, cut, metadata()), frozenset(needs))} - {"D016", "D018"}


def rows_of(cut: Parts, part: str, nth_trip: int) -> pd.Series:
    runs = cut[part]["run"]
    return runs == runs.unique()[nth_trip]


def cut_short(cut: Parts) -> None:
    cut["train"] = cut["train"][~rows_of(cut, "train", 3) | (cut["train"].groupby("run").cumcount() < 40)]


def stick(cut: Parts) -> None:
    cut["test"].loc[rows_of(cut, "test", 2), "engine_rpm"] = 1234.5


def stick_at_its_rest(cut: Parts) -> None:
    cut["val"].loc[rows_of(cut, "val", 1), "brake"] = 0.0


def in_kmh(cut: Parts) -> None:
    cut["train"].loc[rows_of(cut, "train", 0) | rows_of(cut, "train", 5), "velocity"] *= 3.6


def in_g(cut: Parts) -> None:
    cut["val"]["acceleration"] /= 9.80665


def in_percent(cut: Parts) -> None:
    cut["val"].loc[rows_of(cut, "val", 0), "throttle"] *= 100


def share_a_vehicle(cut: Parts) -> None:
    cut["test"].loc[rows_of(cut, "test", 0), "vehicle"] = cut["train"]["vehicle"].iloc[0]


def copy_a_trip(cut: Parts) -> None:
    copied = cut["train"][rows_of(cut, "train", 1)].assign(run=99, vehicle=99)
    cut["test"] = pd.concat([cut["test"], copied], ignore_index=True)


def share_a_trip(cut: Parts) -> None:
    cut["test"].loc[rows_of(cut, "test", 0), "run"] = cut["train"]["run"].iloc[0]


def unlabel(cut: Parts) -> None:
    cut["train"].loc[rows_of(cut, "train", 4), "behaviour"] = None


def unlabel_test(cut: Parts) -> None:
    cut["test"]["co2"] = np.nan


def all_normal(cut: Parts) -> None:
    cut["test"]["driving"] = "normal"


def none_normal(cut: Parts) -> None:
    cut["val"]["driving"] = "weaving"


def one_kind(cut: Parts) -> None:
    cut["test"]["behaviour"] = "calm"


def one_kind_in_train(cut: Parts) -> None:
    cut["train"]["behaviour"] = "calm"


def new_kind(cut: Parts) -> None:
    cut["train"] = cut["train"][cut["train"]["behaviour"] != "aggressive"]


def give_away(cut: Parts) -> None:
    for frame in cut.values():
        frame["engine_rpm"] = 300 * frame["co2"]


@pytest.mark.parametrize(
    ("spoil", "need", "code", "severity", "words"),
    [
        (cut_short, "fuel", "D023", Severity.WARNING, "1 of 15 trips of train are shorter than the 60 rows"),
        (stick, "fuel", "D006", Severity.WARNING, "engine_rpm (up to 180 rows, in 1 trip)"),
        (stick_at_its_rest, "fuel", "D006", Severity.WARNING, "brake (up to 180 rows, in 1 trip)"),
        (in_kmh, "fuel", "D025", Severity.BLOCKER, "looks like km/h in 2 of 33 trips"),
        (in_g, "fuel", "D025", Severity.BLOCKER, "'acceleration' looks like g in 9 of 33 trips"),
        (in_percent, "fuel", "D025", Severity.BLOCKER, "throttle (looks like per cent in 1 of 33 trips)"),
        (share_a_vehicle, "fuel", "D024", Severity.WARNING, "vehicle 0 of 11 drives in several parts"),
        (copy_a_trip, "fuel", "D014", Severity.WARNING, "of test"),
        (share_a_trip, "fuel", "D013", Severity.BLOCKER, "run 0 lies in train and in test"),
        (unlabel, "behaviour", "D026", Severity.WARNING, "1 trip has no `behaviour`: 4"),
        (unlabel_test, "carbon", "D019", Severity.BLOCKER, "`co2` is unknown in all rows of test"),
        (all_normal, "odd", "D019", Severity.WARNING, "'normal' in all rows of test: F1 and recall cannot be told"),
        (none_normal, "odd", "D019", Severity.BLOCKER, "no 'normal' row in val: no threshold"),
        (one_kind, "behaviour", "D019", Severity.BLOCKER, "holds only calm in test"),
        (one_kind_in_train, "behaviour", "D009", Severity.BLOCKER, "holds only calm in train"),
        (new_kind, "behaviour", "D019", Severity.WARNING, "aggressive in test and never in train"),
        (give_away, "carbon", "D015", Severity.WARNING, "engine_rpm (correlation 1.0000) alone tells `co2`"),
    ],
)
def test_what_is_wrong_with_trips_is_found(
    home: Home, spoil: Callable[[Parts], None], need: str, code: str, severity: Severity, words: str
) -> None:
    cut = trips(rows=180)
    spoil(cut)
    told = [f for f in validate(land_parts(home, cut, metadata()), frozenset({need})) if f.code == code]
    assert told, "no finding"
    assert told[-1].severity is severity
    assert words in told[-1].what


def test_clean_trips_earn_no_finding(home: Home) -> None:
    assert codes(home, trips(), "fuel", "carbon", "behaviour", "odd") == set()


def test_what_a_family_does_not_ask_for_is_no_remark_to_it(home: Home) -> None:
    cut = trips()
    unlabel(cut)
    all_normal(cut)
    assert codes(home, cut, "fuel") == set()
    assert codes(home, cut, "runs") == {"D019"}, "what asks for no truth is judged by what is odd"


def test_mixed_units_keep_trips_from_landing_and_one_class_does_not(home: Home) -> None:
    cut = trips()
    one_kind(cut)
    land_parts(home, cut, metadata(), check=refuse_blockers)
    in_kmh(cut)
    with pytest.raises(BlockedError, match=r"D025.*km/h.*Write 'velocity' of all trips in m/s"):
        land_parts(home, cut, metadata(), check=refuse_blockers)


def test_a_trip_between_two_units_is_told_in_the_nearer_one(home: Home) -> None:
    cut = trips(rows=180)
    for factor, trip in ((3.45, 0), (3.4, 5)):  # km/h is 3.6, ft/s 3.28
        cut["train"].loc[rows_of(cut, "train", trip), "velocity"] *= factor
    told = [f.what for f in validate(land_parts(home, cut, metadata()), frozenset({"fuel"})) if f.code == "D025"]
    assert len(told) == 2
    assert "looks like km/h in 1 of 33 trips (0)" in told[0]
    assert "looks like ft/s in 1 of 33 trips (5)" in told[1]


def test_frames_of_a_bus_may_come_when_they_come(home: Home) -> None:
    cut = trips()
    rng = np.random.default_rng(0)
    for frame in cut.values():
        frame["time"] += pd.to_timedelta(np.sort(rng.exponential(5.0, len(frame)).cumsum()), unit="s")
        frame.loc[1, "time"] = frame.loc[0, "time"]
    told = validate(land_parts(home, cut, metadata(sampling_s=None)), frozenset({"odd"}))
    assert {f.code for f in told} <= {"D016", "D018"}


def test_a_truth_that_is_a_kind_of_no_class_names_column_and_row(home: Home) -> None:
    cut = trips()
    truths = (TruthColumn(name="behaviour", role="behaviour", classes=("calm", "normal")),)
    with pytest.raises(DataError, match=r"D020: column 'behaviour' holds 'aggressive' \(row 361\)"):
        land_parts(home, cut, metadata(truths=truths))
