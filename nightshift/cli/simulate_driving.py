"""`simulate driving`: scenarios for driving policies, landed as a set."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from nightshift.cli.extras import need
from nightshift.cli.land import Remarks, add_no_event, close_landing
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK

SCENARIOS, SEED = 2_000, 7
#: As `driving.made.MADE` and `driving.landing.SUBJECT`, which the base install need not load to parse a command.
KINDS = ("highway", "merge", "curve", "roundabout", "intersection")
SUBJECT = "adplanning"
#: Lines of progress are at least this far apart.
_EVERY_S = 5.0


def add_simulate_driving(kinds: Any) -> None:
    """Add `simulate driving`."""
    parser = add_command(
        kinds,
        "driving",
        "scenarios for driving policies: motorways, merges, country roads, roundabouts, intersections",
        about="Make scenarios: a map with bends, a route for the ego car, and cars around it, each with a driver of "
        "its own. An expert drives each of them once: progress is measured against it. Train, val and test share "
        "no scenario; val and test hold 15 % each, and 100 at most, each kind its share. A larger number adds to "
        "train: a policy learns a few hundred scenarios by heart. 2,000 take about half a minute on one "
        "core. The same kinds, number and seed give the same set.",
        examples=(
            "nightshift simulate driving",
            "nightshift simulate driving --kinds highway,merge --scenarios 200 --seed 3 --id motorways",
        ),
    )
    parser.add_argument("--kinds", metavar="K,K", help=f"of scenarios (default: {','.join(KINDS)})")
    of_kind = f"in all, at most 7,000 of a kind (default: {SCENARIOS:,})"
    parser.add_argument("--scenarios", type=int, default=SCENARIOS, metavar="N", help=of_kind)
    anything = f"of everything random, 0 to 1599 (default: {SEED})"
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help=anything)
    parser.add_argument("--id", dest="subject", default=SUBJECT, metavar="ID", help=f"of the set (default: {SUBJECT})")
    add_no_event(parser)
    parser.add_argument("--force", action="store_true", help="make them anew, even if they have landed")
    parser.set_defaults(run=_simulate)


def _simulate(arguments: argparse.Namespace) -> int:
    need("train", "simulate")
    from nightshift.driving.landing import MadeSet, is_landed, land_made
    from nightshift.settings import use_home

    home, check = use_home(), Remarks()
    kinds = KINDS if arguments.kinds is None else tuple(k.strip() for k in arguments.kinds.split(",") if k.strip())
    wanted = MadeSet(kinds, arguments.scenarios, arguments.seed)
    if not arguments.force and is_landed(home, arguments.subject, wanted):
        print(f"Nothing to do: '{arguments.subject}' holds these scenarios. --force makes them anew.")
        return EXIT_OK
    print(f"making {wanted.scenarios:,} scenarios ({', '.join(kinds)}), seed {wanted.seed}", flush=True)
    data = land_made(home, wanted, arguments.subject, event=arguments.event, check=check, progress=lines())
    close_landing(home, data, check.found, event=arguments.event)
    return EXIT_OK


def lines() -> Callable[[int, int], None]:
    """Return what prints how far the scenarios are, and about how long the rest takes, each few seconds."""
    began = last = time.monotonic()

    def say(done: int, of: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _EVERY_S and 0 < done < of:
            last = now
            print(f"{done:,} of {of:,}, about {(now - began) / done * (of - done):.0f} s left", flush=True)

    return say
