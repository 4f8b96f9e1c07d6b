"""Reads the command line, runs one command, and turns every deliberate error into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from nightshift.cli.data_commands import add_history, add_import
from nightshift.cli.demo import add_demo
from nightshift.cli.dlc import add_dlc
from nightshift.cli.download import add_download
from nightshift.cli.driving import add_driving
from nightshift.cli.fleet import add_fleet
from nightshift.cli.land import add_land
from nightshift.cli.look import add_look
from nightshift.cli.parser import Parser
from nightshift.cli.plan import add_plan
from nightshift.cli.predict import add_predict
from nightshift.cli.profile import add_profile
from nightshift.cli.promote import add_promote
from nightshift.cli.prune import add_prune
from nightshift.cli.serve import add_serve
from nightshift.cli.show import print_error, red
from nightshift.cli.simulate import add_simulate
from nightshift.cli.synthesize import add_synthesize
from nightshift.cli.train import add_train
from nightshift.cli.train_table import add_train_table
from nightshift.cli.verify import add_verify
from nightshift.errors import EXIT_CELL_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, NightshiftError, UnknownNameError

ABOUT = (
    "Nightshift retrains a fleet's models while the fleet sleeps, and ships each one as a single verified ONNX file."
)
EPILOG = """\
first steps:
  nightshift demo                                    four models of a demo machine, start to end
  nightshift synthesize motor_siemens_1la7_001       a machine's data from its profile, landed
  nightshift import csv my.csv --mapping my.yaml     or: import cmapss | ai4i | nab
  nightshift train-machine --machine my_machine      all families that apply to it
  nightshift train-table my.csv --target y --model lightgbm
  nightshift simulate vehicle                        trips of cars; then: nightshift train vehicle
  nightshift predict --bundle models/… --input rows.csv

exit codes: 0 done, 1 a cell failed, 2 usage or config, 3 blocked by data, 4 a service is unreachable, 130 interrupted
Everything is written under NIGHTSHIFT_HOME (default: the checkout, else ~/nightshift).
`nightshift COMMAND --help` says more."""


def build_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; `argv` lets `train` offer the named family's own settings as options."""
    parser = Parser(prog="nightshift", description=ABOUT, epilog=EPILOG)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the installed version")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=Parser)
    add_demo(commands)
    add_import(commands)
    add_profile(commands)
    add_land(commands)
    add_synthesize(commands)
    add_simulate(commands)
    add_train(commands, argv)
    add_train_table(commands)
    add_driving(commands)
    add_plan(commands)
    add_fleet(commands, argv)
    add_look(commands)
    add_verify(commands)
    add_promote(commands)
    add_download(commands)
    add_predict(commands)
    add_dlc(commands)
    add_history(commands)
    add_prune(commands)
    add_serve(commands)
    named = next((word for word in argv if not word.startswith("-")), None)
    if named is not None and named not in commands.choices:
        raise UnknownNameError("command", named, commands.choices, hint="`nightshift --help` lists them.")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except NightshiftError as error:
        if "--debug" in words:
            raise
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        print(
            red("interrupted.") + " Stages that had ended are kept: the same command goes on from there.",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has left; nothing more can be shown to it, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CELL_FAILED
    except OSError as error:
        if "--debug" in words:
            raise
        print_error(
            NightshiftError(f"{error.strerror or error}: {error.filename or 'no file named'}.", hint=_hint(error))
        )
        return EXIT_CELL_FAILED


class _Version(argparse.Action):
    """Asks the installed distribution, which takes time that other commands need not spend."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        parser.exit(message=f"nightshift {version('nightshift')}\n")


def _run(words: list[str]) -> int:
    parser = build_parser(words)
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help()
        return EXIT_USAGE
    code: int = arguments.run(arguments)
    return code


def _hint(error: OSError) -> str:
    import errno

    from nightshift.files import disk_full

    if why := disk_full(error):
        return f"{why.capitalize()}; nothing half-written is kept. Free space and run the command again."
    if error.errno == errno.EACCES:
        return "Check the permissions, or set NIGHTSHIFT_HOME to a folder of your own."
    return "`nightshift --debug …` shows where it happened."
