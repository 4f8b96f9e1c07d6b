"""Checks of trips: D006 (a signal that is stuck while the car moves), D023, D025 (mixed units)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.data.checks.rows import Rows, listed
from nightshift.data.checks.truths import check_truths
from nightshift.data.schema import PARTS, RUN, Sensor
from nightshift.findings import Finding, finding

#: Rows of the families' windows by default: a minute of 1 Hz.
WINDOW_ROWS = 60
VELOCITY, ACCELERATION = "velocity", "acceleration"
#: Below this a car stands, m/s.
_STANDS_MPS = 0.5
#: A signal is stuck when it keeps one value for a minute of movement, and this many times longer than it usually does.
_STUCK_TIMES = 20.0
#: Unit -> how many times faster velocity rises than acceleration says, and the column that is in it.
_SPEEDS = {
    "km/h": (3.6, VELOCITY),
    "mph": (2.23694, VELOCITY),
    "ft/s": (3.28084, VELOCITY),
    "g": (9.80665, ACCELERATION),
}
_SLOPE_TOLERANCE = 0.08
_LEAST_CORRELATION = 0.8
#: No cabin, engine or weather has it in degC; each of them has it in kelvin.
_KELVIN = 230.0
_PRESSURE, _SPIN = "manifold_pressure", "engine_rpm"
#: An engine turns above this; a petrol engine idles at 30 to 45 kPa of intake pressure.
_RUNS_RPM, _UNTHROTTLED_KPA = 400.0, 80.0


def check_vehicle(rows: Rows, needs: frozenset[str]) -> list[Finding]:
    """Return the findings on a vehicle's trips that concern a family with these needs."""
    trips = [trip for part in PARTS for trip in _trips(rows, part)]
    found = _short(rows, trips)
    if rows.metadata.sampling_s is not None:
        found += [*_stuck(rows), *_mixed_speeds(rows), *_mixed_scales(rows)]
    return [*found, *_mended_headers(rows), *_lean(rows, needs), *check_truths(rows, needs)]


@dataclass(frozen=True)
class _Trip:
    """One trip: its part, number, first row and length."""

    part: str
    number: int
    first: int
    rows: int


def _trips(rows: Rows, part: str) -> Iterator[_Trip]:
    run = rows.frames[part][RUN].to_numpy()
    first = _begins(run)
    for start, stop in zip(first.tolist(), [*first[1:].tolist(), len(run)], strict=True):
        yield _Trip(part, int(run[start]), start, stop - start)


