"""How runs of driving policies read in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nightshift.cli.show import bold, dim, green, red, table, yellow

if TYPE_CHECKING:
    from nightshift.tracking.driving_compare import Compared
    from nightshift.tracking.driving_runs import CheckpointView, RunView
    from nightshift.tracking.driving_status import DrivingStatus, RecentRow
    from nightshift.tracking.resources import Resources


def runs(views: Sequence[RunView]) -> str:
    """Return all runs as a table."""
    header = ("run", "algorithm", "scenarios", "state", "step", "reward", "collision", "progress", "best score", "told")
    rows = [
        (
            v.run_id,
            v.algorithm,
            v.subject,
            f"{v.state} on {v.worker or v.host}" if v.source == "mlflow" else v.state,
            _steps(v),
            _figure(v.reward),
            _share(v.collision),
            _share(v.progress),
            _figure(v.best_score),
            v.updated_at[:19],
        )
        for v in views
    ]
    return table(header, rows)


def status(found: DrivingStatus) -> str:
    """Return the whole status as text."""
    return "\n".join(_status_lines(found))


def checkpoints(found: Sequence[CheckpointView]) -> str:
    """Return a run's checkpoints as a table."""
    rows = [
        (c.name, "" if c.step is None else f"{c.step:,}", f"{c.size_bytes / 1e6:.2f} MB", c.written_at, c.note)
        for c in found
    ]
    return table(("checkpoint", "step", "size", "written", ""), rows)


def comparison(found: Compared) -> str:
    """Return runs side by side: figures, settings that differ, and what makes them hard to compare."""
    lines = [table(("", *found.run_ids), [(row.name, *row.values) for row in found.figures])]
    if found.settings:
        lines += ["", table(("setting", *found.run_ids), [(row.name, *row.values) for row in found.settings])]
    lines += ["", *(yellow(line) for line in found.remarks)] if found.remarks else []
    return "\n".join(lines)


def _status_lines(found: DrivingStatus) -> Iterator[str]:
    if found.active:
        yield bold(f"active runs ({len(found.active)})")
        yield _active(found.active)
    else:
        yield "No run is at work."
        if found.ended is not None:
            error = f": {found.ended.error}" if found.ended.error else ""
            yield dim(f"The last one: {found.ended.run_id}, {found.ended.state}, step {_steps(found.ended)}{error}")
    if found.recent:
        yield ""
        yield bold("recent figures")
        yield _recent(found.recent)
    yield ""
    yield bold("this machine")
    yield from _machine(found.resources)
    yield ""
    yield bold("recommendations")
    for advice in found.recommendations:
        yield f"{yellow(advice.run_id)}: {advice.what}"
        yield f"  {advice.do}"
    if not found.recommendations:
        yield green("none") if found.active else "none: no run is at work"
    for line in found.remarks:
        yield yellow(line)


def _active(views: Sequence[RunView]) -> str:
    rows = [
        (
            v.run_id,
            v.algorithm,
            f"{v.state}{f' on {v.worker or v.host}' if v.source == 'mlflow' else ''}",
            _steps(v),
            _figure(v.reward),
            "" if v.steps_per_s is None else f"{v.steps_per_s:,.0f}",
            _use(v),
            _duration(v.eta_s),
        )
        for v in views
    ]
    return table(("run", "algorithm", "state", "step", "reward", "steps/s", "use", "ETA"), rows)


def _recent(rows: Sequence[RecentRow]) -> str:
    shown = [
        (
            r.run_id,
            f"{r.step:,}",
            _figure(r.reward),
            _share(r.collision),
            _share(r.progress),
            _figure(r.loss),
            _figure(r.score),
            _share(r.val_collision),
            _share(r.val_progress),
        )
        for r in rows
    ]
    header = ("run", "step", "reward", "collision", "progress", "loss", "score", "val collision", "val progress")
    return table(header, shown)


def _machine(found: Resources) -> Iterator[str]:
    for gpu in found.gpus:
        use = "" if gpu.use_pct is None else f"{gpu.use_pct:.0f} % busy, "
        yield f"GPU     {gpu.name}: {use}{gpu.used_mb / 1e3:.1f} of {gpu.total_mb / 1e3:.1f} GB held"
    if not found.gpus:
        yield "GPU     none seen"
    yield f"CPU     {found.cores} cores, {found.cpu_pct:.0f} % busy"
    yield f"memory  {found.memory_free_mb / 1e3:.1f} of {found.memory_total_mb / 1e3:.1f} GB free"
    free = f"disk    {found.disk_free_mb / 1e3:.1f} of {found.disk_total_mb / 1e3:.1f} GB free"
    yield red(free) if found.disk_free_mb < 1e3 else free


def _use(view: RunView) -> str:
    held = [] if view.cpu_pct is None else [f"CPU {view.cpu_pct:.0f} %"]
    if view.gpu_use_pct is not None:
        held.append(f"GPU {view.gpu_use_pct:.0f} %")
    if view.gpu_memory_mb is not None:
        held.append(f"GPU {view.gpu_memory_mb / 1e3:.1f} GB")
    if view.memory_mb is not None:
        held.append(f"{view.memory_mb / 1e3:.1f} GB")
    return ", ".join(held)


def _steps(view: RunView) -> str:
    return f"{view.step:,}/{view.total_steps:,}" if view.total_steps else f"{view.step:,}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
