"""A training that was cut off, found again by its run, and told apart from one with another config, data or code."""

from __future__ import annotations

import difflib
import json
import os
import re
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from nightshift import families
from nightshift.errors import ConfigError, UnknownNameError
from nightshift.files import write_atomic
from nightshift.nets.differences import differences as differing
from nightshift.plan.cell import Cell
from nightshift.plan.code import code_fingerprint
from nightshift.plan.config import file_settings, merge, with_start
from nightshift.plan.options import TrainOptions, settings_of
from nightshift.plan.records import PROGRESS, work_folder
from nightshift.plan.state import TRAINED, state
from nightshift.settings import Home
from nightshift.validation import validated

#: Beside a cell's records: the MLflow run that shows its training while it goes on (see `tracking.epochs`).
RUN_FILE = "live_run"
#: A run is shown with so many digits of its cell's key; so many name it.
SHOWN, _SHORTEST = 12, 6
#: Beside a cell's records: the processor threads of its training. Another number adds up in another order, and one that
#: goes on would end with other weights.
_THREADS_FILE, _CHECKPOINTS = "threads", "checkpoints"
_DIGITS, _KEY = re.compile(rf"[0-9a-f]{{{_SHORTEST},64}}"), re.compile(r"[0-9a-f]{64}")
#: Runs that are named where the one asked for is not there, of so many that are looked at.
_NAMED, _LOOKED_AT = 3, 12


class OtherRunError(ConfigError):
    """A run that was begun otherwise than it is asked to go on.

    Attributes:
        differences: a line for each, with both values.
    """

    def __init__(self, what: str, *, hint: str = "", differences: tuple[str, ...] = ()) -> None:
        super().__init__(what, hint=hint)
        self.differences = differences


def key_shown(cell: Cell) -> str:
    """Return what a run is called."""
    return cell.key[:SHOWN]


def is_finished(home: Home, cell: Cell) -> bool:
    """Whether nothing of a run is left to do."""
    return state(home, cell).state in TRAINED


def keep_threads(home: Home, cell: Cell, asked: int | None) -> int:
    """Return the processor threads to train a cell with, and note them: those asked for, else those it was begun with.

    Without either it is one per core.
    """
    path = work_folder(home, cell.key) / _THREADS_FILE
    noted = 0
    if (work_folder(home, cell.key) / _CHECKPOINTS).is_dir():
        with suppress(OSError, ValueError):
            noted = int(path.read_text(encoding="ascii"))
    threads = asked or max(noted, 0) or os.cpu_count() or 1
    write_atomic(path, str(threads).encode())
    return threads


def cell_of_run(home: Home, run: str) -> Cell:
    """Return the cell of a run.

    Args:
        home: where it was trained.
        run: the cell's key or the id of its MLflow run; the first six digits will do.

    Raises:
        UnknownNameError: for a run that no cell of this home has begun; names the nearest, or the latest.
        ConfigError: for digits that more than one has, or what is no run's name at all.
    """
    asked = run.strip().lower()
    if not _DIGITS.fullmatch(asked):
        raise ConfigError(
            f"'{run[:80]}' names no run: expected {_SHORTEST} or more hex digits of its key, or its MLflow run id.",
            hint=_latest(home),
        )
    keys = _keys(home)
    named = [key for key in keys if key.startswith(asked)]
    named = named or [key for key in keys if any(name.startswith(asked) for name in _mlflow_runs(home, key))]
    cells = [cell for key in named if (cell := _cell(home, key))]
    if not cells:
        near = difflib.get_close_matches(asked, [key[: len(asked)] for key in keys], n=1, cutoff=0.7)
        unknown = UnknownNameError("run", asked, near)
        unknown.hint = unknown.hint if near else _latest(home)
        raise unknown
    if len(cells) > 1:
        told = ", ".join(sorted(f"{cell.name} ({key_shown(cell)})" for cell in cells))
        raise ConfigError(f"{run} is the beginning of several runs: {told}.", hint="Give more of its digits.")
    return cells[0]


