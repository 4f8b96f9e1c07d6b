"""Cuts rows into train, val and test, once, at landing, so that one split serves every family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import LABEL, PARTS, RUN, TIME, VEHICLE, TimeKind
from nightshift.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

CUTS = (0.70, 0.85)
MIN_ROWS = 50
#: With fewer vehicles than this some of them lie in several parts, and their trips are kept whole.
MIN_VEHICLES = 3
#: A cut by time may move this share of all rows to keep a labelled stretch whole.
_SLACK = 0.10


def split(frame: pd.DataFrame, time_kind: TimeKind, *, embargo_s: float = 0, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Cut a dataset's rows into its three parts.

    Calendar: whole runs in time order near 70 and 85 % of the rows; rows of the later part that begin within
    `embargo_s` after the earlier part's end are dropped. With fewer than three runs the cut is by time, and each
    part's stretch of a run becomes a run of its own, so that no run lies in two parts. Cycles: whole runs drawn by
    seed. None: rows drawn by seed within each class.

    Args:
        frame: all rows; `run` present, `time` sorted within each run.
        time_kind: of the dataset.
        embargo_s: in seconds (calendar).
        seed: of the draws.

    Raises:
        DataError: for fewer than 50 rows, or when a part would be empty.
    """
    if len(frame) < MIN_ROWS:
        raise DataError(f"the data has {len(frame)} rows, at least {MIN_ROWS} are needed.", hint="Land more history.")
    if time_kind is TimeKind.NONE:
        cut = _stratified(frame, seed)
    elif time_kind is TimeKind.CYCLES:
        cut = _by_drawn_runs(frame, seed)
    else:
        cut = _by_time(frame, embargo_s)
    for part, rows in cut.items():
        if not len(rows):
            raise DataError(
                f"the {part} part would be empty.",
                hint="Land more runs, give a smaller embargo in the mapping, or, where the runs of several machines "
                "overlap in time, import one machine at a time.",
            )
    return {part: rows.reset_index(drop=True) for part, rows in cut.items()}


def split_train_val(frame: pd.DataFrame, *, seed: int = 0, val_share: float = 0.15) -> dict[str, pd.DataFrame]:
    """Cut the training file of data with a published test part: whole runs drawn by seed, 85/15.

    Raises:
        DataError: when there are fewer than two runs.
    """
    runs = np.unique(frame[RUN])
    if len(runs) < 2:
        raise DataError("the training file holds one run; validation needs another.", hint="Land more runs.")
    drawn = np.random.default_rng(seed).permutation(runs)
    held = drawn[: max(1, round(val_share * len(runs)))]
    in_val = frame[RUN].isin(held)
    return {"train": frame[~in_val].reset_index(drop=True), "val": frame[in_val].reset_index(drop=True)}


def split_vehicles(
    frame: pd.DataFrame, *, seed: int = 0, kind_of: Mapping[int, str] | None = None
) -> dict[str, pd.DataFrame]:
    """Cut the trips of vehicles into three parts; no trip lies in two of them, and no vehicle where it can be helped.

    Three vehicles or more: whole vehicles drawn by seed, near 70 and 85 % of the rows. Fewer: whole trips in time
    order, near the same shares; where each trip is of one kind, so within each kind, that all of them may be judged.

    Args:
        frame: all rows, with `vehicle`, `run` (one trip) and `time`, sorted within each trip.
        seed: of the draw of vehicles.
        kind_of: trip -> its kind of driving; None cuts by time alone.

    Raises:
        DataError: for fewer than 50 rows, or fewer than three trips.
    """
    if len(frame) < MIN_ROWS:
        raise DataError(f"the data has {len(frame)} rows, at least {MIN_ROWS} are needed.", hint="Land more trips.")
    trips = frame.groupby(RUN, sort=False).agg(begins=(TIME, "min"), vehicle=(VEHICLE, "first"), rows=(TIME, "size"))
    if len(trips) < 3:
        raise DataError(
            f"{len(trips)} trip{'s' * (len(trips) != 1)} cannot be cut into three parts; trips stay whole.",
            hint="Land three trips or more.",
        )
    trips = trips.sort_values("begins", kind="stable")
    vehicles = trips["vehicle"].unique()
    if len(vehicles) >= MIN_VEHICLES:
        place = {v: i for i, v in enumerate(np.random.default_rng(seed).permutation(np.sort(vehicles)).tolist())}
        trips = trips.iloc[np.argsort(trips["vehicle"].map(place).to_numpy(), kind="stable")]
        part_of = _near_shares(trips["vehicle"].to_numpy(), trips["rows"].to_numpy())
    else:
        by_kind = _by_kind(trips.index.to_numpy(), kind_of or {})
        one_each = trips.index.to_numpy(np.int64)
        part_of = _near_shares(one_each, trips["rows"].to_numpy()) if by_kind is None else by_kind
    number = dict(zip(trips.index.tolist(), part_of.tolist(), strict=True))
    cut = _pick(frame, frame[RUN].map(number).to_numpy(np.int8))
    return {part: rows.reset_index(drop=True) for part, rows in cut.items()}


