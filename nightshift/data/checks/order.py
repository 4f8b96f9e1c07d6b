"""Checks of time and parts: D003, D004, D005, D013, D014, D017."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.checks.rows import Rows, listed
from nightshift.data.schema import PARTS, RUN, TIME, VEHICLE
from nightshift.data.splits import MIN_ROWS
from nightshift.findings import Finding, finding

if TYPE_CHECKING:
    import pandas as pd

#: A step longer than this many usual steps is a gap.
_GAP_STEPS = 1.5
#: With fewer numbers in a row than this, single rows repeat by chance: stretches are compared instead.
_TELLING_COLUMNS = 3
_STRETCH_ROWS = 5
_DUPLICATE_SHARE = 0.001


def check_order(rows: Rows) -> list[Finding]:
    """Return the findings on time and on the cut into parts."""
    return [*few_rows(rows), *_time(rows), *_shared_runs(rows), *_shared_vehicles(rows), *_shared_rows(rows)]


def few_rows(rows: Rows) -> list[Finding]:
    """D017."""
    if rows.total >= MIN_ROWS:
        return []
    return [finding("D017", f"the dataset has {rows.total} rows; at least {MIN_ROWS} are needed.")]


def _time(rows: Rows) -> list[Finding]:
    if not rows.in_time:
        return []
    backward, twice, gaps, longest = 0, 0, 0, 0.0
    first_back = ""
    usual = _usual_step(rows)
    for part in PARTS:
        frame = rows.frames[part]
        step = steps_of(frame)
        back = step < 0
        if back.any() and not first_back:
            at = frame[TIME].iloc[int(np.argmax(back))]
            first_back = f"run {frame[RUN].iloc[int(np.argmax(back))]} at {at} ({part})"
        backward += int(back.sum())
        twice += int((step == 0).sum())
        wide = step > _GAP_STEPS * usual
        gaps += int(wide.sum())
        longest = max(longest, float(step[wide].max(initial=0.0)))
    unit = "s" if rows.metadata.sampling_s else "cycles"
    found = []
    if backward:
        found.append(
            finding("D003", f"time goes back {backward} times within a run, first in {first_back}.", columns=[TIME])
        )
    if rows.metadata.group == "vehicle" and rows.metadata.sampling_s is None:
        # Frames of a bus come when they come: no step is usual, and two may share a moment.
        return found
    if twice:
        found.append(finding("D004", f"{twice} rows repeat the time of the row before them.", columns=[TIME]))
    if gaps:
        what = f"{gaps} gaps within runs, the longest {longest:g} {unit}; the usual step is {usual:g} {unit}."
        found.append(finding("D005", what, columns=[TIME]))
    return found


def steps_of(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the time since the row before within the run (s or cycles), `(rows,)`; NaN for a run's first row."""
    step = frame.groupby(RUN)[TIME].diff()
    if step.dtype.kind == "m":
        step = step.dt.total_seconds()
    return step.to_numpy(np.float64)


def _usual_step(rows: Rows) -> float:
    if rows.metadata.sampling_s:
        return rows.metadata.sampling_s
    steps = steps_of(rows.frames["train"])
    forward = steps[steps > 0]
    return float(np.median(forward)) if len(forward) else np.inf


def _shared_runs(rows: Rows) -> list[Finding]:
    if not rows.in_time:
        return []
    runs = {part: set(rows.frames[part][RUN].unique().tolist()) for part in PARTS}
    found = []
    for i, one in enumerate(PARTS):
        for other in PARTS[i + 1 :]:
            both = sorted(runs[one] & runs[other])
            if both:
                what = f"run {listed([str(r) for r in both])} lies in {one} and in {other}."
                found.append(finding("D013", what, columns=[RUN]))
    return found


def _shared_vehicles(rows: Rows) -> list[Finding]:
    """D024, where there are vehicles enough for each part to have its own."""
    if rows.metadata.group != "vehicle":
        return []
    lies_in = {part: set(rows.frames[part][VEHICLE].unique().tolist()) for part in PARTS}
    counts = Counter(v for vehicles in lies_in.values() for v in vehicles)
    shared = sorted(v for v, n in counts.items() if n > 1)
    if not shared:
        return []
    told = listed([str(v) for v in shared])
    what = (
        f"vehicle{'s' * (len(shared) != 1)} {told} of {len(counts)} drive{'s' * (len(shared) == 1)} in several parts."
    )
    return [finding("D024", what, columns=[VEHICLE])]


def _shared_rows(rows: Rows) -> list[Finding]:
    keys = {part: _row_keys(rows, part) for part in PARTS}
    found = []
    for part in ("val", "test"):
        known = keys["train"] if part == "val" else np.concatenate([keys["train"], keys["val"]])
        again = _among(keys[part], known)
        # A part shorter than a stretch has none to compare.
        if again.size and again.mean() > _DUPLICATE_SHARE:
            what = (
                f"{int(again.sum())} of {len(again)} rows of {part} ({again.mean():.1%}) stand in an earlier part too."
            )
            found.append(finding("D014", what))
    return found


def _among(keys: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which keys are known; by sorting, for numpy's own answer is ten times slower on large numbers."""
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    order = np.sort(known)
    found: NDArray[np.bool_] = order[np.minimum(np.searchsorted(order, keys), len(order) - 1)] == keys
    return found


def _row_keys(rows: Rows, part: str) -> NDArray[np.uint64]:
    """Return a hash of each row's inputs, or of the last five rows' where single rows say too little, `(rows,)`."""
    import pandas as pd

    names = [s.name for s in rows.metadata.sensors]
    frame = rows.frames[part][names]
    keys: NDArray[np.uint64] = np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)
    if rows.metadata.group == "vehicle":
        return _moving(keys)
    telling = sum(frame[n].nunique() > len(frame) // 100 for n in names)
    if telling >= _TELLING_COLUMNS or not rows.in_time:
        return keys
    return _stretches(keys)


def _stretches(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hash of each row and the four before it."""
    stretch = keys.copy()
    for back in range(1, _STRETCH_ROWS):
        # An odd multiplier keeps the order of the rows in the hash; uint64 wraps by design.
        stretch = stretch * np.uint64(0x9E3779B97F4A7C15) + np.roll(keys, back)
    return stretch[_STRETCH_ROWS:]


def _moving(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of the stretches in which every row differs from the one before: cars that wait look alike."""
    changes = np.append(False, keys[1:] != keys[:-1])
    all_change = changes.copy()
    for back in range(1, _STRETCH_ROWS - 1):
        all_change &= np.roll(changes, back)
    moving: NDArray[np.uint64] = _stretches(keys)[all_change[_STRETCH_ROWS:]]
    return moving
