from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from support.trainer_tables import a_table

from nightshift.errors import TableError
from nightshift.trainer.contract import Choice, Cut, Table
from nightshift.trainer.options import Split
from nightshift.trainer.split.cut import cannot_stratify, cut
from nightshift.trainer.split.cut import given as given_parts


def classes(n: int, share: float = 0.3, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < share).astype(int)


def parted(table: Table, strategy: str, seed: int = 1, **split: object) -> Cut:
    return cut(table, Split.model_validate(split), Choice(strategy, "asked for"), seed)  # type: ignore[arg-type]


def assert_whole(table: Table, found: Cut) -> None:
    rows = np.concatenate([found.train, found.validation, found.test, found.dropped])
    assert np.array_equal(np.sort(rows), np.arange(table.n_rows)), "disjoint, and all rows"


def test_stratified_parts_are_those_of_train_test_split() -> None:
    y = classes(200)
    found = parted(a_table(y), "stratified", seed=42)

    rest, test = train_test_split(np.arange(200), test_size=0.2, stratify=y, random_state=42)
    train, validation = train_test_split(rest, test_size=20, stratify=y[rest], random_state=42)

    assert [p.tolist() for p in (found.train, found.validation, found.test)] == [
        sorted(p) for p in (train, validation, test)
    ]
    assert found.stratified
    with pytest.raises(ValueError, match="read-only"):
        found.train[0] = 5


@pytest.mark.parametrize("strategy", ["stratified", "random", "grouped", "grouped_stratified", "time", "leave_one_out"])
def test_the_same_seed_gives_the_same_parts_and_another_one_others(strategy: str) -> None:
    table = a_table(classes(300), groups=np.arange(300) % 40, times=np.arange(300))
    first, again, other = (parted(table, strategy, seed) for seed in (7, 7, 8))

    assert_whole(table, first)
    assert all(np.array_equal(a, b) for a, b in zip(first.parts().values(), again.parts().values(), strict=True))
    assert np.array_equal(first.test, other.test) is (strategy == "time")


def test_unshuffled_parts_follow_the_rows() -> None:
    found = parted(a_table(np.zeros(100)), "random", shuffle=False)

    assert [(p[0], p[-1]) for p in (found.train, found.validation, found.test)] == [(0, 69), (70, 79), (80, 99)]


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_groups_stay_whole_and_the_shares_hold(data: st.DataObject) -> None:
    n = data.draw(st.integers(40, 300))
    of_group = np.array(data.draw(st.lists(st.integers(0, 60), min_size=n, max_size=n)))
    sizes = data.draw(st.sampled_from([(0.2, 0.1), (0.3, 0.0), (0.0, 0.25), (0.1, 0.4)]))
    strategy = data.draw(st.sampled_from(["grouped", "grouped_stratified"]))
    table = a_table(classes(n, seed=n), groups=of_group)
    held = [size > 0 for size in (1 - sum(sizes), sizes[1], sizes[0])]
    if len(np.unique(of_group)) < sum(held):
        with pytest.raises(TableError, match="greater than the number of groups"):
            parted(table, strategy, test_size=sizes[0], validation_size=sizes[1])
        return

    found = parted(table, strategy, test_size=sizes[0], validation_size=sizes[1])

    assert_whole(table, found)
    parts = (found.train, found.validation, found.test)
    assert [len(part) > 0 for part in parts] == held
    seen = [set(of_group[part]) for part in parts]
    assert sum(map(len, seen)) == len(set(of_group)), "each group in one part"
    largest = np.bincount(of_group).max() / n
    wanted = (1 - sum(sizes), sizes[1], sizes[0])
    assert all(abs(len(part) / n - share) <= max(0.02, largest) for part, share in zip(parts, wanted, strict=True))


@pytest.mark.parametrize("strategy", ["grouped", "grouped_stratified"])
def test_many_small_groups_come_within_two_per_cent_and_the_classes_too(strategy: str) -> None:
    of_group = np.random.default_rng(3).integers(0, 250, 2000)
    rare = np.random.default_rng(4).random(250) < 0.1  # a class that lies in a tenth of the groups alone
    table = a_table(rare[of_group].astype(int), groups=of_group)

    found = parted(table, strategy)

    for part, share in ((found.train, 0.7), (found.validation, 0.1), (found.test, 0.2)):
        assert len(part) / 2000 == pytest.approx(share, abs=0.02)
        if strategy == "grouped_stratified":
            assert table.y[part].mean() == pytest.approx(table.y.mean(), abs=0.03)
    assert found.stratified is (strategy == "grouped_stratified")


def test_large_groups_are_not_all_trained_on_and_small_ones_fill_up() -> None:
    of_group = np.repeat(np.arange(284), [60] * 4 + [1] * 280)

    found = parted(a_table(np.zeros(len(of_group)), groups=of_group), "grouped")

    assert [int((np.unique(of_group[part]) < 4).sum()) for part in (found.train, found.test)] == [3, 1]
    assert [len(part) / len(of_group) for part in (found.train, found.test)] == pytest.approx([0.7, 0.2], abs=0.01)


