"""Writes `reports/<subject>/training_report.{html,md}`: one report per machine, a section per newest cell.

The HTML is one file that needs nothing else and follows the reader's light or dark mode; the Markdown has its pictures
beside it in `figures/`. Both are made from stage records, `evaluation.json` and `bundle.json`, so that a report can be
written again at any time and says nothing that is not stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift import families
from nightshift.data.groups import DRIVING, ESTIMATOR, VEHICLE
from nightshift.edge.manifest import BundleManifest
from nightshift.errors import DataError, NightshiftError
from nightshift.family import FamilyConfig, time_limit_s
from nightshift.files import write_atomic
from nightshift.graphs.parity import BATCH_SHARE
from nightshift.plan.cell import Cell
from nightshift.plan.lock import held
from nightshift.plan.state import newest_cells
from nightshift.problems.charts import draw, figure_id, inline
from nightshift.problems.evaluation import Evaluation, Figure
from nightshift.settings import Home, is_own_file
from nightshift.tracking import variants
from nightshift.tracking.dataset_parts import parts_of
from nightshift.tracking.driving_pictures import episodes_of
from nightshift.tracking.results import CellResult, aims, family_rank, read_result, standing
from nightshift.tracking.text import number, seconds, size
from nightshift.tracking.unversioned import failure_of

if TYPE_CHECKING:
    from jinja2 import Template

HTML_FILE, MARKDOWN_FILE, FIGURES = "training_report.html", "training_report.md", "figures"
HTML_TEMPLATE, MARKDOWN_TEMPLATE = "report.html.j2", "report.md.j2"


@dataclass(frozen=True)
class Report:
    """Where a report was written."""

    html: Path
    markdown: Path


@dataclass(frozen=True)
class Table:
    """A table as text: `marks[i]` is the class of row i (`model`, `baseline`, `member`, `missed`, "")."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """A drawn figure."""

    title: str
    svg: str
    file: str


def write_report(home: Home, subject: str) -> Report:
    """Write the report of one machine over the newest cell of each of its families and targets.

    Where that cell has not got to its registration, what stands from before is shown, and what became of the attempt.

    Raises:
        DataError: when nothing has been trained for the machine.
    """
    cells = sorted(newest_cells(home, subject), key=lambda cell: family_rank(cell.family))
    if not cells:
        raise DataError(f"Nothing has been trained for '{subject}'.", hint=f"`{_trains(home, subject)}` does.")
    folder = home.reports / subject
    with held(home, f"report-{subject}", wait=True):
        newest = [read_result(home, cell) for cell in cells]
        before = [standing(home, result) for result in newest]
        shown = [(stands or result, result if stands else None) for result, stands in zip(newest, before, strict=True)]
        sections = [_section(home, result, attempt, folder / FIGURES) for result, attempt in shown]
        content = {
            "subject": subject,
            "dataset": _dataset(home, cells[0]),
            "written_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "overview": [overview(result, attempt) for result, attempt in shown],
            "sections": sections,
            "unversioned": failure_of(home, subject),
        }
        _drop_old_figures(folder / FIGURES, {p.file for s in sections for p in (*s["pictures"], *s["episodes"])})
        report = Report(html=folder / HTML_FILE, markdown=folder / MARKDOWN_FILE)
        write_atomic(report.html, render(HTML_TEMPLATE, content).encode())
        write_atomic(report.markdown, render(MARKDOWN_TEMPLATE, content).encode())
    return report


def render(name: str, content: dict[str, Any]) -> str:
    """Return a page or text made from one of the templates."""
    return str(template(name).render(content))


@cache
def template(name: str) -> Template:
    """Return one of the templates, compiled once in a process."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nightshift.tracking"),
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # A cell of a Markdown table ends at a bar or a line end, whatever a sensor is called.
    environment.filters["code"] = _code
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
    return environment.get_template(name)


def _code(text: str) -> Any:
    """Return text as HTML, what stands in backticks as code."""
    from markupsafe import Markup, escape

    pieces = str(text).split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(pieces))


