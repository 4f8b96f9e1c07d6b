"""The block that every training ends with: reached against wanted, size, registry, and where everything lies."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.cli.show import bold, dim, green, red, yellow
from nightshift.edge.manifest import BundleManifest
from nightshift.family import Limits
from nightshift.findings import Severity
from nightshift.plan.cell import Cell
from nightshift.settings import Home
from nightshift.tracking.results import CellResult, aims, read_result
from nightshift.tracking.text import number, seconds, size
from nightshift.tracking.unversioned import failure_of
from nightshift.tracking.versions import WAITS

_WIDTH = 14


def print_closing(home: Home, cell: Cell, ending: str) -> None:
    """Print the block of one cell."""
    result = read_result(home, cell)
    colour = {"trained": green, "failed": red, "blocked": red, "unregistered": yellow}.get(ending, str)
    took = f"  {dim(seconds(result.seconds))}" if ending in ("trained", "unregistered") else ""
    print(f"\n{bold(f'{cell.family} for {cell.target}')}: {colour(ending)}{_version(result)}{took}")
    for label, text in _lines(home, result):
        print(f"  {label:<{_WIDTH}}{text}")


def _remarks(result: CellResult) -> Iterator[tuple[str, str]]:
    """Yield what is remarked on the model; warnings on the data are the same for every family: codes will do."""
    data: list[str] = []
    for finding in result.findings:
        if finding.severity is Severity.TIP:
            continue
        if finding.severity is Severity.WARNING and finding.code.startswith("D"):
            data.append(finding.code)
            continue
        yield "finding", (red if finding.severity is Severity.BLOCKER else yellow)(finding.line())
    if data:
        yield "data", yellow(f"{', '.join(dict.fromkeys(data))}: see the report")


def _version(result: CellResult) -> str:
    version = result.fact("register", "version")
    if version is None:
        return ""
    return f", version {version} ({result.alias})"


def _lines(home: Home, result: CellResult) -> Iterator[tuple[str, str]]:
    stopped = result.stopped
    if stopped:
        yield stopped.stage, f"{stopped.error} {stopped.hint}".strip()
    yield from _figures(result)
    if result.manifest:
        yield from _measured(result.manifest, result.limits)
    yield from _places(home, result)
    yield from _remarks(result)


def _measured(manifest: BundleManifest, limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield what the device will ask: size, memory, latency, and whether the graph is the model."""
    yield (
        "size",
        _against(size(manifest.size_bytes), f"{limits.size_mb:g} MB", manifest.size_bytes <= limits.size_mb * 1e6),
    )
    if manifest.footprint:
        held = f"{manifest.footprint.memory_mb:.0f} MB"
        started = f"first answer {manifest.footprint.start_s:.2f} s after its start"
        small = limits.memory_mb is None or manifest.footprint.memory_mb <= limits.memory_mb
        aimed = held if limits.memory_mb is None else _against(held, f"{limits.memory_mb:g} MB", small)
        yield "memory", f"{aimed}; {started}"
    p99 = manifest.latency.p99_ms
    yield "latency", _against(f"{p99:.3g} ms p99", f"{limits.latency_ms:g} ms", p99 <= limits.latency_ms)
    parity = manifest.parity
    widest = max(parity.max_abs.values(), default=0.0)
    line = f"{parity.rows:,} rows against the library: {parity.flips} labels differ, scores by {widest:.1g} at most"
    yield "parity", line if parity.ok else red(line)


def _figures(result: CellResult) -> Iterator[tuple[str, str]]:
    found = result.evaluation
    if found is None:
        return
    parts = list(dict.fromkeys(r.part for r in found.rows if r.kind == "model"))
    wanted = {a.metric: a for a in aims(result)}
    for metric in dict.fromkeys([found.primary, *wanted]):
        shown = "  ".join(f"{part} {number(found.score(part, metric))}" for part in parts)
        best = found.best_baseline() if metric == found.primary else None
        baseline = f"  best baseline {number(best[1])} ({best[0]})" if best else ""
        aim = wanted.get(metric)
        target = f"  target {aim.sign} {aim.wanted:g}{'' if aim.met else ' missed'}" if aim else "  no target set"
        line = f"{shown}{baseline}{target}"
        yield metric, red(line) if aim and not aim.met else line


def _device(result: CellResult) -> Iterator[tuple[str, str]]:
    """Yield what the target's device has found, or that it is waited for."""
    cell, said = result.cell, result.device
    if said.startswith("awaiting"):
        yield "device", yellow(f"{said}: nightshift verify {cell.subject} {cell.family} --target {cell.target}")
    elif said:
        yield "device", red(said) if said.startswith("failed") else said


def _against(measured: str, limit: str, met: bool) -> str:
    text = f"{measured}, target ≤ {limit}"
    return text if met else red(f"{text} missed")


def _places(home: Home, result: CellResult) -> Iterator[tuple[str, str]]:
    run = result.fact("register", "run_id")
    if run:
        yield "MLflow", f"run {run} in {result.fact('register', 'tracking_uri')}"
    gate = result.fact("register", "gate")
    if gate:
        yield "gate", str(gate)
    if str(gate).startswith(WAITS):
        cell = result.cell
        yield "promote", yellow(f"nightshift promote {cell.subject} {cell.family} --target {cell.target}")
    yield from _device(result)
    if result.bundle:
        yield "ONNX", str(result.bundle / "model.onnx")
    dvc = result.fact("register", "dvc")
    if dvc and (home.root / str(dvc)).is_file():
        yield "DVC", str(dvc)
    unversioned = failure_of(home, result.cell.subject)
    if unversioned:
        yield "DVC", yellow(unversioned.line())
    page = home.reports / result.cell.subject / "training_report.html"
    if page.is_file():
        yield "report", str(page.relative_to(home.root))
