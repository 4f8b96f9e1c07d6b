"""The API holds to its own description, whatever is asked: by schemathesis, in process, without a Prefect server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis import CheckContext, checks
from schemathesis.python import asgi
from support.dashboards import NO_SERVER
from support.homes import a_home

from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import DashboardConfig
from nightshift.dashboard.faults import PROBLEM
from nightshift.settings import Home

pytestmark = pytest.mark.slow

#: As often as a bounded test asks.
_OFTEN = "1000000/minute"


CONFIG = DashboardConfig.model_validate(
    {"allowed_hosts": [asgi.HOST], "rates": {"actions": _OFTEN, "predictions": _OFTEN}}
)
#: What is described does not depend on the home.
_SCHEMA = schemathesis.openapi.from_dict(create_app(Home(Path("nowhere")), CONFIG, NO_SERVER).openapi())
OPERATIONS = [found.ok() for found in _SCHEMA.get_all_operations()]


@pytest.fixture(scope="module")
def place(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A copy of the trained home: what is asked may change it."""
    root = tmp_path_factory.mktemp("properties") / "home"
    shutil.copytree(trained_root, root, symlinks=True)
    with a_home(root) as home:
        yield home


@pytest.fixture
def app(place: Home) -> FastAPI:
    """The API over it; schemathesis starts it, and stops it after each test."""
    return create_app(place, CONFIG, NO_SERVER)


def only_documented_failures(_ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """Every error is a problem that says what is wrong; no failure of ours but that others are down."""
    if response.status_code < 400:
        return
    assert response.status_code < 500 or response.status_code == 503, f"{response.status_code} of {case.path}"
    assert response.headers["content-type"] == [PROBLEM]
    told = response.json()
    assert told["status"] == response.status_code
    assert told["detail"], "an error that says nothing"
    assert "\n" not in told["detail"]


CHECKS = (
    only_documented_failures,
    *map(checks.CHECKS.get_one, ("status_code_conformance", "content_type_conformance", "response_schema_conformance")),
)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_whatever_is_asked_the_answer_is_as_described(operation: schemathesis.APIOperation, app: FastAPI) -> None:
    @given(case=operation.as_strategy())
    @settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(app=app, checks=CHECKS)

    ask()
