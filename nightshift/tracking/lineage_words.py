"""How a lineage reads: as lines for a terminal, and challenger beside champion as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nightshift.edge import words as device_words
from nightshift.edge.manifest import DeviceCheck, Parity
from nightshift.tracking.lineage import Entry, Lineage, Score
from nightshift.tracking.text import number
from nightshift.tracking.versions import Promotion

Row = tuple[str, str, str]
NONE = "–"


def when(at: str) -> str:
    """A moment to the minute."""
    return at[:16].replace("T", " ") or NONE


def promoted(promotion: Promotion | None) -> str:
    """When and by whom."""
    if promotion is None:
        return NONE
    note = f" ({promotion.note})" if promotion.note else ""
    return f"{when(promotion.at)} by {promotion.by}{note}"


def scored(score: Score) -> str:
    """The primary metric beside the best baseline's."""
    if score.value is None:
        return NONE
    beside = f", best baseline {number(score.baseline)} ({score.baseline_name})" if score.baseline is not None else ""
    return f"{score.metric} {number(score.value)} on {score.part}{beside}"


def lines(found: Lineage) -> Iterator[tuple[str, str]]:
    """Yield the lineage as (label, text)."""
    entry, origin = found.entry, found.origin
    yield "state", entry.state + (f" ({entry.note})" if entry.note else "")
    yield "judged", scored(entry.score)
    yield "data", _data(found)
    changed = ", ".join(f"{k} {s.value} (default {s.default or 'none'})" for k, s in origin.settings.items())
    yield "config", f"{origin.config_fingerprint[:12]}: {changed or 'all defaults'}"
    dirty = ", with uncommitted changes" if origin.uncommitted else ""
    yield "code", f"{origin.code_fingerprint[:12]}, commit {origin.commit[:12] or 'not known'}{dirty}"
    if origin.libraries:
        yield "libraries", f"Python {origin.python}, " + ", ".join(f"{k} {v}" for k, v in origin.libraries.items())
    yield "MLflow", f"run {found.run_id}{f' in {found.tracking_uri}' if found.tracking_uri else ''}"
    yield "bundle", f"{found.bundle_id[:12]}, {_measured(found)}"
    yield "parity", _parity(found.bundle.parity) if found.bundle else NONE
    yield "device", figures_of(found.device)
    yield "gate", _gate(found)
    if found.findings:
        yield "findings", ", ".join(found.findings)
    for promotion in found.promotions:
        yield "promoted", promoted(promotion)


def beside(challenger: Lineage, champion: Lineage | None) -> list[Row]:
    """Return challenger and champion as rows of (what, challenger's, champion's)."""
    both = (challenger, champion)
    named = [("version", [f"v{one.entry.version}" if one else "none yet" for one in both])]
    named += [(label, [shown(one) if one else NONE for one in both]) for label, shown in _COMPARED]
    return [(label, left, right) for label, (left, right) in named]


def markdown(challenger: Lineage, champion: Lineage | None) -> str:
    """Return challenger beside champion as Markdown, with what the gate said."""
    rows = [" | ".join(_cell(text) for text in row) for row in beside(challenger, champion)]
    table = ["| | challenger | champion |", "|---|---|---|", *(f"| {row} |" for row in rows)]
    return "\n".join([f"**{challenger.name}**", "", *table, "", f"The gate: {_gate(challenger)}"])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _value_of(found: Lineage) -> str:
    score = found.entry.score
    return NONE if score.value is None else f"{score.metric} {number(score.value)}"


def _baseline_of(found: Lineage) -> str:
    score = found.entry.score
    return NONE if score.baseline is None else f"{number(score.baseline)} ({score.baseline_name})"


def _data(found: Lineage) -> str:
    data = found.data
    rows = ", ".join(f"{part} {count:,}" for part, count in data.rows.items())
    told = f"{rows} rows, landed {when(data.landed_at)} from {data.source}" if rows else "not in this home any more"
    until = f", trained until {when(data.trained_until)}" if data.trained_until else ""
    return f"{data.fingerprint[:12]}: {told}{until}"


def _measured(found: Lineage) -> str:
    return f"{_size(found)}, {_memory(found)} in memory, {_latency(found)}"


def _size(found: Lineage) -> str:
    return NONE if found.size_mb is None else f"{number(found.size_mb, 3)} MB"


def _memory(found: Lineage) -> str:
    footprint = found.bundle.footprint if found.bundle else None
    return f"{footprint.memory_mb:.0f} MB" if footprint else "not measured"


def _latency(found: Lineage) -> str:
    if found.bundle is None:
        return NONE
    latency = found.bundle.latency
    return f"p50 {number(latency.p50_ms, 3)} ms, p99 {number(latency.p99_ms, 3)} ms"


def _parity(parity: Parity) -> str:
    widest = max(parity.max_abs.values(), default=0.0)
    verdict = "same as the library" if parity.ok else "DIFFERS from the library"
    return f"{verdict}: {parity.rows:,} rows, {parity.flips} labels differ, scores by {widest:.1g} at most"


def _latency_of(found: Lineage, which: str) -> str:
    return NONE if found.bundle is None else f"{number(getattr(found.bundle.latency, which), 3)} ms"


def figures_of(check: DeviceCheck | None) -> str:
    """What a device has found, on one line."""
    if check is None:
        return "not checked"
    figures = [
        f"{device_words.device(check)}, {when(check.checked_at)}",
        "same answers" if check.parity.ok else f"OTHER ANSWERS: {check.parity.flips} labels differ",
        f"p99 {number(check.latency.p99_ms, 3)} ms",
        device_words.memory(check.footprint),
    ]
    figures += [state] if (state := device_words.processor(check)) else []
    figures += [f"stand-in: {check.stand_in}"] if check.stand_in else []
    return ", ".join(figures)


def _device_of(found: Lineage) -> str:
    check = found.device
    if check is None:
        return "not checked"
    return ("same answers" if check.parity.ok else "OTHER ANSWERS") + (", stand-in" if check.stand_in else "")


def _trained(found: Lineage) -> str:
    return when(found.entry.created_at)


def _gate(found: Lineage) -> str:
    said, decision = found.entry.gate or "was not asked", found.decision
    if decision is None or decision.difference is None or decision.bound is None or decision.margin is None:
        return said
    figures = f"{decision.difference:+.4g}, bound {decision.bound:+.4g}, margin {decision.margin:.4g}"
    return said if "bound" in said else f"{said} (against the champion of then: {figures})"


#: One short fact a row: Prefect's form shows challenger and champion in a column of 440 pixels.
_COMPARED = (
    ("registered", _trained),
    ("score", _value_of),
    ("best baseline", _baseline_of),
    ("data", lambda found: found.data.fingerprint[:12]),
    ("rows", lambda found: f"{sum(found.data.rows.values()):,}" if found.data.rows else NONE),
    ("size", _size),
    ("memory", _memory),
    ("latency p50", lambda found: _latency_of(found, "p50_ms")),
    ("latency p99", lambda found: _latency_of(found, "p99_ms")),
    ("labels differing", lambda found: f"{found.bundle.parity.flips}" if found.bundle else NONE),
    ("device", _device_of),
)


def history_rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return the rows of `HISTORY`, newest first; the champion bears a star."""
    return [
        (
            f"v{entry.version}{' *' if entry.champion else ''}",
            when(entry.created_at),
            entry.state,
            promoted(entry.promoted),
            scored(entry.score),
            " ".join(entry.gate.split()),
        )
        for entry in entries
    ]


HISTORY = ("version (* = champion)", "registered", "state", "promoted", "judged", "gate")
