"""`simulate`: data of vehicles that nobody has driven, and scenarios to drive in."""

from __future__ import annotations

from typing import Any

from nightshift.cli.parser import Parser, add_command
from nightshift.cli.simulate_can import add_simulate_can
from nightshift.cli.simulate_driving import add_simulate_driving
from nightshift.cli.simulate_vehicle import add_simulate_vehicle


def add_simulate(commands: Any) -> None:
    """Add `simulate` and its kinds."""
    parser = add_command(
        commands,
        "simulate",
        "make a vehicle's data or driving scenarios by simulation and land them",
        examples=(
            "nightshift simulate vehicle --episodes 500",
            "nightshift simulate can",
            "nightshift simulate driving",
        ),
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", title="kinds", required=True, parser_class=Parser)
    add_simulate_vehicle(kinds)
    add_simulate_can(kinds)
    add_simulate_driving(kinds)
