"""Cuts traces into train, val and test: contiguous blocks with an embargo between them, never rows.

Train is normal traffic, and so are some runs in either half of val: what is usual, and where the threshold lies, is
learnt from that alone. Attacks stand in val, where thresholds are reported on, and in test.

An attacked trace is often a normal one into which frames were injected. Both are one drive then, cut at the same
times: what of it stands in train in one trace stands in val or test in no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nightshift.data.importers.can.trace import KINDS, Trace
from nightshift.errors import DataError

EMBARGO_S = 5.0
#: A short drive gives no more than this share of itself to each embargo.
_MOST_EMBARGO = 0.02
#: Where a drive is cut: one with both kinds of traces, a normal one, an attacked one.
_BOTH, _NORMAL, _ATTACKED = (0.60, 0.80), (0.70, 0.85), (0.0, 0.50)
_SAMPLE, _SAME = 2000, 0.5


@dataclass(frozen=True)
class Block:
    """A stretch of a trace: its rows `first` to `last` - 1."""

    trace: Trace
    first: int
    last: int


@dataclass
class Drive:
    """Traces of the same traffic."""

    traces: list[Trace] = field(default_factory=list)

    def span(self) -> tuple[float, float]:
        """Return when it begins and ends, s."""
        times = [t.frames.time_s for t in self.traces]
        return min(float(t[0]) for t in times), max(float(t[-1]) for t in times)


def cut(traces: Sequence[Trace]) -> dict[str, list[Block]]:
    """Return the blocks of each part; each block is a run.

    Raises:
        DataError: when no trace is normal traffic, or a part would be empty.
    """
    if all(t.attacked for t in traces):
        raise DataError(
            f"every trace holds an attack ({', '.join(t.name for t in traces[:3])}): there is no normal traffic to "
            "learn from.",
            hint="Import them together with a log of the same car without an attack.",
        )
    parts: dict[str, list[Block]] = {"train": [], "val": [], "test": []}
    attacked: list[Block] = []
    for drive in drives(traces):
        for part, block in _blocks(drive):
            if part == "val" and block.trace.attacked:
                attacked.append(block)
            else:
                parts[part].append(block)
    # The halves of val take its runs in turn: kinds of attack, too, are spread over both.
    parts["val"] += sorted(attacked, key=lambda block: KINDS.index(block.trace.kind))
    for part, blocks in parts.items():
        if not blocks:
            raise DataError(f"the {part} part would be empty.", hint="Import longer or more logs.")
    return parts


def drives(traces: Sequence[Trace]) -> list[Drive]:
    """Return traces gathered by drive: those that share most of their frames, time by time, belong together."""
    found: list[tuple[Drive, NDArray[np.uint64]]] = []
    for trace in sorted(traces, key=lambda t: t.attacked):
        keys = _keys(trace)
        asked = keys[:: max(1, len(keys) // _SAMPLE)]
        here = next((d for d, known in found if np.isin(asked, known).mean() > _SAME), None)
        if here is None:
            found.append((Drive([trace]), keys))
        else:
            here.traces.append(trace)
    return [drive for drive, _ in found]


def _keys(trace: Trace) -> NDArray[np.uint64]:
    """Return a number for each unmarked frame's time, id and payload."""
    kept = slice(None) if trace.attack is None else ~trace.attack
    frames = trace.frames
    payload = np.ascontiguousarray(frames.data[kept]).view(np.uint64)[:, 0]
    stamp = np.round(frames.time_s[kept] * 1e6).astype(np.int64).view(np.uint64)
    odd = np.uint64(0x9E37_79B9_7F4A_7C15)
    # An odd multiplier spreads the bits; uint64 wraps by design.
    return (payload * odd + stamp) * odd + frames.can_id[kept].astype(np.uint64)


def _blocks(drive: Drive) -> Iterator[tuple[str, Block]]:
    begin, end = drive.span()
    span = end - begin
    gap = min(EMBARGO_S, _MOST_EMBARGO * span)
    some, every = any(t.attacked for t in drive.traces), all(t.attacked for t in drive.traces)
    shares = _ATTACKED if every else _BOTH if some else _NORMAL
    one, two = (begin + share * span for share in shares)
    for trace in drive.traces:
        if not every and not trace.attacked:
            yield from _named("train", trace, begin, one)
            # Two runs, so that each half of val has normal traffic of its own.
            middle = (one + gap + two) / 2
            yield from _named("val", trace, one + gap, middle)
            yield from _named("val", trace, middle + gap, two)
            if not some:
                yield from _named("test", trace, two + gap, np.inf)
        elif trace.attacked:
            yield from _named("val", trace, one + (0.0 if every else gap), two)
            yield from _named("test", trace, two + gap, np.inf)


def _named(part: str, trace: Trace, begin_s: float, end_s: float) -> Iterator[tuple[str, Block]]:
    first, last = (int(np.searchsorted(trace.frames.time_s, t)) for t in (begin_s, end_s))
    if last > first:
        yield part, Block(trace, first, last)


def described(parts: Mapping[str, Sequence[Block]]) -> dict[str, list[str]]:
    """Return in words which frames of which trace each part holds."""
    return {p: [f"{b.trace.name}[{b.first}:{b.last}]" for b in blocks] for p, blocks in parts.items()}
