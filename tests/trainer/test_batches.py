"""Parquet is trained on whole where it fits, and else from disk or on a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from xgboost import XGBClassifier

from nightshift.errors import TableError, UnknownNameError, UsageError
from nightshift.trainer.api import train_model
from nightshift.trainer.batches import train_from_parquet
from nightshift.trainer.inputs import parquet
from nightshift.trainer.kinds import pieces
from nightshift.trainer.options import Limits

N, SMALL = 6_000, 600
QUIET: dict[str, Any] = {"progress": False, "checks": "off"}


def rows(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, (n, 12))
    frame = pd.DataFrame(X, columns=[f"n{i}" for i in range(12)])
    frame["colour"] = rng.choice(["red", "green", "blue"], n)
    frame["group"] = rng.integers(0, 60, n)
    frame["when"] = pd.date_range("2024", periods=n, freq="h")
    frame["y"] = np.where(X[:, 0] + (frame["colour"] == "red") * 2 + rng.normal(0, 0.3, n) > 3.5, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    rows().to_parquet(path, row_group_size=1_000)
    return path


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """Too little for all rows, and enough for what is read from disk."""
    from nightshift.trainer import batches

    monkeypatch.setattr(batches, "left_mb", lambda _limits: 1.6)
    monkeypatch.setattr(batches, "_BINNED_BY", 1_000)
    monkeypatch.setattr(pieces, "PIECE_ROWS", 700)
    return Limits(threads=1)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each piece that is read of more columns than one."""
    seen: list[int] = []
    real = parquet.Source._pieces

    def spied(self: parquet.Source, columns: list[str], many: int, index: Any = None) -> Any:
        for piece in real(self, columns, many, index):
            if len(columns) > 1:
                seen.append(len(piece.frame))
            yield piece

    monkeypatch.setattr(parquet.Source, "_pieces", spied)
    return seen


def test_what_fits_is_trained_on_like_any_table(table: Path) -> None:
    frame = rows()
    model = LGBMClassifier(n_estimators=5)
    here = train_model(model, frame.drop(columns=["y", "group"]), frame["y"], groups=frame["group"], **QUIET)
    there = train_from_parquet(model, table, "y", groups="group", **QUIET)
    assert there.scores == here.scores
    assert there.about.y_name == "y"
    assert np.array_equal(there.split.test, here.split.test)


@pytest.mark.parametrize(
    "model",
    [
        LGBMClassifier(n_estimators=20, num_leaves=7),
        XGBClassifier(n_estimators=20, max_depth=3),
        SGDClassifier(loss="log_loss"),
        GaussianNB(),
    ],
)
def test_what_does_not_fit_is_trained_on_from_disk(
    table: Path, little: Limits, read: list[int], tmp_path: Path, model: Any
) -> None:
    scale = True if isinstance(model, GaussianNB) else "auto"
    # Naive Bayes widens every column by the widest one, which are seconds unless they are scaled.
    result = train_from_parquet(
        model, table, "y", groups="group", limits=little, scratch=tmp_path, scale=scale, **QUIET
    )
    assert read
    assert max(read) <= 3_000
    assert not list(tmp_path.iterdir())
    frame = rows()
    held = frame.iloc[result.split.test]
    assert not set(held["group"]) & set(frame.iloc[result.split.train]["group"])
    answers = result.predict(held.drop(columns=["y", "group"]))
    accuracy = float((answers == held["y"]).mean())
    assert accuracy > (0.75 if isinstance(model, GaussianNB) else 0.9)
    assert accuracy == pytest.approx(result.scores["test"]["accuracy"], abs=0.003)
    told = result.predictions
    assert sorted(told.index[told.part == "test"]) == sorted(result.split.test)
    assert (told.value == frame["y"].to_numpy()[told.index]).mean() > 0.75
    assert result.about.columns[0] == "n0"
    assert "group" not in result.about.columns


def test_it_is_as_good_from_disk_and_stops_by_validation(table: Path, little: Limits) -> None:
    model = LGBMClassifier(n_estimators=200, learning_rate=0.3, num_leaves=7)
    here = train_from_parquet(model, table, "y", early_stopping=5, **QUIET)
    there = train_from_parquet(model, table, "y", early_stopping=5, limits=little, **QUIET)
    assert len(there.history) < 200
    assert there.scores["test"]["accuracy"] == pytest.approx(here.scores["test"]["accuracy"], abs=0.03)
    again = train_from_parquet(model, table, "y", early_stopping=5, limits=little, **QUIET)
    assert again.scores == there.scores


def test_gaps_and_many_categories_are_prepared_without_the_answers_of_train_rows(
    tmp_path: Path, little: Limits
) -> None:
    frame = rows().drop(columns=["when"])
    frame["street"] = np.random.default_rng(1).integers(0, 1_500, N).astype(str)
    frame["y"] = np.random.default_rng(2).integers(0, 2, N)
    frame.to_parquet(tmp_path / "t.parquet")
    result = train_from_parquet(SGDClassifier(loss="log_loss"), tmp_path / "t.parquet", "y", limits=little, **QUIET)
    assert 0.4 < result.scores["train"]["roc_auc"] < 0.6  # type: ignore[operator]
    assert 500 < len(result.split.dropped) <= len(result.split.train) // 3
    assert not set(result.split.dropped) & set(result.split.train)
    assert np.isfinite(result.predict_proba(frame.drop(columns="y").assign(n1=np.nan))).all()


