"""`train-fleet` and `resume`: a run of the fleet, started here, trained by the workers."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command
from nightshift.cli.plan import add_filters, filters_of, show_plan
from nightshift.errors import EXIT_OK, ConfigError, UsageError

if TYPE_CHECKING:
    from nightshift.plan.fleet import Filters, FleetPlan
    from nightshift.plan.fleet_run import FleetOptions, FleetOutcome, FleetStart
    from nightshift.settings import Home
    from tasks.fleet_progress import FleetProgress

_CAUSES_SHOWN = 12


def add_fleet(commands: Any, argv: Sequence[str]) -> None:
    """Add both commands; `argv` tells whether the families' settings are needed as options."""
    chosen = argv[0] if argv else ""
    whole = add_command(
        commands,
        "train-fleet",
        "train every model of the fleet that is not up to date",
        about="Train what `nightshift plan` lists, in batches on the work pools (configs/fleet.yaml), and write the "
        "morning report. The workers that `nightshift up` starts do the work; this command waits and shows how far "
        "they are. What is up to date is not trained again.",
        examples=(
            "nightshift train-fleet",
            "nightshift train-fleet --tag hall_1 --family rul --preset standard",
            "nightshift train-fleet --only landed --dry-run",
        ),
    )
    add_filters(whole)
    left = add_command(
        commands,
        "resume",
        "go on with what the last runs of the fleet left undone",
        about="Train what failed last time, what was cut off, and what the runs of the fleet since the last one of "
        "everything did not come to. A training that has a checkpoint continues from it.",
        examples=("nightshift resume", "nightshift resume --machine pump_7"),
    )
    add_filters(left, only=False)
    for parser in (whole, left):
        _add_options(parser)
        parser.set_defaults(run=_train_fleet)
    left.set_defaults(only="failed")
    if chosen in ("train-fleet", "resume"):
        _add_settings(whole if chosen == "train-fleet" else left, chosen)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="train what is up to date too")
    parser.add_argument("--dry-run", action="store_true", help="show what would be trained, as `nightshift plan` does")
    parser.add_argument("--processes", type=int, metavar="N", help="models at once on a worker (default: its cores)")
    parser.add_argument("--config", metavar="FILE", help="a YAML file `families: {FAMILY: {key: value}}`")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="any config key, dotted when it is nested")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the log lines of the run")


def _add_settings(parser: argparse.ArgumentParser, command: str) -> None:
    need("train", command)
    from nightshift import families
    from nightshift.cli.flags import add_flags, config_flags
    from nightshift.data.groups import MACHINE

    # The vehicles' are many and their own: `--set` reaches them.
    kinds = (families.get(name).config for name in families.names() if families.get(name).group == MACHINE)
    add_flags(parser, "settings; each family takes those that it knows", config_flags(kinds))


def _train_fleet(arguments: argparse.Namespace) -> int:
    from nightshift.plan.fleet import make_plan
    from nightshift.plan.fleet_config import load_fleet
    from nightshift.settings import use_home

    home, filters, options = use_home(), filters_of(arguments), _options(arguments)
    if arguments.command == "resume":
        filters, options = _as_before(home, filters, options)
    plan = make_plan(home, load_fleet(home), filters, options.train)
    _refuse_bad_settings(plan, arguments.config or "")
    if arguments.dry_run or not _something_to_do(home, plan):
        show_plan(home, plan, filters)
        return EXIT_OK
    return _run(home, plan, filters.model_dump(), options, verbose=arguments.verbose)


def _options(arguments: argparse.Namespace) -> FleetOptions:
    from nightshift.cli.flags import given
    from nightshift.plan.fleet_run import FleetOptions
    from nightshift.plan.options import TrainOptions

    if arguments.processes is not None and arguments.processes < 1:
        raise UsageError(f"--processes is {arguments.processes}, expected 1 or more.")
    if arguments.config and not Path(arguments.config).is_file():
        raise UsageError(f"there is no file {arguments.config}.", hint="--config expects a YAML file.")
    file = str(Path(arguments.config).resolve()) if arguments.config else None
    return FleetOptions(processes=arguments.processes, train=TrainOptions(settings=given(arguments), config_file=file))


