"""`import` and `data log|diff|checkout`: how data comes in, how it changed, and the way back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.import_can import add_import_can
from nightshift.cli.import_driving import add_import_driving
from nightshift.cli.land import Remarks, add_no_event, close_landing
from nightshift.cli.parser import Parser, add_command, add_subject
from nightshift.cli.vehicle_imports import add_vehicle_kinds
from nightshift.errors import EXIT_OK

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.settings import Home


def add_import(commands: Any) -> None:
    """Add `import`."""
    parser = add_command(
        commands,
        "import",
        "bring real files in as a dataset",
        about="Read files, split them once, and land them as an immutable, fingerprinted dataset.",
        examples=(
            "nightshift import cmapss data/CMAPSS --subset FD001",
            "nightshift import csv pump.csv --mapping pump.yaml --machine pump_7",
            "nightshift import csv --help       # what the mapping holds",
        ),
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", title="kinds", required=True, parser_class=Parser)
    cmapss = _kind(kinds, "cmapss", "NASA C-MAPSS turbofans: the folder of train_, test_ and RUL_ files")
    cmapss.add_argument("--subset", metavar="FD00x", help="which, when the folder holds several")
    _kind(kinds, "ai4i", "AI4I 2020 predictive maintenance: ai4i2020.csv")
    nab = _kind(kinds, "nab", "a NAB series, such as machine_temperature_system_failure.csv")
    nab.add_argument("--windows", metavar="JSON", help="combined_windows.json (default: looked for beside the series)")
    table = _kind(kinds, "csv", "any CSV or Parquet file, with a YAML mapping", epilog=_MAPPING)
    table.add_argument("--mapping", required=True, metavar="YAML", help="a mapping file, or the name of a shipped one")
    add_import_can(kinds)
    add_vehicle_kinds(kinds)
    add_import_driving(kinds)


def add_history(commands: Any) -> None:
    """Add `data log`, `data diff` and `data checkout`."""
    parser = add_command(
        commands, "data", "how a machine's data changed, and the way back: `data log`, `data diff`, `data checkout`"
    )
    kinds = parser.add_subparsers(dest="what", metavar="log|diff|checkout", required=True, parser_class=Parser)
    log = add_command(kinds, "log", "the stored versions of a machine's data, newest first")
    log.add_argument("subject", metavar="MACHINE")
    log.set_defaults(run=_log)
    diff = add_command(
        kinds,
        "diff",
        "rows, columns and drift between two versions",
        examples=("nightshift data diff pump_7", "nightshift data diff pump_7 3fa1 99c0"),
    )
    diff.add_argument("subject", metavar="MACHINE")
    diff.add_argument("before", nargs="?", metavar="FROM", help="start of a fingerprint (default: the one before)")
    diff.add_argument("after", nargs="?", metavar="TO", help="start of a fingerprint (default: the current one)")
    diff.set_defaults(run=_diff)
    checkout = add_command(
        kinds,
        "checkout",
        "make an old version the machine's present data",
        about="Bring an old version of a machine's data back, from the store or from DVC, checked by its fingerprint. "
        "Models of it that exist are up to date again; nothing is lost.",
        examples=("nightshift data checkout pump_7 3fa1",),
    )
    checkout.add_argument("subject", metavar="MACHINE")
    checkout.add_argument("fingerprint", metavar="FINGERPRINT", help="its start, as `data log` shows it")
    checkout.set_defaults(run=_checkout)


_MAPPING = """\
a mapping, for example:
  machine: pump_7
  time: {column: Timestamp, timezone: Europe/Berlin}     # or {kind: cycles, column: n}, or {kind: none}
  run: {gap_s: 3600}                                     # or {column: batch}; left out: one run
  sensors:
    "Temp [°C]": {name: temperature_c, unit: degC, critical: true, minimum: -40, maximum: 150}
    Type: {role: category}
  label: failed                                          # left out: no labels, or from `rul`
"""


def _kind(kinds: Any, name: str, summary: str, epilog: str | None = None) -> argparse.ArgumentParser:
    parser = add_command(kinds, name, summary)
    parser.epilog = epilog
    parser.add_argument("path", metavar="PATH", help="file or folder")
    add_subject(parser, required=False)
    add_no_event(parser)
    parser.set_defaults(run=_import)
    return parser


def _import(arguments: argparse.Namespace) -> int:
    need("train", "import")
    from nightshift.settings import use_home

    home, check = use_home(), Remarks()
    data = _read(home, arguments, check)
    close_landing(home, data, check.found, event=arguments.event)
    return EXIT_OK


def _read(home: Home, arguments: argparse.Namespace, check: Remarks) -> Dataset:
    path, subject, event = Path(arguments.path).expanduser(), arguments.subject, arguments.event
    if arguments.kind == "cmapss":
        from nightshift.data.importers.cmapss import import_cmapss

        return import_cmapss(home, path, subject, subset=arguments.subset, event=event, check=check)
    if arguments.kind == "ai4i":
        from nightshift.data.importers.ai4i import import_ai4i

        return import_ai4i(home, path, subject, event=event, check=check)
    if arguments.kind == "nab":
        from nightshift.data.importers.nab import import_nab

        windows = Path(arguments.windows) if arguments.windows else None
        return import_nab(home, path, subject, windows=windows, event=event, check=check)
    from nightshift.data.importers.csv_file import import_csv

    return import_csv(home, path, arguments.mapping, subject, event=event, check=check)


def print_landed(home: Home, data: Dataset) -> None:
    """Say what has landed, and where."""
    from nightshift.cli.show import bold, table

    metadata = data.metadata
    print(f"{bold(data.subject)}: {metadata.title or metadata.provenance.source}, data {data.fingerprint[:12]}")
    rows = [
        (
            name,
            f"{part.rows:,}",
            f"{part.runs:,}",
            part.first or "-",
            part.last or "-",
            "-" if part.positives is None else f"{part.positives:,}",
        )
        for name, part in metadata.parts.items()
    ]
    print(table(("part", "rows", "runs", "first", "last", "positive"), rows))
    kind = "synthetic" if metadata.provenance.kind == "synthetic" else "real"
    n = len(metadata.sensors)
    print(f"{n} column{'s' if n != 1 else ''}: {', '.join(metadata.columns)}")
    print(f"to look at: {home.data / kind / data.subject}")


def _log(arguments: argparse.Namespace) -> int:
    need("train", "data")
    from nightshift.cli.show import table
    from nightshift.data.history import log
    from nightshift.settings import use_home

    entries = log(use_home(), arguments.subject)
    print(table(*entries))
    return EXIT_OK


def _diff(arguments: argparse.Namespace) -> int:
    need("train", "data")
    from nightshift.data.history import diff
    from nightshift.settings import use_home

    print(diff(use_home(), arguments.subject, arguments.before, arguments.after))
    return EXIT_OK


def _checkout(arguments: argparse.Namespace) -> int:
    need("train", "data")
    from nightshift.settings import use_home
    from nightshift.tracking.versioning import restore_version

    fingerprint = restore_version(use_home(), arguments.subject, arguments.fingerprint)
    print(f"{arguments.subject}: present data is {fingerprint[:12]}")
    return EXIT_OK
