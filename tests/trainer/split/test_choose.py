from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from support.trainer_tables import a_table

from nightshift.errors import TableError, UsageError
from nightshift.findings import Severity
from nightshift.trainer.contract import Choice, Table
from nightshift.trainer.inputs.columns import kinds
from nightshift.trainer.options import Split
from nightshift.trainer.split.choose import choose
from nightshift.trainer.split.cut import cut

RNG = np.random.default_rng(5)
NOISE = RNG.normal(size=(300, 3))
SUBJECT = RNG.permutation(300) % 50  # six rows each
LABEL_OF = RNG.permutation(50) % 2
COIN = RNG.permutation(300) % 2


def chosen(table: Table, **split: Any) -> Choice:
    return choose(table, Split.model_validate(split), kinds(table, None))


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": NOISE[:, 0], "b": NOISE[:, 1], **columns})


@pytest.mark.parametrize(
    ("table", "split", "strategy", "why"),
    [
        (a_table(COIN), {}, "stratified", "y has 2 classes"),
        (a_table(COIN * 1.0), {}, "random", "y is a number"),
        (a_table(COIN), {"stratify": False}, "random", "stratify=False"),
        (a_table(COIN), {"shuffle": False}, "random", "follow their order"),
        (a_table([0] * 99 + [1]), {}, "random", "class 1 has only 1 rows"),
        (a_table(COIN, times=np.arange(300)), {}, "time", "times were given"),
        (a_table(COIN, groups=SUBJECT), {}, "grouped_stratified", "groups were given"),
        (a_table(COIN, groups=SUBJECT), {"stratify": False}, "grouped", "groups were given"),
        (a_table(COIN * 1.0, groups=SUBJECT, times=np.arange(300)), {}, "grouped", "times= is only looked at"),
        (a_table(COIN, groups=SUBJECT), {"strategy": "grouped", "stratify": True}, "grouped_stratified", "asked for"),
        (a_table(COIN[:40]), {}, "stratified", "with 40 rows, strategy='leave_one_out'"),
        (a_table(COIN, frame(day=pd.date_range("2024", periods=300))), {}, "stratified", "'day' holds dates"),
    ],
)
def test_auto_decides_from_the_data_and_says_why(table: Table, split: Any, strategy: str, why: str) -> None:
    found = chosen(table, **split)

    assert found.strategy == strategy
    assert why in found.why
    assert not found.findings


@pytest.mark.parametrize(
    "subject",
    [SUBJECT, SUBJECT * 1.0, np.array([f"s{i}" for i in SUBJECT]), pd.Categorical(SUBJECT)],
    ids=["int", "float", "text", "category"],
)
@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_labels_constant_per_value_of_a_column_are_found_out(subject: Any, task: str) -> None:
    y = LABEL_OF[SUBJECT] if task == "classes" else RNG.normal(size=50)[SUBJECT]
    table = a_table(y, frame(sensor=subject))

    found = chosen(table)

    assert found.strategy == ("grouped_stratified" if task == "classes" else "grouped")
    assert "the label is the same in all rows of each of the 50 values of 'sensor'" in found.why
    (told,) = found.findings
    assert (told.code, told.severity, told.columns) == ("T023", Severity.TIP, ("sensor",))
    parts = cut(table, Split(), found, seed=1)
    seen = [set(SUBJECT[rows]) for rows in parts.parts().values()]
    assert sum(map(len, seen)) == 50


def test_found_out_groups_bring_a_forest_down_to_chance() -> None:
    X = np.column_stack([SUBJECT])
    table = a_table(LABEL_OF[SUBJECT], X)

    def accuracy(**split: Any) -> float:
        parts = cut(table, Split(), chosen(table, **split), seed=1)
        forest = RandomForestClassifier(30, random_state=0).fit(X[parts.train], table.y[parts.train])
        return float(forest.score(X[parts.test], table.y[parts.test]))

    assert accuracy(strategy="stratified") == 1
    assert accuracy() < 0.75


