"""An argument parser whose errors are Nightshift's: one line, the nearest valid name, exit code 2."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from nightshift.errors import UnknownNameError, UsageError


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps examples as written, and gives long options room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=110)


class Parser(argparse.ArgumentParser):
    """ArgumentParser that raises instead of exiting, and never guesses at abbreviated options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _Formatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{self.prog}: {message}.", hint=f"`{self.prog} --help` shows how it is used.")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, naming the nearest valid option for one that is unknown.

        Raises:
            UnknownNameError: for an unknown option.
            UsageError: for a superfluous word.
        """
        parsed, extra = self.parse_known_args(args, namespace)
        if not extra:
            return parsed
        name = extra[0].split("=")[0]
        if name.startswith("-"):
            raise UnknownNameError("option", name, options(getattr(parsed, "parser", self)))
        raise UsageError(f"'{name}' is one word too many.", hint=f"`{self.prog} --help` shows how it is used.")


def options(parser: argparse.ArgumentParser) -> list[str]:
    """Return the long options of a parser."""
    return [o for action in parser._actions for o in action.option_strings if o.startswith("--")]


def add_command(
    commands: Any, name: str, summary: str, *, about: str = "", examples: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Add a subcommand with its one-line summary, description and examples."""
    epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples) if examples else None
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=textwrap.fill(about or summary, 100), epilog=epilog
    )
    parser.set_defaults(parser=parser)
    return parser


def add_subject(parser: argparse.ArgumentParser, *, required: bool = True, help: str = "the machine's id") -> None:
    """Add `--subject` and its alias `--machine`."""
    parser.add_argument(
        "--subject",
        "--machine",
        dest="subject",
        metavar="ID",
        required=required,
        help=help,
    )
