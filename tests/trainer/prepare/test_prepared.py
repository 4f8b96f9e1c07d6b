"""Rows are prepared by what train rows alone teach, and only where the estimator asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from nightshift.errors import TableError
from nightshift.trainer.contract import Table, Wants
from nightshift.trainer.inputs.columns import kinds
from nightshift.trainer.inputs.table import table_of
from nightshift.trainer.options import Encode, Settings
from nightshift.trainer.prepare import prepared
from nightshift.trainer.prepare.prepared import Prepared, fit_prepare
from nightshift.trainer.prepare.recipe import recipe

N = 300
RNG = np.random.default_rng(0)
Y = np.arange(N) % 2
TRAIN, REST = np.arange(200), np.arange(200, N)
LINEAR = Wants(scaled=True, refuses_nan=True)
TREES = Wants(refuses_nan=False)
FOREST = Wants(refuses_nan=True)


def numbers() -> np.ndarray:
    return RNG.normal(3, 2, (N, 4))


def mixed() -> pd.DataFrame:
    frame = pd.DataFrame(numbers(), columns=["a", "b", "c", "d"])
    frame.loc[::7, "b"] = np.nan
    return frame.assign(
        colour=np.array(["red", "green", None] * 100, object),
        town=[f"t{i % 20}" for i in range(N)],
        street=[f"s{i % 100}" for i in range(N)],
        when=pd.date_range("2024-01-01", periods=N, freq="11h"),
        yes=np.arange(N) % 3 == 0,
    )


def fitted(X: Any, wants: Wants, settings: Settings | None = None, y: Any = Y, rows: Any = TRAIN) -> Prepared:
    table, given = table_of(X, y), settings or Settings()
    steps = recipe(kinds(table, given.encode), wants, given, table.task, 1)
    return fit_prepare(steps, table, rows, table.y[rows])


def answers(prepared: Prepared, X: Any, rows: Any = REST) -> np.ndarray:
    return np.asarray(prepared.transformer.transform(table_of(X, Y).rows(rows)), float)


@pytest.mark.parametrize("given", [numbers(), pd.DataFrame(numbers()), sparse.csr_matrix(numbers())])
@pytest.mark.parametrize("wants", [TREES, FOREST])
def test_where_nothing_is_to_be_done_there_is_no_step(given: Any, wants: Wants) -> None:
    transformer, X = fitted(given, wants)
    assert transformer is None
    assert type(X) is type(given)
    assert X.shape == (200, 4)


@pytest.mark.parametrize(("wants", "scale", "scaled"), [
    (LINEAR, "auto", True), (LINEAR, "no", False), (FOREST, "auto", False), (FOREST, "yes", True),
])  # fmt: skip
def test_numbers_are_scaled_only_where_asked_for(wants: Wants, scale: Any, scaled: bool) -> None:
    X = numbers()
    transformer, found = fitted(X, wants, Settings(scale=scale))
    assert (transformer is not None) is scaled
    expected = StandardScaler().fit(X[TRAIN]).transform(X[TRAIN]) if scaled else X[TRAIN]
    assert np.allclose(found, expected)


@pytest.mark.parametrize("X", [numbers(), pd.DataFrame(numbers()), mixed()])
def test_the_callers_rows_stay_as_they_are(X: Any) -> None:
    before = X.copy()
    done = fitted(X, LINEAR)
    given = table_of(X, Y).rows(REST)
    kept = given.copy()
    done.transformer.transform(given)
    for now, then in ((X, before), (given, kept)):
        assert pd.DataFrame(now).equals(pd.DataFrame(then))


def test_what_other_rows_hold_changes_nothing() -> None:
    clean, poisoned = mixed(), mixed()
    clean[["a", "b", "c", "d"]] = poisoned[["a", "b", "c", "d"]] = numbers()
    poisoned.loc[200:, ["a", "b"]] = 1e9
    poisoned.loc[200:, ["colour", "street"]] = "planted"
    poisoned.loc[200:, "when"] = pd.Timestamp("1980-01-01")
    y = np.where(np.arange(N) < 200, Y, 1 - Y)
    one, other = fitted(clean, LINEAR), fitted(poisoned, LINEAR, y=y)
    assert np.array_equal(one.X, other.X)
    assert np.array_equal(answers(one, clean), answers(other, clean))


def test_gaps_are_filled_by_the_median_of_train_rows_where_the_estimator_refuses_them() -> None:
    X = numbers()
    X[::5, 1] = np.nan
    X[200:, 1] = 1e9
    X[210, 1] = np.nan
    done = fitted(X, FOREST)
    assert answers(done, X)[10].tolist() != X[210].tolist()
    assert np.nanmedian(X[TRAIN, 1]) in answers(done, X)[10]
    assert fitted(X, TREES).transformer is None


def test_a_column_without_any_value_stays_one() -> None:
    X = numbers()
    X[:200, 2] = np.nan
    done = fitted(X, LINEAR)
    assert done.X.shape == (200, 4)
    assert np.isfinite(answers(done, X)).all()


def test_gaps_to_come_are_filled_where_that_is_asked_for() -> None:
    X = numbers()
    done = fitted(
        pd.DataFrame(X, columns=list("abcd")).assign(yes=Y == 1), FOREST, Settings(encode=Encode(always_impute=True))
    )
    late = pd.DataFrame(X[:3], columns=list("abcd")).assign(yes=True)
    late.iloc[0, 0] = np.nan
    assert np.isfinite(np.asarray(done.transformer.transform(late), float)).all()


def test_categories_are_encoded_by_how_many_values_they_have() -> None:
    done = fitted(mixed(), LINEAR)
    names = list(done.transformer.get_feature_names_out())
    assert sum(name.startswith("one_hot__colour") for name in names) == 3
    assert [name for name in names if "town" in name] == ["ordinal__town"]
    assert [name for name in names if "street" in name] == ["target_mean__street"]
    assert sum("when" in name for name in names) == 6
    assert done.X.shape == (200, len(names))
    assert np.isfinite(done.X).all()


@pytest.mark.parametrize(("column", "expected"), [("colour", 0.0), ("town", -1.0), ("street", 0.5)])
def test_an_unseen_category_has_its_place(column: str, expected: float) -> None:
    X = mixed()
    done = fitted(X, TREES)
    X.loc[200:, column] = "never seen"
    names = list(done.transformer.get_feature_names_out())
    places = [i for i, name in enumerate(names) if f"__{column}" in name]
    assert np.allclose(answers(done, X)[:, places], expected)


def test_columns_in_another_order_give_the_same() -> None:
    X = mixed()
    done = fitted(X, LINEAR)
    assert np.array_equal(answers(done, X), answers(done, X[list(X.columns[::-1])]))


def test_the_targets_mean_of_a_train_row_holds_no_answer_of_its_own() -> None:
    noise = pd.DataFrame({"street": [f"s{i}" for i in RNG.integers(0, 150, N)]})
    y = RNG.normal(size=N)
    found = fitted(noise, TREES, y=y, rows=np.arange(N)).X[:, 0]
    assert abs(np.corrcoef(found, y)[0, 1]) < 0.3
    leaking = pd.Series(y).groupby(noise["street"]).transform("mean")
    assert np.corrcoef(leaking, y)[0, 1] > 0.6


@pytest.mark.parametrize(
    "y", [Y, np.where(Y == 0, "no", "yes"), np.arange(N) % 3, np.r_[[2, 2], Y[2:]], np.r_[[2], Y[1:]]]
)
def test_means_of_any_classes_are_made_and_the_seed_decides(y: Any) -> None:
    X = mixed()[["street", "a"]]
    one, other = fitted(X, TREES, y=y), fitted(X, TREES, y=y)
    assert np.array_equal(one.X, other.X)
    many = len(set(y.tolist()))
    assert one.X.shape[1] == 1 + (1 if many == 2 else many)


def nullable() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "whole": pd.array([1, None, 3] * 100, dtype="Int64"),
            "float": pd.array(numbers()[:, 0], dtype="Float64"),
            "yes": pd.array([True, False, None] * 100, dtype="boolean"),
            "text": pd.array(["u", None, "v"] * 100, dtype="string"),
            "arrow": pd.array(["u", None, "v"] * 100, dtype="string[pyarrow]"),
            "kind": pd.Categorical([1, None, 3] * 100),
        }
    )


@pytest.mark.parametrize("wants", [LINEAR, TREES])
def test_nullable_columns_are_prepared_like_plain_ones(wants: Wants) -> None:
    X = nullable()
    done = fitted(X, wants)
    assert done.X.shape == (200, 2 + 4 * 3)
    assert np.isfinite(np.asarray(done.X, float)).all() == wants.refuses_nan
    LinearRegression().fit(np.nan_to_num(np.asarray(done.X, float)), Y[TRAIN])
    assert answers(done, X).shape == (100, 14)


def typed(dtype: str, gaps: bool) -> pd.DataFrame:
    import pyarrow as pa

    coin = pd.Series(Y)
    made = {
        "dictionary": lambda: coin.map({0: "u", 1: "v"}).astype(pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
        "decimal": lambda: coin.astype(pd.ArrowDtype(pa.decimal128(25, 2))),
        "days": lambda: pd.Series(pd.date_range("2020", periods=N)).astype(pd.ArrowDtype(pa.date32())),
        "category": lambda: pd.Series(pd.Categorical(np.where(Y, "u", "v"), categories=["z", "v", "u"])),
    }
    words = coin.map({0: "u", 1: "v"}) if "string" in dtype else coin
    column = made[dtype]() if dtype in made else words.astype(dtype)
    if gaps:
        column[3::50] = None
    return pd.DataFrame({"a": numbers()[:, 0], "k": column})


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize(
    "dtype",
    [
        "bool[pyarrow]", "string[pyarrow]", "int64[pyarrow]", "double[pyarrow]", "Int64", "boolean", "Float64",
        "string", "category", "dictionary", "decimal", "days",
    ],
)  # fmt: skip
@pytest.mark.parametrize("wants", [LINEAR, TREES], ids=["linear", "trees"])
def test_columns_of_every_type_are_learnt_from_and_answered(dtype: str, gaps: bool, wants: Wants) -> None:
    X = typed(dtype, gaps)
    done = fitted(X, wants)
    told = np.asarray(done.X, np.float64)
    assert np.isfinite(told).all() or not wants.refuses_nan
    if dtype != "days":  # every other row
        model = LinearRegression().fit(np.nan_to_num(told), Y[TRAIN])
        assert model.score(np.nan_to_num(told), Y[TRAIN]) > 0.8
    assert np.asarray(answers(done, X), np.float64).shape == (len(REST), told.shape[1])


def test_nullable_numbers_alone_become_floats_for_any_estimator() -> None:
    done = fitted(nullable()[["whole", "float"]], TREES)
    assert set(map(str, done.X.dtypes)) == {"float64"}


def test_categories_that_are_not_to_be_encoded_are_refused_or_passed() -> None:
    X = mixed().drop(columns="when").astype({"colour": "category", "town": "category", "street": "category"})
    with pytest.raises(TableError, match=r"'colour' holds categories, and encode=None.*Expected numbers"):
        fitted(X, LINEAR, Settings(encode=None))
    done = fitted(X, Wants(scaled=True, own_categories=True), Settings(encode=None))
    assert sorted(str(t) for t in done.X.dtypes).count("category") == 3
    assert fitted(X, Wants(refuses_nan=False, own_categories=True), Settings(encode=None)).transformer is None


def test_many_one_hot_columns_stay_sparse_where_the_estimator_takes_that() -> None:
    X = pd.DataFrame({"a": numbers()[:, 0], "street": [f"s{i % 250}" for i in range(N)]})
    settings = Settings(encode=Encode(one_hot_up_to=300, target_from=400))
    assert sparse.issparse(fitted(X, Wants(takes_sparse=True), settings).X)
    assert isinstance(fitted(X, Wants(), settings).X, np.ndarray)


@pytest.mark.parametrize(
    "make", [lambda x: x, pd.DataFrame, lambda x: pd.DataFrame(x, columns=list("abcd")).assign(e=["u", "v"] * 150)]
)
def test_medians_of_a_large_table_are_those_of_a_sample(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    X = numbers()
    X[::5, 1] = np.nan
    exact = fitted(make(X), LINEAR)
    monkeypatch.setattr(prepared, "LARGE", 100)
    done = fitted(make(X), LINEAR)
    assert done.X.shape == exact.X.shape
    assert "Frozen" not in repr(done.transformer)
    assert np.abs(np.asarray(done.X) - exact.X).max() < 0.5
    assert not np.array_equal(done.X, exact.X)
    assert np.isfinite(answers(done, make(X))).all()
    again = clone(done.transformer).fit(table_of(make(X), Y).rows(TRAIN), Y[TRAIN])
    assert np.allclose(answers(Prepared(again, None), make(X)), answers(exact, make(X)))


def test_numbers_treated_alike_need_no_column_transformer() -> None:
    assert not isinstance(fitted(numbers(), LINEAR).transformer, ColumnTransformer)
    assert isinstance(fitted(mixed()[["a", "b", "yes"]], LINEAR).transformer, ColumnTransformer)


def test_a_table_of_row_numbers_is_prepared_without_a_frame_of_it() -> None:
    table = Table(X=numbers(), y=Y, task="binary", classes=(0, 1), columns=("x0", "x1", "x2", "x3"))
    assert fit_prepare(None, table, TRAIN, Y[TRAIN]).transformer is None


@pytest.mark.parametrize(
    ("learnt", "new", "encoded"),
    [
        (["u", "v", None] * 100, [np.nan] * 3, [0.0, 0.0, 1.0]),
        (["u", "v", "w"] * 100, [np.nan] * 3, [0.0, 0.0, 0.0]),
        (pd.Categorical(["u", "v", None] * 100), [np.nan] * 3, [0.0, 0.0, 1.0]),
        (np.array([True, False, None] * 100, object), pd.array([None] * 3, dtype="boolean"), [0.0, 0.0, 1.0]),
        (pd.array([True, False, None] * 100, dtype="boolean"), np.array([True] * 3), [0.0, 1.0, 0.0]),
        (pd.array(["u", "v", None] * 100, dtype="string"), np.array([None] * 3, object), [0.0, 0.0, 1.0]),
        (pd.Categorical(["u", "v", None] * 100), np.array(["u"] * 3, object), [1.0, 0.0, 0.0]),
        (["u", np.nan, None] * 100, [None] * 3, [0.0, 1.0]),
        (pd.Categorical([1, 2, None] * 100), np.array([2] * 3), [0.0, 1.0, 0.0]),
        (pd.Categorical([1, 2, 3] * 100), pd.Categorical([None, 2, 9]), [0.0, 0.0, 0.0]),
        (["u", "v", None] * 100, pd.array(["new"] * 3, dtype="string"), [0.0, 0.0, 0.0]),
    ],
)
def test_new_rows_may_come_in_another_type(learnt: Any, new: Any, encoded: list[float]) -> None:
    done = fitted(pd.DataFrame({"a": numbers()[:, 0], "c": learnt}), LINEAR)
    found = done.transformer.transform(pd.DataFrame({"c": new, "a": [1.0, 2.0, 3.0]}))
    assert np.asarray(found, float)[0, 1:].tolist() == encoded
