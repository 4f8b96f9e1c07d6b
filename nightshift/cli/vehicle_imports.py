"""`import obd` and `import telemetry`: trips of vehicles."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nightshift.cli.extras import need
from nightshift.cli.land import Remarks, add_no_event, close_landing
from nightshift.cli.parser import add_command, add_subject
from nightshift.errors import EXIT_OK


def add_vehicle_kinds(kinds: Any) -> None:
    """Add the kinds of `import` that read trips."""
    obd = add_command(
        kinds,
        "obd",
        "OBD-II logs of a car's trips: a folder of CSV files, one per trip",
        about="Read OBD-II logs, average them down to one row a second, reckon fuel and CO2 from the engine's air "
        "mass, and land whole trips. A file's name may tell day, car and traffic: 2017-07-10_Seat_Leon_KA_KA_Stau.csv.",
        examples=("nightshift import obd trips/", "nightshift import obd trips/ --fuel diesel --machine my_car"),
    )
    obd.add_argument("path", metavar="PATH", help="the folder")
    obd.add_argument("--fuel", choices=("petrol", "diesel"), default="petrol", help="what the car burns")
    obd.add_argument(
        "--order",
        choices=("kind", "time"),
        default="kind",
        help="cut one car's trips in time order within each kind of traffic, so that test holds every kind (default), "
        "or all of them in time order",
    )
    telemetry = add_command(
        kinds,
        "telemetry",
        "telemetry of trips, CSV or parquet, with the columns of the simulator",
        about="Read train, val and test (.csv or .parquet) as they are, or any files of trips, which are cut by "
        "vehicle and trip. Columns: time, run (the trip), vehicle, velocity, acceleration, throttle, brake, steer, "
        "gear, engine_rpm, …, and what models answer: fuel_consumption, co2, behaviour, driving.",
        examples=("nightshift import telemetry", "nightshift import telemetry my_trips/ --machine my_fleet"),
    )
    telemetry.add_argument(
        "path", metavar="PATH", nargs="?", help="a folder or file (default: data/carla_synthetic of the home)"
    )
    for parser in (obd, telemetry):
        parser.add_argument("--timezone", default="UTC", metavar="ZONE", help="of the clock, such as Europe/Berlin")
        add_subject(parser, required=False, help="the id to land under")
        add_no_event(parser)
        parser.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> int:
    need("train", "import")
    from nightshift.data.importers import obd, telemetry
    from nightshift.settings import use_home

    home, check = use_home(), Remarks()
    path = Path(arguments.path).expanduser() if arguments.path else None
    timezone, event = arguments.timezone, arguments.event
    if arguments.kind == "obd" and path is not None:
        data = obd.import_obd(
            home,
            path,
            arguments.subject,
            fuel=arguments.fuel,
            timezone=timezone,
            order=arguments.order,
            event=event,
            check=check,
        )
    else:
        subject = arguments.subject or telemetry.SUBJECT
        data = telemetry.import_telemetry(home, path, subject, timezone=timezone, event=event, check=check)
    close_landing(home, data, check.found, event=event)
    return EXIT_OK
