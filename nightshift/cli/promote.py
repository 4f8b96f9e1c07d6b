"""`promote`, `rollback` and `history`: who is champion, who was, and a person's word on it."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK, ServiceError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from nightshift.settings import Home
    from nightshift.tracking.mlflow_store import Store

_WIDTH = 11


def add_promote(commands: Any) -> None:
    """Add the commands."""
    promote = add_command(
        commands,
        "promote",
        "make a version champion by hand",
        about="Show a version beside the champion, and make it champion: the newest one, or another. Nothing is "
        "trained, and `nightshift rollback` goes back. Where the gate had refused it, the reasons are shown.",
        examples=(
            "nightshift promote pump_7 rul",
            "nightshift promote pump_7 rul --version 3 --note 'tested in hall 1'",
        ),
    )
    _model(promote)
    promote.add_argument("--version", type=int, metavar="N", help="another than the newest")
    promote.add_argument("--note", default="", metavar="TEXT", help="why, for the history")
    promote.set_defaults(run=_promote)

    rollback = add_command(
        commands,
        "rollback",
        "go back to the champion before",
        about="Make the champion before the present one champion again. Done twice, it goes back two.",
        examples=("nightshift rollback pump_7 rul --note 'false alarms since Monday'",),
    )
    _model(rollback)
    rollback.add_argument("--note", default="", metavar="TEXT", help="why, for the history")
    rollback.set_defaults(run=_rollback)

    history = add_command(
        commands,
        "history",
        "the versions of a model, who promoted them, and the champion's lineage",
        about="List the versions of a model, newest first, with the gate's reasons; and everything that made and "
        "judged the champion, or another version: data, config, code, run, parity, figures of devices, promotions.",
        examples=("nightshift history pump_7 rul", "nightshift history pump_7 rul --version 3 --json"),
    )
    _model(history)
    history.add_argument("--version", type=int, metavar="N", help="the lineage of this one (default: the champion's)")
    history.add_argument("--json", action="store_true", help="one JSON object, for scripts")
    history.set_defaults(run=_history)


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("machine", metavar="MACHINE", help="the machine's id")
    parser.add_argument("family", metavar="FAMILY", help="the model's family")
    parser.add_argument("--target", metavar="NAME", help="device class (default: pi, of a vehicle vehicle)")


def opened(arguments: argparse.Namespace) -> tuple[Home, Store, str]:
    """Return home, store and the model's registry name; the target that is not given is that of the family's group.

    Raises:
        UnknownNameError: for a family, a target, or a machine that no model in the registry is of; names the nearest.
        UsageError: when the machine's model has no version.
    """
    need("train", arguments.command)
    from nightshift import families
    from nightshift.data.groups import TARGETS
    from nightshift.data.schema import check_subject
    from nightshift.plan.config import targets
    from nightshift.settings import use_home
    from nightshift.tracking.mlflow_store import open_store
    from nightshift.tracking.versions import inventory

    own = families.canonical(arguments.family)
    arguments.target = arguments.target or TARGETS[families.get(own).group]
    name = f"{check_subject(arguments.machine)}.{own}.{arguments.target}"
    home = use_home()
    if arguments.target not in targets(home):
        raise UnknownNameError("target", arguments.target, targets(home))
    store = open_store(home)
    if not inventory(store, name).get(name):
        _nothing_of(store, arguments, name)
    return home, store, name


def _nothing_of(store: Store, arguments: argparse.Namespace, name: str) -> None:
    from nightshift.tracking.versions import inventory

    known = [tuple(other.rsplit(".", 2)) for other in inventory(store) if other.count(".") >= 2]
    if arguments.machine not in {one[0] for one in known}:
        raise UnknownNameError("machine with a model", arguments.machine, sorted({one[0] for one in known}))
    there = ", ".join(f"{one[1]} for {one[2]}" for one in sorted(known) if one[0] == arguments.machine)
    raise UsageError(
        f"{name} has no version in the registry; {arguments.machine} has {there}.",
        hint=f"To train it: nightshift train {arguments.family} --machine {arguments.machine}",
    )


def _promote(arguments: argparse.Namespace) -> int:
    from nightshift.cli.show import bold, table, yellow
    from nightshift.plan.shared import share_model
    from nightshift.tracking import promotion, versions
    from nightshift.tracking.lineage import lineage
    from nightshift.tracking.lineage_words import beside

    home, store, name = opened(arguments)
    newest = versions.challenger(store, name)
    number = arguments.version if arguments.version is not None else newest.version if newest else None
    if number is None:
        raise ServiceError(f"{name} has no version that is whole yet.", hint="The next `nightshift train` finishes it.")
    found = versions.find(store, name, number)
    holder = versions.champion(store, name)
    if holder is not None and holder.version == number:
        promotion.promote(store, name, number)
        share_model(home, name)
        print(f"{name}: version {number} is champion already.")
        return EXIT_OK
    challenger = lineage(home, store, name, number)
    champion = lineage(home, store, name, holder.version) if holder else None
    print(bold(name))
    print(table(("", "challenger", "champion"), beside(challenger, champion)))
    if found.tags.get(versions.GATE) not in (versions.PROMOTED, versions.BY_HAND, versions.WAITS):
        print(yellow(f"the gate had refused version {number}: {challenger.entry.gate or 'it was not asked'}"))
    promotion.promote(store, name, number, arguments.note)
    share_model(home, name)
    print(f"\nversion {number} is champion" + (f"; version {holder.version} was." if holder else ", the first one."))
    if holder:
        print(f"back again: nightshift rollback {arguments.machine} {arguments.family}{_target(arguments)}")
    return EXIT_OK


def _rollback(arguments: argparse.Namespace) -> int:
    from nightshift.plan.shared import share_model
    from nightshift.tracking import promotion
    from nightshift.tracking.lineage_words import when

    home, store, name = opened(arguments)
    done = promotion.rollback(store, name, arguments.note)
    share_model(home, name)
    if done.finished:
        print(f"{name}: the rollback to version {done.version.version} was cut off; it is finished now.")
        print("To go back further, give the same command again.")
        return EXIT_OK
    since = done.version.promotions[-1:]
    was = f", champion since {when(since[0].at)} by {since[0].by}" if since else ""
    gone = done.before.version if done.before else "none"
    print(f"{name}: version {done.version.version} is champion again; it was{was} before version {gone}.")
    print(
        f"The next training is compared with it. Version {gone} again: nightshift promote {arguments.machine} "
        f"{arguments.family}{_target(arguments)} --version {gone}"
    )
    return EXIT_OK


def _target(arguments: argparse.Namespace) -> str:
    from nightshift import families
    from nightshift.data.groups import TARGETS

    meant = TARGETS[families.get(arguments.family).group]
    return "" if arguments.target == meant else f" --target {arguments.target}"


def _history(arguments: argparse.Namespace) -> int:
    from nightshift.cli.show import bold, table
    from nightshift.tracking import lineage_words as words
    from nightshift.tracking.lineage import history, lineage

    home, store, name = opened(arguments)
    entries = history(store, name)
    whole = arguments.version is not None or any(entry.champion for entry in entries)
    found = lineage(home, store, name, arguments.version) if whole else None
    if arguments.json:
        shown = {
            "name": name,
            "versions": [entry.model_dump(mode="json") for entry in entries],
            "lineage": found.model_dump(mode="json") if found else None,
        }
        print(json.dumps(shown, indent=1, ensure_ascii=False))
        return EXIT_OK
    print(table(words.HISTORY, words.history_rows(entries)))
    if found is None:
        command = f"nightshift promote {arguments.machine} {arguments.family}{_target(arguments)}"
        print(f"\nNo champion yet. One is made by: {command}")
        return EXIT_OK
    print(f"\n{bold(f'{name} version {found.entry.version}')}")
    for label, text in words.lines(found):
        print(f"  {label:<{_WIDTH}}{text}")
    return EXIT_OK
