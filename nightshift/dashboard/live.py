"""Learning curves while they grow: of a cell that trains by epochs, and of a driving policy's run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from nightshift.driving.runs import MetricsRow
from nightshift.errors import UnknownNameError, UsageError
from nightshift.plan.cell import Cell
from nightshift.plan.state import cell_of, newest
from nightshift.problems.evaluation import Figure, Series
from nightshift.progress import ProgressEvent
from nightshift.settings import Home
from nightshift.tracking import epochs
from nightshift.tracking.driving_runs import read_run, run_of_cell, series

_KEY = re.compile(r"[0-9a-f]{12,64}")
#: More points than a screen has columns tell nothing; the newest is always among them.
_MOST_POINTS = 800

#: Figure -> the curves that lie in it, by the names that epochs and rows give them.
_OF_EPOCHS = {"loss": {"train_loss": "training", "val_loss": "validation"}}
_OF_RUNS = {
    "reward": {"mean_reward": "training, with exploration"},
    "collision": {"collision": "training, with exploration", "val_collision": "validation"},
    "progress": {"progress": "training, with exploration", "val_progress": "validation"},
    "score": {"score": "validation, closed loop"},
    "loss": {"loss": "training"},
}
#: Told beside the others, and no curve that says how good it is.
_ASIDE = ("step", "epoch_s", "val_score")
_TITLES = {"loss": "Loss", "reward": "Mean reward", "collision": "Collision rate", "score": "Score"}

Points = Callable[[str], list[tuple[int, float]]]


def is_key(text: str) -> bool:
    """Whether a text is a cell's key, or the beginning of one."""
    return _KEY.fullmatch(text) is not None


def cell_at(home: Home, key: str, name: str = "") -> Cell:
    """Return the cell of a key, or of the first 12 digits or more of one.

    Args:
        name: of the cell, where it is known: then not all folders need be looked through.

    Raises:
        UsageError: for text that is no such key.
        UnknownNameError: for a cell that was never worked on here.
    """
    if not is_key(key):
        raise UsageError(f"'{key[:80]}' is no cell's key.", hint="It is 12 to 64 hex digits, as a run's page has them.")
    found = newest(home, name) if name.count(".") > 1 else None
    if found is None or not found.key.startswith(key):
        folders = [p.name for p in home.work.glob(f"{key}*") if len(p.name) == 64]
        found = cell_of(home, folders[0]) if len(folders) == 1 else None
    if found is None:
        raise UnknownNameError("cell", key, (), hint="The page “Runs” lists what was trained.")
    return found


def live_names(home: Home, cell_key: str) -> tuple[str, ...]:
    """Return the names of a cell's curves so far; () before its first epoch, and for one that has none."""
    return tuple(_groups(*_told(home, cell_at(home, cell_key))))


def live_figure(home: Home, cell_key: str, name: str) -> Figure:
    """Return one of a cell's curves.

    Raises:
        UsageError: for text that is no key.
        UnknownNameError: for a cell, or a curve of it, that is not there.
    """
    cell = cell_at(home, cell_key)
    run = run_of_cell(home, cell.key)
    if run is not None:
        return run_figure(home, run.run_id, name)
    told = epochs.told(home, cell)
    return _figure(name, *_of_epochs(told.values()), points=lambda of: _points(told, of), x_label="epoch")


def run_names(rows: Sequence[MetricsRow]) -> tuple[str, ...]:
    """Return the names of a driving run's curves so far."""
    return tuple(_groups(*_of_rows(rows)))


def run_figure(home: Home, run_id: str, name: str) -> Figure:
    """Return one of a driving run's curves.

    Raises:
        UsageError: for text that is no run id.
        UnknownNameError: for a run, or a curve of it, that is not there.
    """
    rows = read_run(home, run_id).rows
    return _figure(name, *_of_rows(rows), points=lambda of: series(rows, of), x_label="environment step")


def _told(home: Home, cell: Cell) -> tuple[Mapping[str, Mapping[str, str]], list[str]]:
    run = run_of_cell(home, cell.key)
    return _of_rows(read_run(home, run.run_id).rows) if run else _of_epochs(epochs.told(home, cell).values())


def _of_epochs(told: Iterable[ProgressEvent]) -> tuple[Mapping[str, Mapping[str, str]], list[str]]:
    return _OF_EPOCHS, list(dict.fromkeys(name for event in told for name in event.metrics))


def _of_rows(rows: Sequence[MetricsRow]) -> tuple[Mapping[str, Mapping[str, str]], list[str]]:
    own = ("mean_reward", "collision", "progress", "score", "loss")
    known = [name for name in own if any(getattr(row, name) is not None for row in rows)]
    return _OF_RUNS, [*known, *dict.fromkeys(name for row in rows for name in row.more)]


def _groups(grouped: Mapping[str, Mapping[str, str]], known: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return figure -> its curves, name -> label; what belongs to none is a figure of its own."""
    found = {
        figure: there
        for figure, curves in grouped.items()
        if (there := {name: label for name, label in curves.items() if name in known})
    }
    taken = {name for curves in grouped.values() for name in curves}
    return found | {name: {name: ""} for name in known if name not in taken and name not in _ASIDE}


def _figure(
    name: str, grouped: Mapping[str, Mapping[str, str]], known: Sequence[str], *, points: Points, x_label: str
) -> Figure:
    groups = _groups(grouped, known)
    if name not in groups:
        raise UnknownNameError("curve", name[:80], groups, hint="" if groups else "Nothing was told yet.")
    title = title_of(name)
    curves = []
    for of, label in groups[name].items():
        thin = _thinned(points(of))
        curves.append(Series(label=label or title, x=[float(x) for x, _ in thin], y=[y for _, y in thin]))
    return Figure(key=name, title=title, x_label=x_label, y_label=_unit(name), series=curves)


def _points(told: Mapping[int, ProgressEvent], name: str) -> list[tuple[int, float]]:
    return [(epoch, event.metrics[name]) for epoch, event in sorted(told.items()) if name in event.metrics]


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    step = -(-len(points) // _MOST_POINTS) if points else 1
    return points[::-1][::step][::-1]


def title_of(name: str) -> str:
    """Return what a figure is called on a page."""
    text = name.removesuffix("_pct").replace("_", " ")
    return _TITLES.get(name, text[:1].upper() + text[1:])


def _unit(name: str) -> str:
    return "%" if name.endswith("_pct") else ""
