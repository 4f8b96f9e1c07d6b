"""Judges challenger and champion on the same rows, so that the gate can compare them unit by unit.

The rows are those of the challenger's test part that are later than all that the champion was trained on. Both run in
the edge runtime, as on a device. Where rows have no clock, "later" has no meaning: the same dataset is compared on its
whole test part, another one not at all. Trips of vehicles are cut by vehicle and not by time: the same dataset's test
part holds none that the champion has seen, whenever they were driven; of another one's the trips count that are not
among those that the champion was fitted or stopped on, told by what their rows hold, and no vehicle of such a trip. Of
a table likewise: of another one, or of the same one parted otherwise, the rows count that it was not fitted or stopped
on, and none that belongs to such a row.

A forecast is judged as a procedure, refitted at each origin, and what ships is then refitted up to the newest row: on
the same dataset no row is later than that. So the statistics of both backtests are compared there, and on newer data
the champion's own graph stands against the challenger's procedure on the days that it has not seen. They are paired by
day: the champion answers at more hours of it than the backtest can afford to refit at.

Driving policies are compared in closed loop; see `tracking.driving_gate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.data.groups import DRIVING, ESTIMATOR, VEHICLE
from nightshift.data.schema import TIME, TimeKind
from nightshift.data.store import open_dataset
from nightshift.edge.manifest import BundleManifest
from nightshift.edge.runtime import Model
from nightshift.errors import NightshiftError, TransientError, first_line
from nightshift.problems import problem as problems
from nightshift.problems.evaluation import Evaluation, UnitStatistics
from nightshift.problems.problem import Samples
from nightshift.settings import Home
from nightshift.tracking import driving_gate
from nightshift.tracking.finished import Finished
from nightshift.tracking.gate import Comparison

# A window batch of this many rows stays small beside the models.
_ROWS_AT_ONCE = 4096

_BACKTEST = "backtest"

#: Share of a trip's rows that another may hold by chance: cars that stand still at the same time read the same.
_CHANCE = 0.01


class NotComparableError(NightshiftError):
    """The champion cannot be judged on the challenger's rows; the gate then leaves the choice to a person."""


@dataclass(frozen=True)
class Contender:
    """A model to be judged.

    Attributes:
        folder: of its bundle.
        manifest: of its bundle.
        evaluation: how it was judged when it was trained; None when that is not to be had.
        bundle_id: as the registry knows it.
    """

    folder: Path
    manifest: BundleManifest
    evaluation: Evaluation | None
    bundle_id: str = ""


def compare(home: Home, challenger: Finished, champion: Contender) -> Comparison:
    """Judge both on the rows that the champion has not seen.

    Raises:
        NotComparableError: when there are no such rows, or the champion cannot be run.
        TransientError: when a file could not be read for a moment.
    """
    try:
        data = open_dataset(home, challenger.cell.subject, challenger.cell.dataset)
        if challenger.evaluation.headline_part == _BACKTEST:
            return _backtests(home, data, challenger, champion)
        if data.metadata.group == DRIVING:
            return _closed_loop(home, data, challenger, champion)
        return _same_rows(home, data, challenger, champion)
    except (NotComparableError, TransientError):
        raise
    except (NightshiftError, OSError, KeyError, ValueError) as error:
        raise NotComparableError(f"{type(error).__name__}: {first_line(error)}") from error


def statistics_of(given: Finished | Contender, samples: Samples) -> UnitStatistics:
    """Run a bundle on samples and sum up each unit."""
    folder = given.bundle if isinstance(given, Finished) else given.folder
    return problems.get(given.manifest.problem).statistics(answers(folder, samples, given.bundle_id), samples)


