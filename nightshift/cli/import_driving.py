"""`import commonroad` and `import nuplan`: recorded traffic as scenarios for driving policies."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.land import Remarks, add_no_event, close_landing
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK

if TYPE_CHECKING:
    from nightshift.driving.importers.converting import Converted

#: Remarks that are shown; the rest is counted.
_SHOWN = 8


def add_import_driving(kinds: Any) -> None:
    """Add the kinds of `import` that read recorded traffic."""
    commonroad = add_command(
        kinds,
        "commonroad",
        "recorded traffic in CommonRoad's XML (2018b, 2020a), NGSIM among it, as driving scenarios",
        about="Read maps and tracks, and make a scenario of every car that is seen for 3 s and drives 10 m: it is the "
        "ego for 20 s at most, the others drive as they were recorded. Tracks are smoothed; what the driver asked for "
        "is reckoned by an inverse bicycle, and how well that drives the track again is told. Recordings of one place "
        "and time stay in one part. A file of a folder without such a car is left out; a damaged one refuses all of "
        "it, and so does a scenario that another file gave before.",
        examples=(
            "nightshift import commonroad scenarios/USA_*.xml --id ngsim",
            "nightshift import commonroad scenarios/",
        ),
    )
    nuplan = add_command(
        kinds,
        "nuplan",
        "nuPlan's logs (.db), as driving scenarios",
        about="Read a log's tagged scenes, 15 s each; the recording car is the ego. nuPlan's maps are files of their "
        "own and are not read: lanes lie along the paths that were driven, and traffic lights are left out. Scenes of "
        "fewer than three logs are cut by time; those of one log stay in one part otherwise.",
        examples=(
            "nightshift import nuplan nuplan-v1.1/mini --id nuplan_mini",
            "nightshift import nuplan logs/2021.05.12.22.00.38_veh-35_01008_01518.db logs/more/",
        ),
    )
    for parser, suffix in ((commonroad, ".xml"), (nuplan, ".db")):
        parser.add_argument("paths", nargs="+", metavar="PATH", help=f"{suffix} files, or folders of them")
        parser.add_argument("--id", dest="subject", metavar="ID", help="of the set (default: commonroad or nuplan)")
        add_no_event(parser)
        parser.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> int:
    need("train", "import")
    from nightshift.driving.importers.converting import import_recorded
    from nightshift.settings import use_home

    home, check = use_home(), Remarks()
    paths = [Path(path).expanduser() for path in arguments.paths]
    data, made = import_recorded(
        home,
        arguments.kind,
        paths,
        arguments.subject or arguments.kind,
        event=arguments.event,
        check=check,
        tell=lambda name: print(f"reading {name}", flush=True),
    )
    _describe(made)
    close_landing(home, data, check.found, event=arguments.event)
    return EXIT_OK


def _describe(made: Converted) -> None:
    from nightshift.cli.show import dim

    for remark in made.remarks[:_SHOWN]:
        print(dim(remark))
    if len(made.remarks) > _SHOWN:
        print(dim(f"and {len(made.remarks) - _SHOWN} more cars or files that are left out"))
    print(made.told())
    print(f"processed scenarios: {made.folders[0].parent}\n")
