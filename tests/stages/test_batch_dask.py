"""The Dask runner where Dask is not installed; with it, see tests/scale/test_dask.py."""

from __future__ import annotations

import sys

import pytest

from nightshift.errors import ConfigError
from nightshift.plan.batch import BatchOptions
from nightshift.settings import Home
from nightshift.stages.batch_dask import DaskBatch


def test_a_missing_package_is_named_with_the_extra_that_brings_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"needs Dask, which is not installed.*nightshift\[scale\]"):
        DaskBatch(home, [], BatchOptions(runner="dask"))
