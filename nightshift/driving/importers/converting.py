"""Files of recordings become processed scenarios: all of them are read and checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import Check, refuse_blockers
from nightshift.data.schema import check_subject
from nightshift.driving.importers.commonroad import read_commonroad
from nightshift.driving.importers.cutting import cut
from nightshift.driving.importers.nuplan import read_nuplan
from nightshift.driving.importers.processed import hold_place, hold_writable, processed_folder, tidy, write_scenario
from nightshift.driving.importers.recording import NothingToDriveError, Recording
from nightshift.driving.importers.splitting import EMBARGO_S, split_recorded
from nightshift.driving.landing import land_recorded
from nightshift.driving.scenario import Scenario
from nightshift.errors import DataError
from nightshift.settings import Home

Source = Literal["commonroad", "nuplan"]
_SUFFIX: dict[Source, str] = {"commonroad": ".xml", "nuplan": ".db"}
#: Files of one import; each becomes a dozen scenarios.
_MOST_FILES = 5_000
#: Files that a dataset names as its source; the rest is counted.
_NAMED = 6


@dataclass(frozen=True)
class Converted:
    """What an import made.

    Attributes:
        scenarios: in the order of their names.
        folders: of the processed layout, one for each.
        parts: part -> names of scenarios.
        remarks: what was left out, and why.
    """

    scenarios: tuple[Scenario, ...]
    folders: tuple[Path, ...]
    parts: Mapping[str, Sequence[str]]
    remarks: tuple[str, ...]

    def told(self) -> str:
        """Say how well the experts' actions drive their tracks again."""
        rmse = sorted(float(s.details["reconstruction_rmse_m"]) for s in self.scenarios)
        worst = max(float(s.details["reconstruction_worst_m"]) for s in self.scenarios)
        smoothing = sorted(float(s.details["smoothing_rmse_m"]) for s in self.scenarios)
        middle = len(rmse) // 2
        return (
            f"{len(rmse)} scenarios. Expert actions, driven open loop, miss the smoothed tracks by "
            f"{rmse[middle]:.3f} m (RMSE, median; largest {rmse[-1]:.3f} m, at one moment {worst:.2f} m); smoothing "
            f"moved the tracks by {smoothing[middle]:.3f} m."
        )


def import_recorded(
    home: Home,
    source: Source,
    paths: Sequence[Path],
    subject: str,
    *,
    event: bool = True,
    check: Check | None = refuse_blockers,
    tell: Callable[[str], object] | None = None,
) -> tuple[Dataset, Converted]:
    """Convert recordings and land them as a set of scenarios.

    Args:
        home: where to land.
        source: format of the files.
        paths: files, or folders of files.
        subject: id to land under.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.
        tell: told of every file that is read.

    Raises:
        UsageError: for an id that is none, or that holds other data than scenarios.
        DataError: as `convert`, and when a scenario cannot be driven.
        NightshiftError: when the disk is full.
    """
    check_subject(subject)
    made = convert(home, source, paths, tell)
    of = {s.name: s for s in made.scenarios}
    data = land_recorded(
        home,
        subject,
        {part: [of[name] for name in names] for part, names in made.parts.items()},
        {s.name: folder for s, folder in zip(made.scenarios, made.folders, strict=True)},
        source=_sources(made.scenarios, source),
        event=event,
        check=check,
    )
    return data, made


def _sources(scenarios: Sequence[Scenario], source: Source) -> str:
    """Return where scenarios come from: the files, in a few words."""
    files = sorted({str(s.details["source"]) for s in scenarios})
    shown = "; ".join(files[:_NAMED]) + (f"; and {len(files) - _NAMED} more" if len(files) > _NAMED else "")
    return f"{source}: {shown}"


def convert(
    home: Home, source: Source, paths: Sequence[Path], tell: Callable[[str], object] | None = None
) -> Converted:
    """Read recordings, cut them into scenarios, split those, and write the processed layout.

    Args:
        home: where to write.
        source: format of the files.
        paths: files, or folders of files; a file of a folder that holds no car to drive as is left out, with a remark.
        tell: told of every file that is read.

    Raises:
        DataError: when a file is damaged, no scenario is found, they cannot be split, or one has a name that no folder
            may have, or that a scenario of another file has; nothing is written then.
        NightshiftError: when the disk is full.
    """
    scenarios: dict[str, Scenario] = {}
    remarks: list[str] = []
    for file, among_others in _files(source, paths):
        if tell is not None:
            tell(file.name)
        try:
            found, said = _of_file(source, file)
        except NothingToDriveError as error:
            if not among_others:
                raise
            remarks.append(f"left out: {error.what}")
            continue
        remarks += [f"{file.name}: {remark}" for remark in said]
        for scenario in found:
            if scenario.name in scenarios:
                raise DataError(f"{file.name}: the scenario '{scenario.name}' stands twice.", hint="Give it once.")
            scenarios[scenario.name] = scenario
    if not scenarios:
        raise DataError(f"no scenario was found in {', '.join(p.name for p in paths)}.", hint=_hint(remarks))
    parts = split_recorded([scenarios[name] for name in sorted(scenarios)])
    used = {name for names in parts.values() for name in names}
    remarks += [
        f"scenario {name} is left out: another part's begins less than {EMBARGO_S:g} s later"
        for name in sorted(scenarios.keys() - used)
    ]
    ordered = tuple(scenarios[name] for name in sorted(used))
    for scenario in ordered:
        hold_writable(scenario)
        hold_place(processed_folder(home), scenario)
    tidy(processed_folder(home))
    folders = tuple(write_scenario(processed_folder(home), scenario) for scenario in ordered)
    return Converted(ordered, folders, parts, tuple(remarks))


def _hint(remarks: Sequence[str]) -> str:
    return remarks[-1] if remarks else "Check the files."


def _of_file(source: Source, file: Path) -> tuple[list[Scenario], list[str]]:
    found: list[Scenario] = []
    said: list[str] = []
    first: NothingToDriveError | None = None
    for recording in _recordings(source, file):
        try:
            made = cut(recording)
        except NothingToDriveError as error:
            # One scene of a log that cannot be driven leaves its others as they are.
            first = first or error
            said.append(error.what)
            continue
        found += made.scenarios
        said += made.remarks
    if not found:
        raise first or NothingToDriveError(
            f"{file.name} holds no scene in which its car drives on.", hint="Leave the file out."
        )
    return found, said


def _recordings(source: Source, file: Path) -> Iterator[Recording]:
    if source == "nuplan":
        yield from read_nuplan(file)
    else:
        yield read_commonroad(file)


def _files(source: Source, paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Return the files, and of each whether it was found in a folder."""
    suffix = _SUFFIX[source]
    found: list[tuple[Path, bool]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() == suffix and p.is_file())
            if not inside:
                raise DataError(f"the folder {path.name} holds no {suffix} file.", hint="Check the path.")
            found += [(p, True) for p in inside]
        elif path.exists():
            found.append((path, False))
        else:
            raise DataError(f"{path} does not exist.", hint=f"Give {suffix} files, or folders of them.")
    if len(found) > _MOST_FILES:
        raise DataError(f"{len(found):,} files; at most {_MOST_FILES:,} at once.", hint="Import fewer at a time.")
    return found
