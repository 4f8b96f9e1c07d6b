"""`verify`: a device checks a model's bundle, and the gate is asked again with what it has found."""

from __future__ import annotations

import argparse
import json
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_CELL_FAILED, EXIT_OK, NightshiftError, ServiceError, UsageError

if TYPE_CHECKING:
    from nightshift.edge.manifest import DeviceCheck
    from nightshift.settings import Home
    from nightshift.tracking.device import Recorded, Wanted
    from nightshift.tracking.mlflow_store import Store

#: A person waits in front of it: so long no board may be there before the check is given up.
_PATIENCE_S = 60.0
Found = tuple["Wanted", "DeviceCheck | str"]


def add_verify(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "verify",
        "let a device check a model's bundle, and ask the gate again with its figures",
        about="Give a bundle to a board that is attached (a worker of pi-pool, queue `device`), else check it on this "
        "machine, which then stands in for one and is said to. What is found stands in the registry; the gate is asked "
        "again, and a model that waited for its device check becomes champion or not. See docs/device.md.",
        examples=(
            "nightshift verify pump_7 rul",
            "nightshift verify pump_7 rul --version 3 --here",
            "nightshift verify --all  # every model that awaits its device check",
        ),
    )
    parser.add_argument("machine", metavar="MACHINE", nargs="?", help="the machine's id")
    parser.add_argument("family", metavar="FAMILY", nargs="?", help="the model's family")
    parser.add_argument("--target", metavar="NAME", help="device class (default: pi, of a vehicle vehicle)")
    parser.add_argument("--version", type=int, metavar="N", help="another than the newest")
    parser.add_argument("--all", action="store_true", help="every model that awaits its device check")
    parser.add_argument("--here", action="store_true", help="on this machine, though a board be attached")
    parser.add_argument("--json", action="store_true", help="one JSON list, for scripts")
    parser.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    need("train", "verify")
    _expect_one_or_all(arguments)
    from nightshift.settings import use_home
    from nightshift.tracking.mlflow_store import open_store

    home = use_home()
    store = open_store(home)
    wanted = _wanted(home, store, arguments)
    if not wanted:
        print("[]" if arguments.json else "No model awaits its device check.")
        return EXIT_OK
    told: list[dict[str, Any]] = []
    code = EXIT_OK
    # Closed at once, so that an interrupt here calls off what the boards were asked for.
    with closing(_checks(home, wanted, here=arguments.here, quiet=arguments.json)) as checks:
        for one, found in checks:
            told.append(_conclude(home, store, one, found, quiet=arguments.json))
            code = code if told[-1]["passed"] else EXIT_CELL_FAILED
    if arguments.json:
        print(json.dumps(told, indent=1))
    return code


def _expect_one_or_all(arguments: argparse.Namespace) -> None:
    named = (arguments.machine, arguments.family)
    if arguments.all and (any(named) or arguments.version is not None):
        raise UsageError(
            "nightshift verify: --all checks every model that waits; it takes no machine and no --version."
        )
    if not arguments.all and not all(named):
        raise UsageError("nightshift verify: expected a machine and a family, or --all.")


def _wanted(home: Home, store: Store, arguments: argparse.Namespace) -> Sequence[Wanted]:
    from nightshift.plan.state import make_cell, newest
    from nightshift.tracking.device import awaiting, wanted_of

    if arguments.all:
        return awaiting(home)
    from nightshift import families
    from nightshift.data.groups import TARGETS

    target = arguments.target or TARGETS[families.get(arguments.family).group]
    name = f"{arguments.machine}.{families.canonical(arguments.family)}.{target}"
    cell = newest(home, name) or make_cell(home, arguments.machine, arguments.family, target)
    return (wanted_of(home, store, cell, arguments.version),)


