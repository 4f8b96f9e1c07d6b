"""Brings logs of trips to rows of one second: faster ones are averaged down, and pauses cut a trip in stretches."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import RUN, TIME, VEHICLE
from nightshift.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

#: Rows of a second already, give or take what a logger's clock does.
_ONE_HZ = (0.9, 1.1)
#: A logger that says nothing for longer than this has stopped, s; shorter holes hold the last value.
PAUSE_S = 3.0
#: A reading holds for this long where a logger asks for one value after the other, s.
_HOLDS_S = 5
#: Neighbouring rows are no further apart, s.
_STEP_S = 1.5
#: Stretches shorter than this teach nothing where a trip has longer ones, s.
_WINDOW_S = 60


@dataclass(frozen=True)
class OneHertz:
    """Trips at one row a second.

    Attributes:
        frame: the rows; `run` is the trip still.
        held: rows that repeat the one before them.
        left_out: rows of stretches too short to use.
    """

    frame: pd.DataFrame
    held: int = 0
    left_out: int = 0


def to_one_hertz(frame: pd.DataFrame, source: str, *, in_steps: Collection[str] = ()) -> OneHertz:
    """Average a log down to one row a second.

    A second's numbers are means of what was read in it, its kinds what most of its rows say; what counts in steps
    (a gear) is what was read last.

    Args:
        frame: `time` (UTC), `run` (one trip, its rows together), `vehicle`, numbers and kinds.
        source: for messages.
        in_steps: columns that count.

    Raises:
        DataError: when time goes back within a trip, or rows are further apart than a second.
    """
    seconds = _epoch_s(frame)
    run = frame[RUN].to_numpy(np.int64)
    step = np.diff(seconds)[run[1:] == run[:-1]]
    if (step < 0).any():
        row = int(np.flatnonzero((np.diff(seconds) < 0) & (run[1:] == run[:-1]))[0]) + 2
        raise DataError(f"D003: time goes back in row {row} of {source}.", hint="Sort the rows of each trip by time.")
    usual = float(np.median(step)) if len(step) else 1.0
    if usual > _ONE_HZ[1]:
        raise DataError(
            f"the rows of {source} are {usual:g} s apart, expected 1 s or less.", hint="Log once a second or faster."
        )
    binned = frame if usual >= _ONE_HZ[0] else _averaged(frame, seconds, run, in_steps)
    return _without_holes(binned)


def number_stretches(parts: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Give each stretch without a pause a run of its own, in all parts together."""
    out, first = {}, 0
    for part, frame in parts.items():
        begins = _begins(frame[RUN].to_numpy(np.int64), _epoch_s(frame), PAUSE_S)
        number = np.cumsum(begins) - 1
        out[part] = with_columns(frame, **{RUN: (number + first).astype(np.int64)})
        first += int(number[-1]) + 1 if len(number) else 0
    return out


