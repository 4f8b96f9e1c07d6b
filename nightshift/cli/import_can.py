"""`import can`: logs of a vehicle's bus."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nightshift.cli.extras import need
from nightshift.cli.land import Remarks, add_no_event, close_landing
from nightshift.cli.parser import add_command, add_subject
from nightshift.errors import EXIT_OK

#: As `data.importers.can.sources.LAYOUTS`, which the base install need not load to parse a command.
LAYOUTS = ("auto", "candump", "car-hacking", "daga")


def add_import_can(kinds: Any) -> None:
    """Add `import can`."""
    parser = add_command(
        kinds,
        "can",
        "logs of a CAN bus: candump, the Car-Hacking layout, DAGA's; files, folders or zip archives",
        about="A row for each frame, as the device makes it. Train and part of val are normal traffic alone; each log "
        "is cut into contiguous blocks, and logs of the same drive are cut at the same times. What an attack is, is "
        "told by the log's marks; of which kind, by its name.",
        examples=(
            "nightshift import can traces/ --subject can_v40",
            "nightshift import can drive1.log drive2.log attacked.csv --normal",
        ),
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="logs, folders of logs, zip archives")
    parser.add_argument("--format", choices=LAYOUTS, default="auto", help="of the logs (default: told by each)")
    parser.add_argument(
        "--normal", action="store_true", help="logs without marks, such as candump's, were recorded without an attack"
    )
    add_subject(parser, required=False, help="id of the vehicle's bus (default: can_ and the name of the first PATH)")
    add_no_event(parser)
    parser.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> int:
    need("train", "import")
    from nightshift.data.importers.can.importing import import_can
    from nightshift.settings import use_home

    home, check = use_home(), Remarks()
    paths = [Path(path).expanduser() for path in arguments.paths]
    data = import_can(
        home,
        paths,
        arguments.subject,
        layout=arguments.format,
        normal=arguments.normal,
        event=arguments.event,
        check=check,
    )
    close_landing(home, data, check.found, event=arguments.event)
    return EXIT_OK
