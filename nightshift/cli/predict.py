"""`predict`: runs a bundle on rows with the edge runtime and nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK


def add_predict(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "predict",
        "run a bundle on rows of a CSV file (needs the base install only)",
        about="Run a bundle on the rows of a CSV file. The header names the columns as bundle.json lists them; a "
        "column 'run' keeps windows within runs, a column 'time' gives forecasts their clock.",
        examples=("nightshift predict --bundle models/anomaly/pump_7/pi/v1 --input rows.csv --output answers.csv",),
    )
    parser.add_argument(
        "--bundle", required=True, metavar="FOLDER", help="the folder that holds model.onnx and bundle.json"
    )
    parser.add_argument("--input", required=True, metavar="CSV", help="rows, oldest first")
    parser.add_argument("--output", metavar="CSV", help="where the answers go (default: the terminal)")
    parser.set_defaults(run=_predict)


def _predict(arguments: argparse.Namespace) -> int:
    from nightshift.edge.cli import predict

    output = Path(arguments.output) if arguments.output else None
    predict(Path(arguments.bundle), Path(arguments.input), output)
    return EXIT_OK
