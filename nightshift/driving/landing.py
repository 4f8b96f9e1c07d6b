"""Sets of scenarios as datasets: a row is a scenario, and each scenario lies in one part."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nightshift.data.dataset import Dataset
from nightshift.data.groups import DRIVING, SUBJECTS
from nightshift.data.importers.landing import Check, refuse_blockers
from nightshift.data.schema import PARTS, RUN, LabelSource, Metadata, Provenance, Sensor, TimeKind, check_subject
from nightshift.data.store import current, land, open_dataset
from nightshift.driving import made
from nightshift.driving.bank import FILES_OF, with_expert
from nightshift.driving.checks import gathered, troubles
from nightshift.driving.scenario import Scenario
from nightshift.errors import BlockedError, NightshiftError, UnknownNameError, UsageError
from nightshift.findings import Finding, blockers
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

SUBJECT = SUBJECTS[DRIVING]
#: Shares of val and of test among each kind's scenarios, and how many they hold at most of all kinds together: more
#: tell little more of a policy, and judging one drives each of them under every traffic model.
_HELD_OUT, _MOST_HELD_OUT = 0.15, 100
#: Seeds of scenarios of one kind: this many for each seed of a set, each part from its own place on. So a set that
#: grows takes no scenario from test into train.
_SEEDS = 10_000
_FIRST = {"train": 0, "val": 7_000, "test": 8_500}
#: Scenarios that are made, driven and checked at a time: a large set's are never in memory together.
_AT_A_TIME = 250
#: Columns hold whole numbers up to this exactly (float32).
_MOST_SEED = 1_600
_COLUMNS = (
    Sensor(name="name", role="category"),
    Sensor(name="kind", role="category"),
    Sensor(name="recording", role="category"),
    Sensor(name="seed", role="setting"),
    Sensor(name="vehicles"),
    Sensor(name="duration_s", unit="s"),
    Sensor(name="route_m", unit="m"),
    Sensor(name="limit_mps", unit="m/s"),
    Sensor(name="speed_mps", unit="m/s"),
    Sensor(name="expert_m", unit="m"),
)


@dataclass(frozen=True)
class MadeSet:
    """A set of made scenarios.

    Attributes:
        kinds: of them, each as often as the others.
        scenarios: in all.
        seed: of the set; no two sets share a scenario.
    """

    kinds: tuple[str, ...] = made.MADE
    scenarios: int = 2_000
    seed: int = 7

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in made.MADE:
                raise UnknownNameError("kind of scenario", kind, made.MADE)
        if len(set(self.kinds)) != len(self.kinds) or not self.kinds:
            raise UsageError("each kind of scenario is named once, and at least one.", hint=", ".join(made.MADE) + ".")
        least = 3 * len(self.kinds)
        most = _FIRST["val"] * len(self.kinds)
        if not least <= self.scenarios <= most:
            raise UsageError(
                f"{self.scenarios} scenarios of {len(self.kinds)} kinds cannot be cut into three parts.",
                hint=f"Ask for {least} to {most:,}.",
            )
        if not 0 <= self.seed < _MOST_SEED:
            raise UsageError(f"the seed is {self.seed}; it is 0 to {_MOST_SEED - 1}.", hint="Give a smaller one.")

    def plan(self) -> dict[str, list[tuple[str, int]]]:
        """Return part -> kind and seed of its scenarios; every kind is in every part, and no scenario in two."""
        parts: dict[str, list[tuple[str, int]]] = {part: [] for part in PARTS}
        for number, kind in enumerate(self.kinds):
            count = len(range(number, self.scenarios, len(self.kinds)))
            held = len(range(number, _MOST_HELD_OUT, len(self.kinds)))
            held = max(1, min(held, round(_HELD_OUT * count)))
            for part, n in (("train", count - 2 * held), ("val", held), ("test", held)):
                first = _SEEDS * self.seed + _FIRST[part]
                parts[part] += [(kind, first + i) for i in range(n)]
        return parts

    @property
    def details(self) -> dict[str, object]:
        """What a dataset says of how it was made."""
        return {
            "kinds": list(self.kinds),
            "scenarios": self.scenarios,
            "seed": self.seed,
            "version": made.VERSION,
            "parts": {part: len(ones) for part, ones in self.plan().items()},
        }


def is_landed(home: Home, subject: str, wanted: MadeSet) -> bool:
    """Whether a subject's present data are this very set."""
    try:
        origin = open_dataset(home, subject).metadata.provenance
    except NightshiftError:
        return False
    return origin.kind == "synthetic" and all(origin.details.get(k) == v for k, v in wanted.details.items())