def _dataset(home: Home, cell: Cell) -> dict[str, Any]:
    """Return what the report says of the data; a dataset that has been removed is named by its fingerprint alone."""
    from nightshift.data.schema import Metadata

    path = home.data / "store" / cell.subject / cell.dataset[:12] / "metadata.json"
    found: dict[str, Any] = {"fingerprint": cell.dataset[:12], "metadata": None, "parts": None}
    if not path.is_file():
        return found
    metadata = Metadata.model_validate_json(path.read_bytes())
    header, rows = parts_of(metadata)
    return found | {"metadata": metadata, "parts": Table(header, rows, [""] * len(rows))}


def _trains(home: Home, subject: str) -> str:
    """Return the command that trains all models of a subject."""
    from nightshift.data.store import open_dataset

    try:
        metadata = open_dataset(home, subject).metadata
        group: str = metadata.group
    except NightshiftError:
        group = ""
    if group == ESTIMATOR:
        return f"nightshift train {'classifier' if metadata.truth('class') else 'regressor'} --subject {subject}"
    if group in (VEHICLE, DRIVING):
        return f"nightshift train {group} --subject {subject}"
    return f"nightshift train-machine --machine {subject}"


def overview(result: CellResult, attempt: CellResult | None = None) -> dict[str, Any]:
    """Return what one line says of a cell: where it stands, its metric beside baseline and aims, size and latency."""
    found, manifest = result.evaluation, result.manifest
    best = found.best_baseline() if found else None
    return {
        "family": result.cell.family,
        "target": result.cell.target,
        "anchor": result.cell.name,
        "state": _state(result) + (f"; a later attempt: {_state(attempt)}" if attempt else ""),
        "primary": found.primary if found else "",
        "value": number(found.score(found.headline_part)) if found else "",
        "baseline": f"{number(best[1])} ({best[0]})" if best else "",
        "aims": [f"{a.metric} {a.sign} {a.wanted:g}" for a in aims(result)],
        "missed": any(not a.met for a in aims(result)),
        "size": size(manifest.size_bytes) if manifest else "",
        "latency": f"{manifest.latency.p99_ms:.3g} ms" if manifest else "",
        "n_warnings": sum(f.severity != "tip" for f in result.findings),
    }


def _state(result: CellResult) -> str:
    stopped, register = result.stopped, result.records.get("register")
    if stopped:
        return stopped.status.replace("_", " ")
    if register is None:
        return "unfinished"
    if register.status == "pending":
        return "trained, not registered"
    return f"version {register.summary.get('version')}, {result.alias}"


def _section(home: Home, result: CellResult, attempt: CellResult | None, figures: Path) -> dict[str, Any]:
    found = result.evaluation
    pictures = [_picture(result.cell, f, figures) for f in found.figures] if found else []
    return facts(result, attempt) | {"pictures": pictures, "episodes": episodes_of(home, result.cell, figures)}


def facts(result: CellResult, attempt: CellResult | None = None) -> dict[str, Any]:
    """Return all that is said of a cell, but for its pictures.

    Args:
        result: of the cell.
        attempt: a newer one that came to nothing.
    """
    found, manifest = result.evaluation, result.manifest
    return {
        "cell": result.cell,
        "state": _state(result),
        "stopped": (attempt or result).stopped,
        "attempt": _attempt(result, attempt) if attempt else "",
        "parts": _parts_table(result, found) if found else None,
        "board": _board(found) if found else None,
        "primary": found.primary if found else "",
        "direction": ("higher" if found.higher_is_better else "lower") if found else "",
        "headline": found.headline_part if found else "",
        "aims": aims(result),
        "findings": result.findings,
        "members": _members(found) if found and found.members else None,
        "device": _device(result, manifest) if manifest else None,
        "parity": _parity(manifest) if manifest else None,
        "variants": _variants(manifest) if manifest and manifest.variants else (),
        "durations": _durations(result),
        "settings": _settings(result.cell),
        "registered": _registered(result),
        "bundle": result.bundle.as_posix() if result.bundle else None,
        "inputs": manifest.interface if manifest else None,
        "stand_in": variants.STAND_IN,
        "notes": list(dict.fromkeys([*(found.notes if found else ()), *(manifest.notes if manifest else ())])),
    }


