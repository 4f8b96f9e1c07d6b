"""How what a device has found of a bundle reads, wherever it is told: on the device, by `verify`, in the lineage."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nightshift.edge.manifest import DeviceCheck, Footprint, Latency, Parity


def lines(check: DeviceCheck) -> Iterator[tuple[str, str]]:
    """Yield what a device has found as (label, text)."""
    yield "device", f"{device(check)}, onnxruntime {check.onnxruntime}"
    if check.stand_in:
        yield "stands in", f"{check.stand_in}: no check of the target's own device"
    yield "answers", variant_answers(check) if check.variant else answers(check.parity)
    yield "latency", latency(check.latency)
    yield "memory", memory(check.footprint)
    state = processor(check)
    if state:
        yield "processor", state


def device(check: DeviceCheck) -> str:
    """The machine, its board where it tells, and its architecture."""
    board = f" ({check.board})" if check.board else ""
    return f"{check.device}{board}, {check.architecture}"


def answers(parity: Parity) -> str:
    """The answers beside those of the training library, with the largest difference of each output."""
    said = "as the training library's" if parity.ok else "NOT the training library's"
    deltas = [
        f"{name} within {worst:.2g} of {parity.tolerance[name]:.2g}"
        if math.isfinite(worst)
        else f"{name} no number or of another shape"
        for name, worst in parity.max_abs.items()
    ]
    return ", ".join([f"{said} on {parity.rows:,} rows: {_flips(parity)}", *deltas])


def variant_answers(check: DeviceCheck) -> str:
    """The same of another form of the model, which may differ: in fewer bits, say."""
    parity = check.parity
    said = f"of form '{check.variant}'" if parity.ok else f"NOT numbers, of form '{check.variant}'"
    deltas = [f"{name} by {worst:.2g} at most" for name, worst in parity.max_abs.items()]
    beside = ", ".join([_flips(parity), *deltas])
    return f"{said}, on {parity.rows:,} rows beside the training library's: {beside}"


def _flips(parity: Parity) -> str:
    return f"{parity.flips} label differs" if parity.flips == 1 else f"{parity.flips} labels differ"


def latency(latency: Latency) -> str:
    """The time of one row."""
    return f"p50 {latency.p50_ms:.3g} ms, p99 {latency.p99_ms:.3g} ms, one row, one thread"


def memory(held: Footprint) -> str:
    """What a fresh process takes, Python included."""
    return f"{held.memory_mb:.0f} MB in memory, first answer after {held.start_s:.2f} s"


def processor(check: DeviceCheck) -> str:
    """The processor's temperature, and whether it slowed itself down; "" where the machine tells neither."""
    told = [] if check.temperature_c is None else [f"{check.temperature_c:.0f} °C"]
    if check.throttled is not None:
        told.append("throttled" if check.throttled else "not throttled")
    return ", ".join(told)
