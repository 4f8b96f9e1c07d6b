"""Small real datasets, and one trained model per family, made once for the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.driven import small_roads
from support.family_runs import Trained, small_context
from support.homes import a_home
from support.machine import land_demo
from support.tables import small_table
from support.vehicles import small_vehicles

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.settings import Home


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("families")) as home:
        yield home


@pytest.fixture(scope="session")
def small_data(session_home: Home) -> Dataset:
    """The demo machine, as `make demo` lands it."""
    return land_demo(session_home, seed=3)


@pytest.fixture(scope="session")
def vehicle_data(session_home: Home) -> Dataset:
    """A few short trips with every truth."""
    return small_vehicles(session_home)


@pytest.fixture(scope="session")
def driving_data(session_home: Home) -> Dataset:
    """A few made scenarios."""
    return small_roads(session_home)


@pytest.fixture(scope="session")
def table_data(session_home: Home) -> Dataset:
    """A table with a class and a value to answer."""
    return small_table(session_home)


@pytest.fixture
def data_of(request: pytest.FixtureRequest) -> Callable[[str], Dataset]:
    """What returns the small dataset of a group of families."""
    return lambda group: _data_of(request, group)


def _data_of(request: pytest.FixtureRequest, group: str) -> Dataset:
    fixture = {
        "vehicle": "vehicle_data",
        "driving": "driving_data",
        "estimator": "table_data",
    }.get(group, "small_data")
    data: Dataset = request.getfixturevalue(fixture)
    return data


@pytest.fixture(scope="session", params=families.names())
def trained(request: pytest.FixtureRequest, session_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One trained model of each family that the folder holds."""
    family = families.get(request.param)
    config, ctx = small_context(session_home, family.name, tmp_path_factory.mktemp(family.name))
    data = _data_of(request, family.group)
    return Trained(family, config, data, family.train(data, config, ctx), ctx)