def land_made(
    home: Home,
    wanted: MadeSet,
    subject: str = SUBJECT,
    *,
    event: bool = True,
    check: Check | None = refuse_blockers,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Make scenarios, let the expert drive each of them once, and land them.

    Args:
        home: where to land.
        wanted: which.
        subject: id to land under.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.
        progress: takes (scenarios that are made and driven, of all), each few seconds.

    Raises:
        UsageError: for an id that is none, or that holds other data than scenarios.
        BlockedError: when a scenario cannot be driven.
        NightshiftError: when the disk is full.
    """
    _hold_driving(home, subject)
    rows, done = _Rows(), 0
    for part, ones in wanted.plan().items():
        for first in range(0, len(ones), _AT_A_TIME):
            some = [made.make(kind, seed, expert=False) for kind, seed in ones[first : first + _AT_A_TIME]]
            # Where he ends in a crash, an estimate says more.
            rows.add(part, [s if s.expert_m else made.estimated(s) for s in with_expert(some, expert_metres)])
            done += len(some)
            if progress is not None:
                progress(done, wanted.scenarios)
    origin = Provenance(kind="synthetic", source="made scenarios (nightshift simulate driving)", details=wanted.details)
    title = f"{wanted.scenarios} made driving scenarios: {', '.join(wanted.kinds)}"
    return _land(home, subject, rows, title, origin, {}, event=event, check=check)


def land_recorded(
    home: Home,
    subject: str,
    parts: Mapping[str, Sequence[Scenario]],
    folders: Mapping[str, Path],
    *,
    source: str,
    event: bool = True,
    check: Check | None = refuse_blockers,
) -> Dataset:
    """Land recorded scenarios, with their files.

    Args:
        home: where to land.
        subject: id to land under.
        parts: part -> scenarios, in order.
        folders: name of a scenario -> its folder in the processed layout.
        source: what was read, and its licence where it is known.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        UsageError: for an id that is none, or that holds other data than scenarios.
        BlockedError: when a scenario cannot be driven.
        NightshiftError: when the disk is full.
    """
    _hold_driving(home, subject)
    names = [s.name for some in parts.values() for s in some]
    files = {f"{FILES_OF}/{n}/{p.name}": p for n in names for p in sorted(folders[n].iterdir()) if p.is_file()}
    recordings = sorted({_recording(s) for some in parts.values() for s in some})
    origin = Provenance(kind="import", source=source, details={"scenarios": len(names), "recordings": recordings})
    title = f"{len(names)} recorded driving scenarios of {len(recordings)} recordings"
    rows = _Rows()
    for part in PARTS:
        rows.add(part, parts[part])
    return _land(home, subject, rows, title, origin, files, event=event, check=check)


def expert_metres(scenarios: Sequence[Scenario]) -> list[float]:
    """Return how far the expert by rule gets along each scenario's route, m; NaN where it ends in a crash."""
    from nightshift.driving.expert import Expert
    from nightshift.driving.rollout import drive

    driven = drive(Expert(), scenarios, traffic="idm", seed=0, n_envs=_AT_A_TIME)
    return [math.nan if h.ending in ("collision", "off_road") else float(h.s_m.max() - h.s_m[0]) for h in driven]


def rows_of(scenarios: Sequence[Scenario], first: int) -> pd.DataFrame:
    """Return the rows of scenarios, numbered from `first`."""
    import pandas as pd

    columns = {
        RUN: np.arange(first, first + len(scenarios)),
        "name": [s.name for s in scenarios],
        "kind": [s.kind for s in scenarios],
        "recording": [_recording(s) for s in scenarios],
        "seed": [s.seed for s in scenarios],
        "vehicles": [len(s.traffic.lane) for s in scenarios],
        "duration_s": [s.duration_s for s in scenarios],
        "route_m": [s.route.length_m for s in scenarios],
        "limit_mps": [float(np.mean(s.route.limit_mps)) for s in scenarios],
        "speed_mps": [float(np.mean([s.ego.speed_mps, *s.traffic.speed_mps])) for s in scenarios],
        "expert_m": [s.expert_m for s in scenarios],
    }
    return pd.DataFrame(columns)


class _Rows:
    """Rows of a set's scenarios by part, numbered on, and what is wrong with any of them."""

    def __init__(self) -> None:
        self._frames: dict[str, list[pd.DataFrame]] = {part: [] for part in PARTS}
        self._count = 0
        self.troubles: list[Finding] = []

    def add(self, part: str, scenarios: Sequence[Scenario]) -> None:
        """Add the next scenarios of a part."""
        self._frames[part].append(rows_of(scenarios, self._count))
        self._count += len(scenarios)
        for scenario in scenarios:
            self.troubles += troubles(scenario)

    def frames(self) -> dict[str, pd.DataFrame]:
        """Return the rows of each part."""
        import pandas as pd

        return {part: pd.concat(frames, ignore_index=True) for part, frames in self._frames.items()}


def _land(
    home: Home,
    subject: str,
    rows: _Rows,
    title: str,
    origin: Provenance,
    files: Mapping[str, Path],
    *,
    event: bool,
    check: Check | None,
) -> Dataset:
    _refuse(subject, rows.troubles)
    metadata = Metadata(
        subject=subject,
        group="driving",
        title=title,
        time_kind=TimeKind.NONE,
        time_unit="none",
        sensors=_COLUMNS,
        label_source=LabelSource.ABSENT,
        has_rul=False,
        provenance=origin,
    )
    return land(home, rows.frames(), metadata, files=files, event=event, check=check)


def _refuse(subject: str, of_scenarios: Sequence[Finding]) -> None:
    found = blockers(gathered(of_scenarios))
    if found:
        told = " ".join(f"{f.code}: {f.what}" for f in found)
        raise BlockedError(
            f"the scenarios of '{subject}' were not landed. {told}",
            hint=found[0].remedy,
            codes=tuple(f.code for f in found),
        )


def _hold_driving(home: Home, subject: str) -> None:
    """Refuse an id under which a machine's or vehicle's data lie: scenarios would take their place.

    Raises:
        UsageError: for it, and for an id that is none.
    """
    check_subject(subject)
    try:
        group = open_dataset(home, subject, current(home, subject)).metadata.group
    except NightshiftError:
        return
    if group != DRIVING:
        raise UsageError(f"'{subject}' holds data of a {group}, no scenarios.", hint="Give another --id.")


def _recording(scenario: Scenario) -> str:
    """Return what a scenario was recorded in, "" for a made one."""
    return str(scenario.details.get("recording", ""))
