"""`land`: data made elsewhere; and what every command that lands data ends with."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import Parser, add_command, add_subject
from nightshift.errors import EXIT_OK

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.findings import Finding
    from nightshift.settings import Home


NO_EVENT = "send no event; the next night finds the data all the same"


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
        help=NO_EVENT,
    )


def _land(arguments: argparse.Namespace) -> int:
    need("train", "land")
    from nightshift.data.importers.landed_elsewhere import land_folder
    from nightshift.settings import use_home

    home, check = use_home(), Remarks()
    folder = Path(arguments.path).expanduser()
    data = land_folder(home, folder, arguments.subject, event=arguments.event, check=check)
    close_landing(home, data, check.found, event=arguments.event)
    return EXIT_OK


class Remarks:
    """The checks before a landing, and what they remarked on data that may land.

    Attributes:
        found: the findings of the last dataset that was checked.
    """

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def __call__(self, data: Dataset) -> None:
        """Check a dataset.

        Raises:
            BlockedError: when no family could use it.
        """
        from nightshift.data.importers.landing import refuse_blockers

        self.found = refuse_blockers(data)


def close_landing(home: Home, data: Dataset, remarks: Iterable[Finding] = (), *, event: bool) -> None:
    """Say what has landed and what is remarked on it, version it, tell the Prefect server, and say what comes next."""
    from nightshift.cli.data_commands import print_landed
    from nightshift.cli.show import yellow

    print_landed(home, data)
    for remark in remarks:
        print(yellow(remark.line()))
    keep_version(home, data.subject)
    if not data.new:
        print(yellow("\nnothing new: these are the machine's present data already"))
    say_next(home, data.subject, to_tell=data.new and event)


def keep_version(home: Home, subject: str) -> None:
    """Add a subject's data to DVC where they are not kept yet; trouble there is a warning."""
    from nightshift.cli.show import dim, yellow
    from nightshift.tracking.unversioned import outstanding

    if not outstanding(home, subject):
        return
    # The first use of DVC takes seconds, and nothing else would be seen to move.
    print(dim("adding this version to DVC (the data have landed already) ..."), flush=True)
    from nightshift.tracking.versioning import version_subject

    for trouble in version_subject(home, subject).findings:
        print(yellow(trouble.line()))


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
    if waits or to_tell:
        print(f"\n{_what_follows(home, subject, waits=waits)}")
    print(f"\nnext: {_what_trains(home, subject)}")


def _what_trains(home: Home, subject: str) -> str:
    """Return the command that trains on a subject's present data: all that fits, or the one family that does."""
    from nightshift import families
    from nightshift.data.groups import DRIVING, MACHINE, SUBJECTS
    from nightshift.data.store import open_dataset

    metadata = open_dataset(home, subject).metadata
    if metadata.group == MACHINE:
        return f"nightshift train-machine --machine {subject}"
    named = "" if subject == SUBJECTS.get(metadata.group) else f" --subject {subject}"
    if metadata.group == DRIVING:
        return f"nightshift train ppo{named}"
    known = (families.get(name) for name in families.names())
    able = [family.name for family in known if family.group == metadata.group and family.needs <= metadata.offers]
    return f"nightshift train {able[0] if len(able) == 1 else metadata.group}{named}"


def _what_follows(home: Home, subject: str, *, waits: bool) -> str:
    """Return what becomes of a landing by itself.

    Args:
        home: whose server would train it.
        subject: whose data have landed.
        waits: whether no server has been told yet.
    """
    from deployments.events import worker_online
    from nightshift.errors import NightshiftError
    from nightshift.plan.fleet_config import load_fleet

    try:
        fleet = load_fleet(home)
    except NightshiftError as error:
        return f"nothing trains by itself: {error}"
    if not fleet.includes(subject):
        return f"{subject} is not among the machines of configs/fleet.yaml: nothing trains it by itself"
    if waits:
        return "no server was told: the landing waits for `nightshift up`, and then trains by itself"
    if not worker_online(home):
        return "the Prefect server knows, and no worker is online: training waits for `nightshift up`"
    after_s = fleet.landing.after_s
    return f"the Prefect server knows: training of what is new begins in {after_s:g} s (`nightshift status`)"
