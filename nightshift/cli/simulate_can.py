"""`simulate can`: a bus of a simulated car, with attacks, landed as `can_synthetic`."""

from __future__ import annotations

import argparse
from typing import Any

from nightshift.cli.extras import need
from nightshift.cli.land import Remarks, add_no_event, close_landing
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK

DRIVES, SECONDS, SEED = 16, 60.0, 7


def add_simulate_can(kinds: Any) -> None:
    """Add `simulate can`."""
    parser = add_command(
        kinds,
        "can",
        "frames of a CAN bus with attacks among them, landed as can_synthetic",
        about="Simulate the bus of the cars that `simulate vehicle` drives (on data/drive_cycles of the home, else in "
        "made traffic): periodic frames with counters, checksums and signals, and, in some drives, a DoS, fuzzing, RPM "
        "or gear spoofing, replay, suspension and masquerade, each marked. Train is normal traffic; no vehicle drives "
        "in two parts.",
        examples=("nightshift simulate can", "nightshift simulate can --drives 32 --seconds 120 --seed 3"),
    )
    parser.add_argument("--drives", type=int, default=DRIVES, metavar="N", help=f"in all (default: {DRIVES})")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="S", help=f"of each drive (default: {SECONDS:g})"
    )
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help=f"of everything random (default: {SEED})")
    add_no_event(parser)
    parser.set_defaults(run=_simulate)


def _simulate(arguments: argparse.Namespace) -> int:
    need("train", "simulate")
    from nightshift.settings import use_home
    from nightshift.simulate.can_bus import CanOptions, land_can

    home, check = use_home(), Remarks()
    options = CanOptions(drives=arguments.drives, seconds=arguments.seconds, seed=arguments.seed)
    data = land_can(home, options, event=arguments.event, check=check)
    close_landing(home, data, check.found, event=arguments.event)
    return EXIT_OK
