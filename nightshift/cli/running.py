"""Runs cells for a command: asks the records first, and only what is stale meets Prefect."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift import families
from nightshift.cli.closing import print_closing
from nightshift.cli.show import bold, dim, yellow
from nightshift.data.groups import DRIVING
from nightshift.errors import EXIT_INTERRUPTED, EXIT_OK
from nightshift.plan.cell import Cell
from nightshift.plan.options import TrainOptions, settings_of
from nightshift.plan.records import Job, read_record, work_folder
from nightshift.plan.resume import is_finished, key_shown
from nightshift.plan.state import TRAINED, cell_of, make_cell, state
from nightshift.settings import Home
from nightshift.tracking.results import family_rank
from nightshift.tracking.unversioned import outstanding

if TYPE_CHECKING:
    from nightshift.plan.outcome import CellOutcome


@dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    Attributes:
        families: own names, each once.
        verbose: whether Prefect's log lines are shown.
    """

    home: Home
    subject: str
    target: str
    families: tuple[str, ...]
    options: TrainOptions
    force: bool = False
    verbose: bool = False

    def cells(self) -> list[Cell]:
        """Return the cells as the flow will make them.

        Raises:
            UnknownNameError: for an unknown machine, family, target or setting.
            ConfigError: for a config that cannot be used.
        """
        file = Path(self.options.config_file) if self.options.config_file else None
        return [
            make_cell(
                self.home,
                self.subject,
                family,
                self.target,
                file=file,
                params=settings_of(self.options, family, self.families),
            )
            for family in self.families
        ]


def families_of_group(group: str) -> list[str]:
    """Return the families of a group, in the order that people ask."""
    return sorted((n for n in families.names() if families.get(n).group == group), key=family_rank)


def run_cell(asked: Asked) -> int:
    """Train one cell unless it is up to date, and return the exit code.

    Raises:
        NightshiftError: when the cell is blocked or fails.
    """
    cells = asked.cells()
    if _nothing_to_do(asked, cells):
        return EXIT_OK

    def call() -> Any:
        from flows.train import train

        options = asked.options.model_copy(update={"families": {}})
        return train(asked.subject, asked.families[0], asked.target, asked.force, options, return_state=True)

    ended = _run(asked, cells, call)
    if ended.is_cancelled():
        return interrupted(asked.home, cells)
    outcome = ended.result()
    return _close(asked, cells, [outcome])


def resume_cell(home: Home, cell: Cell, options: TrainOptions, *, verbose: bool = False) -> int:
    """Go on with a run from where it was cut off, and return the exit code.

    Raises:
        NightshiftError: when the cell is blocked or fails.
    """
    asked = Asked(home, cell.subject, cell.target, (cell.family,), options, verbose=verbose)
    if is_finished(home, cell) and not outstanding(home, cell.subject):
        print_closing(home, cell, "up to date")
        print(f"\nNothing to do: run {key_shown(cell)} is finished. Without --resume it would be trained anew.")
        return EXIT_OK

    if _begins_again(home, cell):
        first = "epoch 1" if families.get(cell.family).group != DRIVING else "its first step"
        print(f"Run {key_shown(cell)} left no checkpoint: it begins again with {first}.", flush=True)

    def call() -> Any:
        from flows.train import train

        return train(cell.subject, cell.family, cell.target, False, options, cell.key, return_state=True)

    ended = _run(asked, [cell], call)
    if ended.is_cancelled():
        return interrupted(home, [cell])
    return _close(asked, [cell], [ended.result()])


def _begins_again(home: Home, cell: Cell) -> bool:
    """Whether a training that leaves checkpoints was cut off before its first one."""
    if not families.get(cell.family).checkpoints or read_record(home, cell.key, "train"):
        return False
    if any((work_folder(home, cell.key) / "checkpoints").glob("*.pt")):
        return False
    return families.get(cell.family).group != DRIVING or not _has_driven(home, cell)


def _has_driven(home: Home, cell: Cell) -> bool:
    """Whether the run of a cell that trains a driving policy left a checkpoint: those lie by run, not by cell."""
    from nightshift.driving.runs import RunFolder
    from nightshift.tracking.driving_runs import run_of_cell

    run = run_of_cell(home, cell.key)
    return run is not None and (RunFolder(home, run.run_id).checkpoints / "last.pt").is_file()


def run_machine(asked: Asked) -> int:
    """Train all cells of one machine unless they are up to date, and return the exit code.

    Raises:
        NightshiftError: when something other than single cells fails.
    """
    cells = asked.cells()
    if _nothing_to_do(asked, cells):
        return EXIT_OK

    def call() -> Any:
        from flows.machine import train_machine

        wanted = list(asked.families)
        return train_machine(asked.subject, wanted, asked.target, asked.force, asked.options, return_state=True)

    ended = _run(asked, cells, call)
    if ended.is_cancelled():
        return interrupted(asked.home, cells)
    return close_machine(asked, cells, ended)