def _near_shares(groups: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the part of each trip, its groups kept whole, in the order given."""
    first, second = _run_cuts(np.repeat(groups, rows))
    begins = np.cumsum(rows) - rows
    return np.asarray(np.digitize(begins, [first, second]), dtype=np.int8)


def _by_kind(trips: NDArray[Any], kind_of: Mapping[int, str]) -> NDArray[np.int8] | None:
    """Return the part of each trip, cut in order within each kind; None where a part would be empty.

    A kind's only trip is for training, the later of two for test.
    """
    kinds = np.array([kind_of.get(int(trip), "") for trip in trips])
    part_of = np.zeros(len(trips), dtype=np.int8)
    for kind in np.unique(kinds):
        mine = np.flatnonzero(kinds == kind)
        n = len(mine)
        second = min(max(1, round(CUTS[1] * n)), n - 1) if n > 1 else n
        first = min(max(1, round(CUTS[0] * n)), second - 1) if n > 2 else second
        part_of[mine[first:second]], part_of[mine[second:]] = 1, 2
    return part_of if len(kind_of) and len(np.unique(part_of)) == len(PARTS) else None


def split_by_given_runs(
    frame: pd.DataFrame, part_of: Mapping[int, str], *, embargo_s: float = 0
) -> dict[str, pd.DataFrame]:
    """Cut a calendar's rows into parts by a given assignment of whole runs.

    Rows of a part that lie within `embargo_s` after the end of the part before are dropped, as in `split`.

    Args:
        frame: all rows, in time order.
        part_of: run -> `train`, `val` or `test`; the parts follow each other in time.
        embargo_s: in seconds.

    Raises:
        DataError: for a run without a part, parts that overlap in time, or a part that would be empty.
    """
    named = frame[RUN].map(dict(part_of))
    if named.isna().any():
        run = frame[RUN][named.isna()].iloc[0]
        raise DataError(f"run {run} belongs to no part.", hint="Assign every run.")
    cut = {part: frame[(named == part).to_numpy()] for part in PARTS}
    kept = _with_embargo({part: rows for part, rows in cut.items() if len(rows)}, embargo_s)
    before = None
    for part, rows in cut.items():
        if part not in kept or not len(kept[part]):
            raise DataError(f"the {part} part would be empty.", hint="Assign more runs to it.")
        if before is not None and rows[TIME].min() <= before:
            raise DataError(f"the {part} part begins before the one before it has ended.", hint="Cut in time order.")
        before = rows[TIME].max()
    return {part: rows.reset_index(drop=True) for part, rows in kept.items()}


def _stratified(frame: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    labels = frame[LABEL].fillna(-1).to_numpy() if LABEL in frame else np.zeros(len(frame))
    part_of = np.zeros(len(frame), dtype=np.int8)
    for value in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == value))
        first, second = (round(c * len(rows)) for c in CUTS)
        part_of[rows[first:second]], part_of[rows[second:]] = 1, 2
    return _pick(frame, part_of)


def _by_drawn_runs(frame: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    runs = np.random.default_rng(seed).permutation(np.unique(frame[RUN]))
    if len(runs) < 3:
        raise DataError(f"{len(runs)} runs cannot be cut into three parts by whole runs.", hint="Land more runs.")
    first = min(max(1, round(CUTS[0] * len(runs))), len(runs) - 2)
    second = min(max(first + 1, round(CUTS[1] * len(runs))), len(runs) - 1)
    number = dict(zip(runs.tolist(), np.digitize(np.arange(len(runs)), [first, second]).tolist(), strict=True))
    return _pick(frame, frame[RUN].map(number).to_numpy(np.int8))


def _pick(frame: pd.DataFrame, part_of: NDArray[np.int8]) -> dict[str, pd.DataFrame]:
    return {part: frame[part_of == i] for i, part in enumerate(("train", "val", "test"))}


def _by_time(frame: pd.DataFrame, embargo_s: float) -> dict[str, pd.DataFrame]:
    starts = frame.groupby(RUN, sort=False)[TIME].min().sort_values(kind="stable")
    if len(starts) >= 3:
        rank = frame[RUN].map({run: i for i, run in enumerate(starts.index)})
        ordered = frame.iloc[np.argsort(rank.to_numpy(), kind="stable")]
        cuts = _run_cuts(ordered[RUN].to_numpy())
    else:
        # Rows keep their order: a source that is out of order must still be seen by `validate`.
        stamps = _stamps_ns(frame)
        part_of = np.digitize(stamps, _time_cuts(frame.iloc[np.argsort(stamps, kind="stable")], embargo_s))
        return _with_embargo(_renumbered(_pick(frame, part_of.astype(np.int8))), embargo_s)
    parts = dict(zip(("train", "val", "test"), np.split(np.arange(len(ordered)), cuts), strict=True))
    return _with_embargo({part: ordered.iloc[rows] for part, rows in parts.items()}, embargo_s)


def _run_cuts(runs: NDArray[Any]) -> list[int]:
    """Return the two run borders nearest to 70 and 85 % of the rows, leaving a run to each part."""
    borders = np.flatnonzero(runs[1:] != runs[:-1]) + 1
    first = int(np.argmin(np.abs(borders[:-1] - CUTS[0] * len(runs))))
    second = first + 1 + int(np.argmin(np.abs(borders[first + 1 :] - CUTS[1] * len(runs))))
    return [int(borders[first]), int(borders[second])]


def _time_cuts(ordered: pd.DataFrame, embargo_s: float) -> list[int]:
    """Return two cuts in epoch ns; within 10 % of the rows they and their embargoes avoid labelled stretches."""
    n = len(ordered)
    stamps = _stamps_ns(ordered)
    places = [round(c * n) for c in CUTS]
    if LABEL in ordered:
        positive = np.concatenate([[0], np.cumsum(ordered[LABEL].to_numpy(np.float64) == 1)])
        places = [_free_cut(at, positive, stamps, round(_SLACK * n), embargo_s) for at in places]
    return [int(stamps[p]) for p in places]


def _stamps_ns(frame: pd.DataFrame) -> NDArray[np.int64]:
    return np.asarray(frame[TIME].dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[ns]").astype(np.int64)


def _free_cut(at: int, positive: NDArray[Any], stamps: NDArray[np.int64], slack: int, embargo_s: float) -> int:
    """Return the row nearest to `at` where a cut and its embargo touch nothing positive.

    One that leaves something positive after it comes first: a test part without any could not be judged.
    """
    fallback = None
    for step in range(slack + 1):
        for place in (at - step, at + step):
            if not 0 < place < len(stamps):
                continue
            end = int(np.searchsorted(stamps, stamps[place - 1] + int(embargo_s * 1e9), side="right"))
            free = positive[min(max(end, place + 1), len(stamps))] == positive[place - 1]
            if free and positive[-1] > positive[place]:
                return place
            fallback = place if free and fallback is None else fallback
    return at if fallback is None else fallback


def _renumbered(cut: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Give each part's stretch of a run a number of its own."""
    out, first = {}, 0
    for part, rows in cut.items():
        codes, values = rows[RUN].factorize()
        out[part] = rows.assign(**{RUN: codes.astype(np.int64) + first})
        first += len(values)
    return out


def _with_embargo(cut: dict[str, pd.DataFrame], embargo_s: float) -> dict[str, pd.DataFrame]:
    import pandas as pd

    out, end = {}, None
    for part, rows in cut.items():
        kept = rows if end is None else rows[rows[TIME] > end + pd.Timedelta(seconds=embargo_s)]
        end = rows[TIME].max()
        out[part] = kept
    return out
