"""Samples follow the model's columns, not the data's."""

from __future__ import annotations

import numpy as np
import pytest
from support.engines import land_engines

from nightshift.data.dataset import Dataset
from nightshift.edge.manifest import Column, Interface
from nightshift.errors import DataError
from nightshift.settings import Home
from nightshift.trainer.samples import window_samples


@pytest.fixture
def engines(home: Home) -> Dataset:
    return land_engines(home)


def interface(*names: str) -> Interface:
    return Interface(columns=tuple(Column(name=n) for n in names), window_rows=3, outputs=())


def test_columns_are_picked_by_name_in_the_models_order(engines: Dataset) -> None:
    rows = np.array([50, 2, 0])
    samples = window_samples(engines, "train", interface("age_cycles", "heat_k"), rows, {"label": np.zeros(3)})
    window = samples.inputs["window"]
    assert window.shape == (3, 3, 2)
    frame = engines.frame("train")
    np.testing.assert_array_equal(window[:, -1, 1], frame["heat_k"].to_numpy()[rows])
    np.testing.assert_array_equal(window[1, :, 0], [1, 2, 3])
    assert np.isnan(window[2, :2]).all()
    assert samples.unit.tolist() == [str(frame["run"].iloc[i]) for i in rows]
    assert np.isnan(samples.time).all(), "cycles are no time of the clock"


def test_a_column_that_the_data_lacks_is_named(engines: Dataset) -> None:
    with pytest.raises(DataError, match="no column 'oil_bar'"):
        window_samples(engines, "val", interface("heat_k", "oil_bar"), np.array([0]), {})