def resumed(
    home: Home, run: str, options: TrainOptions, *, subject: str = "", family: str = "", target: str = ""
) -> Cell:
    """Return the cell of a run as it was begun: its data, config and code.

    Args:
        home: where it was trained.
        run: as in `cell_of_run`.
        options: what is asked for now; whatever they say must be what the run was begun with.
        subject: likewise, "" for whatever it was; so are `family` and `target`.

    Raises:
        OtherRunError: when something else is asked for, or the code has changed since.
        ConfigError: for settings that cannot be used, or as `cell_of_run`.
        UnknownNameError: as `cell_of_run`.
    """
    begun = cell_of_run(home, run)
    names = {"subject": subject, "family": families.canonical(family) if family else "", "target": target}
    asked = begun.model_copy(update={name: value for name, value in names.items() if value})
    refuse_another(begun, asked)
    refuse_another(begun, asked.model_copy(update={"config": _with_settings(home, begun, options)}))
    refuse_another(begun, begun.model_copy(update={"code": code_fingerprint(begun.family)}))
    # Forced once more it would begin anew.
    return begun.model_copy(update={"forced": ""})


def refuse_another(begun: Cell, asked: Cell) -> None:
    """See that what is asked for is the training that was begun.

    Args:
        begun: the cell that has left a checkpoint.
        asked: what is to go on from it: with today's data and code, and the settings given now.

    Raises:
        OtherRunError: says in what they differ, with both values.
    """
    told = differences(begun, asked)
    if told:
        raise OtherRunError(
            f"{begun.name} cannot go on from run {key_shown(begun)}: {'; '.join(told)}.",
            hint="Give it what it was begun with, or train anew without --resume.",
            differences=tuple(told),
        )


def differences(begun: Cell, asked: Cell) -> list[str]:
    """Return in what two cells differ, with both values: `epochs is 100 there and 150 here`."""
    return differing(_facts(begun), _facts(asked))


def _facts(cell: Cell) -> dict[str, object]:
    return {
        "machine": cell.subject,
        "family": cell.family,
        "target": cell.target,
        "dataset": cell.dataset[:SHOWN],
        "code": cell.code[:SHOWN],
        "config": cell.config,
    }


def _with_settings(home: Home, begun: Cell, options: TrainOptions) -> dict[str, object]:
    """Return a run's config with what is asked for over it."""
    file = Path(options.config_file) if options.config_file else None
    asked = merge(file_settings(file, begun.family), settings_of(options, begun.family))
    if not asked:
        return begun.config
    kind = families.get(begun.family).config
    config = with_start(home, validated(kind, merge(begun.config["config"], asked), f"{begun.family} config"))
    return {**begun.config, "config": config.model_dump(mode="json")}


def _keys(home: Home) -> list[str]:
    """Return the keys of all cells that have begun, the latest first; none that a forced training has set aside."""
    folders = [p for p in home.work.iterdir() if _KEY.fullmatch(p.name)] if home.work.is_dir() else []
    found: dict[str, int] = {}
    for folder in folders:
        with suppress(OSError):
            found[folder.name] = (folder / "cell.json").stat().st_mtime_ns
            found[folder.name] = (folder / PROGRESS).stat().st_mtime_ns
    return sorted(found, key=lambda key: -found[key])


def _mlflow_runs(home: Home, key: str) -> set[str]:
    """Return the MLflow runs of a cell: the one that shows its training, and the one that it was registered with."""
    folder, found = work_folder(home, key), set()
    with suppress(OSError):
        found.add((folder / RUN_FILE).read_text(encoding="ascii").strip())
    with suppress(OSError, ValueError, AttributeError):
        record = json.loads((folder / "register.json").read_bytes())
        found.add(str(record.get("summary", {}).get("run_id", "")))
    return found


def _cell(home: Home, key: str) -> Cell | None:
    with suppress(OSError, ValidationError):
        return Cell.model_validate_json((work_folder(home, key) / "cell.json").read_bytes())
    return None


def _latest(home: Home) -> str:
    """Name the latest runs, those first that have something left to do."""
    cells = [cell for key in _keys(home)[:_LOOKED_AT] if (cell := _cell(home, key))]
    cells.sort(key=lambda cell: is_finished(home, cell))
    named = [f"{key_shown(cell)} ({cell.name})" for cell in cells[:_NAMED]]
    return f"The latest: {', '.join(named)}." if named else "No run has begun here yet."
