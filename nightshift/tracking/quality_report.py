"""Writes `reports/<subject>/synthesis_report.html`: why generated data landed, or was refused, on one safe page.

The page needs nothing else and follows the reader's light or dark mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from nightshift.files import write_atomic
from nightshift.problems.evaluation import Figure
from nightshift.settings import Home
from nightshift.simulate.quality.report import QualityReport, shown
from nightshift.tracking.charts import draw_svg
from nightshift.tracking.report import Table, render

PAGE = "synthesis_report.html"


def write_quality_report(home: Home, subject: str, report: QualityReport, pictures: Sequence[Figure]) -> Path:
    """Write the page.

    Args:
        home: where `reports` lies.
        subject: the machine.
        report: the verdict.
        pictures: of the chosen generator, from `nightshift.simulate.quality.pictures`.

    Returns:
        The page's path.
    """
    content = {
        "subject": subject,
        "report": report,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "gate": _gate(report),
        "figures": _figures(report),
        "laws": _laws(report),
        "pictures": [(figure.title, draw_svg(figure)) for figure in pictures],
    }
    page = home.reports / subject / PAGE
    write_atomic(page, render("synthesis.html.j2", content).encode())
    return page


def _gate(report: QualityReport) -> Table:
    rows = [(line.name, shown(line.value), line.wanted, "holds" if line.ok else "missed") for line in report.gates]
    return Table(
        ("what is asked", "reached", "wanted", ""), rows, ["" if line.ok else "missed" for line in report.gates]
    )


def _figures(report: QualityReport) -> Table:
    table = report.table()
    return Table(table.headers, table.rows, [""] * len(table.rows))


def _laws(report: QualityReport) -> Table | None:
    """What was broken, by generator and law; None where nothing was."""
    rows = [
        (f"{scores.name}, seed {seed.seed}", law, f"{n:,}")
        for scores in report.scores
        for seed in scores.seeds
        for law, n in seed.violations.items()
    ]
    return Table(("units of", "law", "rows or units"), rows, ["missed"] * len(rows)) if rows else None