def _attempt(result: CellResult, attempt: CellResult) -> str:
    """Return what came of the newest attempt, where the section is about what stands from before."""
    last = list(attempt.records)[-1:]
    ended = attempt.stopped.status.replace("_", " ") if attempt.stopped else f"cut off after {last[0]}" if last else ""
    then, now = result.cell.config.get("config", {}), attempt.cell.config.get("config", {})
    changed = [f"{key} {_as_text(now[key])}" for key in sorted(now) if now[key] != then.get(key)]
    with_what = f", with {', '.join(changed)}," if changed else ""
    ended = ended or "begun, no stage done"
    return f"The newest attempt{with_what} ended: {ended}. Below: {_state(result)}, which stands."


def _parts_table(result: CellResult, found: Evaluation) -> Table:
    """The shipped model, one row per metric: its parts side by side, the best baseline, the wanted figure."""
    parts = list(dict.fromkeys(r.part for r in found.rows if r.kind == "model"))
    names = list(dict.fromkeys(m for r in found.rows if r.kind == "model" for m in r.metrics))
    best = found.best_baseline()
    rival = next((r for r in found.rows if best and r.who == best[0] and r.part == found.headline_part), None)
    wanted = {a.metric: a for a in aims(result)}
    header = ["metric", *parts]
    header += [f"best baseline: {rival.who} ({rival.part})"] if rival else []
    header += ["wanted"] if wanted else []
    rows, marks = [], []
    for name in names:
        row = [name, *(number(found.score(part, name)) for part in parts)]
        row += [number(rival.metrics.get(name))] if rival else []
        aim = wanted.get(name)
        row += [f"{aim.sign} {aim.wanted:g}" if aim else ""] if wanted else []
        rows.append(row)
        marks.append("missed" if aim and not aim.met else "model" if name == found.primary else "")
    return Table(header, rows, marks)


def _board(found: Evaluation) -> Table:
    """Model, baselines and members on the headline part, the best first within each kind."""
    rows = [r for r in found.rows if r.part == found.headline_part]
    order = {"model": 0, "baseline": 1, "reference": 2, "member": 3}

    def rank(row: Any) -> tuple[int, float]:
        value = row.metrics.get(found.primary)
        return order[row.kind], float("inf") if value is None else -value if found.higher_is_better else value

    names = list(dict.fromkeys([found.primary, *(m for r in rows for m in r.metrics)]))
    rows = sorted(rows, key=rank)
    lines = [(r.who, r.kind, *(number(r.metrics.get(m)) for m in names)) for r in rows]
    return Table(("who", "kind", *names), lines, [r.kind for r in rows])


def _members(found: Evaluation) -> Table:
    """The members as their family ranks them; columns that none of them fills are left out."""
    columns = {"score": "score", "weight": "weight", "fit_s": "fit s", "predict_s": "predict s", "size_mb": "size MB"}
    filled = [c for c in columns if any(getattr(m, c) is not None for m in found.members)]
    lines = [(m.name, str(rank), *(number(getattr(m, c)) for c in filled)) for rank, m in enumerate(found.members, 1)]
    return Table(("member", "rank", *(columns[c] for c in filled)), lines, [""] * len(lines))


def _device(result: CellResult, manifest: BundleManifest) -> Table:
    limits, latency = result.limits, manifest.latency
    size_ok = manifest.size_bytes <= limits.size_mb * 1e6
    rows = [
        ("model.onnx", size(manifest.size_bytes), f"≤ {limits.size_mb:g} MB"),
        ("latency p50, one row, one thread", f"{latency.p50_ms:.3g} ms", ""),
        ("latency p99, one row, one thread", f"{latency.p99_ms:.3g} ms", f"≤ {limits.latency_ms:g} ms"),
    ]
    marks = ["" if size_ok else "missed", "", "" if latency.p99_ms <= limits.latency_ms else "missed"]
    if latency.library_p50_ms:
        times = latency.library_p50_ms / latency.p50_ms
        rows.append(
            ("the training library, same row", f"{latency.library_p50_ms:.3g} ms", f"{times:,.0f} times slower")
        )
        marks.append("")
    held = manifest.footprint
    if held is not None:
        most = limits.memory_mb
        rows.append(("memory of a fresh process", f"{held.memory_mb:.0f} MB", f"≤ {most:g} MB" if most else ""))
        rows.append(("its start to the first answer", f"{held.start_s:.2g} s", ""))
        marks += ["missed" if most is not None and held.memory_mb > most else "", ""]
    return Table(("on the machine that exported", "measured", "target"), rows, marks)