def _checks(home: Home, wanted: Sequence[Wanted], *, here: bool, quiet: bool) -> Generator[Found, None, None]:
    """Yield what a board has found of each version, or this machine where none is attached."""
    from nightshift.edge.machine import stand_in

    why, url = ("--here", "") if here else _board(home)
    if not why:
        if not quiet:
            print("A board is attached and checks; this may take a minute.", flush=True)
        yield from _on_boards(home, wanted, url)
        return
    if not quiet:
        known = dict.fromkeys(stand_in(one.architecture) for one in wanted)
        stands_in = "; ".join(said for said in known if said)
        place = f"on this machine, which stands in for the board ({stands_in})" if stands_in else "on this machine"
        print(f"Checking {place}: {why}", flush=True)
    from nightshift.edge.check import check_bundle

    for one in wanted:
        try:
            yield one, check_bundle(home.root / one.folder, architecture=one.architecture)
        except NightshiftError as error:
            yield one, str(error)


def _board(home: Home) -> tuple[str, str]:
    """Return why no board would check, "" when one does, and the server's API."""
    from deployments.device_checks import no_board
    from deployments.server import address

    url = address(home)
    if not url:
        return "no Prefect server runs that a board could ask (`nightshift up` starts it).", ""
    trouble = no_board(home, url)
    return (f"no board is attached: {trouble}", url) if trouble else ("", url)


def _on_boards(home: Home, wanted: Sequence[Wanted], url: str) -> Generator[Found, None, None]:
    from deployments.device_checks import answers, ask_board
    from deployments.runs import call_off

    left: dict[str, Wanted] = {}
    try:
        for one in wanted:
            left[ask_board(one, url=url)] = one
        runs = {one: run_id for run_id, one in left.items()}
        for one, found in answers(home, dict(left), should_stop=lambda: False, patience_s=_PATIENCE_S, url=url):
            del left[runs[one]]
            yield one, found
    finally:
        # Interrupted: nobody would record what the boards find. A server that does not answer has had its error.
        with suppress(ServiceError):
            call_off(left, url)


def _conclude(home: Home, store: Store, one: Wanted, found: DeviceCheck | str, *, quiet: bool) -> dict[str, Any]:
    """Record what was found, print it, and return it for scripts."""
    from nightshift.cli.show import red
    from nightshift.tracking.device import record

    facts: dict[str, Any] = {"name": one.name, "version": one.version, "passed": False, "champion": False}
    if isinstance(found, str):
        if not quiet:
            print(f"\n{one.name} v{one.version}: {red('not checked.')} {found}")
        return {**facts, "error": found}
    try:
        told = record(home, store, one.name, one.version, found)
    except NightshiftError as error:
        # The others' checks are worth no less for it.
        if not quiet:
            print(f"\n{one.name} v{one.version}: {red('checked, but not recorded.')} {error}")
        return {**facts, "error": str(error), "check": found.model_dump(mode="json")}
    if not quiet:
        _show(told)
    facts |= {"passed": not told.faults, "champion": told.champion, "faults": told.faults, "gate": told.said}
    return {**facts, "check": found.model_dump(mode="json")}


def _show(told: Recorded) -> None:
    from nightshift.cli.show import bold, green, red, yellow
    from nightshift.edge import words
    from nightshift.tracking.versions import WAITS

    word = red("failed its device check") if told.faults else green("passed its device check")
    print(f"\n{bold(f'{told.name} v{told.version}')} {word}")
    for label, text in words.lines(told.check):
        print(f"  {label:<12}{text}")
    for fault in told.faults:
        print(f"  {'fault':<12}{red(fault)}")
    print(f"  {'gate':<12}{told.said.removeprefix('The gate: ')}")
    if WAITS in told.said:
        subject, family, target = told.name.rsplit(".", 2)
        print(f"  {'promote':<12}nightshift promote {subject} {family} --target {target}")
    for found in told.findings:
        if found.code == "G006":
            print(f"  {'finding':<12}{red(found.line())}")
    if told.check.throttled:
        print(f"  {'note':<12}{yellow('the board slowed itself down meanwhile: its latency is not its best.')}")
