"""`driving`: training runs of driving policies, here and on other workers: seen, compared, stopped, gone on with."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import Parser, add_command
from nightshift.errors import EXIT_CELL_FAILED, EXIT_OK, NightshiftError, UsageError

if TYPE_CHECKING:
    from nightshift.settings import Home
    from nightshift.tracking.driving_runs import Run, RunView

#: A stop waits so long for the checkpoint: a stage records its own within 20 s.
_STOP_S = 30.0
_POLL_S = 0.5
_LINES = 20


def add_driving(commands: Any) -> None:
    """Add `driving` and its commands."""
    parser = add_command(
        commands,
        "driving",
        "training runs of driving policies: runs, status, stop, resume, compare, checkpoints, logs, evaluate, sweep",
        about="See, compare, stop and go on with training runs of driving policies; `nightshift train ppo` starts one.",
        examples=(
            "nightshift driving status",
            "nightshift driving logs ppo_v1 --follow",
            "nightshift driving compare ppo_v1 sac_v1",
            "nightshift driving stop ppo_v1; nightshift driving resume ppo_v1",
        ),
    )
    kinds = parser.add_subparsers(dest="kind", metavar="WHAT", title="commands", required=True, parser_class=Parser)
    _add_shown(kinds)
    stop = add_command(
        kinds,
        "stop",
        "ask a run to write its checkpoint and end, here or on another worker",
        about="Ask a run to write its checkpoint and end. Here it takes seconds; of a run on another worker the flow "
        "run is called off, which its worker sees to within half a minute. `driving resume` goes on with it.",
        examples=("nightshift driving stop ppo_v1",),
    )
    _add_run(stop)
    stop.set_defaults(run=_stop)
    resume = add_command(
        kinds,
        "resume",
        "go on with a run from its checkpoint, with its own settings",
        about="Go on with a run that was stopped, cut off or has failed, from its last checkpoint and with its own "
        "settings: on a CPU it ends with the curve that it would have had without the break.",
        examples=("nightshift driving resume ppo_v1",),
    )
    _add_run(resume)
    resume.add_argument("-v", "--verbose", action="store_true", help="show the log lines of the run")
    resume.set_defaults(run=_resume)
    logs = add_command(
        kinds,
        "logs",
        "a run's log",
        about="Show the newest lines of a run's log, train.log in its folder under experiments/logs/. With --follow, "
        "new ones too until the run ends; Ctrl-C ends the showing, not the run.",
        examples=("nightshift driving logs ppo_v1 --follow", "nightshift driving logs ppo_v1 --lines 200"),
    )
    _add_run(logs)
    logs.add_argument("--follow", action="store_true", help="show new lines until the run ends")
    logs.add_argument(
        "--lines", type=int, default=_LINES, metavar="N", help=f"newest ones to begin with (default: {_LINES})"
    )
    logs.set_defaults(run=_logs)
    from nightshift.cli.driving_evaluate import add_evaluate
    from nightshift.cli.driving_sweep import add_sweep

    add_evaluate(kinds)
    add_sweep(kinds)


def _add_shown(kinds: Any) -> None:
    """Add the commands that only show."""
    shown: tuple[tuple[str, str, str, Callable[[argparse.Namespace], int]], ...] = (
        (
            "runs",
            "all runs, the newest first",
            "List all runs of this home, the one that told of itself last first, and those at work on other workers. "
            "Reward, collision and progress are the newest of training, with exploration; the best score is that of "
            "validation, in closed loop, 0 to 1.",
            _runs,
        ),
        (
            "status",
            "active runs, recent figures, this machine, recommendations",
            "Show the runs at work, here and on other workers, with step, reward, steps a second, what they hold of "
            "their machine and the time left (h:mm:ss); their newest figures, this machine's GPU, memory and disk "
            "(GB), and what written rules advise.",
            _status,
        ),
    )
    for name, summary, about, call in shown:
        examples = (f"nightshift driving {name}", f"nightshift driving {name} --json")
        command = add_command(kinds, name, summary, about=about, examples=examples)
        command.add_argument("--json", action="store_true", help="as JSON, for scripts")
        command.set_defaults(run=call)
    compare = add_command(
        kinds,
        "compare",
        "runs side by side",
        about="Show runs of this home side by side: their figures, the settings in which they differ, and what makes "
        "them hard to compare, such as other scenarios.",
        examples=("nightshift driving compare ppo_v1 sac_v1", "nightshift driving compare ppo_v1 ppo_v2 sac_v1 --json"),
    )
    compare.add_argument("run_ids", metavar="RUN", nargs="+", help="two runs or more")
    compare.add_argument("--json", action="store_true", help="as JSON, for scripts")
    compare.set_defaults(run=_compare)
    kept = add_command(
        kinds,
        "checkpoints",
        "a run's checkpoints",
        about="List a run's checkpoints: best.pt by closed-loop score on validation, last.pt to go on from, and one "
        "for each evaluation. Each is a file for --init-from.",
        examples=("nightshift driving checkpoints ppo_v1", "nightshift train ppo --init-from ppo_v1 --run-id ppo_v2"),
    )
    _add_run(kept)
    kept.add_argument("--json", action="store_true", help="as JSON, for scripts")
    kept.set_defaults(run=_checkpoints)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help="the run's id, as `nightshift driving runs` lists it")


def _runs(arguments: argparse.Namespace) -> int:
    home = _home("runs")
    from nightshift.cli import driving_text
    from nightshift.tracking.driving_runs import list_runs, view

    views = [view(run) for run in list_runs(home)]
    others, remarks = elsewhere(home, [v.run_id for v in views])
    views += others
    if arguments.json:
        print(json.dumps([v.model_dump(mode="json") for v in views], indent=1))
        return EXIT_OK
    print(driving_text.runs(views) if views else "No run has begun here yet: `nightshift train ppo --run-id ppo_v1`.")
    for line in remarks:
        print(line)
    return EXIT_OK


def _status(arguments: argparse.Namespace) -> int:
    home = _home("status")
    from nightshift.cli import driving_text
    from nightshift.tracking.driving_others import figures_elsewhere
    from nightshift.tracking.driving_runs import list_runs
    from nightshift.tracking.driving_status import driving_status

    others, remarks = elsewhere(home, [run.run_id for run in list_runs(home)])
    figures = {}
    try:
        figures = figures_elsewhere(home, others)
    except NightshiftError as error:
        remarks = (*remarks, f"Figures of other workers' runs are not shown: {error.what}")
    found = driving_status(home, others, figures=figures, remarks=remarks)
    print(found.model_dump_json(indent=1) if arguments.json else driving_text.status(found))
    return EXIT_OK


def _compare(arguments: argparse.Namespace) -> int:
    home = _home("compare")
    from nightshift.cli import driving_text
    from nightshift.tracking.driving_compare import compare
    from nightshift.tracking.driving_runs import read_run

    ids = list(dict.fromkeys(arguments.run_ids))
    if len(ids) < 2:
        raise UsageError("nightshift driving compare: expected two different runs or more, got one.")
    found = compare([read_run(home, run_id) for run_id in ids])
    print(found.model_dump_json(indent=1) if arguments.json else driving_text.comparison(found))
    return EXIT_OK


def _checkpoints(arguments: argparse.Namespace) -> int:
    home = _home("checkpoints")
    from nightshift.cli import driving_text
    from nightshift.driving.runs import RunFolder
    from nightshift.tracking.driving_runs import checkpoints, read_run

    found = checkpoints(home, read_run(home, arguments.run_id))
    if arguments.json:
        print(json.dumps([c.model_dump(mode="json") for c in found], indent=1))
    elif found:
        print(driving_text.checkpoints(found))
        print(f"in {RunFolder(home, arguments.run_id).checkpoints}")
    else:
        print(f"run '{arguments.run_id}' has written no checkpoint yet.")
    return EXIT_OK


def _logs(arguments: argparse.Namespace) -> int:
    home = _home("logs")
    from nightshift.tracking.driving_runs import log_of, read_run

    if arguments.lines < 0:
        raise UsageError(f"--lines is {arguments.lines}, expected 0 or more.")
    read_run(home, arguments.run_id)
    path = log_of(home, arguments.run_id)
    written = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    lines = written.splitlines()
    for line in lines[max(0, len(lines) - arguments.lines) :]:
        print(line)
    if arguments.follow:
        _follow(path, len(written.encode()), lambda: read_run(home, arguments.run_id).active)
    return EXIT_OK


def _follow(path: Path, seen: int, active: Callable[[], bool]) -> None:
    """Print what is appended to a log until its run has ended."""
    while True:
        # Asked before the log is read: what is written until then is shown.
        going = active()
        if path.is_file():
            with path.open("rb") as file:
                # A log that is shorter than before was begun anew.
                file.seek(seen if file.seek(0, 2) >= seen else 0)
                content = file.read()
                seen = file.tell()
            sys.stdout.write(content.decode("utf-8", "replace"))
            sys.stdout.flush()
        if not going:
            return
        time.sleep(_POLL_S)


def _stop(arguments: argparse.Namespace) -> int:
    home = _home("stop")
    from nightshift.tracking.driving_runs import going_on, list_runs, read_run

    known = {run.run_id for run in list_runs(home)}
    run = read_run(home, arguments.run_id) if arguments.run_id in known else None
    if run is None or (run.active and not run.here):
        return _stop_elsewhere(home, arguments.run_id, run)
    if not run.active:
        print(f"Nothing to do: run '{run.run_id}' is {run.standing}.")
        return EXIT_OK
    assert run.status is not None  # an active run has told of itself
    os.kill(run.status.pid, signal.SIGTERM)
    print(f"asked run '{run.run_id}' (process {run.status.pid}) to write its checkpoint and end ...", flush=True)
    deadline = time.monotonic() + _STOP_S
    while time.monotonic() < deadline:
        now = read_run(home, run.run_id)
        if not now.active:
            step = f" at step {now.status.step:,}" if now.status else ""
            print(f"{now.standing}{step}; go on with it: {going_on(run)}")
            return EXIT_OK
        time.sleep(_POLL_S)
    print(f"it has not ended within {_STOP_S:g} s; `nightshift driving logs {run.run_id}` may say why.")
    return EXIT_CELL_FAILED


def _stop_elsewhere(home: Home, run_id: str, run: Run | None) -> int:
    """Have Prefect stop the flow run that trains a run on another worker.

    Raises:
        UnknownNameError: for a run that nobody knows.
        UsageError: for an id that runs of several machines have.
        ServiceError: when no flow run trains it alone.
    """
    from nightshift.cli.driving_pool import cancel
    from nightshift.tracking.driving_runs import read_run, view

    others, remarks = elsewhere(home, [])
    named = [v for v in others if v.run_id == run_id]
    if len(named) > 1:
        raise UsageError(
            f"'{run_id}' is at work on {' and '.join(repr(v.worker or v.host) for v in named)}; which one is not said.",
            hint=f"On the machine that is meant: nightshift driving stop {run_id}.",
        )
    found = named[0] if named else view(run) if run else None
    if found is None:
        for line in remarks:
            print(line, file=sys.stderr)
        read_run(home, run_id)  # says which runs there are
        return EXIT_CELL_FAILED
    cancel(home, found)
    where = found.worker or found.host
    print(f"asked Prefect to stop run '{run_id}' on '{where}'; its worker sees to it within half a minute.")
    return EXIT_OK


def _resume(arguments: argparse.Namespace) -> int:
    home = _home("resume")
    from nightshift.cli.train import resume_run
    from nightshift.tracking.driving_runs import EXTERNAL, going_on, is_resumable, read_run

    run = read_run(home, arguments.run_id)
    if run.active:
        where = f"process {run.status.pid}" if run.here and run.status else f"'{run.status.host if run.status else ''}'"
        raise UsageError(f"run '{run.run_id}' is at work ({where}).", hint="`nightshift driving status` shows it.")
    if run.file is None:
        raise NightshiftError(
            f"run '{run.run_id}' has no run.json any more: which training it is cannot be said.",
            hint="Start another one with its own --run-id.",
        )
    if not is_resumable(run):
        sort = "a trial of a sweep" if run.algorithm != EXTERNAL else "a run of ML-Agents"
        raise UsageError(
            f"run '{run.run_id}' is {sort}, which another command goes on with.",
            hint=f"{going_on(run)}, with the other options as they were.",
        )
    if not run.here and run.status is not None and run.status.host != socket.gethostname():
        print(f"run '{run.run_id}' was last at work on '{run.status.host}'.")
    return resume_run(run.file.cell, verbose=arguments.verbose)


def elsewhere(home: Home, known: list[str]) -> tuple[tuple[RunView, ...], tuple[str, ...]]:
    """Return the runs that other workers train, and what could not be found out; asks nobody in a home of its own."""
    from nightshift.cli.driving_pool import at_work
    from nightshift.tracking.driving_others import is_shared, runs_elsewhere

    if not is_shared(home):
        return (), ()
    try:
        found = runs_elsewhere(home, known)
    except NightshiftError as error:
        return (), (f"Runs of other workers are not shown: {error.what}",)
    return at_work(home, found)


def _home(command: str) -> Home:
    need("train", f"driving {command}")
    from nightshift.settings import use_home

    return use_home()