def test_time_parts_rows_from_disk_too(table: Path, little: Limits) -> None:
    result = train_from_parquet(LGBMClassifier(n_estimators=2), table, "y", times="when", limits=little, **QUIET)
    assert result.split.strategy == "time"
    assert result.split.train.max() < result.split.validation.min() < result.split.test.min()


def test_what_needs_all_rows_is_refused_with_the_sample_that_fits(table: Path, little: Limits) -> None:
    with pytest.raises(TableError, match=r"T032: .* 6,000 rows x 15 columns .* trains on 4,\d{3} of them"):
        train_from_parquet(RandomForestClassifier(), table, "y", limits=little, **QUIET)
    with pytest.raises(UsageError, match="balance='smote' needs all rows in memory"):
        train_from_parquet(LGBMClassifier(), table, "y", balance="smote", limits=little, **QUIET)
    with pytest.raises(UsageError, match="parted by a Split"):
        train_from_parquet(LGBMClassifier(), table, "y", cv=3, limits=little, **QUIET)


def test_a_sample_is_trained_on_where_that_is_asked_for(table: Path, little: Limits) -> None:
    limits = little.model_copy(update={"beyond_memory": "sample"})
    result = train_from_parquet(RandomForestClassifier(20), table, "y", limits=limits, **QUIET)
    assert 3_500 < result.about.n_rows < 4_500
    assert result.findings[0].code == "T032"


def test_less_memory_than_the_bins_take_is_refused(table: Path) -> None:
    held = psutil.Process().memory_info().rss / 1e6
    with pytest.raises(TableError, match=r"T032: .*limits\.memory_mb"):
        train_from_parquet(LGBMClassifier(), table, "y", limits=Limits(memory_mb=held + 0.01), **QUIET)


def test_infinite_values_are_found_while_rows_are_read(tmp_path: Path, little: Limits) -> None:
    frame = rows()
    frame.loc[N - 5, "n3"] = np.inf
    folder = tmp_path / "parts"
    folder.mkdir()
    frame[:4_000].to_parquet(folder / "a.parquet")
    frame[4_000:].to_parquet(folder / "b.parquet")
    limits, model = little.model_copy(update={"threads": 1}), LGBMRegressor()
    with pytest.raises(TableError, match=r"infinity: 1 value in column 'n3'"):
        train_from_parquet(model, folder, "n0", columns=["n3", "n4"], times="when", **QUIET)
    with pytest.raises(TableError, match=r"Rows from 5,\d+ on: .*'n3'"):
        train_from_parquet(model, folder, "n0", times="when", limits=limits, **QUIET)


@pytest.mark.parametrize(
    ("path", "target", "words"),
    [
        ("none.parquet", "y", "cannot be read"),
        ("", "y", "folder without Parquet files"),
        ("text.parquet", "y", "Expected a Parquet file"),
    ],
)
def test_what_is_no_parquet_is_refused(tmp_path: Path, path: str, target: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match=words):
        train_from_parquet(LGBMClassifier(), tmp_path / (path or "empty"), target, **QUIET)


@pytest.mark.parametrize("index", [[5], [1_999, 2_000], [2_500, 2_501, 5_998], [0, 5_999], range(0, N, 7)])
def test_rows_are_found_by_their_numbers_in_the_row_groups_that_hold_them(
    table: Path, read: list[int], index: Any
) -> None:
    wanted = np.asarray(index)
    found = parquet.source_of(table, "y").rows(wanted, 300)
    assert found["n3"].tolist() == rows()["n3"].iloc[wanted].tolist()
    assert sum(read) == 1_000 * len(np.unique(wanted // 1_000))


def test_chunks_hold_rows(table: Path) -> None:
    with pytest.raises(UsageError, match="chunk_rows: expected 1 or more, got 0"):
        train_from_parquet(LGBMClassifier(), table, "y", chunk_rows=0, **QUIET)


def test_a_table_in_memory_keeps_to_the_limit_too() -> None:
    frame = rows()[["n0", "n1", "y"]]
    with pytest.raises(TableError, match=r"T032: a fit of 4,200 rows x 2 columns"):
        train_model(GaussianNB(), frame[["n0", "n1"]], frame["y"], limits=Limits(memory_mb=1), **QUIET)


def test_a_column_that_is_not_there_is_named(table: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown column 'color'\. Did you mean 'colour'"):
        train_from_parquet(LGBMClassifier(), table, "color", **QUIET)


def test_flags_with_gaps_are_numbers_in_every_piece(tmp_path: Path) -> None:
    flags = pd.array([True, False] * 3, dtype="boolean")
    table = pd.DataFrame({"whole": flags, "open": flags, "y": range(6)})
    table.loc[4, "open"] = pd.NA
    table.to_parquet(tmp_path / "table.parquet", row_group_size=2)
    for piece in parquet.source_of(tmp_path / "table.parquet", "y").pieces(2):
        assert [str(kind) for kind in piece.frame.dtypes] == ["bool", "float64"]
    np.testing.assert_array_equal(piece.frame["open"], [np.nan, 0.0])