def _parity(manifest: BundleManifest) -> Table:
    parity = manifest.parity
    rows = [(name, f"{gap:.2g}", f"{parity.tolerance.get(name, 0.0):.2g}") for name, gap in parity.max_abs.items()]
    rows.append(("integer outputs", f"{parity.flips} of {parity.rows:,} rows differ", "none may"))
    rows += [(f"rows: {name}", f"{count:,} compared", "") for name, count in parity.cases.items()]
    if parity.batches:
        sizes = ", ".join(f"{size:,}" for size in parity.batches)
        rows.append(
            (
                "rows one by one and in batches",
                f"of {sizes}: the same labels",
                f"scores to {BATCH_SHARE:g} of themselves",
            )
        )
    return Table(("output", "largest difference", "accepted"), rows, [""] * len(rows))


def _variants(manifest: BundleManifest) -> tuple[Table, Table]:
    """Return the forms' figures, and what is to be said of each: side by side they are too wide for a page."""
    rows, words = variants.rows(manifest), len(variants.WORDS)
    marks = ["model" if v.chosen else "" for v in manifest.variants]
    figures = (f"form ({variants.metric(manifest)})", *variants.HEADER[1:-words])
    said = [[row[0], *row[-words:]] for row in rows]
    return Table(figures, [row[:-words] for row in rows], marks), Table(("form", *variants.WORDS), said, marks)


def _durations(result: CellResult) -> Table:
    rows = [(name, seconds(record.seconds), record.status.replace("_", " ")) for name, record in result.records.items()]
    rows.append(("in all", seconds(result.seconds), ""))
    return Table(("stage", "took", "status"), rows, [""] * len(rows))


def _settings(cell: Cell) -> Table:
    settings = dict(cell.config.get("config", {}))
    if cell.family in families.names() and families.get(cell.family).group == VEHICLE:
        # A vehicle's families take nothing but the time from a preset.
        own = FamilyConfig(preset=settings.pop("preset"), time_limit_s=settings.get("time_limit_s"))
        settings["time_limit_s"] = f"{time_limit_s(own):g}"
    rows = [(key, _as_text(value)) for key, value in sorted(settings.items()) if value not in ({}, [], None)]
    return Table(("setting", "value"), rows, [""] * len(rows))


def _as_text(value: object) -> str:
    """Return a setting as text; of a plain list its words."""
    plain = isinstance(value, list) and all(isinstance(v, str) for v in value)
    return ", ".join(value) or "nothing" if isinstance(value, list) and plain else str(value)


def _registered(result: CellResult) -> list[tuple[str, str]]:
    store = str(result.fact("register", "tracking_uri") or "")
    named = {
        "registry name": result.cell.name,
        "MLflow run": result.fact("register", "run_id"),
        "MLflow store": "" if is_own_file(store) else store,
        "gate": result.fact("register", "gate"),
        "device check": result.device,
        "DVC file": result.fact("register", "dvc"),
        "dataset": result.cell.dataset[:12],
        "config": result.cell.config_fingerprint[:12],
        "code": result.cell.code[:12],
        "cell": result.cell.key[:12],
    }
    return [(name, str(value)) for name, value in named.items() if value]


def _picture(cell: Cell, figure: Figure, folder: Path) -> Picture:
    """Draw a figure, or take the one already drawn: four families write one report after another."""
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in figure.key)[:60]
    stem = f"{cell.family}-{cell.target}-{safe}-{figure_id(figure)}"
    path = folder / f"{stem}.svg"
    if not path.is_file():
        write_atomic(path, draw(figure).encode())
    return Picture(figure.title, inline(path.read_text(encoding="utf-8")), path.name)


def _drop_old_figures(folder: Path, kept: set[str]) -> None:
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.name not in kept:
            path.unlink()
