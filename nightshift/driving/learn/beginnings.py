"""Checkpoints that trainings begin with, kept by their content.

The same file elsewhere is the same start, and a better one of the same name another; what was begun goes on, wherever
the file is by then.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path

from nightshift.driving.runs import RUN_ID, RunFolder
from nightshift.errors import ConfigError, nearest
from nightshift.files import write_atomic
from nightshift.settings import Home

#: Before the SHA-256 of a start's content, as configs have it.
PREFIX = "sha256:"
_KEPT = re.compile(rf"{PREFIX}[0-9a-f]{{64}}")
_BEST, _NAME = "best.pt", ".txt"
#: Where they are kept, below the home's machinery.
STARTS = "starts"


def settled(home: Home, named: str) -> str:
    """Return a start by its content, which is kept from now on.

    Args:
        home: whose runs are known by their ids, and where it is kept.
        named: a file, the id of a run (its `best.pt`), or a start that was kept before.

    Raises:
        ConfigError: when there is neither such a file nor such a run.
    """
    if _KEPT.fullmatch(named):
        return named
    try:
        content = named_file(home, named).read_bytes()
    except OSError as error:
        raise ConfigError(f"init_from {named[:200]} cannot be read: {error.strerror}.") from None
    digest = hashlib.sha256(content).hexdigest()
    place = home.machinery / STARTS / f"{digest}.pt"
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, content)
        write_atomic(place.with_suffix(_NAME), named.encode())
    return PREFIX + digest


def named_file(home: Home, named: str) -> Path:
    """Return the checkpoint of a file's path, or of a run's id: its `best.pt`.

    Raises:
        ConfigError: when there is neither such a file nor such a run.
    """
    file = Path(named).expanduser()
    return file if file.is_file() else _best_of(home, named)


def start_file(home: Home, named: str) -> Path:
    """Return the file of a start that was settled, or any other path as it is."""
    if not _KEPT.fullmatch(named):
        return Path(named).expanduser()
    return home.machinery / STARTS / f"{named.removeprefix(PREFIX)}.pt"


def start_name(home: Home, named: str) -> str:
    """Return what a start is called in words: as it was named first."""
    with suppress(OSError):
        return (
            start_file(home, named).with_suffix(_NAME).read_text(encoding="utf-8") if _KEPT.fullmatch(named) else named
        )
    return named


def _best_of(home: Home, named: str) -> Path:
    if RUN_ID.fullmatch(named):
        folder = RunFolder(home, named).checkpoints
        if (folder / _BEST).is_file():
            return folder / _BEST
        if folder.is_dir():
            raise ConfigError(f"{named}: run '{named}' has no best.pt yet.", hint="Let it be evaluated once.")
    known = [path.parent.name for path in (home.root / "experiments" / "checkpoints").glob(f"*/{_BEST}")]
    raise ConfigError(
        f"{named[:200]}: there is no such file and no such run.",
        hint=nearest(named, known) if known else "`nightshift train bc --output bc_best.pt` makes one.",
    )
