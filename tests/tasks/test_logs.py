from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

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


_ORPHAN = """
import logging, sys
from nightshift.settings import use_home
use_home()
import prefect.main
from tasks import logs
logs.set_up()
log = logging.getLogger("nightshift")
log.info("heard"); input()
log.info("lost"); log.info("kept"); print("printed"); log.info("kept too")
"""


def test_a_run_outlives_the_worker_that_reads_what_it_prints(home):
    """Killing a worker alone breaks the pipe that its run prints to."""
    variables = {**os.environ, "PREFECT__FLOW_RUN_ID": "1", "PYTHONPATH": str(Path(logs.__file__).parents[1])}
    run = subprocess.Popen(
        [sys.executable, "-c", _ORPHAN], stdin=PIPE, stdout=PIPE, stderr=STDOUT, text=True, env=variables, cwd=home.root
    )
    assert run.stdin
    assert run.stdout
    assert "heard" in run.stdout.readline()
    run.stdout.close()
    run.communicate("go on\n")
    assert run.returncode == 0
    said = (home.logs / "runs.log").read_text()
    assert "kept" in said
    assert "kept too" in said
