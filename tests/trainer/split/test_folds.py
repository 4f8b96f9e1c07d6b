from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import PredefinedSplit, RepeatedStratifiedKFold, StratifiedKFold
from support.trainer_tables import a_table

from nightshift.errors import TableError
from nightshift.trainer.contract import Choice, Cut, Fold, Table
from nightshift.trainer.options import GivenFolds, Split
from nightshift.trainer.split.cut import cut
from nightshift.trainer.split.folds import folds


def classes(n: int, share: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(n).random(n) < share).astype(int)


def folded(
    table: Table, strategy: Any, cv: Any = 5, seed: int = 1, inner: float = 0.0, test_size: float = 0.2, **more: Any
) -> tuple[Cut, tuple[Fold, ...]]:
    split = Split(test_size=test_size, validation_size=0.0, **more)
    choice = Choice(strategy, "asked for")
    parts = cut(table, split, choice, seed)
    return parts, folds(table, parts, cv, choice, split, seed, inner=inner)


STRATEGIES = ["stratified", "random", "grouped", "grouped_stratified", "time", "leave_one_out"]


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    n=st.integers(100, 220),
    cv=st.integers(2, 6),
    inner=st.sampled_from([0.0, 0.1, 0.3]),
    strategy=st.sampled_from(STRATEGIES),
    gap=st.integers(0, 1),
)
def test_folds_hold_each_row_out_once_and_never_touch_test(
    n: int, cv: int, inner: float, strategy: str, gap: int
) -> None:
    of_group = np.random.default_rng(n).permutation(n) % 31
    times = np.random.default_rng(n).permutation(n) // 2
    grouped = strategy.startswith("grouped") or (strategy == "leave_one_out" and n % 2 == 0)
    table = a_table(classes(n), groups=of_group if grouped else None, times=times)

    parts, found = folded(table, strategy, cv, inner=inner, gap=gap)

    assert [fold.number for fold in found] == list(range(1, len(found) + 1))
    held = np.concatenate([fold.held_out for fold in found])
    assert len(held) == len(set(held.tolist()))
    if strategy != "time":
        assert np.array_equal(np.sort(held), parts.train)
    for fold in found:
        rows = np.concatenate([fold.train, fold.validation, fold.held_out])
        assert len(rows) == len(set(rows.tolist()))
        assert set(rows.tolist()) <= set(parts.train.tolist())
        assert min(len(fold.train), len(fold.held_out)) > 0
        assert (len(fold.validation) > 0) == (inner > 0)
        if strategy == "time":
            in_turn = [p for p in (fold.train, fold.validation, fold.held_out) if len(p)]
            for early, late in pairwise(in_turn):
                assert times[late].min() - times[early].max() > gap
        elif grouped:
            seen = [set(of_group[part]) for part in (fold.train, fold.validation, fold.held_out)]
            assert not any(a & b for a, b in combinations(seen, 2))
        elif inner == 0:
            assert len(rows) == len(parts.train)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_folds(strategy: str) -> None:
    table = a_table(classes(100), groups=np.arange(100) % 20, times=np.arange(100))
    (_, first), (_, again), (_, other) = (folded(table, strategy, seed=s, inner=0.2) for s in (3, 3, 4))

    assert all(
        np.array_equal(getattr(a, part), getattr(b, part))
        for a, b in zip(first, again, strict=True)
        for part in ("train", "validation", "held_out")
    )
    same = [np.array_equal(a.validation, b.validation) for a, b in zip(first, other, strict=False)]
    assert all(same) is (strategy == "time")


def test_stratified_folds_are_those_of_scikit_learn() -> None:
    table = a_table(classes(100))

    parts, found = folded(table, "stratified", seed=42)

    theirs = StratifiedKFold(5, shuffle=True, random_state=42).split(parts.train, table.y[parts.train])
    assert [f.held_out.tolist() for f in found] == [parts.train[held].tolist() for _, held in theirs]


def test_grouped_stratified_folds_share_rows_and_classes() -> None:
    of_group = np.random.default_rng(0).integers(0, 150, 1500)
    table = a_table((of_group % 5 == 0).astype(int), groups=of_group)

    _, found = folded(table, "grouped_stratified", test_size=0)

    for fold in found:
        assert len(fold.held_out) / 1500 == pytest.approx(0.2, abs=0.02)
        assert table.y[fold.held_out].mean() == pytest.approx(table.y.mean(), abs=0.03)


