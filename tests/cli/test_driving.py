"""`nightshift driving`: runs seen, compared, followed and stopped; no test asks another machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.driving_runs import leave, levelled, rising, rows, stamp
from support.homes import a_home

from nightshift.cli import main
from nightshift.cli.running import _begins_again
from nightshift.driving.runs import RunFolder
from nightshift.errors import UsageError
from nightshift.nets.checkpoint import Checkpoint, save
from nightshift.plan.cell import Cell
from nightshift.settings import Home
from nightshift.tracking.driving_runs import refuse_taken

#: A run of its own process: tells of itself, and ends when it is asked to, as a training does.
TRAINS = """
import signal, sys, threading
from pathlib import Path
from nightshift.driving.learn.recorder import RunRecorder
from nightshift.driving.runs import RunFile, RunFolder
from nightshift.errors import InterruptedTraining
from nightshift.settings import Home
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
run = RunFile(run_id="ppo_v1", algorithm="ppo", subject="s", dataset="d", cell="c" * 64, config={}, observation="o",
              started_at="2026-01-01T00:00:00Z")
with RunRecorder(RunFolder(Home(Path(sys.argv[1])), "ppo_v1"), run, total_steps=100, every_s=0.2) as recorder:
    recorder.say("begun")
    recorder.status.step = 40
    if not stop.wait(30):
        sys.exit(1)
    recorder.say("checkpoint written")
    raise InterruptedTraining("Stopped on request.")
