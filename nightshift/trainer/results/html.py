"""A result as a notebook shows it: the sections of `summary` as tables, and the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from nightshift.findings import Finding, Severity
from nightshift.problems.charts import draw
from nightshift.trainer.results.pictures import figures
from nightshift.trainer.results.summary import Result, Section, sections, title

# Notebooks keep styles that stand in elements, and often none in a sheet: what a theme sets is left to it.
_CELL = "padding:2px 10px;text-align:right;"
_FIRST = "padding:2px 10px;text-align:left;"
_HEADING = "margin:14px 0 4px;font-weight:600;"
_EDGE = {Severity.TIP: "#0072b2", Severity.WARNING: "#d55e00", Severity.BLOCKER: "#b00020"}


def to_html(result: Result) -> str:
    """Return a fragment of HTML; names of columns and classes are text in it."""
    body = "".join(_section(one) for one in sections(result) if one.title != "Findings")
    return (
        f'<div class="nightshift-result" style="font-family:sans-serif;max-width:860px">'
        f'<div style="font-size:1.15em;font-weight:600">{escape(title(result))}</div>'
        f"{_findings(result.findings)}{body}{_pictures(result)}{_provenance(result)}</div>"
    )


def _section(section: Section) -> str:
    lines = "".join(f"<div>{escape(line)}</div>" for line in section.lines)
    return f'<div style="{_HEADING}">{escape(section.title)}</div>{lines}{_table(section)}'


def _table(section: Section) -> str:
    if not section.rows:
        return ""
    head = "".join(_cells("th", section.head))
    rows = "".join(f"<tr>{''.join(_cells('td', row))}</tr>" for row in section.rows)
    style = "border-collapse:collapse;margin:4px 0"
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _cells(tag: str, row: tuple[str, ...]) -> Iterator[str]:
    for at, cell in enumerate(row):
        yield f'<{tag} style="{_CELL if at else _FIRST}">{escape(cell)}</{tag}>'


def _findings(findings: tuple[Finding, ...]) -> str:
    """Return each finding: what, why it matters, what to do, how to mute it."""
    return "".join(
        f'<div style="border-left:4px solid {_EDGE[one.severity]};margin:6px 0;padding:2px 10px">'
        f"<b>{one.code}</b> {escape(one.what)} <i>Why:</i> {escape(one.why)}. {escape(one.remedy)} "
        f"<i>Mute:</i> <code>checks=Checks(mute=('{one.code}',))</code></div>"
        for one in findings
    )


def _pictures(result: Result) -> str:
    made = "".join(
        f'<figure style="margin:8px 0;width:400px;display:inline-block"><figcaption>{escape(one.title)}</figcaption>'
        f"{draw(one)}</figure>"
        for one in figures(result)
    )
    return f"<div>{made}</div>"


def _provenance(result: Result) -> str:
    told = result.provenance
    versions = ", ".join(f"{name} {version}" for name, version in told.versions.items())
    commit = f", commit {told.commit[:10]}{' with changes' if told.uncommitted else ''}" if told.commit else ""
    line = (
        f"{told.started_at}, {told.wall_s:.3g} s, peak {told.peak_mb:,.0f} MB, seed {told.seed}, data {told.data[:12]}"
        f"{commit}; {versions}"
    )
    return f'<div style="margin-top:10px;font-size:0.85em;opacity:0.75">{escape(line)}</div>'
