"""Recording, verifying and ending processes; none of them is Prefect, so that it takes no time."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from deployments import processes
from nightshift.settings import Home

# A process that starts another in a session of its own, as a worker starts flow runs, and names it.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(120)
"""
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(120)"
)


@pytest.fixture
def started(home: Home):
    records = []

    def start(code: str, name: str = "server"):
        records.append(processes.start(home, name, processes.python("-c", code)))
        return records[-1]

    yield start
    processes.stop(records, grace_s=0.1)


def has_ended(process: psutil.Process) -> bool:
    """Whether it has; one that its parent has yet to ask for has, too."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def await_line(home: Home, record: processes.ProcessRecord) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lines = processes.last_lines(home, record)
        if lines:
            return lines
        time.sleep(0.05)
    raise AssertionError("the process said nothing")


def test_a_started_process_is_its_own_session_and_is_recorded(home, started):
    record = started("import time; print('hello'); time.sleep(120)")
    assert processes.read(home, "server") == record
    assert processes.verified(record)
    assert os.getsid(record.pid) == record.pid
    assert await_line(home, record) == "hello"


def test_a_record_counts_for_the_same_process_only(home, started):
    record = started("import time; time.sleep(120)")
    reused = {
        "an earlier start": record.model_copy(update={"created_s": record.created_s - 60}),
        "another command": record.model_copy(update={"command": (*record.command[:-1], "other")}),
        "no such pid": record.model_copy(update={"pid": 2**22 + 1}),
    }
    assert {why: processes.verified(r) for why, r in reused.items()} == dict.fromkeys(reused)


def test_stopping_a_stale_record_ends_nobody(home, started):
    bystander = started("import time; time.sleep(120)")
    stale = bystander.model_copy(update={"created_s": bystander.created_s - 60})
    assert processes.stop([stale]) == []
    assert processes.verified(bystander)


def test_an_ended_process_is_not_taken_for_running(home, started):
    record = started("print('done')")
    await_line(home, record)
    psutil.Process(record.pid).wait(timeout=20)
    assert processes.verified(record) is None


def test_stop_ends_what_the_process_started_too_and_nothing_else(home, started):
    record = started(FAMILY)
    child = psutil.Process(int(await_line(home, record)))
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]) as bystander:
        assert processes.stop([record]) == [record]
        assert bystander.poll() is None
        bystander.terminate()
    assert processes.verified(record) is None
    assert has_ended(child)


# A worker's flow run: it leads a session of its own, and says its pid where the worker has gone.
WORKER = """
import os, subprocess, sys, time
run = "import os, time; print(os.getpid(), flush=True); time.sleep(120)"
more = {"PREFECT__FLOW_RUN_ID": "0123456789abcdef"}
subprocess.Popen([sys.executable, "-c", run], start_new_session=True, env={**os.environ, **more})
time.sleep(120)
"""


def test_a_run_is_an_orphan_once_its_worker_is_killed_and_can_be_ended_like_any_other(home, started, tmp_path):
    variables = {"NIGHTSHIFT_WORKER": "local"}
    worker = processes.start(home, "worker-gpu", processes.python("-c", WORKER), variables=variables)
    run = psutil.Process(int(await_line(home, worker)))
    try:
        assert processes.orphans(home) == []
        psutil.Process(worker.pid).kill()
        deadline = time.monotonic() + 20
        while run.ppid() == worker.pid and time.monotonic() < deadline:
            time.sleep(0.05)
        (orphan,) = processes.orphans(home)
        assert (orphan.pid, orphan.name) == (run.pid, "run-01234567")
        assert processes.orphans(Home(tmp_path / "another")) == []
        assert processes.stop([orphan]) == [orphan]
        assert has_ended(run)
    finally:
        processes.stop([worker], grace_s=0.1)
        if run.is_running():
            run.kill()


# As a worker: it hears how its run has ended, and says so, before it ends itself.
WITNESS = """
import signal, subprocess, sys, time
run = (
    "import signal, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), exit(7)));"
    "print('run', flush=True); time.sleep(120)"
)
child = subprocess.Popen([sys.executable, "-c", run], start_new_session=True)
signal.signal(signal.SIGTERM, lambda *_: (print("its run ended with", child.poll(), flush=True), exit(0)))
time.sleep(120)
"""


def test_runs_end_before_their_worker_does(home, started):
    record = started(WITNESS)
    assert await_line(home, record) == "run"
    processes.stop([record])
    assert processes.last_lines(home, record) == "run\nits run ended with 7"


def test_one_that_does_not_listen_is_killed_after_the_grace(home, started):
    record = started(STUBBORN)
    await_line(home, record)
    processes.stop([record], grace_s=0.3)
    assert not psutil.pid_exists(record.pid)


def test_the_log_of_an_earlier_process_is_not_quoted(home, started):
    first = started("print('the first')")
    await_line(home, first)
    second = started("print('the second')")
    assert await_line(home, second) == "the second"


def test_a_record_that_is_not_one_is_no_record(home):
    path = processes.record_path(home, "server")
    path.parent.mkdir(parents=True)
    path.write_text('{"pid": 1}')
    assert processes.read(home, "server") is None


def test_processes_are_held_to_the_home_and_find_our_packages(home, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere/api")
    environment = processes.environment(home, "")
    assert environment["PREFECT_HOME"] == str(home.prefect)
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert "PREFECT_API_URL" not in environment
    first = environment["PYTHONPATH"].split(os.pathsep)[0]
    assert os.path.isfile(os.path.join(first, "nightshift", "settings.py"))
