"""Checks of the label and of remaining life: D009, D010, D011, D012, D015, D019."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightshift.data.checks.order import steps_of
from nightshift.data.checks.rows import Rows, listed
from nightshift.data.schema import LABEL, PARTS, RUL, RUN, TimeKind
from nightshift.findings import Finding, finding

RARE = 0.01
GIVES_AWAY_AUC = 0.98
GIVES_AWAY_CORRELATION = 0.995
#: `rul` may differ from the clock by this share of a step.
_STEP_TOLERANCE = 0.01
_SECONDS_PER_HOUR = 3600.0


def check_labels(rows: Rows) -> list[Finding]:
    """Return the findings on `failure_status`, for a family that needs it."""
    return [*_classes(rows), *_leaks(rows)]


def _classes(rows: Rows) -> list[Finding]:
    known = {part: rows.labels(part) for part in PARTS}
    every = np.concatenate(list(known.values()))
    if len(np.unique(every)) < 2:
        value = f"only {every[0]:g}" if len(every) else "no value"
        return [finding("D009", f"`{LABEL}` holds {value} in all {rows.total} rows.", columns=[LABEL])]
    poor = [part for part in PARTS if len(np.unique(known[part])) < 2]
    found = []
    if poor:
        counts = ", ".join(f"{p}: {int((known[p] == 1).sum())} of {len(known[p])} failing" for p in poor)
        found.append(finding("D019", f"one class only in {' and '.join(poor)} ({counts}).", columns=[LABEL]))
    share = float(every.mean())
    if share < RARE or share > 1 - RARE:
        found.append(finding("D010", f"{share:.2%} of the rows are failing.", columns=[LABEL]))
    return found


def _leaks(rows: Rows) -> list[Finding]:
    label = rows.numbers("train", LABEL)
    known = ~np.isnan(label)
    if len(np.unique(label[known])) < 2:
        return []
    told: dict[str, str] = {}
    for sensor in (s for s in rows.metadata.sensors if s.role != "age"):
        if sensor.role == "category":
            values = _rate_by_value(rows, sensor.name, label)
        else:
            values = rows.numbers("train", sensor.name)
        area = auc(values[known], label[known])
        if max(area, 1 - area) > GIVES_AWAY_AUC:
            told[sensor.name] = f"{sensor.name} (AUC {max(area, 1 - area):.3f})"
    return (
        [finding("D015", f"{listed(list(told.values()))} alone tells the classes apart.", columns=told)] if told else []
    )


def auc(values: NDArray[np.float64], label: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve of one feature, ties shared; 0.5 when it cannot be told.

    Args:
        values: `(n,)`, NaN left out.
        label: `(n,)` 0 or 1.
    """
    here = ~np.isnan(values)
    positive = label[here] == 1
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return 0.5
    ranks = _ranks(values[here])
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    import pandas as pd

    return np.asarray(pd.Series(values).rank(), dtype=np.float64)


def _rate_by_value(rows: Rows, name: str, label: NDArray[np.float64]) -> NDArray[np.float64]:
    import pandas as pd

    values = rows.frames["train"][name]
    if values.nunique() > len(values) / 10:
        # So many values that each row has nearly its own: rates would only repeat the label.
        return np.full(len(values), np.nan)
    return pd.Series(label).groupby(values.to_numpy()).transform("mean").to_numpy(np.float64)


def check_rul(rows: Rows) -> list[Finding]:
    """Return the findings on `rul`, for a family that needs it."""
    every = rows.everywhere(RUL)
    found = []
    if (every < 0).any():
        what = f"`{RUL}` is negative in {int((every < 0).sum())} rows (least {np.nanmin(every):g})."
        found.append(finding("D011", what, columns=[RUL]))
    empty = [part for part in PARTS if np.isnan(rows.numbers(part, RUL)).all()]
    if empty:
        found.append(finding("D019", f"`{RUL}` is unknown in all rows of {' and '.join(empty)}.", columns=[RUL]))
    return [*found, *_steady_fall(rows), *_rul_leaks(rows)]


def _steady_fall(rows: Rows) -> list[Finding]:
    if not rows.in_time:
        return []
    wrong, runs = 0, set()
    for part in PARTS:
        frame = rows.frames[part]
        step = steps_of(frame)
        if rows.metadata.time_kind is TimeKind.CALENDAR:
            step = step / _SECONDS_PER_HOUR
        fall = -frame.groupby(RUN)[RUL].diff().to_numpy(np.float64)
        off = np.abs(fall - step) > _STEP_TOLERANCE * np.abs(step) + 1e-6
        wrong += int(off.sum())
        runs |= set(frame[RUN].to_numpy()[off].tolist())
    if not wrong:
        return []
    share = wrong / rows.total
    what = f"`{RUL}` does not fall by the time step in {wrong} rows ({share:.1%}) of {len(runs)} runs."
    return [finding("D012", what, remedy="Recompute `rul` from run ends; store it without a cap.", columns=[RUL])]


def _rul_leaks(rows: Rows) -> list[Finding]:
    told: dict[str, str] = {}
    rul = rows.numbers("train", RUL)
    for name in rows.sensors("sensor", "setting"):
        values = rows.numbers("train", name)
        both = ~np.isnan(values) & ~np.isnan(rul)
        if both.sum() < 10 or np.ptp(values[both]) == 0 or np.ptp(rul[both]) == 0:
            continue
        strength = abs(float(np.corrcoef(_ranks(values[both]), _ranks(rul[both]))[0, 1]))
        if strength > GIVES_AWAY_CORRELATION:
            told[name] = f"{name} (rank correlation {strength:.3f})"
    return [finding("D015", f"{listed(list(told.values()))} alone tells `{RUL}`.", columns=told)] if told else []
