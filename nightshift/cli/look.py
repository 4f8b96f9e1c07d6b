"""`status`, `report` and `reproduce`: what there is."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command, add_subject
from nightshift.errors import EXIT_CELL_FAILED, EXIT_OK, DataError, UsageError

if TYPE_CHECKING:
    from nightshift.progress import ProgressEvent
    from nightshift.settings import Home

_COLUMNS = ("subject", "family", "target", "state", "why", "version", "metric", "value")


def add_look(commands: Any) -> None:
    """Add the commands."""
    status = add_command(
        commands,
        "status",
        "which models are fresh, stale or failed, and why",
        examples=("nightshift status", "nightshift status --machine pump_7 --json"),
    )
    add_subject(status, required=False)
    status.add_argument("--json", action="store_true", help="one JSON list, for scripts")
    status.set_defaults(run=_status)

    report = add_command(
        commands,
        "report",
        "write a machine's training report, or the fleet's morning report, again and say where it lies",
        examples=("nightshift report motor_siemens_1la7_001", "nightshift report --fleet"),
    )
    report.add_argument("subject", metavar="MACHINE", nargs="?", help="the machine's id")
    report.add_argument("--fleet", action="store_true", help="the morning report of the newest run of the fleet")
    report.set_defaults(run=_report)

    again = add_command(
        commands,
        "reproduce",
        "train again from what an MLflow run recorded, and compare",
        about="Retrain from the recorded data, config, seed and commit of an MLflow run, and compare the results.",
        examples=("nightshift reproduce 3f2a…  # the run id that every training prints",),
    )
    again.add_argument("run_id", metavar="RUN_ID")
    again.add_argument(
        "--present-code", action="store_true", help="use the code that runs now, even where the run recorded another"
    )
    again.set_defaults(run=_reproduce)


def _status(arguments: argparse.Namespace) -> int:
    need("train", "status")
    from nightshift.data import store
    from nightshift.settings import use_home

    home = use_home()
    if arguments.subject:
        store.current(home, arguments.subject)  # an unknown machine is an error, not an empty list
    rows = _status_rows(home, arguments.subject)
    if arguments.json:
        print(json.dumps(rows, indent=1))
    elif rows:
        from nightshift.cli.show import table

        shown = [tuple("" if row[c] is None else str(row[c]) for c in _COLUMNS) for row in rows]
        print(table(_COLUMNS, shown))
    else:
        print("No data has landed yet: `nightshift demo` or `nightshift import …` brings the first machine.")
    return EXIT_OK


def _status_rows(home: Home, subject: str | None) -> list[dict[str, Any]]:
    """Return one row per cell ever worked on, with its last settings, and one per machine without any."""
    from nightshift.data.store import subjects
    from nightshift.plan.state import newest_cells

    cells = newest_cells(home, subject)
    rows = [_status_row(home, cell) for cell in cells]
    for name in subjects(home):
        if (subject is None or name == subject) and name not in {c.subject for c in cells}:
            empty = dict.fromkeys(_COLUMNS)
            rows.append(empty | {"subject": name, "state": "stale", "why": "never trained"})
    return sorted(rows, key=lambda r: str(r["subject"]))


def _status_row(home: Home, cell: Any) -> dict[str, Any]:
    from nightshift.errors import NightshiftError
    from nightshift.plan.state import has_own_settings, refreshed, state
    from nightshift.tracking.results import read_result, standing
    from nightshift.tracking.text import number

    result = read_result(home, cell)
    before = standing(home, result)
    try:
        now = refreshed(home, cell)
        stands = state(home, now)
        where, why = str(stands.state), stands.reason
        if has_own_settings(home, now):
            why = f"{why} (with its last settings)"
    except NightshiftError as error:
        where, why = "stale", error.what
    if before:
        result, why = before, f"{why}; version {before.fact('register', 'version')} stands"
    found = result.evaluation
    return {
        "subject": cell.subject,
        "family": cell.family,
        "target": cell.target,
        "state": where,
        "why": why,
        "version": result.fact("register", "version"),
        "metric": found.primary if found else None,
        "value": number(found.score(found.headline_part)) if found else None,
    }


def _report(arguments: argparse.Namespace) -> int:
    need("train", "report")
    from nightshift.data import store
    from nightshift.plan.state import newest_cells
    from nightshift.settings import use_home
    from nightshift.tracking.report import write_report

    if arguments.fleet == bool(arguments.subject):
        raise UsageError("nightshift report: expected a machine's id or --fleet, one of them.")
    home = use_home()
    if arguments.fleet:
        print(_morning_report(home))
        return EXIT_OK
    if not newest_cells(home, arguments.subject):
        store.current(home, arguments.subject)
    report = write_report(home, arguments.subject)
    print(report.html)
    print(report.markdown)
    return EXIT_OK


def _morning_report(home: Home) -> Path:
    """Write the report of the newest run of the fleet again, and return its path.

    Raises:
        DataError: when none has ended yet.
    """
    from nightshift.plan.fleet_config import load_fleet
    from nightshift.plan.fleet_run import outcomes
    from nightshift.tracking.fleet_report import write_fleet_report
    from nightshift.tracking.fleet_words import night_of

    newest = outcomes(home, last=1)
    if not newest:
        raise DataError("No run of the fleet has ended yet.", hint="`nightshift train-fleet` starts one.")
    return write_fleet_report(home, night_of(home, newest[0]), load_fleet(home).timezone)


def _reproduce(arguments: argparse.Namespace) -> int:
    need("train", "reproduce")
    from nightshift.settings import use_home
    from nightshift.stages.reproduce import commit_to_use, read_recorded, reproduce
    from nightshift.tracking.mlflow_store import open_store

    home = use_home()
    store = open_store(home)
    recorded = read_recorded(store, arguments.run_id)
    commit = None if arguments.present_code else commit_to_use(recorded)
    if commit:
        return _with_code_of(home, commit, arguments.run_id)

    def say(event: ProgressEvent) -> None:
        if not event.step:
            print(f"{event.stage} ...", flush=True)

    again = reproduce(store, recorded, say)
    print(again)
    return EXIT_OK if again.same else EXIT_CELL_FAILED


def _with_code_of(home: Home, commit: str, run_id: str) -> int:
    """Run the same command with the code of a commit, in a process of its own."""
    from nightshift.settings import checkout
    from nightshift.tracking.recorded_code import code_of

    print(f"The code has changed since: using commit {commit[:12]} (--present-code uses today's).", flush=True)
    with code_of(home, checkout() or Path(), commit) as code:
        command = [sys.executable, "-m", "nightshift.cli", "reproduce", "--present-code", run_id]
        return subprocess.run(command, cwd=code, env={**os.environ, "PYTHONPATH": str(code)}, check=False).returncode