@pytest.mark.parametrize("many", [3, 4, 5])
def test_few_groups_leave_no_part_empty(many: int) -> None:
    table = a_table(np.zeros(60), groups=np.arange(60) % many)

    found = parted(table, "grouped")

    assert_whole(table, found)
    assert len(found.parts()) == 3


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_parts_follow_each_other_in_time_with_the_gap(data: st.DataObject) -> None:
    n = data.draw(st.integers(20, 200))
    times = np.array(data.draw(st.lists(st.integers(0, 80), min_size=n, max_size=n)))
    gap = data.draw(st.integers(0, 10))
    table = a_table(classes(n), times=times)
    try:
        found = parted(table, "time", gap=gap)
    except TableError:
        assert gap or len(np.unique(times)) < 3, "such times can be parted"
        return

    assert_whole(table, found)
    assert all(len(part) for part in (found.train, found.validation, found.test))
    for early, late in ((found.train, found.validation), (found.validation, found.test)):
        assert times[late].min() - times[early].max() > (gap or 0)
    if gap == 0:
        assert not len(found.dropped)
    commonest = np.bincount(times).max() / n
    assert abs(len(found.test) / n - 0.2) <= 2 * commonest + 1 / n


def test_a_gap_is_taken_from_the_earlier_part_and_equal_times_stay_together() -> None:
    times = np.repeat(np.arange(20), 5)[::-1]
    table = a_table(np.zeros(100), times=times)

    found = parted(table, "time", gap=2, test_size=0.23)

    assert set(times[found.test]) == {15, 16, 17, 18, 19}
    assert set(times[found.validation]) == {11, 12}
    assert set(times[found.train]) == set(range(9))
    assert set(times[found.dropped]) == {13, 14, 9, 10}


@pytest.mark.parametrize(
    ("table", "strategy", "split", "words"),
    [
        (a_table([0, 1, 0]), "random", {"test_size": 0.6, "validation_size": 0.4}, "train set will be empty"),
        (a_table([0, 1, 0]), "grouped", {"test_size": 0.3}, "'groups' parameter should not be None"),
        (a_table([0, 1, 0]), "time", {"test_size": 0.3}, "'times' parameter should not be None"),
        (a_table([0, 0, 0, 0, 1]), "stratified", {}, "least populated class"),
        (a_table(classes(9), times=np.zeros(9)), "time", {}, "Found 1 different time in 9 rows"),
        (a_table(classes(9), times=np.arange(9)), "time", {"gap": 7}, "gap=7 leaves no rows before test. .* less than"),
        (a_table(classes(9), groups=np.arange(9) % 2), "grouped", {}, "number of parts=3 .* number of groups: 2"),
    ],
)
def test_what_cannot_be_parted_says_why(table: Table, strategy: str, split: dict[str, float], words: str) -> None:
    with pytest.raises(TableError, match=words):
        parted(table, strategy, **split)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.zeros(50), "y is a number"),
        ([0] * 30 + [1], "class 1 has only 1 rows"),
        ([0] * 20 + [1] * 20, ""),
        (np.arange(30) % 10, "a part of 3 rows cannot hold 10 classes"),
    ],
)
def test_whether_classes_keep_their_shares_is_known_beforehand(y: object, words: str) -> None:
    table = a_table(y)

    assert cannot_stratify(table, Split()) == words
    if not words:
        parted(table, "stratified")


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(counts=st.lists(st.integers(1, 30), min_size=3, max_size=5), test=st.sampled_from([0.0, 0.1, 0.2, 0.5]))
def test_what_is_said_to_be_possible_is(counts: list[int], test: float) -> None:
    table = a_table(np.repeat(np.arange(len(counts)), counts))
    if not cannot_stratify(table, Split(test_size=test)):
        assert_whole(table, parted(table, "stratified", test_size=test))


def test_text_classes_are_parted_like_numbers() -> None:
    y = np.array(["no", "yes"], object)[classes(100)]

    found = parted(a_table(y), "stratified")

    assert np.array_equal(found.test, parted(a_table(classes(100)), "stratified").test)


def test_given_parts_are_taken_and_checked() -> None:
    table = a_table(classes(10))
    rows = np.arange(10)

    found = given_parts(table, rows[:5], rows[5:7], rows[8:])

    assert found.dropped.tolist() == [7]
    assert_whole(table, found)
    for train, test, words in (
        (rows[:5], rows[4:], "in several, row 4 first"),
        (rows[:5], np.array([12]), "from 0 to 9 in test, got 12 to 12"),
        (rows[:0], rows, r"0 sample\(s\) in train"),
        (rows[:5] > 2, rows[6:], "1D array of integers, got bool"),
    ):
        with pytest.raises(TableError, match=words):
            given_parts(table, train, rows[:0], test)
