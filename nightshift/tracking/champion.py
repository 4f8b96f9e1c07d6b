"""Judges challenger and champion on the same rows, so that the gate can compare them unit by unit.

The rows are those of the challenger's test part that are later than all that the champion was trained on. Both run in
the edge runtime, as on a device. Where rows have no clock, "later" has no meaning: the same dataset is compared on its
whole test part, another one not at all. Trips of vehicles are cut by vehicle and not by time: the same dataset's test
part holds none that the champion has seen, whenever they were driven.

A forecast is judged as a procedure, refitted at each origin, and what ships is then refitted up to the newest row: on
the same dataset no row is later than that. So the statistics of both backtests are compared there, and on newer data
the champion's own graph stands against the challenger's procedure on the days that it has not seen. They are paired by
day: the champion answers at more hours of it than the backtest can afford to refit at.
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
from nightshift.data.groups import VEHICLE
from nightshift.data.schema import TimeKind
from nightshift.data.store import open_dataset
from nightshift.edge.manifest import BundleManifest
from nightshift.edge.runtime import Model
from nightshift.errors import NightshiftError, TransientError, first_line
from nightshift.problems import problem as problems
from nightshift.problems.evaluation import Evaluation, UnitStatistics
from nightshift.problems.problem import Samples
from nightshift.settings import Home
from nightshift.tracking.finished import Finished
from nightshift.tracking.gate import Comparison

# A window batch of this many rows stays small beside the models.
_ROWS_AT_ONCE = 4096

_BACKTEST = "backtest"


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
            return _backtests(data, challenger, champion)
        return _same_rows(data, challenger, champion)
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


def _same_rows(data: Dataset, challenger: Finished, champion: Contender) -> Comparison:
    manifest = challenger.manifest
    samples = samples_of(data, manifest)
    keep = _unseen(data, samples.time, champion)
    own = statistics_of(challenger, samples.select(keep))
    if champion.manifest.interface != manifest.interface:
        samples = samples_of(data, champion.manifest)  # other codes of categories, say
    return _aligned(own, statistics_of(champion, samples.select(keep)))


def samples_of(data: Dataset, manifest: BundleManifest) -> Samples:
    """Return the test part as a bundle takes it."""
    return families.get(manifest.family).samples(manifest.interface, data, "test")


def _unseen(data: Dataset, time: NDArray[np.float64], champion: Contender) -> NDArray[np.bool_]:
    """Mark the rows that are later than the champion's training.

    Raises:
        NotComparableError: when there are none, or it cannot be said.
    """
    same = champion.manifest.fingerprints.dataset == data.fingerprint
    if same and data.metadata.group == VEHICLE:
        return np.ones(len(time), dtype=bool)
    if data.metadata.time_kind is not TimeKind.CALENDAR:
        if not same:
            raise NotComparableError("rows have no clock and the data is another: which are new cannot be said")
        return np.ones(len(time), dtype=bool)
    until = champion.manifest.trained_until
    if until is None:
        raise NotComparableError("its bundle does not say up to when it was trained")
    keep = np.asarray(time > epoch_s(until), dtype=bool)
    if not keep.any():
        raise NotComparableError(f"nothing in the test part is later than its training ({until})")
    return keep


def _backtests(data: Dataset, challenger: Finished, champion: Contender) -> Comparison:
    own = challenger.evaluation.statistics
    if own is None:
        raise NotComparableError("the challenger's backtest holds no statistics per origin")
    if champion.manifest.fingerprints.dataset == data.fingerprint:
        kept = champion.evaluation.statistics if champion.evaluation else None
        if kept is None:
            raise NotComparableError("the statistics of its backtest were not kept")
        return _aligned(own, kept)
    samples = samples_of(data, champion.manifest)
    seen_not = samples.select(_unseen(data, samples.time, champion))
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
