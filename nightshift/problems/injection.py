"""Anomalies put into real rows, for machines that have no labels: stated kinds, seeded, and known row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Kinds for rows that follow each other, and the ones that also make sense for independent rows.
KINDS = ("spike", "drift", "flatline", "noise", "lag")
ROW_KINDS = ("spike", "noise")

#: Share of rows that are made anomalous, and sizes in standard deviations of the sensor over training rows.
SHARE = 0.08
SPIKE_SD = (4.0, 8.0)
DRIFT_SD = (3.0, 6.0)
NOISE_SD = 3.0

_SPIKE_ROWS = 3
_SHORTEST_ROWS = 12


@dataclass(frozen=True)
class Injected:
    """A table with anomalies in it.

    Attributes:
        values: float32 `(rows, columns)`, a changed copy, in the columns' units.
        label: int64 `(rows,)`, 1 inside an episode.
        kind: `(rows,)`, the kind inside an episode, "" elsewhere.
        judged: `(rows,)`, False just after an episode, where a window still holds its end and neither label is fair.
    """

    values: NDArray[np.float32]
    label: NDArray[np.int64]
    kind: NDArray[np.str_]
    judged: NDArray[np.bool_]


@dataclass(frozen=True)
class _Episode:
    kind: str
    start: int
    stop: int
    columns: NDArray[np.int64]


def inject(
    values: NDArray[np.float32],
    runs: NDArray[np.int64],
    columns: NDArray[np.int64],
    spread: NDArray[np.float64],
    *,
    window_rows: int,
    seed: int,
) -> Injected:
    """Put episodes of every kind into about `SHARE` of the rows.

    Args:
        values: float32 `(rows, columns)`, oldest first within a run.
        runs: int64 `(rows,)`, run of each row; an episode never crosses runs.
        columns: positions of the columns that may be changed (measured sensors).
        spread: `(columns,)` standard deviations over training rows, in the columns' units.
        window_rows: rows of a model's window; 1 means that rows are independent.
        seed: of places, kinds, sensors and sizes.
    """
    rng = np.random.default_rng(seed)
    changed = np.array(values, dtype=np.float32)
    label = np.zeros(len(values), dtype=np.int64)
    kind = np.full(len(values), "", dtype="<U8")
    judged = np.ones(len(values), dtype=np.bool_)
    for episode in _plan(rng, runs, columns, window_rows):
        rows = slice(episode.start, episode.stop)
        for column in episode.columns:
            changed[rows, column] = _episode_values(rng, values[:, column], episode, runs, float(spread[column]))
        label[rows], kind[rows] = 1, episode.kind
        end = min(episode.stop + window_rows - 1, len(values))
        judged[episode.stop : end] = runs[episode.stop : end] != runs[episode.start]
    return Injected(changed, label, kind, judged)


def _plan(
    rng: np.random.Generator, runs: NDArray[np.int64], columns: NDArray[np.int64], window_rows: int
) -> list[_Episode]:
    """Choose slots at random; kinds take turns, so that each is met about equally often."""
    kinds = KINDS if window_rows > 1 else ROW_KINDS
    longest = max(_SHORTEST_ROWS, window_rows) if window_rows > 1 else 1
    slots = _slots(runs, longest, longest + window_rows - 1)
    mean_rows = np.mean([_length(k, longest) for k in kinds])
    wanted = min(len(slots), max(len(kinds), round(SHARE * len(runs) / mean_rows)))
    episodes = []
    for turn, slot in enumerate(rng.permutation(len(slots))[:wanted]):
        kind = kinds[turn % len(kinds)]
        start = slots[slot]
        n_columns = int(rng.integers(1, min(2, len(columns)) + 1))
        chosen = rng.choice(columns, size=n_columns, replace=False)
        episodes.append(_Episode(kind, start, start + _length(kind, longest), chosen))
    return episodes


def _length(kind: str, longest: int) -> int:
    return min(_SPIKE_ROWS, longest) if kind == "spike" else longest


def _slots(runs: NDArray[np.int64], episode_rows: int, slot_rows: int) -> list[int]:
    """First rows of stretches that hold an episode and the windows after it, `episode_rows` into each run."""
    edges = np.flatnonzero(np.diff(runs)) + 1
    starts, stops = np.append(0, edges), np.append(edges, len(runs))
    lead = episode_rows if slot_rows > 1 else 0  # a lag and a drift need rows before them
    return [int(s) for a, b in zip(starts, stops, strict=True) for s in range(a + lead, b - slot_rows + 1, slot_rows)]


def _episode_values(
    rng: np.random.Generator, series: NDArray[np.float32], episode: _Episode, runs: NDArray[np.int64], spread: float
) -> NDArray[np.float64]:
    """Return the changed stretch of one column, `(stop - start,)`, in its unit."""
    own = series[episode.start : episode.stop].astype(np.float64)
    n = len(own)
    sign = 1.0 if rng.random() < 0.5 else -1.0
    if episode.kind == "spike":
        return own + sign * rng.uniform(*SPIKE_SD) * spread
    if episode.kind == "drift":
        return own + sign * rng.uniform(*DRIFT_SD) * spread * np.arange(1, n + 1) / n
    if episode.kind == "noise":
        return own + rng.normal(scale=NOISE_SD * spread, size=n)
    if episode.kind == "flatline":
        return np.full(n, own[0])
    return series[episode.start - n : episode.stop - n].astype(np.float64)
