"""What `nightshift prune` would remove of training runs of driving policies: looked up, nothing changed.

A run whose cell is kept, as that of a kept version is, stays with `best.pt`, `last.pt`, its log and its newest picture.
Of all others the newest are kept; a sweep counts as one run, and goes or stays whole.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightshift.driving.learn.beginnings import STARTS, start_file
from nightshift.driving.runs import RunFolder
from nightshift.plan.state import cell_of
from nightshift.settings import Home
from nightshift.tracking.driving_runs import EXTERNAL, TRIAL_OF_SWEEP, Run, last_told, list_runs

#: Of a run that stays.
_STAYS = ("best.pt", "last.pt")
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Outlived:
    """Something that nobody needs any more.

    Attributes:
        name: for people.
        why: nothing keeps it.
        paths: that go.
        cell: key of the cell whose training it is of, "" for none.
    """

    name: str
    why: str
    paths: tuple[Path, ...]
    cell: str = ""


def outlived(home: Home, last: int, cells: Collection[str], days: float) -> Iterator[Outlived]:
    """Yield what can go of runs that are at work nowhere and have told nothing for a day.

    Args:
        home: to look through.
        last: so many of the newest runs are kept.
        cells: keys of those that are kept.
        days: demonstrations and drivers' ways go that were watched longer ago: they can be watched again.
    """
    known = list_runs(home)
    gone: set[str] = set()
    units: dict[tuple[str, str], list[Run]] = {}
    for run in known:
        units.setdefault(_unit_of(run), []).append(run)
    why = f"older than the last {last}, and no kept version was made by it"
    for (sort, name), runs in list(units.items())[last:]:
        quiet = all(not run.active and time.time() - last_told(run).timestamp() > _DAY_S for run in runs)
        if not quiet:
            continue
        if runs[0].file and runs[0].file.cell in cells:
            yield from _spent(home, runs[0])
            continue
        paths = [path for run in runs for path in _of(home, run)]
        if sort == "sweep":
            paths.append(home.root / "experiments" / "sweeps" / name)
        cell = runs[0].file.cell if runs[0].file and sort == "run" else ""
        gone |= {run.run_id for run in runs}
        yield Outlived(f"{sort} {name}", why, tuple(p for p in paths if p.exists()), cell)
    yield from _started(home, [run for run in known if run.run_id not in gone], cells)
    yield from _watched(home, days)


def _unit_of(run: Run) -> tuple[str, str]:
    """Return what a run goes or stays with: its sweep, or itself."""
    if run.file and run.file.cell.startswith(TRIAL_OF_SWEEP):
        return "sweep", run.run_id.rpartition("_t")[0]
    return "run", run.run_id


def _of(home: Home, run: Run) -> tuple[Path, ...]:
    folder = RunFolder(home, run.run_id)
    own = (folder.checkpoints, folder.logs, folder.pictures)
    return (*own, home.root / "experiments" / EXTERNAL / run.run_id) if run.algorithm == EXTERNAL else own


def _spent(home: Home, run: Run) -> Iterator[Outlived]:
    """Yield what a run that stays has beside its best and last policy and its newest picture."""
    folder = RunFolder(home, run.run_id)
    numbered = [p for p in folder.checkpoints.glob("*.pt") if p.name not in _STAYS]
    pictures = sorted(
        (p for p in folder.pictures.glob("*") if p.is_file()), key=lambda p: (p.stat().st_mtime_ns, p.name)
    )
    paths = tuple(sorted([*numbered, *pictures[:-1]]))
    if paths:
        yield Outlived(
            f"run {run.run_id}: numbered checkpoints, pictures",
            "it has ended long ago",
            paths,
            run.file.cell if run.file else "",
        )


def _started(home: Home, runs: Sequence[Run], cells: Collection[str]) -> Iterator[Outlived]:
    """Yield checkpoints that were kept to begin with, and that no run or cell which stays has begun with."""
    folder, before = home.machinery / STARTS, time.time() - _DAY_S
    old = [p for p in sorted(folder.iterdir()) if p.stat().st_mtime < before] if folder.is_dir() else []
    if not old:
        return
    configs = [run.file.config for run in runs if run.file]
    configs += [cell.config.get("config", {}) for key in cells if (cell := cell_of(home, key)) is not None]
    used = {start_file(home, str(config.get("init_from") or "")).stem for config in configs}
    paths = tuple(p for p in old if p.stem not in used)
    if paths:
        count = len({p.stem for p in paths})
        yield Outlived(f"{count:,} checkpoints to begin with", "nothing that stays has begun with them", paths)


def _watched(home: Home, days: float) -> Iterator[Outlived]:
    before = time.time() - days * _DAY_S
    for name, what in (("demonstrations", "sets of demonstrations"), ("midway", "sets of the IDM driver's ways")):
        folder = home.machinery / name
        old = tuple(p for p in sorted(folder.glob("*")) if p.stat().st_mtime < before) if folder.is_dir() else ()
        if old:
            yield Outlived(f"{len(old):,} {what}", f"watched more than {days:g} days ago", old)