def with_columns(frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """Return a frame with other columns; the rest is shared, where `assign` copies all of it."""
    made = frame.copy(deep=False)
    for name, values in columns.items():
        made[name] = values
    return made


def with_acceleration(frame: pd.DataFrame) -> pd.DataFrame:
    """Add what velocity has gained in the last second, m/s2, where there is velocity and no acceleration.

    A row after a pause has the value of the next one.
    """
    if "acceleration" in frame or "velocity" not in frame:
        return frame
    run = frame[RUN].to_numpy()
    gain = frame["velocity"].diff().to_numpy(np.float64)
    follows = np.append(False, (run[1:] == run[:-1]) & (np.diff(_epoch_s(frame)) < _STEP_S))
    made = frame.assign(acceleration=np.where(follows, gain, np.nan))
    return made.assign(acceleration=made.groupby(RUN)["acceleration"].bfill(limit=1))


def _epoch_s(frame: pd.DataFrame) -> NDArray[np.float64]:
    stamps = np.asarray(frame[TIME].dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[ns]")
    return stamps.astype(np.int64) / 1e9


def _begins(run: NDArray[np.int64], seconds: NDArray[np.float64], pause_s: float) -> NDArray[np.bool_]:
    """Return which rows begin a stretch."""
    return np.append(True, (run[1:] != run[:-1]) | (np.diff(seconds) > pause_s))


def _averaged(
    frame: pd.DataFrame, seconds: NDArray[np.float64], run: NDArray[np.int64], in_steps: Collection[str]
) -> pd.DataFrame:
    import pandas as pd

    whole = np.floor(seconds + 1e-6).astype(np.int64)
    first = np.flatnonzero(np.append(True, (run[1:] != run[:-1]) | (whole[1:] != whole[:-1])))
    out: dict[str, Any] = {TIME: pd.to_datetime(whole[first], unit="s", utc=True).as_unit("ns")}
    for name in frame.columns:
        if name == TIME:
            continue
        column = frame[name]
        if name in (RUN, VEHICLE):
            out[str(name)] = column.to_numpy()[first]
        elif column.dtype == object:
            out[str(name)] = _most(column, first)
        elif name in in_steps:
            out[str(name)] = column.groupby(np.repeat(first, np.diff(np.append(first, len(run))))).last().to_numpy()
        else:
            out[str(name)] = _means(column.to_numpy(np.float64), first)
    made = pd.DataFrame(out)
    readings = [str(c) for c in made if c not in (TIME, RUN, VEHICLE) and made[c].dtype != object]
    stretch = np.cumsum(_begins(made[RUN].to_numpy(np.int64), whole[first].astype(np.float64), PAUSE_S))
    made[readings] = made[readings].groupby(stretch).ffill(limit=_HOLDS_S)
    return made


def _means(values: NDArray[np.float64], first: NDArray[np.intp]) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), first)
    counts = np.add.reduceat(known.astype(np.int64), first)
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(first), np.nan), where=counts > 0)
    return means


def _most(column: pd.Series[Any], first: NDArray[np.intp]) -> NDArray[np.object_]:
    """Return what most rows of each second say; of equals, the one that comes first in the alphabet."""
    import pandas as pd

    codes, words = pd.factorize(column, sort=True)
    counts = np.stack([np.add.reduceat((codes == i).astype(np.int64), first) for i in range(len(words))] or [first * 0])
    best = counts.argmax(axis=0)
    named = np.array([*words, None], dtype=object)
    most: NDArray[np.object_] = named[np.where(counts.max(axis=0) > 0, best, -1)]
    return most


def _without_holes(frame: pd.DataFrame) -> OneHertz:
    """Repeat a row where the log says nothing for a moment; drop short ends that a pause cuts off."""
    run, seconds = frame[RUN].to_numpy(np.int64), np.round(_epoch_s(frame)).astype(np.int64)
    begins = _begins(run, seconds.astype(np.float64), PAUSE_S)
    until_next = np.append(np.where(begins[1:], 1, np.diff(seconds)), 1) if len(run) else np.zeros(0, np.int64)
    times = np.maximum(until_next, 1)
    stretch = np.cumsum(begins) - 1
    length = np.bincount(stretch, weights=times)[stretch]
    use = (length >= _WINDOW_S) | ~_has_longer(run, length)
    held = int((times[use] - 1).sum())
    left_out = int(times[~use].sum())
    if not held and not left_out:
        return OneHertz(frame)
    taken = np.repeat(np.flatnonzero(use), times[use])
    after = np.arange(len(taken)) - np.repeat(np.cumsum(times[use]) - times[use], times[use])
    import pandas as pd

    made = frame.iloc[taken].reset_index(drop=True)
    made[TIME] = made[TIME] + pd.to_timedelta(after, unit="s")
    return OneHertz(made, held, left_out)


def _has_longer(run: NDArray[np.int64], length: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows are of a trip with a stretch that is long enough."""
    first = np.flatnonzero(np.append(True, run[1:] != run[:-1]))
    longest = np.maximum.reduceat(length, first)
    return np.repeat(longest >= _WINDOW_S, np.diff(np.append(first, len(run))))
