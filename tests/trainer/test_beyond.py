"""LightGBM and XGBoost train on Dask, and what comes back needs none."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import RandomForestClassifier
from xgboost import XGBClassifier

from nightshift.errors import UsageError
from nightshift.trainer import batches
from nightshift.trainer.batches import train_from_parquet
from nightshift.trainer.options import Limits

N = 3_000
QUIET: dict[str, Any] = {"progress": False, "checks": "off"}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(N, 5)), columns=list("abcde"))
    frame["colour"] = rng.choice(["red", "green"], N)
    frame["y"] = np.where(frame["a"] + (frame["colour"] == "red") > 0.5, "yes", "no")
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=500)
    monkeypatch.setattr(batches, "left_mb", lambda _limits: 0.4)
    return tmp_path / "t.parquet"


def test_an_estimator_that_does_not_run_on_dask_is_refused(table: Path) -> None:
    with pytest.raises(UsageError, match=r"RandomForestClassifier does not run on Dask\. Expected LightGBM or XGBoost"):
        train_from_parquet(RandomForestClassifier(), table, "y", limits=Limits(beyond_memory="dask"), **QUIET)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a scheduler with two workers."""
    distributed = importlib.import_module("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.mark.scale
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "target"),
    [
        (LGBMClassifier(n_estimators=10), "y"),
        (XGBClassifier(n_estimators=10), "y"),
        (LGBMRegressor(n_estimators=30), "a"),
    ],
)
def test_it_trains_on_dask_and_answers_without(table: Path, address: str, model: Any, target: str) -> None:
    limits = Limits(beyond_memory="dask", address=address)
    result = train_from_parquet(model, table, target, limits=limits, **QUIET)
    frame = pd.read_parquet(table)
    held = frame.iloc[result.split.test]
    answers = result.predict(held.drop(columns=target))
    if target == "y":
        assert float((answers == held["y"]).mean()) > 0.95
        assert result.scores["test"]["accuracy"] == pytest.approx(float((answers == held["y"]).mean()))
    else:
        assert result.scores["test"]["r2"] > 0.5  # type: ignore[operator]
    last = result.model[-1]
    assert type(getattr(last, "estimator", last)) is type(model)
    assert result.about.name == type(model).__name__
    assert "T029" in [f.code for f in result.findings]
