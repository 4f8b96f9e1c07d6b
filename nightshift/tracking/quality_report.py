"""Writes `reports/<subject>/synthesis_report.html`, why generated data landed, or `synthesis_refused.html`, why not.

The page needs nothing else and follows the reader's light or dark mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from nightshift.files import write_atomic
from nightshift.problems.charts import draw_svg
from nightshift.problems.evaluation import Figure
from nightshift.settings import Home
from nightshift.simulate.quality.report import QualityReport, shown
from nightshift.tracking.report import Table, render

#: Of what has landed, and of the last that was refused: it says nothing of the machine's present data.
PAGE, REFUSED = "synthesis_report.html", "synthesis_refused.html"


def page_of(home: Home, subject: str, *, passed: bool) -> Path:
    """Return where the page of a machine lies, of what landed or of what was refused."""
    return home.reports / subject / (PAGE if passed else REFUSED)


def write_quality_report(home: Home, subject: str, report: QualityReport, pictures: Sequence[Figure]) -> Path:
    """Write the page at `page_of`, and return its path; arguments as `quality_page`."""
    page = page_of(home, subject, passed=report.passed)
    write_atomic(page, quality_page(subject, report, pictures))
    return page


def quality_page(subject: str, report: QualityReport, pictures: Sequence[Figure]) -> bytes:
    """Render the page.

    Args:
        subject: the machine.
        report: the verdict.
        pictures: of the chosen generator, from `nightshift.simulate.quality.pictures`.
    """
    content = {
        "subject": subject,
        "report": report,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "gate": gate_table(report),
        "figures": figures_table(report),
        "laws": laws_table(report),
        "pictures": [(figure.title, draw_svg(figure)) for figure in pictures],
    }
    return render("synthesis.html.j2", content).encode()


def gate_table(report: QualityReport) -> Table:
    """Return the gate's lines: what was asked, reached and wanted."""
    rows = [(line.name, shown(line.value), line.wanted, "holds" if line.ok else "missed") for line in report.gates]
    return Table(
        ("what is asked", "reached", "wanted", "verdict"), rows, ["" if line.ok else "missed" for line in report.gates]
    )


def figures_table(report: QualityReport) -> Table:
    """Return every figure of every generator beside real units."""
    table = report.table()
    return Table(table.headers, table.rows, [""] * len(table.rows))


def laws_table(report: QualityReport) -> Table | None:
    """Return what was broken, by generator and law; None where nothing was."""
    rows = [
        (f"{scores.name}, seed {seed.seed}", law, f"{n:,}")
        for scores in report.scores
        for seed in scores.seeds
        for law, n in seed.violations.items()
    ]
    return Table(("units of", "law", "rows or units"), rows, ["missed"] * len(rows)) if rows else None
