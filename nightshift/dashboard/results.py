"""What came of a training, as the macro `results` of `_results.html.j2` shows it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from nightshift.dashboard.live import live_names
from nightshift.errors import UnknownNameError
from nightshift.plan.cell import Cell
from nightshift.plan.past import past_of
from nightshift.plan.table import TableOutcome
from nightshift.settings import Home
from nightshift.tracking.report import Table, facts, overview
from nightshift.tracking.results import CellResult
from nightshift.tracking.text import number


def shown(home: Home, result: CellResult) -> dict[str, Any]:
    """Return the facts, figures and further addresses of one cell's results."""
    found, cell = result.evaluation, result.cell
    champion = past_of(home, cell.subject, cell.family, cell.target).champion
    version = result.fact("register", "version")
    where = {"machine": cell.subject, "family": cell.family, "target": cell.target}
    api = f"/api/models/{cell.subject}/{cell.family}"
    return {
        **facts(result),
        "overview": overview(result),
        "figures": found.figures if found else [],
        "seconds": result.seconds,
        "version": version,
        # Another version may have taken its place since, or stayed in it.
        "champion": champion.version if champion else None,
        "curves_at": _curves_at(home, cell),
        "model_at": f"/models/{cell.subject}/{cell.family}?{urlencode({'target': cell.target})}",
        "try_at": f"/predict?{urlencode(where)}" if version else "",
        "download_at": f"{api}/download?{urlencode({'version': version, 'target': cell.target})}" if version else "",
    }


def scores_of(table: TableOutcome) -> Table:
    """Return what the trainer says of a training on a table: a row for each part."""
    names = list(dict.fromkeys(name for scores in table.scores.values() for name in scores))
    rows = [
        (part.replace("_", " "), *(number(scores.get(name)) for name in names)) for part, scores in table.scores.items()
    ]
    return Table(("part", *names), rows, [""] * len(rows))


def _curves_at(home: Home, cell: Cell) -> str:
    """Return where a cell's learning curves are, "" where it has none, or its folder is gone."""
    with suppress(UnknownNameError):
        return f"/runs/{cell.key[:12]}" if live_names(home, cell.key) else ""
    return ""