def close_machine(asked: Asked, cells: Sequence[Cell], ended: Any) -> int:
    """Print how the cells of a machine ended, and return the exit code.

    Raises:
        NightshiftError: when something other than single cells failed.
    """
    from nightshift.plan.outcome import CellsFailedError

    outcome = ended.result(raise_on_failure=False)
    if isinstance(outcome, CellsFailedError):
        outcome = outcome.outcome
    if isinstance(outcome, BaseException):
        raise outcome
    return _close(asked, cells, outcome.cells)


def _nothing_to_do(asked: Asked, cells: Sequence[Cell]) -> bool:
    """Whether every cell is fresh, or cannot apply, and DVC holds all of it; then say so."""
    if asked.force:
        return False
    states = [state(asked.home, cell) for cell in cells]
    settled = [s.state in TRAINED or (s.record and s.record.status == "not_applicable") for s in states]
    # Versioning is the flow's last step: one that failed is made up for by a run that finds its stages done.
    if not all(settled) or outstanding(asked.home, asked.subject):
        return False
    for cell, found in zip(cells, states, strict=True):
        print_closing(asked.home, cell, "up to date" if found.state in TRAINED else "not applicable")
    print("\nNothing to do: data, config and code are unchanged. --force trains anyway.")
    return True


def shown_run(
    home: Home,
    heading: str,
    jobs: Sequence[Job],
    call: Callable[[], Any],
    *,
    verbose: bool,
    later: Callable[[], Sequence[Job]] = tuple,
) -> Any:
    """Call a flow against the home's server, showing progress meanwhile; returns the flow's final state.

    Args:
        home: where everything is kept.
        heading: the first line.
        jobs: that the flow works on.
        call: calls the flow.
        verbose: whether Prefect's log lines are shown.
        later: returns jobs that are known only on the way (see `watch.watched`).
    """
    from nightshift.cli.watch import watched

    begin(home, heading, verbose=verbose)
    if keys := _keys_of(jobs):
        print(dim(f"run {keys}: should it be cut off, `nightshift train --resume KEY` goes on"), flush=True)
    with watched(home, jobs, later), ours():
        return call()


def _keys_of(jobs: Sequence[Job]) -> str:
    """Return `tcn 3fa1b2c4d5e6, …` of those that leave checkpoints."""
    cells = [job for job in jobs if isinstance(job, Cell) and families.get(job.family).checkpoints]
    return ", ".join(f"{cell.family} {key_shown(cell)}" for cell in cells)


def ours() -> AbstractContextManager[object]:
    """Tag the flow runs of the body as those of the deployments are, so that one that dies is marked as crashed."""
    from prefect import tags

    from deployments.changes import TAG

    return tags(TAG)


def begin(home: Home, heading: str, *, verbose: bool) -> None:
    """Print the first lines of a run, and see to its server and to what is heard of its log."""
    if not verbose:
        # The run's lines go to the Prefect UI; here they would stand between the bars.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        logging.captureWarnings(True)
        signals = logging.getLogger("nightshift.signals")
        if not signals.handlers:
            signals.addHandler(logging.StreamHandler())
    print(heading)
    from deployments.server import ensure_server

    server = ensure_server(home)
    note = "started it; `nightshift down` ends it" if server.started else "found it running"
    print(dim(f"Prefect: {server.ui_url} ({note})"), flush=True)


def _run(asked: Asked, cells: Sequence[Cell], call: Callable[[], Any]) -> Any:
    heading = f"{bold(asked.subject)}: {', '.join(asked.families)} for {asked.target}"
    return shown_run(asked.home, heading, cells, call, verbose=asked.verbose)


def _close(asked: Asked, cells: Sequence[Cell], outcomes: Sequence[CellOutcome]) -> int:
    from nightshift.plan.outcome import MachineOutcome

    by_family = {o.family: o for o in outcomes}
    for cell in cells:
        outcome = by_family[cell.family]
        # The flow has made the cell itself; code or data that changed meanwhile made it another one.
        print_closing(asked.home, cell_of(asked.home, outcome.cell_key) or cell, outcome.ending)
        # The block has said why a family does not apply; not so when there is no cell to read it from.
        if outcome.ending == "unregistered" or not outcome.cell_key:
            print(f"  {outcome.reason} {outcome.hint}".rstrip())
    return MachineOutcome(subject=asked.subject, target=asked.target, cells=tuple(outcomes)).exit_code


def interrupted(home: Home | None = None, cells: Sequence[Cell] = ()) -> int:
    """Say that a stop was asked for, and how each cell that had begun is gone on with; return the exit code."""
    kept = "What had ended is kept: the same command goes on from there."
    print(f"{yellow('stopped on request.', sys.stderr)} {kept}", file=sys.stderr)
    for cell in cells:
        begun = home is not None and (work_folder(home, cell.key) / "checkpoints").is_dir()
        if begun and home is not None and not is_finished(home, cell):
            print(f"  nightshift train {cell.family} --resume {key_shown(cell)}", file=sys.stderr)
    return EXIT_INTERRUPTED
