"""A training that was cut off, found again by its run, and told apart from one with another config, data or code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from pydantic import ValidationError

from nightshift.errors import ConfigError, UnknownNameError
from nightshift.nets.differences import differences as differing
from nightshift.plan.cell import Cell
from nightshift.plan.records import work_folder
from nightshift.settings import Home

#: Beside a cell's records: the MLflow run that shows its training while it goes on (see `tracking.epochs`).
RUN_FILE = "live_run"
#: So many digits of a run or a cell key name it.
_SHORTEST = 8


def cell_of_run(home: Home, run: str) -> Cell:
    """Return the cell whose training a run shows.

    Args:
        home: where it was trained.
        run: id of its MLflow run, or its cell key; the first eight digits will do.

    Raises:
        UnknownNameError: for a run that no cell of this home has begun.
        ConfigError: for digits that more than one has.
    """
    found = dict(_begun(home))
    named = {cell.key: cell for name, cell in found.items() if len(run) >= _SHORTEST and name.startswith(run)}
    if not named:
        raise UnknownNameError("run", run, found, hint="`nightshift status` lists what is trained here.")
    if len(named) > 1:
        cells = ", ".join(sorted(f"{cell.name} ({key[:12]})" for key, cell in named.items()))
        raise ConfigError(f"{run} is the beginning of several runs: {cells}.", hint="Give more of its digits.")
    return next(iter(named.values()))


def refuse_another(begun: Cell, asked: Cell) -> None:
    """See that what is asked for is the training that was begun.

    Args:
        begun: the cell that has left a checkpoint.
        asked: what is to go on from it: with today's data and code, and the settings given now.

    Raises:
        ConfigError: says in what they differ, with both values.
    """
    told = differences(begun, asked)
    if told:
        raise ConfigError(
            f"{begun.name} cannot go on from run {begun.key[:12]}: {'; '.join(told)}.",
            hint="Give it what it was begun with, or train anew without --resume.",
        )


def differences(begun: Cell, asked: Cell) -> list[str]:
    """Return in what two cells differ, with both values: `epochs is 100 there and 150 here`."""
    return differing(_facts(begun), _facts(asked))


def _facts(cell: Cell) -> dict[str, object]:
    return {
        "machine": cell.subject,
        "family": cell.family,
        "target": cell.target,
        "dataset": cell.dataset[:12],
        "code": cell.code[:12],
        "config": cell.config,
    }


def _begun(home: Home) -> Iterator[tuple[str, Cell]]:
    """Yield the cells of this home, each by its key and by the run that shows its training."""
    for folder in sorted(home.work.glob("[0-9a-f]*")):
        with suppress(OSError, ValidationError):
            cell = Cell.model_validate_json((work_folder(home, folder.name) / "cell.json").read_bytes())
            if folder.name != cell.key:
                continue  # set aside by a forced training
            yield cell.key, cell
            with suppress(OSError):
                yield (folder / RUN_FILE).read_text(encoding="ascii").strip(), cell