def _begins(run: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the first row of each trip."""
    return np.flatnonzero(np.append(True, run[1:] != run[:-1])) if len(run) else np.zeros(0, np.intp)


def _short(rows: Rows, trips: list[_Trip]) -> list[Finding]:
    """D023."""
    short = [trip for trip in trips if trip.rows < WINDOW_ROWS]
    if not short:
        return []
    told = []
    for part in PARTS:
        count, of = (sum(t.part == part for t in chosen) for chosen in (short, trips))
        told += [f"{count} of {of} trips of {part}"] if count else []
    least = min(t.rows for t in short)
    what = f"{', '.join(told)} are shorter than the {WINDOW_ROWS} rows of a window (the shortest: {least})."
    return [finding("D023", what, columns=[RUN])]


@dataclass(frozen=True)
class _Stands:
    """Stretches of rows in which one signal keeps one value, `(n,)` each.

    Attributes:
        value: that it keeps.
        trip: part's place times 2^40 + number, so that it names a trip of any part.
        rows: of the stretch.
        moving: rows of it in which the car moves.
        whole: whether it is a whole trip.
    """

    value: NDArray[np.float64]
    trip: NDArray[np.int64]
    rows: NDArray[np.int64]
    moving: NDArray[np.int64]
    whole: NDArray[np.bool_]


def _stuck(rows: Rows) -> list[Finding]:
    """D006: a signal that stands still for a minute or more while the car moves."""
    moving = {part: _moves(rows, part) for part in PARTS}
    told: dict[str, str] = {}
    for name in rows.sensors("sensor"):
        stands = _stands(rows, name, moving)
        stuck = _is_stuck(stands)
        if stuck.any():
            count = len(np.unique(stands.trip[stuck]))
            trips = f"{count} trip{'s' * (count != 1)}"
            told[name] = f"{name} (up to {int(stands.rows[stuck].max())} rows, in {trips})"
    if not told:
        return []
    what = f"stands still while the vehicle moves: {listed(list(told.values()))}."
    return [finding("D006", what, remedy="Check the sensor; leave those trips or the column out.", columns=told)]


def _moves(rows: Rows, part: str) -> NDArray[np.bool_]:
    if VELOCITY not in rows.sensors("sensor"):
        return np.ones(len(rows.frames[part]), dtype=bool)
    moves: NDArray[np.bool_] = rows.numbers(part, VELOCITY) > _STANDS_MPS
    return moves


def _stands(rows: Rows, name: str, moving: dict[str, NDArray[np.bool_]]) -> _Stands:
    made: list[_Stands] = []
    for place, part in enumerate(PARTS):
        values, run = rows.numbers(part, name), rows.frames[part][RUN].to_numpy(np.int64)
        new_trip = np.append(True, run[1:] != run[:-1])
        first = np.flatnonzero(np.append(True, values[1:] != values[:-1]) | new_trip)
        last = np.append(first[1:], len(run)) - 1
        ends_trip = np.append(new_trip[1:], True)
        made.append(
            _Stands(
                value=values[first],
                trip=run[first] + (place << 40),
                rows=last - first + 1,
                moving=np.add.reduceat(moving[part].astype(np.int64), first),
                whole=new_trip[first] & ends_trip[last],
            )
        )
    return _Stands(*(np.concatenate([getattr(m, f) for m in made]) for f in _Stands.__dataclass_fields__))


def _is_stuck(stands: _Stands) -> NDArray[np.bool_]:
    """Return which stretches no working sensor shows.

    A value that a signal rests at (no brake, a warm engine) occurs in most trips: resting there means nothing, but for
    a whole trip of a signal that seldom does so.
    """
    usual = float(stands.rows.mean())
    long: NDArray[np.bool_] = (
        (stands.moving >= WINDOW_ROWS) & (stands.rows > _STUCK_TIMES * usual) & ~np.isnan(stands.value)
    )
    if not long.any():
        return long
    trips = len(np.unique(stands.trip))
    values, place = np.unique(stands.value[long], return_inverse=True)
    there = np.flatnonzero(np.isin(stands.value, values))
    met = np.unique(np.stack([np.searchsorted(values, stands.value[there]), stands.trip[there]]), axis=1)[0]
    rests = np.zeros(len(long), dtype=bool)
    rests[long] = np.bincount(met, minlength=len(values))[place] > max(1, trips / 2)
    seldom = int((stands.whole & long).sum()) <= trips / 5
    stuck: NDArray[np.bool_] = long & (~rests | (stands.whole & seldom))
    return stuck


def _mended_headers(rows: Rows) -> list[Finding]:
    """D028."""
    files = rows.metadata.provenance.details.get("mended_headers")
    if not isinstance(files, list) or not files:
        return []
    one = len(files) == 1
    told = str(files[0]) if one else f"{len(files)} files, such as {files[0]},"
    what = f"{told} {'has' if one else 'have'} a mis-encoded degree sign in the header; it was read as °."
    return [finding("D028", what)]


def _lean(rows: Rows, needs: frozenset[str]) -> list[Finding]:
    """D027: an engine that idles without a throttled intake burns lean, as a diesel does."""
    from_air = rows.metadata.provenance.details.get("fuel_from") == "air mass"
    if not from_air or not needs & {"fuel", "carbon"} or not {VELOCITY, _PRESSURE, _SPIN} <= set(rows.metadata.columns):
        return []
    idles = (rows.everywhere(VELOCITY) < _STANDS_MPS) & (rows.everywhere(_SPIN) > _RUNS_RPM)
    pressure = rows.everywhere(_PRESSURE)[idles]
    pressure = pressure[~np.isnan(pressure)]
    if len(pressure) < WINDOW_ROWS or float(np.median(pressure)) < _UNTHROTTLED_KPA:
        return []
    what = (
        f"fuel was reckoned from air mass as if all of it burned; at idle the intake stands at "
        f"{float(np.median(pressure)):.0f} kPa, as a diesel's does: true fuel and CO2 are lower."
    )
    return [finding("D027", what, columns=[_PRESSURE])]


def _mixed_speeds(rows: Rows) -> list[Finding]:
    """D025: trips whose velocity rises as many times faster than acceleration says as another unit has it."""
    if not {VELOCITY, ACCELERATION} <= set(rows.sensors("sensor")):
        return []
    units: dict[str, list[int]] = {}
    trips = 0
    for part in PARTS:
        run = rows.frames[part][RUN].to_numpy(np.int64)
        slope, correlation = _rise(rows.numbers(part, VELOCITY), rows.numbers(part, ACCELERATION), run)
        number = run[_begins(run)]
        trips += len(number)
        # km/h and ft/s lie near each other: a trip is in the unit that fits it best.
        off = np.abs(slope / np.array([[factor] for factor, _ in _SPEEDS.values()]) - 1)
        fits = (off == off.min(axis=0)) & (off < _SLOPE_TOLERANCE) & (correlation > _LEAST_CORRELATION)
        for unit, here in zip(_SPEEDS, fits, strict=True):
            if here.any():
                units.setdefault(unit, []).extend(number[here].tolist())
    found = []
    for unit, numbers in units.items():
        factor, column = _SPEEDS[unit]
        what = (
            f"'{column}' looks like {unit} in {len(numbers)} of {trips} trips ({listed([str(n) for n in numbers])}): "
            f"'{VELOCITY}' rises {factor:.3g} times as fast as '{ACCELERATION}' says."
        )
        remedy = f"Write '{column}' of all trips in {'m/s' if column == VELOCITY else 'm/s2'}."
        found.append(finding("D025", what, remedy=remedy, columns=[VELOCITY, ACCELERATION]))
    return found


def _rise(
    velocity: NDArray[np.float64], acceleration: NDArray[np.float64], run: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each trip, the slope of what velocity gains in a row over acceleration, and their correlation.

    Sources differ in whether a row's acceleration leads to it, from it, or lies between: the one that fits best counts.
    """
    gain = np.append(0.0, np.diff(velocity))
    before = np.append(0.0, acceleration[:-1])
    use = np.append(False, run[1:] == run[:-1]) & np.isfinite(gain) & (velocity > 0)
    fits = [_fit(taken, gain, use, run) for taken in (acceleration, before, (acceleration + before) / 2)]
    best = np.argmax([np.nan_to_num(correlation) for _, correlation in fits], axis=0)
    slope, correlation = (np.choose(best, [fit[i] for fit in fits]) for i in (0, 1))
    return slope, correlation


def _fit(
    x: NDArray[np.float64], y: NDArray[np.float64], use: NDArray[np.bool_], run: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each trip's slope of y over x through zero, and the correlation."""
    first = _begins(run)
    both = use & np.isfinite(x)
    x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
    xy, xx, yy = (np.add.reduceat(v, first) for v in (x * y, x * x, y * y))
    with np.errstate(divide="ignore", invalid="ignore"):
        return xy / xx, xy / np.sqrt(xx * yy)


def _mixed_scales(rows: Rows) -> list[Finding]:
    """D025: trips in per cent beside shares, or in kelvin beside degC."""
    told: dict[str, str] = {}
    for sensor in (s for s in rows.metadata.sensors if s.role in ("sensor", "setting")):
        peaks = [_peaks(rows, part, sensor.name) for part in PARTS]
        highest, lowest = (np.concatenate([p[i] for p in peaks]) for i in (0, 1))
        why, here = _scale(sensor, highest, lowest)
        if here.any():
            told[sensor.name] = f"{sensor.name} ({why} in {int(here.sum())} of {len(highest)} trips)"
    return [finding("D025", f"{listed(list(told.values()))}.", columns=told)] if told else []


def _peaks(rows: Rows, part: str, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest absolute value and the smallest value of each trip; NaN where it has none."""
    values = rows.numbers(part, name)
    first = _begins(rows.frames[part][RUN].to_numpy(np.int64))
    return np.fmax.reduceat(np.abs(values), first), np.fmin.reduceat(values, first)


def _scale(sensor: Sensor, highest: NDArray[np.float64], lowest: NDArray[np.float64]) -> tuple[str, NDArray[np.bool_]]:
    """Return what a column seems to be in and in which trips; they may be all."""
    if sensor.unit == "degC" and sensor.maximum is not None:
        return "looks like kelvin", lowest > max(_KELVIN, sensor.maximum)
    if sensor.unit == "" and sensor.maximum == 1:
        return "looks like per cent", (highest > 2) & (highest <= 100)
    if sensor.unit == "%" and np.nanmedian(np.append(highest, 0.0)) > 10:
        return "looks like a share of one", (highest > 0) & (highest <= 1)
    return "", np.zeros(len(highest), dtype=bool)
