"""Writes `reports/fleet/<date>.html`, the morning report of a run of the fleet.

`latest.html` is the newest of a day: of the runs that were asked for everything, where there was one, so that what
lands by day does not hide the night; a run that came to nothing counts as such.

One file that needs nothing else, follows the reader's light or dark mode and can be read on a phone. A second run of
the same day has its own page, `<date>-2.html`; the same run written again replaces its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from nightshift.files import write_atomic
from nightshift.plan.fleet_run import FleetCell, FleetOutcome
from nightshift.plan.lock import held
from nightshift.plan.records import read_record
from nightshift.settings import Home
from nightshift.tracking.fleet_cells import left_out, matrix_of, standing
from nightshift.tracking.fleet_facts import Change, Cost, Drifted, family_costs
from nightshift.tracking.fleet_words import Night, sentences, verdict
from nightshift.tracking.report import Table, render
from nightshift.tracking.results import LOWER_IS_BETTER
from nightshift.tracking.text import number, seconds

LATEST = "latest.html"
#: Rows of the tables that a fleet of thousands would fill with thousands.
MAX_LISTED = 300
_SLOWEST = 10
_EVERYTHING = "everything"
# The run's id, and what it was asked for, stand in the first lines of its page.
_HEAD_BYTES = 2_000


def folder_of(home: Home) -> Path:
    """Return where the morning reports lie."""
    return home.reports / "fleet"


def page_of(home: Home, run_id: str) -> Path | None:
    """Return the report of a run, None when it has none."""
    there = [path for path in folder_of(home).glob("*.html") if path.name != LATEST]
    return next((path for path in sorted(there, reverse=True) if _holds(path, "run", run_id)), None)


def date_of(moment: datetime, zone: str) -> str:
    """Return the day of a run, in the fleet's zone."""
    return moment.astimezone(ZoneInfo(zone)).date().isoformat()


def write_fleet_report(home: Home, night: Night, zone: str, remarks: Sequence[str] = ()) -> Path:
    """Write the report of a run, and return its path.

    Args:
        night: the run, with all that is to be said of it.
        zone: the fleet's time zone, IANA name.
        remarks: what concerns the report itself, such as a message that could not be sent.
    """
    outcome = night.outcome
    matrix = matrix_of(outcome.cells)
    content = {
        "well": night.is_well,
        "verdict": verdict(night),
        "sentences": sentences(night),
        "remarks": [*outcome.remarks, *remarks],
        "asked": _asked(outcome),
        "only": outcome.filters.only,
        "columns": _titles(matrix.columns),
        "rows": [_row(home, row.subject, row.cells, row.whole) for row in matrix.rows],
        "left_out": left_out(matrix),
        "causes": night.causes,
        "changes": _changes([c for c in night.changes if c.promoted]),
        "refused": _changes([c for c in night.changes if not c.promoted]),
        "drifted": _drifted(night.drifted),
        "restarts": night.restarts[:MAX_LISTED],
        "slowest": _costs(night.costs[:_SLOWEST]),
        "families": _costs([*family_costs(outcome), night.total], named="family") if night.costs else None,
        "costs": _costs(night.costs[:MAX_LISTED]) if len(night.costs) > _SLOWEST else None,
        "costs_left": max(len(night.costs) - MAX_LISTED, 0),
    }
    return _write(home, outcome.run_id, outcome.started_at, outcome.ended_at, zone, content)


def write_failed_report(home: Home, run_id: str, at: datetime, zone: str, error: str, hint: str) -> Path:
    """Write the report of a run that came to no outcome, and return its path."""
    said = [f"The fleet was not trained: {error}"]
    content = {"well": False, "verdict": "the night failed", "sentences": said, "hint": hint}
    return _write(home, run_id, at, at, zone, content)


def _write(home: Home, run_id: str, started: datetime, ended: datetime, zone: str, content: dict[str, Any]) -> Path:
    folder = folder_of(home)
    with held(home, "report-fleet", wait=True):
        day = date_of(started, zone)
        page = _place_of(folder, day, run_id)
        local = [moment.astimezone(ZoneInfo(zone)) for moment in (started, ended)]
        times = {
            "run_id": run_id,
            "day": f"{local[0]:%A %-d %B %Y}",
            "from": f"{local[0]:%H:%M}",
            "until": f"{local[1]:%H:%M}" if local[1] != local[0] else "",
            "zone": zone,
            "written_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "others": [path.name for path in _pages(folder, day) if path != page],
        }
        html = render("fleet.html.j2", {**_EMPTY, **content, **times}).encode()
        write_atomic(page, html)
        write_atomic(folder / LATEST, _newest(_pages(folder, day)).read_bytes())
    return page


_EMPTY: dict[str, Any] = {
    "hint": "",
    **dict.fromkeys(("remarks", "rows", "columns", "left_out", "causes", "restarts"), ()),
    **dict.fromkeys(("changes", "refused", "drifted", "slowest", "families", "costs"), None),
    "asked": "",
    "only": _EVERYTHING,
    "costs_left": 0,
}


def _pages(folder: Path, day: str) -> list[Path]:
    """Return the pages of a day, in the order of their runs."""
    first = folder / f"{day}.html"
    numbered = (folder / f"{day}-{n}.html" for n in itertools.count(2))
    return [*([first] if first.is_file() else []), *itertools.takewhile(Path.is_file, numbered)]