def test_leave_one_out_holds_out_each_row_or_each_group() -> None:
    y = classes(20)

    assert [len(f.held_out) for f in folded(a_table(y), "leave_one_out", test_size=0)[1]] == [1] * 20
    by_group = folded(a_table(y, groups=np.arange(20) // 5), "leave_one_out", test_size=0)[1]
    assert [f.held_out.tolist() for f in by_group] == [list(range(i, i + 5)) for i in (0, 5, 10, 15)]


def test_folds_in_time_grow_and_are_about_equal() -> None:
    _, found = folded(a_table(classes(120), times=np.arange(120)[::-1]), "time", test_size=0)

    assert [len(f.train) for f in found] == [20, 40, 60, 80, 100]
    assert [len(f.held_out) for f in found] == [20] * 5


def test_a_splitter_of_scikit_learn_is_asked() -> None:
    table = a_table(classes(60))
    splitter = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)

    parts, found = folded(table, "stratified", splitter)

    assert len(found) == 6
    assert np.array_equal(np.sort(np.concatenate([f.held_out for f in found[:3]])), parts.train)
    with pytest.raises(TableError, match="StratifiedKFold: n_splits=9 cannot be greater"):
        folded(a_table([0, 1] * 8), "stratified", StratifiedKFold(9), test_size=0)


def test_a_rare_class_does_not_keep_a_fold_from_its_validation_rows() -> None:
    table = a_table([0] * 60 + [1] * 3)

    _, found = folded(table, "stratified", 3, inner=0.2, test_size=0)

    assert [len(f.validation) for f in found] == [8] * 3


@pytest.mark.parametrize(
    ("table", "strategy", "cv", "words"),
    [
        (
            a_table(np.array(["a"] * 30 + ["b"] * 3)),
            "stratified",
            5,
            "n_splits=5 cannot be greater than the number of members in each class: class 'b' has 3 rows. "
            "Expected at least 5 of each. Use cv=3",
        ),
        (a_table([0] * 9 + [1], groups=np.arange(10)), "grouped_stratified", 2, "class 1 has 1 rows"),
        (a_table(np.zeros(4)), "random", 5, "n_splits=5 greater than the number of samples: 4"),
        (a_table(np.zeros(12), groups=np.arange(12) % 3), "grouped", 5, "greater than the number of groups: 3"),
        (a_table(np.zeros(12), times=np.arange(12) // 4), "time", 5, "number of different times: 3"),
    ],
)
def test_too_few_of_something_is_said_in_scikit_learns_words(table: Table, strategy: str, cv: int, words: str) -> None:
    with pytest.raises(TableError) as caught:
        folded(table, strategy, cv, test_size=0)
    assert words in str(caught.value)


def test_a_gap_longer_than_the_first_block_is_an_error() -> None:
    with pytest.raises(TableError, match="gap=30 leaves no rows to train on before a fold"):
        folded(a_table(np.zeros(60), times=np.arange(60)), "time", 5, test_size=0, gap=30)


def test_a_splitter_made_for_all_rows_is_refused_where_test_is_held_out() -> None:
    table = a_table(classes(100))
    with pytest.raises(
        TableError, match=r"PredefinedSplit, fold 1: expected row numbers from 0 to 79, got 99\. .*test_size=0"
    ):
        folded(table, "stratified", PredefinedSplit(np.arange(100) % 4))


ROWS = np.arange(60)


def test_the_callers_own_folds_are_taken_by_the_tables_row_numbers() -> None:
    table = a_table(classes(60, 0.5))
    pairs = (([0, 2, 4], [1, 3]), (ROWS < 30, ROWS >= 30))
    _, found = folded(table, "random", GivenFolds(pairs), test_size=0.0)
    assert (found[0].train.tolist(), found[0].held_out.tolist()) == ([0, 2, 4], [1, 3])
    assert found[1].held_out.tolist() == list(range(30, 60))
    parts, _ = folded(table, "random", 2)
    inside, other = parts.train[:5], parts.train[5:9]
    assert folded(table, "random", GivenFolds(((inside, other),)))[1][0].train.tolist() == inside.tolist()
    with pytest.raises(
        TableError, match=rf"cv, fold 1: expected rows of the 48 .* got row {parts.test[0]}, which is test"
    ):
        folded(table, "random", GivenFolds(((inside, parts.test[:2]),)))


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ((ROWS[:40], ROWS[35:]), "got 5 on both sides, row 35 first"),
        ((ROWS[:40], ROWS[40:] + 5), "from 0 to 59, got 64"),
        ((ROWS[:40], ROWS[40:] - 60), "from 0 to 59, got -20"),
        ((ROWS[:0], ROWS[40:]), "got none"),
        ((ROWS[:40], []), "got none"),
        ((ROWS[:40] * 1.0, ROWS[40:]), "1D array of integers, got float64"),
        ((ROWS[:40, None], ROWS[40:]), "got int64 of 2D"),
        ((["a", "b"], ROWS[40:]), "1D array of integers"),
    ],
)
def test_folds_that_cannot_be_are_refused(pair: Any, words: str) -> None:
    table = a_table(classes(60, 0.5))
    with pytest.raises(TableError, match=f"cv, fold 2: .*{words}"):
        folded(table, "random", GivenFolds(((ROWS[:30], ROWS[30:]), pair)), test_size=0.0)

    class Splitter:
        def split(self, *_: Any) -> Any:
            return iter([pair])

        def get_n_splits(self) -> int:
            return 1

    with pytest.raises(TableError, match=f"Splitter, fold 1: .*{words}"):
        folded(table, "random", Splitter(), test_size=0.0)
