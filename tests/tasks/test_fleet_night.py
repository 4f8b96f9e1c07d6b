"""One run of the fleet at a time in a home, and what a run goes on with."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from flows.parameters import Continues
from nightshift.plan import lock
from nightshift.settings import Home
from tasks.fleet import night

RUN = UUID("0190f0a4-5e0b-7c1e-9b61-2f1a5d3c7e42")


def holder(home: Home) -> subprocess.Popen[bytes]:
    """Return another process that holds the lock of the home's run of the fleet."""
    code = (
        "import time; from nightshift.plan import lock; from nightshift.settings import home\n"
        "with lock.held(home(), 'fleet'):\n    print('held', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "NIGHTSHIFT_HOME": str(home.root)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_night_begins_when_the_one_at_work_in_the_home_has_ended_however_it_did(
    home: Home,
) -> None:
    heard: list[str] = []
    ear = logging.Handler()
    ear.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("nightshift.signals").addHandler(ear)
    try:
        with holder(home) as other:
            threading.Timer(1.5, other.kill).start()
            with night() as run:
                assert run.begun
                assert other.wait(5) != 0
                assert lock.is_held(home, "fleet")
    finally:
        logging.getLogger("nightshift.signals").removeHandler(ear)
    assert not lock.is_held(home, "fleet")
    assert heard == ["another run of the fleet is at work in this home: waiting until it has ended"]


def test_a_night_that_waits_for_another_one_hears_a_stop_and_does_nothing(home: Home) -> None:
    with holder(home) as other:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        began = time.monotonic()
        with night() as run:
            assert not run.begun
        assert time.monotonic() - began < 5
        assert other.poll() is None
        other.kill()


def test_what_goes_on_is_named_by_the_id_of_a_flow_run() -> None:
    given: TypeAdapter[str] = TypeAdapter(Continues)
    assert [given.validate_python(text) for text in ("", str(RUN))] == ["", str(RUN)]
    for text in ("../../elsewhere", "run-1", f"{RUN}\n", f"{RUN}/.."):
        with pytest.raises(ValidationError):
            given.validate_python(text)
