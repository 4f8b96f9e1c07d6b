"""Train rows after balancing: how many of each class, which ones, and what SMOTE may make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from nightshift.errors import TableError, UsageError
from nightshift.trainer.balance.plan import detect, weighs
from nightshift.trainer.balance.sample import categories_of, sample
from nightshift.trainer.contract import Sampled
from nightshift.trainer.options import Balance, Method

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
Y = np.where(np.arange(200) % 10 == 0, "rare", "common")
THREE = np.concatenate([np.zeros(120, int), np.ones(60, int), np.full(20, 2)])
CLASSES = ("common", "rare")


def balanced(method: Method, rows: Any = X, y: Any = Y, classes: tuple[Any, ...] = CLASSES, **other: Any) -> Sampled:
    groups = other.pop("groups", ())
    balance = Balance(method=method, **other)
    return sample(rows, y, "binary", classes, balance, 5, category_columns=groups)


def test_classes_are_counted_and_found_uneven() -> None:
    told = detect(Y, CLASSES)
    assert (dict(told.counts), told.ratio, told.severe) == ({"common": 180, "rare": 20}, 9.0, True)
    even = detect(np.array([True, False, True]), (False, True))
    assert (dict(even.counts), even.severe) == ({"False": 1, "True": 2}, False)
    lacking = detect(np.array([1, 1]), (0, 1))
    assert (dict(lacking.counts), lacking.ratio, lacking.severe) == ({"0": 0, "1": 2}, float("inf"), True)


@pytest.mark.parametrize("method", ["none", "class_weight", "threshold"])
def test_what_needs_no_other_rows_leaves_them(method: Method) -> None:
    made = balanced(method)
    assert made.X is X
    assert made.y is Y
    assert made.counts_before == made.counts_after == {"common": 180, "rare": 20}
    assert made.class_weight is (method == "class_weight")


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, csr_matrix])
@pytest.mark.parametrize(
    ("method", "ratio", "after"),
    [
        ("oversample", 1.0, {"0": 120, "1": 120, "2": 120}),
        ("oversample", 0.3, {"0": 120, "1": 60, "2": 36}),
        ("undersample", 1.0, {"0": 20, "1": 20, "2": 20}),
        ("undersample", 0.25, {"0": 80, "1": 60, "2": 20}),
        ("smote", 1.0, {"0": 120, "1": 120, "2": 120}),
        ("smote", 0.3, {"0": 120, "1": 60, "2": 36}),
    ],
)
def test_counts_are_as_asked_for_and_rows_keep_their_answers(
    method: Method, ratio: float, after: dict[str, int], kind: Any
) -> None:
    # The first column says the class: an answer that lost its row would be seen.
    rows = np.column_stack([THREE * 10.0, X])
    made = balanced(method, kind(rows), THREE, (0, 1, 2), ratio=ratio)
    again = balanced(method, kind(rows), THREE, (0, 1, 2), ratio=ratio)
    assert made.counts_before == {"0": 120, "1": 60, "2": 20}
    assert made.counts_after == after
    assert type(made.X) is type(kind(rows))
    dense = made.X.toarray() if hasattr(made.X, "toarray") else np.asarray(made.X)
    assert np.allclose(dense[:, 0], made.y * 10.0)
    repeated = again.X.toarray() if hasattr(again.X, "toarray") else np.asarray(again.X)
    assert np.array_equal(dense, repeated)
    if method != "smote":
        assert {tuple(row) for row in dense} <= {tuple(row) for row in rows}
    if method != "undersample":
        assert {tuple(row) for row in rows} <= {tuple(row) for row in dense}


def test_smote_makes_rows_between_others_in_their_precision() -> None:
    rows = X.astype(np.float32) * np.array([1.0, 1e6, 1e-6], np.float32)
    made = balanced("smote", rows)
    assert made.X.dtype == np.float32
    assert np.array_equal(made.X[:200], rows)
    new, rare = made.X[200:], rows[Y == "rare"]
    assert len(new) == 160
    assert (new >= rare.min(axis=0) * (1 + 1e-6) - 1e-9).all()
    assert not {tuple(row) for row in new} & {tuple(row) for row in rare}
    scaled = balanced("smote", rows / rows.std(axis=0))
    assert np.allclose(scaled.X[200:], new / rows.std(axis=0), atol=1e-4), "the unit of a column changes the neighbours"


def test_smote_takes_categories_as_a_whole() -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(
        few=np.array(["u", "v", "w"])[np.arange(200) % 3],
        some=(np.arange(200) % 20).astype(str),
        many=(np.arange(200) % 60).astype(str),
    )
    prepare = ColumnTransformer(
        [
            ("one_hot", Pipeline([("encode", OneHotEncoder(sparse_output=False))]), ["few"]),
            ("numbers", Pipeline([("scale", StandardScaler())]), ["a", "b", "c"]),
            ("ordinal", Pipeline([("encode", OrdinalEncoder()), ("scale", StandardScaler())]), ["some"]),
            ("target_mean", Pipeline([("encode", TargetEncoder())]), ["many"]),
        ]
    )
    rows = prepare.fit_transform(frame, Y)
    groups = categories_of(prepare)
    assert groups == ((0, 1, 2), (6,))
    new = balanced("smote", rows, groups=groups).X[200:]
    assert np.array_equal(np.unique(new[:, :3]), [0.0, 1.0])
    assert (new[:, :3].sum(axis=1) == 1).all()
    assert set(new[:, 6]) <= set(rows[:, 6])
    loose = balanced("smote", rows).X[200:]
    assert len(np.unique(loose[:, :3])) > 2, "without being told it would make categories that there are not"


def test_categories_are_found_in_steps_that_stand_alone_or_within_others() -> None:
    frame = pd.DataFrame({"a": list("uvuvw"), "b": list("xyxyx")})
    alone = Pipeline([("encode", OneHotEncoder())]).fit(frame)
    assert categories_of(alone) == ((0, 1, 2), (3, 4))
    assert categories_of(Pipeline([("plain", StandardScaler()), ("columns", alone)])) == ((0, 1, 2), (3, 4))
    assert categories_of(None) == ()
    assert categories_of(StandardScaler()) == ()


def test_a_class_of_few_rows_lowers_the_neighbours_and_says_so() -> None:
    y = np.where(np.arange(200) < 4, "rare", "common")
    made = balanced("smote", y=y)
    assert [each.code for each in made.findings] == ["T033"]
    assert "'rare' has 4 train rows: SMOTE took 3 neighbours instead of 5" in made.findings[0].what
    assert balanced("smote").findings == ()


@pytest.mark.parametrize(
    ("rows", "y", "words"),
    [
        (X, np.where(np.arange(200) < 1, "rare", "common"), r"'rare' has 1 train row. Expected at least 2"),
        (np.where(X > 2, np.nan, X), Y, r"Input X contains NaN. Expected no gaps for balance='smote'"),
        (pd.DataFrame(X).assign(text="a"), Y, r"could not convert string to float.* Expected numbers for"),
    ],
    ids=["one row", "gaps", "text"],
)
def test_smote_refuses_what_it_cannot_measure(rows: Any, y: Any, words: str) -> None:
    with pytest.raises(TableError, match=words) as caught:
        balanced("smote", rows, y)
    assert "balance='oversample'" in str(caught.value)


def test_categories_alone_leave_nothing_to_go_between() -> None:
    with pytest.raises(TableError, match="Found no column of numbers"):
        balanced("smote", np.eye(3)[np.arange(200) % 3], groups=((0, 1, 2),))


def test_numbers_are_not_balanced() -> None:
    with pytest.raises(UsageError, match="for regression"):
        sample(X, X[:, 0], "regression", (), Balance(method="oversample"), 1)
    assert sample(X, X[:, 0], "regression", (), Balance(), 1).counts_before == {}


def test_whether_an_estimator_takes_weights_is_known() -> None:
    from lightgbm import LGBMClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier

    told = [weighs(model) for model in (LogisticRegression(), GaussianNB(), LGBMClassifier(), KNeighborsClassifier())]
    assert told == [True, True, True, False]
