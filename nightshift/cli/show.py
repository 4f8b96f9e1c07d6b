"""What the terminal shows: colours where there is a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from nightshift.errors import NightshiftError

if TYPE_CHECKING:
    from pydantic import ValidationError


def styled(stream: TextIO) -> bool:
    """Whether colours and moving lines belong on a stream (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _paint(text: str, code: str, stream: TextIO | None) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if styled(stream or sys.stdout) else text


def red(text: str, stream: TextIO | None = None) -> str:
    """Text in red."""
    return _paint(text, "31;1", stream)


def green(text: str, stream: TextIO | None = None) -> str:
    """Text in green."""
    return _paint(text, "32", stream)


def yellow(text: str, stream: TextIO | None = None) -> str:
    """Text in yellow."""
    return _paint(text, "33", stream)


def bold(text: str, stream: TextIO | None = None) -> str:
    """Text in bold."""
    return _paint(text, "1", stream)


def dim(text: str, stream: TextIO | None = None) -> str:
    """Text that matters less."""
    return _paint(text, "2", stream)


def print_error(error: NightshiftError) -> None:
    """Print an error on one line: what, and what to do."""
    words = " ".join(f"{error.what} {error.hint}".split())
    print(f"{red('error:', sys.stderr)} {words}", file=sys.stderr)


def refused_value(error: ValidationError) -> tuple[str, Any, str]:
    """Return where the first value lies that pydantic refuses, the value, and why, as the end of a sentence."""
    first = error.errors()[0]
    reason = first["msg"].rstrip(".")
    return ".".join(map(str, first["loc"])), first["input"], f"{reason[:1].lower()}{reason[1:]}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out columns of text, two spaces apart."""
    lines = [list(header), *(list(r) for r in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    laid = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([bold(laid[0]), *laid[1:]])
