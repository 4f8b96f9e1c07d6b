"""Which part of a plan a run is about: everything, what has landed, or what the last run left undone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from nightshift.plan.state import State
from nightshift.settings import Home

if TYPE_CHECKING:
    from nightshift.plan.fleet import PlannedCell

Only = Literal["everything", "landed", "failed"]

#: Data that no run has been told of yet.
_LANDED = ("new data", "never trained")
_CUT_OFF = ("stopped after", "trained, not registered", "its registration did not end")


def chosen(home: Home, only: Only, cells: Iterable[PlannedCell]) -> list[PlannedCell]:
    """Return the cells that a run is about.

    `landed` are all cells of machines of which one has data that it was not trained on, was cut off, or cannot even be
    made, which would go unseen otherwise. `failed` are those that failed last time or were cut off, and what the last
    run of the fleet was to train and did not.
    """
    listed = list(cells)
    if only == "landed":
        machines = {c.subject for c in listed if _is_behind(c) or _cannot_be_made(c)}
        return [c for c in listed if c.subject in machines]
    if only == "failed":
        left = _left_over(home)
        return [c for c in listed if c.state is State.FAILED or _cut_off(c) or (c.name in left and _is_open(c))]
    return listed


def _is_open(cell: PlannedCell) -> bool:
    return cell.state in (State.STALE, State.TRAINING, State.BLOCKED)


def _is_behind(cell: PlannedCell) -> bool:
    return cell.state is State.STALE and (_cut_off(cell) or any(reason in _LANDED for reason in cell.reasons))


def _cannot_be_made(cell: PlannedCell) -> bool:
    """Whether a machine has data, and its config cannot be used."""
    return cell.family != "" and not cell.cell_key


def _cut_off(cell: PlannedCell) -> bool:
    return cell.state is State.STALE and any(reason.startswith(_CUT_OFF) for reason in cell.reasons)


def _left_over(home: Home) -> frozenset[str]:
    """Return the names of the cells that the newest run of the fleet was to train and that did not end well."""
    folders = [path for path in (home.work / "fleet").glob("*/plan.json") if path.is_file()]
    if not folders:
        return frozenset()
    folder = max(folders, key=lambda path: path.stat().st_mtime_ns).parent
    try:
        planned = json.loads((folder / "plan.json").read_bytes())["plan"]["cells"]
        ended = json.loads(path.read_bytes())["cells"] if (path := folder / "outcome.json").is_file() else []
        good = {c["planned"]["name"] for c in ended if c["outcome"] and c["outcome"]["ending"] in _GOOD}
        return frozenset(c["name"] for c in planned if c["state"] in ("stale", "failed", "training")) - good
    except (OSError, ValueError, LookupError, TypeError):
        return frozenset()


_GOOD = ("trained", "up to date", "not applicable")
