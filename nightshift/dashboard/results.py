"""What came of a training, as the macro `results` of `_results.html.j2` shows it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from nightshift.tracking.report import facts, overview
from nightshift.tracking.results import CellResult


def shown(result: CellResult) -> dict[str, Any]:
    """Return the facts, figures and further addresses of one cell's results; reads no file."""
    found, cell = result.evaluation, result.cell
    version = result.fact("register", "version")
    where = {"machine": cell.subject, "family": cell.family, "target": cell.target}
    api = f"/api/models/{cell.subject}/{cell.family}"
    return {
        **facts(result),
        "overview": overview(result),
        "figures": found.figures if found else [],
        "seconds": result.seconds,
        "version": version,
        "model_at": f"/models/{cell.subject}/{cell.family}?{urlencode({'target': cell.target})}",
        # The picture of a bundle is the model itself: it can be tried and taken home once it is registered.
        "try_at": f"/predict?{urlencode(where)}" if version else "",
        "download_at": f"{api}/download?{urlencode({'version': version, 'target': cell.target})}" if version else "",
    }
