"""Checks of measured values: D002, D006, D007, D008, D018."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightshift.data.checks.rows import Rows, listed
from nightshift.data.schema import LABEL, PARTS, RUN
from nightshift.findings import Finding, Severity, finding

#: What loggers write for "no value".
SENTINELS = (-99.0, -999.0, -9999.0, -99999.0, 999.0, 9999.0, 99999.0, -32768.0, 32767.0, 65535.0)
_MIN_SENTINELS = 3
#: A sentinel lies this many times the usual spread away from the other values.
_FAR = 5.0
#: A sensor is stuck when it stands still for this many rows, and this many times longer than it usually does.
_STUCK_ROWS = 48
_STUCK_TIMES = 20.0


def check_sensors(rows: Rows) -> list[Finding]:
    """Return the findings on sensor values."""
    empty = empty_sensors(rows)
    silent = {c for f in empty for c in f.columns}
    numeric = [n for n in rows.sensors("sensor", "setting") if n not in silent]
    return [*empty, *_flatlines(rows, numeric), *_sentinels(rows, numeric), *_ranges(rows), *_missing(rows, silent)]


def empty_sensors(rows: Rows) -> list[Finding]:
    """D002: a sensor without any value in some part."""
    found = []
    for sensor in rows.metadata.sensors:
        parts = [p for p in PARTS if rows.frames[p][sensor.name].isna().all()]
        if not parts:
            continue
        critical = sensor.name in rows.metadata.critical
        found.append(
            finding(
                "D002",
                f"{'critical ' if critical else ''}sensor '{sensor.name}' has no value in {', '.join(parts)}.",
                severity=Severity.BLOCKER if critical else Severity.WARNING,
                remedy="" if critical else "Drop the column or mend the sensor.",
                columns=[sensor.name],
            )
        )
    return found


def _flatlines(rows: Rows, names: list[str]) -> list[Finding]:
    constant = [n for n in names if _is_constant(rows.everywhere(n))]
    found = []
    if constant:
        what = f"{listed(constant)} never change{'s' if len(constant) == 1 else ''}."
        found.append(finding("D006", what, remedy="Drop the column, or check the sensor.", columns=constant))
    if not rows.in_time or rows.metadata.group == "vehicle":
        # A car that waits has many signals that stand still: see `checks/vehicle.py`.
        return found
    stuck: dict[str, int] = {}
    for name in (n for n in rows.sensors("sensor") if n in names and n not in constant):
        for part in PARTS:
            longest, usual = _standing(rows.numbers(part, name), rows.frames[part][RUN].to_numpy())
            if longest >= _STUCK_ROWS and longest > _STUCK_TIMES * usual:
                stuck[name] = max(longest, stuck.get(name, 0))
    if stuck:
        told = [f"{name} ({n} rows)" for name, n in stuck.items()]
        found.append(finding("D006", f"stands still for long: {listed(told)}.", columns=stuck))
    return found


def _is_constant(values: NDArray[np.float64]) -> bool:
    known = values[~np.isnan(values)]
    return bool(len(known)) and bool(known.min() == known.max())


def _standing(values: NDArray[np.float64], runs: NDArray[np.int64]) -> tuple[int, float]:
    """Return the longest and the usual (mean) number of neighbouring rows with one value; NaN equals nothing."""
    begins = np.concatenate([[True], (values[1:] != values[:-1]) | (runs[1:] != runs[:-1])])
    lengths = np.diff(np.append(np.flatnonzero(begins), len(values)))
    return int(lengths.max()), float(lengths.mean())


def _sentinels(rows: Rows, names: list[str]) -> list[Finding]:
    told: dict[str, str] = {}
    for name in names:
        values = rows.everywhere(name)
        values = values[~np.isnan(values)]
        for sentinel in SENTINELS:
            # Stored as float32; these values are exact there.
            count = int((values == sentinel).sum())
            if count >= _MIN_SENTINELS and _lies_far(sentinel, values[values != sentinel]):
                told[name] = f"{name} ({count} times {sentinel:g})"
    if not told:
        return []
    return [finding("D007", f"looks like a code for missing: {listed(list(told.values()))}.", columns=told)]


def _lies_far(value: float, others: NDArray[np.float64]) -> bool:
    if not len(others):
        return False
    low, high = np.quantile(others, [0.01, 0.99])
    return bool(value < low - _FAR * (high - low) or value > high + _FAR * (high - low))


def _ranges(rows: Rows) -> list[Finding]:
    told: dict[str, str] = {}
    for sensor in rows.metadata.sensors:
        if sensor.role == "category" or (sensor.minimum is None and sensor.maximum is None):
            continue
        values = rows.everywhere(sensor.name)
        low = -np.inf if sensor.minimum is None else sensor.minimum
        high = np.inf if sensor.maximum is None else sensor.maximum
        outside = values[(values < low) | (values > high)]
        if len(outside):
            told[sensor.name] = (
                f"{sensor.name} ({len(outside)} rows outside {low:g}..{high:g} {sensor.unit}".rstrip()
                + f", e.g. {outside[0]:g})"
            )
    return [finding("D008", f"{listed(list(told.values()))}.", columns=told)] if told else []


def _missing(rows: Rows, silent: set[str]) -> list[Finding]:
    share = {
        s.name: sum(int(rows.frames[p][s.name].isna().sum()) for p in PARTS) / rows.total
        for s in rows.metadata.sensors
        if s.name not in silent
    }
    told = [f"{n} ({v:.2%})" for n, v in sorted(share.items(), key=lambda nv: -nv[1]) if v > 0]
    found = []
    if told:
        columns = [n for n, v in share.items() if v > 0]
        found.append(finding("D018", f"values are missing in {listed(told)}.", columns=columns))
    unknown = sum(int(rows.frames[p][LABEL].isna().sum()) for p in PARTS if LABEL in rows.frames[p])
    if unknown:
        what = f"{unknown} rows have no label; classification leaves them out."
        found.append(finding("D018", what, severity=Severity.TIP, remedy="", columns=[LABEL]))
    return found