def _as_before(home: Home, filters: Filters, options: FleetOptions) -> tuple[Filters, FleetOptions]:
    """Return what the runs were asked for that left cells undone, with what is asked for now over it.

    Where they were asked for different things, it is that of the most cells left, and a line says so.
    """
    from nightshift.plan.fanout import to_run
    from nightshift.plan.fleet import make_plan
    from nightshift.plan.fleet_config import load_fleet
    from nightshift.plan.fleet_run import read_start
    from nightshift.plan.only import left_over

    names: dict[str, set[str]] = {}
    for name, run_id in left_over(home).items():
        names.setdefault(run_id, set()).add(name)
    starts = [start for run_id in names if (start := read_start(home, run_id))]
    ways: list[tuple[Filters, FleetOptions]] = []
    cells: list[set[str]] = []
    for start in starts:
        way = _over(start, filters, options)
        if way not in ways:
            ways.append(way)
            cells.append(set())
        cells[ways.index(way)] |= names[start.run_id]
    if len(ways) < 2:
        return ways[0] if ways else (filters, options)
    fleet = load_fleet(home)
    open_cells = ({c.name for c in to_run(make_plan(home, fleet, part, own.train))} for part, own in ways)
    counts = [len(found & own) for found, own in zip(open_cells, cells, strict=True)]
    best = counts.index(max(counts))
    if sum(counts) > counts[best]:
        print(
            f"What is left comes of runs with different settings; those of the most, {counts[best]} of {sum(counts)} "
            "cells, serve for all. Others are given as options."
        )
    return ways[best]


def _over(start: FleetStart, filters: Filters, options: FleetOptions) -> tuple[Filters, FleetOptions]:
    """Return what a run was asked for, with what is asked for now over it."""
    from nightshift.plan.options import TrainOptions

    own = options.model_dump(exclude_none=True, exclude={"train"})
    train = start.options.train if options.train == TrainOptions() else options.train
    force = filters.force or start.filters.force
    return (
        filters.model_copy(update={"force": force}),
        start.options.model_copy(update={**own, "train": train}),
    )


def _refuse_bad_settings(plan: FleetPlan, file: str) -> None:
    """Refuse what the command line asks for and no config takes; a machine's own bad file blocks that machine alone.

    Raises:
        ConfigError: with the first cell's reason.
    """
    asked = ["(from parameter)", *([f"(from {Path(file).name})"] if file else [])]
    for cell in plan.cells:
        for reason in cell.reasons if not cell.cell_key else ():
            if any(source in reason for source in asked):
                raise ConfigError(f"{cell.name}: {reason}")


def _something_to_do(home: Home, plan: FleetPlan) -> bool:
    """Whether cells are to be trained, or DVC does not hold all that was."""
    from nightshift.plan.fanout import to_run
    from nightshift.tracking.unversioned import outstanding

    subjects = dict.fromkeys(cell.subject for cell in plan.cells if cell.cell_key)
    return bool(to_run(plan)) or any(outstanding(home, subject) for subject in subjects)


def _run(home: Home, plan: FleetPlan, filters: dict[str, Any], options: FleetOptions, *, verbose: bool) -> int:
    """Run the flow in this process and return the exit code.

    Raises:
        NobodyTakesError: when a pool that has cells has no worker.
        NightshiftError: when something other than single cells fails.
    """
    from nightshift.cli.running import begin, interrupted, ours

    begin(home, _heading(plan), verbose=verbose)
    from deployments.workers import require_workers
    from nightshift.plan.fanout import to_run

    require_workers(home, [(cell.pool, cell.queue) for cell in to_run(plan)])
    from flows.fleet import train_fleet
    from nightshift.plan.fleet_run import FleetFailedError
    from tasks.fleet_progress import watcher

    with _view() as show:
        token = watcher.set(show)
        try:
            with ours():
                ended = train_fleet(**filters, options=options, return_state=True)
        finally:
            watcher.reset(token)
    if ended.is_cancelled():
        return interrupted()
    found: Any = ended.result(raise_on_failure=False)
    if isinstance(found, FleetFailedError):
        found = found.outcome
    if isinstance(found, BaseException):
        raise found
    outcome: FleetOutcome = found
    print_outcome(home, outcome)
    return outcome.exit_code


