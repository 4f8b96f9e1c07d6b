from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support.trainer_jobs import Bad, Sum, Unsendable, jobs

from nightshift.errors import ConfigError, ServiceError, TrainingError
from nightshift.progress import ProgressEvent
from nightshift.trainer import parallel

#: Beyond the megabyte from which arrays are handed over as files.
TABLE = np.random.default_rng(0).normal(size=(50_000, 4))


def test_one_process_takes_the_heaviest_first_and_needs_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joblib", None)
    told: list[ProgressEvent] = []
    done = list(parallel.run(jobs(1.0, 5.0, 1.0), Sum(TABLE), tell=told.append))
    assert [d.key for d in done] == ["fold-2", "fold-1", "fold-3"]
    assert {event.message.split()[0] for event in told} == {str(os.getpid())}


def test_two_processes_give_what_one_gives_and_share_the_cores() -> None:
    told: list[ProgressEvent] = []
    apart = list(parallel.run(jobs(1, 1, 9), Sum(TABLE), 2, tell=told.append, threads=3))
    alone = {d.key: d for d in parallel.run(jobs(1, 1, 9), Sum(TABLE))}
    assert {d.key: dict(d.scored["test"].metrics) for d in apart} == {
        key: dict(d.scored["test"].metrics) for key, d in alone.items()
    }
    assert apart[-1].key != "fold-3"
    for d in apart:
        assert np.array_equal(d.scored["test"].prediction, alone[d.key].scored["test"].prediction)
    told_of = {event.stage: event.message.split() for event in told}
    assert set(told_of) == {"fold-1", "fold-2", "fold-3"}
    assert len({pid for pid, _ in told_of.values()} - {str(os.getpid())}) == 2
    assert {threads for _, threads in told_of.values()} == {"3"}


def test_a_dead_worker_names_its_job(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"while it did .*fold-2.*lower n_jobs") as caught:
        list(parallel.run(jobs(1, 2), Bad("fold-2", "dies", tmp_path), 2))
    assert "\n" not in str(caught.value)


def test_an_error_of_a_job_comes_whole() -> None:
    with pytest.raises(TrainingError) as caught:
        list(parallel.run(jobs(1, 2), Bad("fold-2", "raises", Path("/tmp")), 2))
    assert (caught.value.what, caught.value.hint) == ("the loss is NaN.", "Lower lr.")


def test_what_cannot_be_sent_is_told() -> None:
    with pytest.raises(TrainingError, match=r"cannot be sent to another process: .*lock.*Use n_jobs=1"):
        list(parallel.run(jobs(1, 2), Unsendable(), 2))


_INTERRUPTED = """
import sys
from pathlib import Path
from support.trainer_jobs import Bad, jobs
from nightshift.trainer import parallel
try:
    list(parallel.run(jobs(1, 1, 1), Bad("", "waits", Path(sys.argv[1])), 2))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_ends_the_workers(tmp_path: Path, whole_group: bool) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])}
    command = [sys.executable, "-c", _INTERRUPTED, str(tmp_path)]
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        _until(lambda: len(_pids(tmp_path)) == 2)
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "interrupted\n"
        _until(lambda: not any(map(_runs, _pids(tmp_path))))
        process.communicate("")
    assert process.returncode == 0


def test_workers_end_with_their_reader(tmp_path: Path) -> None:
    with closing(parallel.run(jobs(1, 1, 1, 1), Bad("", "ends", tmp_path), 2)) as done:
        next(done)
    _until(lambda: not any(map(_runs, _pids(tmp_path))))


def _pids(folder: Path) -> list[int]:
    return [int(text) for path in folder.glob("*.pid") if (text := path.read_text())]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(true: object, longest_s: float = 60.0) -> None:
    assert callable(true)
    end = time.monotonic() + longest_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(("backend", "module", "extra"), [("dask", "distributed", "scale"), ("ray", "ray", "ray")])
def test_a_backend_that_is_not_installed_says_how_to_get_it(
    backend: parallel.Backend, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"not installed\. .*nightshift\[{extra}\]"):
        list(parallel.run(jobs(1, 2), Sum(TABLE), 2, backend))


@pytest.mark.scale
def test_dask_gives_what_one_process_gives_and_names_the_job_of_a_dead_worker(tmp_path: Path) -> None:
    told: list[ProgressEvent] = []
    done = {
        d.key: d.scored["test"].metrics["sum"]
        for d in parallel.run(jobs(1, 1, 9), Sum(TABLE), 2, "dask", tell=told.append)
    }
    alone = {d.key: d.scored["test"].metrics["sum"] for d in parallel.run(jobs(1, 1, 9), Sum(TABLE))}
    # An array that Dask sent lies elsewhere in memory, and numpy adds it up in another order.
    assert done == pytest.approx(alone, rel=1e-12)
    with pytest.raises(ServiceError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"):
        list(parallel.run(jobs(1, 2), Sum(TABLE), 2, "dask", "tcp://127.0.0.1:9"))
    assert {event.stage for event in told} == {"fold-1", "fold-2", "fold-3"}
    with pytest.raises(TrainingError, match="while it did fold-2: expected an answer"):
        list(parallel.run(jobs(1, 2), Bad("fold-2", "dies", tmp_path), 2, "dask"))
    with pytest.raises(TrainingError, match=r"the loss is NaN\. Lower lr"):
        list(parallel.run(jobs(1, 2), Bad("fold-2", "raises", tmp_path), 2, "dask"))