def answers(folder: Path, samples: Samples, bundle_id: str = "") -> dict[str, NDArray[Any]]:
    """Run a bundle on samples, a few thousand rows at a time.

    One that is known by its id needs no signature: the key may be younger than the bundle.
    """
    model = Model.load(folder, bundle_id=bundle_id, require_signature=not bundle_id)
    rows = len(samples.unit)
    starts = range(0, rows, _ROWS_AT_ONCE) if rows else range(1)
    parts = [model.run({k: v[i : i + _ROWS_AT_ONCE] for k, v in samples.inputs.items()}) for i in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _closed_loop(home: Home, data: Dataset, challenger: Finished, champion: Contender) -> Comparison:
    try:
        scenarios = driving_gate.unseen(home, data, champion.manifest.fingerprints.dataset)
    except NightshiftError as error:
        raise NotComparableError(driving_gate.why_not(error)) from error
    if not scenarios:
        raise NotComparableError("every scenario of the test part is of its training, or of a recording of it")
    own = driving_gate.driven(challenger.bundle, scenarios, challenger.bundle_id)
    return _aligned(own, driving_gate.driven(champion.folder, scenarios, champion.bundle_id))


def _same_rows(home: Home, data: Dataset, challenger: Finished, champion: Contender) -> Comparison:
    manifest = challenger.manifest
    if champion.manifest.interface.steps != manifest.interface.steps:
        raise NotComparableError("it answers for another time: one of the two is a forecast, or for longer")
    samples = samples_of(data, manifest)
    keep = _unseen(home, data, samples, champion)
    own = statistics_of(challenger, samples.select(keep))
    if champion.manifest.interface != manifest.interface:
        samples = samples_of(data, champion.manifest)  # other codes of categories, say
    return _aligned(own, statistics_of(champion, samples.select(keep)))


def samples_of(data: Dataset, manifest: BundleManifest) -> Samples:
    """Return the test part as a bundle takes it."""
    return families.get(manifest.family).samples(manifest.interface, data, "test")


def _unseen(home: Home, data: Dataset, samples: Samples, champion: Contender) -> NDArray[np.bool_]:
    """Mark the samples of the test part that the champion has not seen.

    Raises:
        NotComparableError: when there are none, or it cannot be said.
    """
    same = champion.manifest.fingerprints.dataset == data.fingerprint
    clocked = data.metadata.time_kind is TimeKind.CALENDAR
    if same and (data.metadata.group == VEHICLE or not clocked):
        return np.ones(len(samples.unit), dtype=bool)
    if data.metadata.group == ESTIMATOR:
        return _other_rows(home, data, champion)
    if not clocked:
        raise NotComparableError("rows have no clock and the data is another: which are new cannot be said")
    if data.metadata.group == VEHICLE:
        return _other_trips(home, data, samples, champion)
    return _later(samples, champion)


def _later(samples: Samples, champion: Contender) -> NDArray[np.bool_]:
    until = champion.manifest.trained_until
    if until is None:
        raise NotComparableError("its bundle does not say up to when it was trained")
    keep = np.asarray(samples.time > epoch_s(until), dtype=bool)
    if not keep.any():
        raise NotComparableError(f"nothing in the test part is later than its training ({until})")
    return keep


def _other_trips(home: Home, data: Dataset, samples: Samples, champion: Contender) -> NDArray[np.bool_]:
    """Mark the samples of trips that are not among those that the champion was fitted or stopped on."""
    try:
        theirs = open_dataset(home, data.subject, champion.manifest.fingerprints.dataset)
        trips = known_trips(data, theirs)
    except TransientError:
        raise
    except NightshiftError as error:
        why = f"the data that it was trained on cannot be read, so which trips are new is not known ({error.what})"
        raise NotComparableError(why) from error
    keep = ~np.isin(samples.unit, trips.astype(str))
    if not keep.any():
        raise NotComparableError("every trip of the test part is of its training, or of a vehicle of it")
    return keep


def _other_rows(home: Home, data: Dataset, champion: Contender) -> NDArray[np.bool_]:
    """Mark the rows of a table that the champion was neither fitted nor stopped on, nor any row that belongs to one."""
    try:
        theirs = open_dataset(home, data.subject, champion.manifest.fingerprints.dataset)
        roles = {sensor.name: sensor.role for sensor in theirs.metadata.sensors}
        names = [s.name for s in data.metadata.sensors if roles.get(s.name) == s.role]
        if not names:
            raise NotComparableError("the table that it was trained on has other columns")
        seen = np.concatenate([_table_codes(theirs, part, names) for part in ("train", "val")])
    except TransientError:
        raise
    except NightshiftError as error:
        why = f"the table that it was trained on cannot be read, so which rows are new is not known ({error.what})"
        raise NotComparableError(why) from error
    run = data.runs("test")
    keep = ~np.isin(run, run[np.isin(_table_codes(data, "test", names), seen)])
    if not keep.any():
        raise NotComparableError("every row of the test part is of its training, or belongs to one that is")
    return keep


def _table_codes(data: Dataset, part: str, names: list[str]) -> NDArray[np.uint64]:
    """Return a hash of each row's inputs and answer, `(rows,)`; parts count runs anew, so these say nothing."""
    import pandas as pd

    asked = [*names, *(truth.name for truth in data.metadata.truths)]
    return np.asarray(pd.util.hash_pandas_object(data.frame(part, asked), index=False), np.uint64)


def known_trips(data: Dataset, theirs: Dataset) -> NDArray[np.int64]:
    """Return the trips of a test part of which another dataset's train or val holds rows: the same moments and values.

    Numbers of trips and vehicles say nothing, since each landing counts anew. Where the data are cut by vehicle, all
    trips of a vehicle are known that has one.

    Raises:
        NotComparableError: when they have no number in common to tell trips by.
        DataError: when a file cannot be read.
    """
    names = [s.name for s in theirs.metadata.sensors if not s.categories]
    names = [s.name for s in data.metadata.sensors if s.name in names and not s.categories]
    if not names:
        raise NotComparableError("the data that it was trained on has other columns: which trips are new is not known")
    seen = np.concatenate([_row_codes(theirs, part, names) for part in ("train", "val")])
    trips, member = np.unique(data.runs("test"), return_inverse=True)
    shared = np.bincount(member, weights=np.isin(_row_codes(data, "test", names), seen), minlength=len(trips))
    known = trips[shared > _CHANCE * np.bincount(member, minlength=len(trips))]
    vehicle = data.vehicles("test")
    if np.isin(vehicle, data.vehicles("train")).any():
        return known
    return np.unique(data.runs("test")[np.isin(vehicle, vehicle[np.isin(data.runs("test"), known)])])


def _row_codes(data: Dataset, part: str, names: list[str]) -> NDArray[np.uint64]:
    """Return a hash of each row's time and values, `(rows,)`."""
    import pandas as pd

    place = {name: i for i, name in enumerate(data.metadata.columns)}
    values = pd.DataFrame(data.matrix(part)[:, [place[name] for name in names]], columns=names)
    values.insert(0, TIME, np.round(data.times_s(part) * 1e6).astype(np.int64))
    return np.asarray(pd.util.hash_pandas_object(values, index=False), np.uint64)


def _backtests(home: Home, data: Dataset, challenger: Finished, champion: Contender) -> Comparison:
    own = challenger.evaluation.statistics
    if own is None:
        raise NotComparableError("the challenger's backtest holds no statistics per origin")
    if champion.manifest.fingerprints.dataset == data.fingerprint:
        kept = champion.evaluation.statistics if champion.evaluation else None
        if kept is None:
            raise NotComparableError("the statistics of its backtest were not kept")
        return _aligned(own, kept)
    samples = samples_of(data, champion.manifest)
    seen_not = samples.select(_unseen(home, data, samples, champion))
    return _aligned(own, statistics_of(champion, seen_not))


def _aligned(challenger: UnitStatistics, champion: UnitStatistics) -> Comparison:
    """Keep the units that both have, in the challenger's order."""
    theirs = {unit: i for i, unit in enumerate(champion.units)}
    both = [(i, theirs[unit]) for i, unit in enumerate(challenger.units) if unit in theirs]
    if not both:
        raise NotComparableError("they have no unit in common")
    return Comparison(_picked(challenger, [i for i, _ in both]), _picked(champion, [j for _, j in both]))


def _picked(statistics: UnitStatistics, rows: list[int]) -> UnitStatistics:
    whole = len(rows) == len(statistics.units)
    return UnitStatistics(
        units=[statistics.units[i] for i in rows],
        values=[statistics.values[i] for i in rows],
        positives=statistics.positives,
        runs=statistics.runs if whole else len(rows),
    )


def epoch_s(text: str) -> float:
    """Return seconds since the epoch of an ISO 8601 time; without an offset it is UTC.

    Raises:
        ValueError: when it is no such time.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