"""


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["driving", *words]) == code
    shown = capsys.readouterr()
    return shown.out + shown.err


def test_without_any_run_the_commands_say_how_to_begin_one(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No run has begun here yet: `nightshift train ppo" in said(capsys, "runs")
    shown = said(capsys, "status")
    assert "No run is at work." in shown
    assert "disk " in shown
    for command in ("stop", "resume", "logs", "checkpoints"):
        error = said(capsys, command, "ppo_v1", code=2)
        assert "'ppo_v1'" in error
        assert error.count("\n") == 1
    assert json.loads(said(capsys, "runs", "--json")) == []


def test_runs_and_status_are_tables_and_json(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    leave(home, "ppo_v1", rows(30, mean_reward=levelled, collision=0.01, progress=0.9, loss=0.2), total_steps=100_000)
    leave(home, "sac_v1", algorithm="sac", state="completed", updated_at=stamp(500), best_score=0.83, best_step=5000)
    table = said(capsys, "runs")
    assert [line.split()[0] for line in table.splitlines()] == ["run", "ppo_v1", "sac_v1"]
    assert "0.83" in table
    shown = said(capsys, "status")
    assert "active runs (1)" in shown
    assert "30,000/100,000" in shown
    assert "0:00:08" in shown
    assert "1.0%" in shown
    assert "Stop early: nightshift driving stop ppo_v1" in shown
    found = json.loads(said(capsys, "status", "--json"))
    assert [run["run_id"] for run in found["active"]] == ["ppo_v1"]
    assert found["recommendations"][0]["rule"] == "converged"
    assert set(found["recommendations"][0]["figures"]) == {"before", "now", "done_pct"}
    assert [run["state"] for run in json.loads(said(capsys, "runs", "--json"))] == ["running", "completed"]


def test_runs_are_compared_with_what_makes_them_unlike(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    leave(home, "a", config={"learning_rate": 3e-4, "gamma": 0.99, "run_id": "a", "wanted": {"score": 0.8}})
    leave(home, "b", rows(2, mean_reward=rising), config={"learning_rate": 1e-3, "gamma": 0.99, "run_id": "b"})
    shown = said(capsys, "compare", "a", "b")
    assert "learning_rate  0.0003  0.001" in shown
    assert "wanted.score   0.8     –" in shown
    assert "gamma" not in shown
    assert "They have not driven equally many steps." in shown
    found = json.loads(said(capsys, "compare", "a", "b", "--json"))
    assert found["run_ids"] == ["a", "b"]
    assert "expected two different runs" in said(capsys, "compare", "a", "a", code=2)


def test_checkpoints_and_the_log_are_shown(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    folder = leave(home, state="completed")
    assert "no checkpoint yet" in said(capsys, "checkpoints", "ppo_v1")
    save(folder.checkpoints / "last.pt", Checkpoint(fingerprint="f", epoch=1, model={}))
    assert "last.pt" in said(capsys, "checkpoints", "ppo_v1")
    assert json.loads(said(capsys, "checkpoints", "ppo_v1", "--json"))[0]["name"] == "last.pt"
    (folder.logs / "train.log").write_text("".join(f"line {i}\n" for i in range(50)))
    assert said(capsys, "logs", "ppo_v1", "--lines", "2") == "line 48\nline 49\n"
    assert said(capsys, "logs", "ppo_v1", "--lines", "0") == ""
    # A run that has ended has nothing to follow.
    assert said(capsys, "logs", "ppo_v1", "--follow", "--lines", "1") == "line 49\n"


def test_a_log_is_followed_until_its_run_ends(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    folder = leave(home)
    log = folder.logs / "train.log"
    log.write_text("begun\n")

    def go_on() -> None:
        time.sleep(0.3)
        with log.open("a") as file:
            file.write("step 1\n")
        leave(home, state="completed")

    writer = threading.Thread(target=go_on)
    writer.start()
    shown = said(capsys, "logs", "ppo_v1", "--follow")
    writer.join()
    assert shown == "begun\nstep 1\n"


def test_a_run_is_stopped_by_its_process_s_own_checkpoint(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    process = subprocess.Popen([sys.executable, "-c", TRAINS, str(home.root)], stderr=subprocess.DEVNULL)
    try:
        log = RunFolder(home, "ppo_v1").logs / "train.log"
        deadline = time.monotonic() + 30
        while not log.is_file():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        shown = said(capsys, "stop", "ppo_v1")
        assert f"(process {process.pid})" in shown
        assert "stopped at step 40; go on with it: nightshift driving resume ppo_v1" in shown
        assert process.wait(timeout=10) != 0
        assert "checkpoint written" in log.read_text()
        assert "Nothing to do: run 'ppo_v1' is stopped." in said(capsys, "stop", "ppo_v1")
    finally:
        process.kill()
        process.wait()


def test_a_run_that_is_at_work_or_unknown_is_not_resumed(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    folder = leave(home)
    assert f"run 'ppo_v1' is at work (process {os.getpid()})" in said(capsys, "resume", "ppo_v1", code=2)
    leave(home, state="stopped")
    # The cell that it names was never begun in this home.
    assert "cccccc" in said(capsys, "resume", "ppo_v1", code=2)
    (folder.checkpoints / "run.json").unlink()
    assert "has no run.json any more" in said(capsys, "resume", "ppo_v1", code=1)


@pytest.mark.parametrize(
    ("algorithm", "cell", "sort", "command"),
    [
        ("ppo", "sweep-ppo_sweep_t003", "a trial of a sweep", "driving sweep ppo --name ppo_sweep --trials N,"),
        ("mlagents", "", "a run of ML-Agents", "train mlagents --env ENVIRONMENT --run-id ppo_sweep_t003 --resume,"),
    ],
)
def test_a_run_that_is_no_cell_s_is_gone_on_with_by_its_own_command(
    home: Home, capsys: pytest.CaptureFixture[str], algorithm: str, cell: str, sort: str, command: str
) -> None:
    folder = leave(home, "ppo_sweep_t003", algorithm=algorithm, cell="x", state="stopped")
    file = folder.checkpoints / "run.json"
    file.write_text(file.read_text().replace('"cell":"x"', f'"cell":"{cell}"'))
    told = said(capsys, "resume", "ppo_sweep_t003", code=2)
    assert f"is {sort}, which another command goes on with. nightshift {command}" in told
    assert told.count("\n") == 1
    with pytest.raises(UsageError, match="or go on with it: nightshift " + command.rstrip(",")):
        refuse_taken(home, "ppo_sweep_t003")


def test_a_policy_s_checkpoint_is_found_where_its_run_keeps_it(home: Home) -> None:
    cell = Cell(subject="adplanning", family="ppo", target="vehicle", dataset="d" * 64, config={}, code="c" * 64)
    assert _begins_again(home, cell)
    folder = leave(home, cell=cell.key, state="stopped")
    (folder.checkpoints / "best.pt").touch()
    # Only the last one can be gone on from.
    assert _begins_again(home, cell)
    (folder.checkpoints / "last.pt").touch()
    assert not _begins_again(home, cell)
    assert _begins_again(home, cell.model_copy(update={"code": "e" * 64}))


def test_help_of_every_command_is_there_and_quick(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("runs", "status", "stop", "resume", "compare", "checkpoints", "logs", "sweep"):
        with pytest.raises(SystemExit) as ended:
            main(["driving", command, "--help"])
        assert ended.value.code == 0
        assert "examples:" in capsys.readouterr().out
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "nightshift.cli", "driving", "--help"], check=True, capture_output=True)
    assert time.monotonic() - began < 2.0


def test_a_home_of_its_own_asks_nobody_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with a_home(tmp_path / "home") as home:
        said(capsys, "status", "--json")
        assert not home.mlflow_db.exists()
