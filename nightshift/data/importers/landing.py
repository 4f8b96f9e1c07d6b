"""What every importer ends with: split, checks, landing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.data.dataset import Dataset
from nightshift.data.schema import RUN, Metadata, TimeKind
from nightshift.data.splits import split, split_vehicles
from nightshift.data.store import land
from nightshift.data.validate import validate
from nightshift.errors import BlockedError
from nightshift.findings import Finding, Severity
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

SECONDS_PER_HOUR = 3600.0
#: Rows of window that an embargo leaves room for, when the mapping does not say.
WINDOW_ROWS = 24
#: Sees a dataset before it is visible, and refuses it by raising.
Check = Callable[[Dataset], object]
#: Blockers that stop only the models of one kind, as one class stops classification: those cells are blocked instead.
_OF_ONE_FAMILY = frozenset({"D009", "D019"})
#: A real machine may have such a sensor; a made one that gives its label away was made wrongly.
_LEAK = "D015"


class Late(Mapping[str, "pd.DataFrame"]):
    """Parts that are read when they are asked for, so that not all of them are in memory twice."""

    def __init__(self, readers: Mapping[str, Callable[[], pd.DataFrame]]) -> None:
        self._readers = dict(readers)

    def __getitem__(self, part: str) -> pd.DataFrame:
        return self._readers[part]()

    def __contains__(self, part: object) -> bool:
        return part in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def default_embargo_h(sampling_s: float | None, horizon_h: float | None) -> float:
    """Return window + horizon, in hours."""
    return WINDOW_ROWS * (sampling_s or 0.0) / SECONDS_PER_HOUR + (horizon_h or 0.0)


def refuse_blockers(data: Dataset) -> list[Finding]:
    """Refuse a dataset that no family could use, and return what is remarked on one that may land.

    Raises:
        BlockedError: with the codes found.
    """
    found = validate(data, data.metadata.offers)
    refused = refusing(data, found)
    if refused:
        told = " ".join(f"{f.code}: {f.what}" for f in refused)
        raise BlockedError(
            f"the data of '{data.subject}' were not landed. {told}",
            hint=refused[0].remedy,
            codes=tuple(f.code for f in refused),
        )
    return found


def refusing(data: Dataset, found: Iterable[Finding], *, spared: Set[str] = _OF_ONE_FAMILY) -> list[Finding]:
    """Return those of a dataset's findings that keep it from landing: blockers but the spared ones, and a made leak."""
    leak = _LEAK if data.metadata.provenance.kind == "synthetic" else ""
    return [f for f in found if (f.severity is Severity.BLOCKER and f.code not in spared) or f.code == leak]


def split_and_land(
    home: Home,
    frame: pd.DataFrame,
    metadata: Metadata,
    *,
    seed: int = 0,
    event: bool = True,
    check: Check | None = None,
) -> Dataset:
    """Split the rows as the dataset's kind asks (the embargo is `metadata.embargo` hours), and land them.

    Args:
        home: where to land.
        frame: all rows.
        metadata: what the columns mean.
        seed: of the draws of the split.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        DataError: when the rows cannot be split or stored.
        NightshiftError: when the disk is full; whatever `check` raises.
    """
    if metadata.group == "vehicle":
        parts = split_vehicles(frame, seed=seed, kind_of=kinds_of_trips(frame, metadata))
        return land_parts(home, parts, metadata, event=event, check=check)
    embargo_s = metadata.embargo * SECONDS_PER_HOUR if metadata.time_kind is TimeKind.CALENDAR else 0.0
    parts = split(frame, metadata.time_kind, embargo_s=embargo_s, seed=seed)
    return land_parts(home, parts, metadata, event=event, check=check)


def kinds_of_trips(frame: pd.DataFrame, metadata: Metadata) -> dict[int, str] | None:
    """Return each trip's kind of driving, "" where it is not known; None where a trip is of several."""
    column = metadata.truth("behaviour")
    if column is None:
        return None
    kinds = frame.groupby(RUN, sort=False)[column.name].agg(["nunique", "first"])
    if (kinds["nunique"] > 1).any():
        return None
    return {int(str(trip)): kind if isinstance(kind, str) else "" for trip, kind in kinds["first"].items()}


def land_parts(
    home: Home,
    parts: Mapping[str, pd.DataFrame],
    metadata: Metadata,
    *,
    files: Mapping[str, Path] | None = None,
    event: bool = True,
    check: Check | None = None,
) -> Dataset:
    """Land rows that are already split; see `store.land`."""
    return land(home, parts, metadata, files=files, event=event, check=check)