def _heading(plan: FleetPlan) -> str:
    from nightshift.cli.show import bold
    from nightshift.plan.fanout import to_run
    from nightshift.tracking.text import seconds

    cells = to_run(plan)
    machines = len({cell.subject for cell in cells})
    about = f"about {seconds(plan.estimated_s)} one after the other" if plan.estimated_s else "nothing to train"
    return f"{bold('the fleet')}: {len(cells)} of {len(plan.cells)} cells, {machines} machines, {about}"


def print_outcome(home: Home, outcome: FleetOutcome) -> None:
    """Print how a run of the fleet ended: counts, what went wrong and what mends it, and where the report lies."""
    from nightshift.cli.show import green, red, yellow
    from nightshift.tracking.fleet_report import page_of
    from nightshift.tracking.text import seconds

    counts = Counter(str(cell.ending) for cell in outcome.tried)
    said = ", ".join(f"{count} {ending}" for ending, count in counts.items()) or "nothing was to be trained"
    print(f"\n{(red if outcome.bad else green)(said)}, in {seconds(outcome.wall_s)}")
    causes: dict[tuple[str, str, str], list[str]] = {}
    for cell in outcome.tried:
        if cell.ending in ("failed", "blocked", "unregistered"):
            name = cell.name
            causes.setdefault((cell.ending, cell.reason, cell.hint), []).append(name)
    for (ending, reason, hint), names in list(causes.items())[:_CAUSES_SHOWN]:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"  {red(ending)}  {', '.join(names[:3])}{more}: {' '.join(f'{reason} {hint}'.split())}")
    if len(causes) > _CAUSES_SHOWN:
        print(f"  and {len(causes) - _CAUSES_SHOWN} more causes, in the report")
    for remark in outcome.remarks:
        print(f"  {yellow(remark)}")
    page = page_of(home, outcome.run_id)
    if page is not None:
        print(f"  report  {page.relative_to(home.root)}")


@contextmanager
def _view() -> Iterator[Any]:
    """Show progress: a bar where there is a terminal, a line whenever something has changed elsewhere."""
    import sys

    from nightshift.cli.show import styled

    if not styled(sys.stdout):
        yield _Lines()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns: list[Any] = [
        TextColumn("{task.completed:.0f} of {task.total:.0f} cells"),
        BarColumn(bar_width=28),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    ]
    with Progress(*columns, refresh_per_second=4) as progress:
        bar = progress.add_task("fleet", total=None, completed=0, note="planning")

        def show(at: FleetProgress) -> None:
            progress.update(bar, total=at.cells, completed=at.done, note=_note(at)[:70])

        yield show


class _Lines:
    """A line for a log, whenever a cell has ended or a batch has begun."""

    def __init__(self) -> None:
        self._last: tuple[object, ...] = ()

    def __call__(self, at: FleetProgress) -> None:
        news = (at.done, at.running)
        if news != self._last:
            self._last = news
            print(f"{at.done} of {at.cells} cells, {_note(at)}", flush=True)


def _note(at: FleetProgress) -> str:
    from nightshift.tracking.text import seconds

    left = f"about {seconds(at.left_s)} left" if at.left_s >= 1 else ""
    working = ", ".join(at.running) or ("waiting for a worker" if at.done < at.cells else "closing")
    return "; ".join(part for part in (left, working) if part)
