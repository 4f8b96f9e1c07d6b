from __future__ import annotations

import logging

import pytest

from nightshift.errors import BlockedError
from tasks import logs


@pytest.fixture
def run_logger():
    logger = logging.getLogger("prefect.flow_runs")
    ours, level, filters = logging.getLogger("nightshift"), logging.getLogger("nightshift").level, list(logger.filters)
    logs.set_up()
    yield logger
    logger.filters[:] = filters
    ours.setLevel(level)


def formatted(logger: logging.Logger, error: Exception) -> str:
    try:
        raise error
    except Exception as caught:
        record = logger.makeRecord(logger.name, logging.ERROR, "f", 1, "Encountered exception", (), _info(caught))
    assert logger.filter(record)
    return logging.Formatter().format(record)


def _info(error: Exception):
    return (type(error), error, error.__traceback__)


def test_a_deliberate_error_is_one_line(run_logger):
    text = formatted(run_logger, BlockedError("`rul` not found.", hint="Regenerate it."))
    assert text == "BlockedError: `rul` not found. Regenerate it."


def test_a_fault_keeps_its_traceback(run_logger):
    assert "Traceback" in formatted(run_logger, ValueError("a fault of ours"))


def test_setting_up_twice_filters_once(run_logger):
    logs.set_up()
    assert sum(isinstance(f, logs.OneLine) for f in run_logger.filters) == 1
