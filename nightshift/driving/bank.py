"""The scenarios of a landed set: made ones are made again from their seeds, recorded ones read from its files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nightshift.data.dataset import Dataset
from nightshift.driving import made
from nightshift.driving.scenario import Scenario
from nightshift.errors import DataError, UnknownNameError

#: Where a recorded scenario's files lie in its dataset's folder, by its name.
FILES_OF = "scenarios"
#: A column's figure and a scenario's agree within this share: columns are float32.
_SAME = 1e-5


@dataclass(frozen=True)
class ScenarioBank:
    """The scenarios of a dataset of group `driving`, by part.

    Attributes:
        data: the dataset.
    """

    data: Dataset

    @classmethod
    def open(cls, data: Dataset) -> ScenarioBank:
        """Open the bank of a dataset; scenarios are made or read when they are asked for.

        Raises:
            DataError: when it holds no scenarios, or such as another version of the makers made.
        """
        if data.metadata.group != "driving":
            raise DataError(
                f"'{data.subject}' holds no driving scenarios.",
                hint="Name a set of scenarios; `nightshift simulate driving` lands one.",
            )
        version = data.metadata.provenance.details.get("version")
        if data.metadata.provenance.kind == "synthetic" and version != made.VERSION:
            raise DataError(
                f"the scenarios of '{data.subject}' are of version {version}; this program makes version "
                f"{made.VERSION}, and the same seeds would give other scenarios.",
                hint=f"Make them anew: {_again(data.subject)}.",
            )
        return cls(data)

    @property
    def fingerprint(self) -> str:
        """Of the dataset: 64 hex digits."""
        return self.data.fingerprint

    @property
    def parts(self) -> tuple[str, ...]:
        """`train`, `val`, `test`."""
        return self.data.parts

    def names(self, part: str, kinds: Collection[str] | None = None, at_most: int = 0) -> tuple[str, ...]:
        """Return the names of the scenarios that `scenarios` would return; makes none of them."""
        return tuple(self.data.frame(part).iloc[self._wanted(part, kinds, at_most)]["name"].tolist())

    def kinds(self, part: str) -> tuple[str, ...]:
        """Return the kind of each of a part's scenarios, in order; makes none of them."""
        return tuple(self.data.frame(part)["kind"].tolist())

    @property
    def recorded(self) -> bool:
        """Whether its scenarios were recorded, and not made."""
        return all(kind == "replay" for part in self.parts for kind in self.kinds(part))

    def scenarios(
        self,
        part: str,
        kinds: Collection[str] | None = None,
        at_most: int = 0,
        *,
        on_made: Callable[[int], None] = lambda _n: None,
    ) -> tuple[Scenario, ...]:
        """Return a part's scenarios, in order; none is kept here: a thousand of them are half a gigabyte.

        Args:
            part: of the set.
            kinds: only these, where they are named.
            at_most: where there are more, so many spread over the part; 0 for all.
            on_made: hears of how many are there, whenever one more has been made.

        Raises:
            UnknownNameError: for a part or kind that is not there.
            DataError: when a file is damaged, or a seed gives another scenario than was landed.
        """
        return tuple(self._made_or_read(part, self._wanted(part, kinds, at_most), on_made))

    def _wanted(self, part: str, kinds: Collection[str] | None, at_most: int) -> list[int]:
        here = self.kinds(part)
        for kind in kinds or ():
            if kind not in here:
                raise UnknownNameError("kind of scenario", kind, sorted(set(here)))
        wanted = [i for i, kind in enumerate(here) if kinds is None or kind in kinds]
        if at_most and len(wanted) > at_most:
            wanted = [wanted[i] for i in np.linspace(0, len(wanted) - 1, at_most).astype(int)]
        return wanted

    def _made_or_read(self, part: str, rows: list[int], on_made: Callable[[int], None]) -> list[Scenario]:
        from nightshift.driving.importers.processed import read_scenarios

        frame = self.data.frame(part).iloc[rows]
        if not rows:
            return []
        if frame[["name", "kind", "seed"]].isna().any(axis=None):
            raise DataError(
                f"rows of '{self.data.subject}' tell no name, kind or seed of their scenario.",
                hint=f"Land them again: {_again(self.data.subject)}.",
            )
        if frame["kind"].eq("replay").all():
            folders = [self.data.folder / FILES_OF / name for name in frame["name"]]
            found = list(read_scenarios(folders))
        else:
            found = []
            for kind, seed in zip(frame["kind"], frame["seed"], strict=True):
                found.append(made.make(kind, int(seed), expert=False))
                on_made(len(found))
        checked = []
        for scenario, row in zip(found, frame.to_dict("records"), strict=True):
            self._hold(scenario, row)
            checked.append(replace(scenario, expert_m=float(row["expert_m"])))
        return checked

    def _hold(self, scenario: Scenario, row: Mapping[Any, Any]) -> None:
        """Compare a scenario with what was landed of it.

        Raises:
            DataError: when it is another one.
        """
        same = scenario.name == row["name"] and len(scenario.traffic.lane) == int(row["vehicles"])
        if not same or abs(scenario.route.length_m - row["route_m"]) > _SAME * row["route_m"]:
            raise DataError(
                f"scenario '{scenario.name}' of '{self.data.subject}' is another one than was landed.",
                hint=f"Land them again: {_again(self.data.subject)}.",
            )


def with_expert(
    scenarios: Sequence[Scenario], drive: Callable[[Sequence[Scenario]], Sequence[float]]
) -> tuple[Scenario, ...]:
    """Return scenarios with the metres that an expert covers in them.

    Args:
        scenarios: of any kind; recorded ones keep what their driver has driven.
        drive: drives scenarios, and returns the metres along each one's route; NaN where that says nothing, and what
            was there before stays.
    """
    ours = [i for i, scenario in enumerate(scenarios) if scenario.tracks is None]
    driven = dict(zip(ours, drive([scenarios[i] for i in ours]) if ours else (), strict=True))
    return tuple(
        replace(scenario, expert_m=float(driven[i])) if i in driven and np.isfinite(driven[i]) else scenario
        for i, scenario in enumerate(scenarios)
    )


def _again(subject: str) -> str:
    return f"`nightshift simulate driving --id {subject}` or `nightshift import commonroad … --id {subject}`"
