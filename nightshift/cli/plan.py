"""`plan`: what the next run of the fleet would train, and why."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK

if TYPE_CHECKING:
    from nightshift.plan.fleet import Filters, FleetPlan, PlannedCell
    from nightshift.settings import Home

_COLUMNS = ("machine", "family", "target", "pool", "about", "why")
_TITLES = {
    "stale": "to train",
    "failed": "failed last time, to train again",
    "training": "being trained now",
    "blocked": "blocked",
    "awaiting device check": "awaiting their device check (nightshift verify --all)",
    "fresh": "fresh",
}
_NOTHING = {
    "everything": "No machine has data yet: `nightshift demo` or `nightshift import …` brings the first one.",
    "landed": "Every machine was trained on its present data.",
    "failed": "Nothing failed or was cut off.",
}
# Of what needs nothing, a page is enough; `--json` has all.
_FRESH_SHOWN = 20


def add_plan(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "plan",
        "what the next run of the fleet would train, why, and how long it would take",
        about="List every model of the fleet (configs/fleet.yaml) as fresh, stale, failed or blocked with the "
        "reasons, and the expected duration from past runs. Nothing is trained, and no data is opened.",
        examples=(
            "nightshift plan",
            "nightshift plan --machine pump_7 --machine motor_3 --family rul",
            "nightshift plan --tag hall_1 --force --json",
        ),
    )
    add_filters(parser)
    parser.add_argument("--force", action="store_true", help="plan to train what is up to date too")
    parser.add_argument("--json", action="store_true", help="one JSON object, for scripts")
    parser.set_defaults(run=_plan)


def add_filters(parser: argparse.ArgumentParser, *, only: bool = True) -> None:
    """Add the options that name a part of the fleet."""
    parser.add_argument(
        "--machine",
        "--subject",
        dest="machines",
        action="append",
        default=[],
        metavar="ID",
        help="only this machine; may be given again",
    )
    for name, metavar, what in (
        ("family", "NAME", "only this family; may be given again"),
        ("target", "NAME", "only this target; may be given again"),
        ("tag", "TAG", "only machines with this tag of fleet.yaml; may be given again"),
    ):
        dest = "families" if name == "family" else f"{name}s"
        parser.add_argument(f"--{name}", dest=dest, action="append", default=[], metavar=metavar, help=what)
    if not only:
        return
    parser.add_argument(
        "--only",
        choices=("everything", "landed", "failed"),
        default="everything",
        help="landed: machines with data that they were not trained on; failed: what did not end well last time",
    )


def filters_of(arguments: argparse.Namespace) -> Filters:
    """Return the part of the fleet that a command line asks for."""
    from nightshift.plan.fleet import Filters

    return Filters(
        machines=tuple(arguments.machines),
        families=tuple(arguments.families),
        targets=tuple(arguments.targets),
        tags=tuple(arguments.tags),
        only=arguments.only,
        force=arguments.force,
    )


def _plan(arguments: argparse.Namespace) -> int:
    need("train", "plan")
    from nightshift.plan.fleet import make_plan
    from nightshift.plan.fleet_config import load_fleet
    from nightshift.settings import use_home

    home, filters = use_home(), filters_of(arguments)
    plan = make_plan(home, load_fleet(home), filters)
    if arguments.json:
        print(json.dumps(_as_json(plan), indent=1))
    else:
        show_plan(home, plan, filters)
    return EXIT_OK


def show_plan(home: Home, plan: FleetPlan, filters: Filters) -> None:
    """Print a plan, and below it what would keep its cells waiting."""
    print(as_text(plan) if plan.cells else _NOTHING[filters.only])
    for line in waits(home, plan):
        print(line)


def waits(home: Home, plan: FleetPlan) -> list[str]:
    """Return why cells of the plan would find no worker; nothing where no server runs, or it cannot be asked."""
    from deployments import server
    from nightshift.cli.show import yellow
    from nightshift.errors import ServiceError
    from nightshift.plan.fanout import to_run

    places = [(cell.pool, cell.queue) for cell in to_run(plan)]
    url = server.address(home) if places else ""
    if not url:
        return []
    from deployments.workers import troubles

    try:
        return [yellow(str(trouble)) for trouble in troubles(home, places, url)]
    except ServiceError:
        return []


def _as_json(plan: FleetPlan) -> dict[str, Any]:
    """Return the plan with its sums before its cells."""
    values = plan.model_dump(mode="json")
    sums = {
        "to_train": len(plan.to_train),
        "estimated_h": round(plan.estimated_s / 3600, 3),
        "by_state": {str(where): len(cells) for where, cells in plan.by_state().items()},
    }
    return {"made_at": values["made_at"], **sums, "cells": values["cells"]}


def as_text(plan: FleetPlan) -> str:
    """Return the cells by state, each as a line, and the sums."""
    blocks = [_block(str(where), cells) for where, cells in plan.by_state().items() if cells]
    return "\n\n".join([*blocks, _sums(plan)])


def _block(where: str, cells: Sequence[PlannedCell]) -> str:
    from nightshift.cli.show import bold, table

    shown = cells[:_FRESH_SHOWN] if where == "fresh" else cells
    lines = [bold(f"{_TITLES[where]} ({len(cells)})"), table(_COLUMNS, [_row(cell) for cell in shown])]
    if len(shown) < len(cells):
        lines.append(f"… and {len(cells) - len(shown):,} more; --json lists all")
    return "\n".join(lines)


def _row(cell: PlannedCell) -> tuple[str, ...]:
    from nightshift.tracking.text import seconds

    about = seconds(cell.estimated_s) if cell.estimated_s else ""
    why = " ".join(", ".join(cell.reasons).split())
    return (cell.subject, cell.family or "–", cell.target or "–", cell.pool or "–", about, why)


def _sums(plan: FleetPlan) -> str:
    counts = ", ".join(f"{len(cells):,} {where}" for where, cells in plan.by_state().items() if cells)
    total = f"{len(plan.cells):,} cells: {counts}."
    if not plan.to_train:
        return f"{total} Nothing to train."
    hours = plan.estimated_s / 3600
    return f"{total} {len(plan.to_train):,} to train, about {hours:.1f} h one after the other."
