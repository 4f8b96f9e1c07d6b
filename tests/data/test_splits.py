"""One split for every family: whole runs, in time order, with an embargo."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.datasets import calendar_rows

from nightshift.data.schema import TimeKind
from nightshift.data.splits import split, split_by_given_runs, split_train_val, split_vehicles
from nightshift.errors import DataError

PARTS = ("train", "val", "test")


def runs_of(cut: dict[str, pd.DataFrame]) -> list[set[int]]:
    return [set(cut[part]["run"]) for part in PARTS]


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(5, 60), min_size=4, max_size=25), seed=st.integers(0, 99))
def test_calendar_runs_stay_whole_and_in_time_order(lengths: list[int], seed: int) -> None:
    lengths = [*lengths, 50]
    run = np.repeat(np.random.default_rng(seed).permutation(len(lengths)), lengths)
    time = pd.date_range("2025-01-01", periods=len(run), freq="10min", tz="UTC")
    cut = split(pd.DataFrame({"time": time, "run": run, "x": 0.0}), TimeKind.CALENDAR)
    train, val, test = runs_of(cut)
    assert len(train | val | test) == len(train) + len(val) + len(test)
    assert sum(len(cut[p]) for p in PARTS) == len(run)
    assert cut["train"]["time"].max() < cut["val"]["time"].min()
    assert cut["val"]["time"].max() < cut["test"]["time"].min()


def test_calendar_parts_are_near_70_15_15() -> None:
    cut = split(calendar_rows(runs=40, steps=30), TimeKind.CALENDAR)
    assert [len(cut[p]) for p in PARTS] == [840, 180, 180]


def test_rows_within_the_embargo_are_dropped_from_the_later_part() -> None:
    rows = calendar_rows(runs=20)
    cut = split(rows, TimeKind.CALENDAR, embargo_s=4 * 3600)
    assert cut["val"]["time"].min() - cut["train"]["time"].max() > pd.Timedelta(hours=4)
    assert cut["test"]["time"].min() - cut["val"]["time"].max() > pd.Timedelta(hours=4)
    # The overhaul covers the first two hours; the 12 rows at 130, 140, … 240 minutes go, at each border.
    assert len(rows) - sum(len(cut[p]) for p in PARTS) == 2 * 12


def test_one_long_run_is_cut_by_time_into_a_run_per_part() -> None:
    cut = split(calendar_rows().assign(run=7), TimeKind.CALENDAR, embargo_s=3600)
    assert runs_of(cut) == [{0}, {1}, {2}]
    assert cut["val"]["time"].min() - cut["train"]["time"].max() > pd.Timedelta(hours=1)


def test_a_cut_by_time_steps_aside_for_a_labelled_stretch_and_leaves_it_to_test() -> None:
    rows = calendar_rows().assign(run=0, failure_status=0)
    rows.loc[400:420, "failure_status"] = 1  # around 85 % of 480 rows
    cut = split(rows, TimeKind.CALENDAR, embargo_s=1800)
    assert int(cut["test"]["failure_status"].sum()) == 21
    assert int(cut["val"]["failure_status"].sum()) == 0


def test_rows_out_of_order_are_not_put_right_in_silence() -> None:
    rows = calendar_rows().assign(run=0)
    rows.loc[[10, 11], "time"] = rows.loc[[11, 10], "time"].to_numpy()
    cut = split(rows, TimeKind.CALENDAR)
    assert not cut["train"]["time"].is_monotonic_increasing


def test_cycles_are_cut_by_whole_runs_drawn_by_seed() -> None:
    rows = calendar_rows(runs=20).assign(time=lambda f: f.groupby("run").cumcount())
    one, same, other = (split(rows, TimeKind.CYCLES, seed=s) for s in (0, 0, 1))
    assert runs_of(one) == runs_of(same) != runs_of(other)
    assert [len(r) for r in runs_of(one)] == [14, 3, 3]


def test_independent_rows_are_stratified_by_seed() -> None:
    rows = calendar_rows().assign(run=np.arange(480))
    cut = split(rows, TimeKind.NONE, seed=3)
    shares = [cut[p]["failure_status"].mean() for p in PARTS]
    assert shares == pytest.approx([rows["failure_status"].mean()] * 3, abs=0.01)
    assert [len(cut[p]) for p in PARTS] == [336, 72, 72]


def test_training_files_with_a_published_test_give_whole_engines_to_validation() -> None:
    cut = split_train_val(calendar_rows(runs=20), seed=0)
    assert len(set(cut["val"]["run"])) == 3
    assert not set(cut["val"]["run"]) & set(cut["train"]["run"])


def test_too_little_data_is_refused_with_the_figure() -> None:
    with pytest.raises(DataError, match="49 rows, at least 50"):
        split(calendar_rows(runs=1, steps=49), TimeKind.CALENDAR)
    with pytest.raises(DataError, match="2 runs cannot be cut"):
        split(calendar_rows(runs=2), TimeKind.CYCLES)
    with pytest.raises(DataError, match=r"the val part would be empty.*smaller embargo"):
        split(calendar_rows(runs=8), TimeKind.CALENDAR, embargo_s=30 * 24 * 3600)


def assigned(runs: int, first: int, second: int) -> dict[int, str]:
    return {run: PARTS[(run >= first) + (run >= second)] for run in range(runs)}


def test_given_runs_are_cut_as_given_with_the_embargo_dropped_from_the_later_parts() -> None:
    rows = calendar_rows(runs=8)
    cut = split_by_given_runs(rows, assigned(8, 2, 5), embargo_s=3600)
    assert runs_of(cut) == [{0, 1}, {2, 3, 4}, {5, 6, 7}]
    for before, after in (("train", "val"), ("val", "test")):
        end = rows.loc[rows["run"].isin(cut[before]["run"]), "time"].max()
        assert cut[after]["time"].min() > end + pd.Timedelta(hours=1)
    assert len(cut["train"]) == (rows["run"] < 2).sum()


def test_without_an_embargo_every_row_of_given_runs_is_kept() -> None:
    rows = calendar_rows(runs=8)
    cut = split_by_given_runs(rows, assigned(8, 2, 5))
    pd.testing.assert_frame_equal(pd.concat(cut.values(), ignore_index=True), rows.reset_index(drop=True))


def test_given_runs_that_cannot_be_parts_are_refused() -> None:
    rows = calendar_rows(runs=8)
    with pytest.raises(DataError, match="run 7 belongs to no part"):
        split_by_given_runs(rows, assigned(7, 2, 5))
    with pytest.raises(DataError, match="the test part would be empty"):
        split_by_given_runs(rows, assigned(8, 2, 8))
    with pytest.raises(DataError, match="the val part would be empty"):
        split_by_given_runs(rows, assigned(8, 2, 5), embargo_s=30 * 24 * 3600)
    with pytest.raises(DataError, match="the val part begins before"):
        split_by_given_runs(rows, {**assigned(8, 2, 5), 0: "val", 3: "train"})


def trips_of(vehicles: list[int], rows: int = 30) -> pd.DataFrame:
    """Trips in a row, one for each entry, which names its vehicle."""
    n = len(vehicles) * rows
    time = pd.date_range("2026-01-01", periods=n, freq="s", tz="UTC")
    trip = np.repeat(np.arange(len(vehicles)), rows)
    return pd.DataFrame({"time": time, "run": trip, "vehicle": np.repeat(vehicles, rows), "x": 0.0})


@settings(max_examples=25, deadline=None)
@given(vehicles=st.lists(st.integers(0, 6), min_size=3, max_size=30), seed=st.integers(0, 99))
def test_trips_stay_whole_and_so_do_vehicles_where_three_drive(vehicles: list[int], seed: int) -> None:
    frame = trips_of(vehicles)
    cut = split_vehicles(frame, seed=seed)
    assert all(len(cut[part]) for part in PARTS)
    train, val, test = runs_of(cut)
    assert len(train) + len(val) + len(test) == len(vehicles)
    assert train | val | test == set(range(len(vehicles)))
    if len(set(vehicles)) >= 3:
        cars = [set(cut[part]["vehicle"]) for part in PARTS]
        assert len(cars[0] | cars[1] | cars[2]) == sum(len(c) for c in cars)
    else:
        assert max(train) < min(val), "in time order"
        assert max(val) < min(test), "in time order"


def test_trips_of_one_car_are_cut_within_each_kind_so_that_test_holds_every_kind() -> None:
    kinds = dict(enumerate(["jam", "jam", "normal", "free", "normal", "normal", "free"]))
    cut = split_vehicles(trips_of([0] * 7), kind_of=kinds)
    assert runs_of(cut) == [{0, 2, 3}, {4}, {1, 5, 6}]


def test_kinds_of_which_each_has_two_trips_leave_none_for_val_and_time_decides() -> None:
    kinds = dict(enumerate(["jam", "free", "jam", "free"]))
    assert runs_of(split_vehicles(trips_of([0] * 4), kind_of=kinds)) == [{0, 1}, {2}, {3}]


def test_two_trips_are_not_cut() -> None:
    with pytest.raises(DataError, match="2 trips cannot be cut into three parts; trips stay whole"):
        split_vehicles(trips_of([0, 1]))