def _place_of(folder: Path, day: str, run_id: str) -> Path:
    """Return the page of a run: its own when it has one, else the day's next."""
    there = _pages(folder, day)
    own = next((path for path in there if _holds(path, "run", run_id)), None)
    return own or folder / (f"{day}-{len(there) + 1}.html" if there else f"{day}.html")


def _newest(pages: Sequence[Path]) -> Path:
    """Return the page that is the latest of its day."""
    return next((path for path in reversed(pages) if _holds(path, "only", _EVERYTHING)), pages[-1])


def _holds(page: Path, name: str, content: str) -> bool:
    """Whether a page's head says so."""
    with page.open("rb") as file:
        return f'name="nightshift-{name}" content="{escape(content)}"'.encode() in file.read(_HEAD_BYTES)


def _asked(outcome: FleetOutcome) -> str:
    """Say which part of the fleet the run was asked for, "" for all of it."""
    given = outcome.filters.model_dump(mode="json", exclude_defaults=True)
    return "; ".join(
        f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in given.items()
    )


def _titles(columns: Sequence[tuple[str, str]]) -> list[str]:
    targets = {target for _, target in columns}
    return [family if len(targets) == 1 else f"{family} ({target})" for family, target in columns]


def _row(home: Home, subject: str, cells: Sequence[FleetCell | None], whole: FleetCell | None) -> dict[str, Any]:
    return {
        "subject": subject,
        "cells": [_square(home, cell) if cell else None for cell in cells],
        "whole": standing(whole) if whole else None,
        "quiet": all(standing(cell).grave == 0 for cell in (*cells, whole) if cell),
    }


def _square(home: Home, cell: FleetCell) -> dict[str, Any]:
    metric, value, baseline = _figures(home, cell)
    beats = None
    if value is not None and baseline is not None:
        beats = value < baseline if metric.startswith(LOWER_IS_BETTER) else value > baseline
    return {
        "stands": standing(cell),
        "version": cell.outcome.version if cell.outcome else None,
        "metric": metric,
        "value": number(value) if value is not None else "",
        "baseline": number(baseline) if baseline is not None else "",
        "beats": beats,
    }


def _figures(home: Home, cell: FleetCell) -> tuple[str, float | None, float | None]:
    """Return metric, value and best baseline: of the outcome, else of what was trained before."""
    ended = cell.outcome
    if ended is not None and (ended.metric or ended.ending != "up to date"):
        return ended.metric, ended.value, ended.baseline
    record = read_record(home, cell.planned.cell_key, "evaluate") if cell.planned.cell_key else None
    facts = record.summary if record else {}
    own, best = (facts.get(key) for key in ("value", "best_baseline_value"))
    return (
        str(facts.get("primary") or ""),
        float(own) if isinstance(own, (int, float)) else None,
        float(best) if isinstance(best, (int, float)) else None,
    )


def _changes(found: Sequence[Change]) -> dict[str, Any] | None:
    """Return the table of champions, or of those that the gate refused; None without any."""
    rows = [
        {
            "name": c.name,
            "versions": f"v{c.old_version} → v{c.version}" if c.old_version else f"v{c.version}",
            "metric": c.metric,
            "before": number(c.before) if c.before is not None else "no champion yet" if _had_none(c) else "",
            "now": number(c.now) if c.now is not None else "",
            "gain": _signed(c),
            "kind": "" if c.gain is None else "up" if c.gain > 0 else "down" if c.gain < 0 else "",
            "gate": c.gate.split(": ", 1)[-1],
        }
        for c in found[:MAX_LISTED]
    ]
    return {"rows": rows, "left": len(found) - len(rows)} if rows else None


def _had_none(change: Change) -> bool:
    """Whether it was refused where there was no champion; where the gate's words are not at hand, nobody here knows."""
    return not change.promoted and change.old_version is None and bool(change.gate)


def _signed(change: Change) -> str:
    """Return the change of the metric as it reads, and whether that is better: for an error less is."""
    if change.gain is None or change.before is None or change.now is None:
        return "first" if change.first else ""
    word = "better" if change.gain > 0 else "worse" if change.gain < 0 else "same"
    return f"{change.now - change.before:+.3g} {word}"


def _drifted(found: Sequence[Drifted]) -> Table | None:
    rows = [
        (
            d.subject,
            d.sensor,
            number(d.psi, 3),
            number(d.ks, 3),
            "" if d.missing_change is None else f"{100 * d.missing_change:+.1f} %",
            ", ".join(d.families),
        )
        for d in found[:MAX_LISTED]
    ]
    header = ("machine", "sensor", "PSI", "KS distance", "missing values", "models concerned")
    return Table(header, rows, [""] * len(rows)) if rows else None


def _costs(found: Sequence[Cost], named: str = "model") -> Table | None:
    with_gpu = any(c.gpu_s for c in found)
    header = [named, *(["cells"] if named == "family" else []), "took", "expected", "CPU-hours"]
    rows = [
        (
            c.name,
            *([f"{c.cells:,}"] if named == "family" else []),
            seconds(c.seconds),
            seconds(c.estimated_s) if c.estimated_s else "–",
            f"{c.cpu_s / 3600:.3f}" if c.cpu_s else "–",
            *([f"{c.gpu_s / 3600:.3f}"] if with_gpu else []),
        )
        for c in found
    ]
    marks = ["model" if named == "family" and c is found[-1] else "" for c in found]
    return Table([*header, *(["GPU-hours"] if with_gpu else [])], rows, marks) if rows else None
