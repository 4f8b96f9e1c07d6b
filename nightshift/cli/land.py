"""`land`: data made elsewhere; and what every command that lands data ends with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import Parser, add_command, add_subject
from nightshift.errors import EXIT_OK

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.settings import Home


def add_land(commands: Any) -> None:
    """Add `land`."""
    parser = add_command(
        commands,
        "land",
        "land a dataset that was made elsewhere",
        about="Land a folder that holds metadata.json and either train.parquet, val.parquet and test.parquet, or one "
        "data.parquet or data.csv, which is split then. The data are checked first: a file that does not fit its "
        "description, or a finding that blocks, refuses all of it.",
        examples=("nightshift land made/pump_7", "nightshift land made/pump_7 --machine pump_8"),
    )
    parser.add_argument("path", metavar="PATH", help="the folder")
    add_subject(parser, required=False)
    add_no_event(parser)
    parser.set_defaults(run=_land)


def add_no_event(parser: argparse.ArgumentParser | Parser) -> None:
    """Add `--no-event`."""
    parser.add_argument(
        "--no-event",
        dest="event",
        action="store_false",
        help="start no training by it; the next run that asks what has landed finds it",
    )


def _land(arguments: argparse.Namespace) -> int:
    need("train", "land")
    from nightshift.data.importers.landed_elsewhere import land_folder
    from nightshift.settings import use_home

    home = use_home()
    data = land_folder(home, Path(arguments.path).expanduser(), arguments.subject, event=arguments.event)
    close_landing(home, data, event=arguments.event)
    return EXIT_OK


def close_landing(home: Home, data: Dataset, *, event: bool) -> None:
    """Say what has landed, tell the Prefect server of it, and say what comes next."""
    from nightshift.cli.data_commands import print_landed
    from nightshift.cli.show import yellow

    print_landed(home, data)
    if not data.new:
        print(yellow("\nnothing new: these are the machine's present data already"))
    say_next(home, data.subject, to_tell=data.new and event)


def say_next(home: Home, subject: str, *, to_tell: bool) -> None:
    """Tell the Prefect server of landings it has not heard of, and say what comes next.

    Args:
        home: where the outbox lies.
        subject: whose data have landed.
        to_tell: whether this landing is news that somebody is to hear.
    """
    from deployments.events import deliver
    from nightshift.data.outbox import pending

    # Whatever earlier landings have not told of is told too.
    deliver(home)
    waits = any(note.subject == subject for note in pending(home))
    if to_tell and not waits:
        print("\nthe Prefect server knows: training of what is new begins in about a minute (`nightshift status`)")
        return
    if waits:
        print("\nno server was told: the landing waits for `nightshift up`, and then trains by itself")
    print(f"\nnext: nightshift train-machine --machine {subject}")