def test_an_array_without_names_is_looked_at_too() -> None:
    table = a_table(LABEL_OF[SUBJECT], np.column_stack([NOISE, SUBJECT]))

    assert chosen(table).findings[0].columns == ("x3",)


@pytest.mark.parametrize("name", ["subject", "Patient_ID", "group", "machine id", "user.no", "id", "truckId"])
def test_a_column_is_a_group_by_its_name(name: str) -> None:
    found = chosen(a_table(COIN, frame(**{name: SUBJECT})))

    assert found.strategy == "grouped_stratified"
    assert f"'{name}' names what rows belong to" in found.why
    assert found.groups is not None
    assert len(np.unique(found.groups)) == 50


@pytest.mark.parametrize(
    ("y", "columns"),
    [
        (COIN, {"group": COIN}),  # arms of a trial
        (COIN, {"country_id": SUBJECT % 9, "covid": SUBJECT}),
        (COIN, {"group": np.arange(300)}),  # a name for each row
        (COIN, {"humid": SUBJECT, "grouping": SUBJECT}),  # neither name nor label
        (np.array([f"c{i}" for i in SUBJECT]), {"copy": SUBJECT}),  # the label itself
        ((SUBJECT > 25).astype(int), {"age": SUBJECT}),  # a feature that decides it
        (SUBJECT * 2.0, {"age": SUBJECT}),
        (np.r_[1, np.zeros(299, int)], {"sensor": SUBJECT}),  # almost all labels are alike anyway
        (COIN, {"sensor": RNG.permutation(300) // 2}),  # too few rows a value
    ],
)
def test_other_columns_are_no_groups(y: Any, columns: dict[str, Any]) -> None:
    found = chosen(a_table(y, frame(**columns)))

    assert found.strategy in ("stratified", "random")
    assert not found.findings


def test_labels_that_are_constant_by_chance_are_no_groups() -> None:
    rare = (np.arange(300) < 4).astype(int)
    table = a_table(rare, frame(sensor=np.r_[np.zeros(4, int), RNG.permutation(296) % 20 + 1]))

    assert chosen(table).strategy == "stratified"


def test_the_coarsest_group_is_taken() -> None:
    session = SUBJECT * 2 + RNG.permutation(300) % 2
    table = a_table(LABEL_OF[SUBJECT], frame(aisle=session, bay=SUBJECT))

    assert chosen(table).findings[0].columns == ("bay",)


def test_an_asked_for_strategy_is_kept_and_warned_about() -> None:
    table = a_table(LABEL_OF[SUBJECT], frame(sensor=SUBJECT))

    stratified, grouped = chosen(table, strategy="stratified"), chosen(table, strategy="grouped")

    assert (stratified.strategy, stratified.groups) == ("stratified", None)
    assert [(f.code, f.severity) for f in stratified.findings] == [("T023", Severity.WARNING)]
    assert (grouped.strategy, grouped.findings) == ("grouped", ())
    assert grouped.groups is not None
    assert chosen(a_table(COIN, frame(subject=SUBJECT)), strategy="stratified").findings == ()


@pytest.mark.parametrize(
    ("table", "split", "error", "words"),
    [
        (a_table(COIN), {"strategy": "grouped"}, TableError, "'groups' parameter should not be None"),
        (a_table(COIN), {"strategy": "time"}, TableError, "'times' parameter should not be None"),
        (a_table(COIN * 1.0), {"stratify": True}, TableError, "Got 'continuous' instead"),
        (a_table(COIN * 1.0), {"strategy": "stratified"}, TableError, "Got 'continuous' instead"),
        (a_table(COIN), {"strategy": "random", "stratify": True}, UsageError, "contradict"),
        (a_table(COIN), {"strategy": "stratified", "stratify": False}, UsageError, "contradict"),
        (a_table(COIN), {"stratify": True, "shuffle": False}, UsageError, "not implemented for shuffle=False"),
    ],
)
def test_settings_that_cannot_be_are_refused(table: Table, split: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        chosen(table, **split)
