"""Which part of a plan a run is about: everything, what has landed, or what the last runs left undone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nightshift.plan.state import State
from nightshift.settings import Home

if TYPE_CHECKING:
    from nightshift.plan.fleet import PlannedCell

Only = Literal["everything", "landed", "failed"]

#: Data that no run has been told of yet.
_LANDED = ("new data", "never trained")
#: Looked back at for what was left undone, where none of them was of everything.
_RUNS = 60
#: Fields of the filters that leave cells out.
_PARTS = ("machines", "families", "targets", "tags")
_TRIED = ("stale", "failed", "training")
_GOOD = ("trained", "up to date", "not applicable")
_CUT_OFF = ("stopped after", "stopped before", "trained, not registered", "its registration did not end")


def chosen(home: Home, only: Only, cells: Iterable[PlannedCell]) -> list[PlannedCell]:
    """Return the cells that a run is about.

    `landed` are all cells of machines of which one has data that it was not trained on, was cut off, or cannot even be
    made, which would go unseen otherwise. `failed` are those that failed last time or were cut off, and what the runs
    of the fleet were to train and did not (see `left_over`).
    """
    listed = list(cells)
    if only == "landed":
        machines = {c.subject for c in listed if _is_behind(c) or _cannot_be_made(c)}
        return [c for c in listed if c.subject in machines]
    if only == "failed":
        left = left_over(home)
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


def left_over(home: Home) -> dict[str, str]:
    """Return the cells that runs of the fleet were to train and that did not end well, each with its newest run's id.

    Looked at are the runs since the newest one of everything, that one too: a later one of a part says nothing of the
    rest. What has ended well since in another way, the plan tells.
    """
    newest: dict[str, str] = {}
    good: set[str] = set()
    for path in _plans(home)[:_RUNS]:
        try:
            start = json.loads(path.read_bytes())
            for name in _to_train(start).difference(newest):
                newest[name] = path.parent.name
            good |= {name for name in _ended_well(path, start) if newest.get(name) == path.parent.name}
            if not any(start["filters"][part] for part in _PARTS) and start["filters"]["only"] == "everything":
                break
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return {name: run_id for name, run_id in newest.items() if name not in good}


def _plans(home: Home) -> list[Path]:
    """Return the plans of the runs of the fleet, newest first."""
    stamps = {path: path.stat().st_mtime_ns for path in (home.work / "fleet").glob("*/plan.json")}
    return sorted(stamps, key=lambda path: stamps[path], reverse=True)


def _to_train(start: Mapping[str, Any]) -> set[str]:
    return {cell["name"] for cell in start["plan"]["cells"] if cell["state"] in _TRIED}


def _ended_well(plan: Path, start: Mapping[str, Any]) -> set[str]:
    """Return the names of the cells that ended well in a run; none where its outcome is damaged or of another plan."""
    path = plan.with_name("outcome.json")
    try:
        outcome = json.loads(path.read_bytes())
        ended = outcome["cells"] if outcome["started_at"] == start["started_at"] else []
        return {c["planned"]["name"] for c in ended if c["outcome"] and c["outcome"]["ending"] in _GOOD}
    except (OSError, ValueError, LookupError, TypeError):
        return set()
