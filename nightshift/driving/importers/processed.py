"""The processed layout of recorded scenarios: one folder each, four parquet files and `scenario.json`.

`<home>/datasets/processed/nuplan/<scenario>/` holds

- `ego.parquet`: the recorded driver, one row a step (`STEP_S`);
- `agents.parquet`: the other cars, one row for each car and step at which it was seen;
- `map.parquet`: the lanes, one row a point (`STEP_M` apart), what belongs to a lane repeated in each of its rows;
- `route.parquet`: the route, one row a point;
- `scenario.json`: the rest (see `scenario_file.ScenarioFile`).

`EGO`, `AGENTS`, `MAP` and `ROUTE` of `layout` say what every column is. What is read back is checked before it is
used: types, sizes, finite values, numbers of lanes that exist. Source: own; units stand in the names.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from nightshift.driving.importers.layout import (
    AGAIN,
    AGENTS,
    EGO,
    FILES,
    MAP,
    ROUTE,
    SCENARIO,
    Columns,
    read_table,
    table_bytes,
)
from nightshift.driving.importers.scenario_file import CarFile, EgoFile, RecordedFile, ScenarioFile
from nightshift.driving.importers.tables import agents_of, ego_of, lanes_of, map_of, route_of, rows_of_route, tracks_of
from nightshift.driving.lanes import Lanes
from nightshift.driving.scenario import EgoStart, Scenario, Traffic
from nightshift.errors import DataError, UsageError
from nightshift.files import fsync, read_plain, write_atomic
from nightshift.settings import Home

#: What a write puts beside the folders while it goes on.
_LEFT = re.compile(r"\.(?P<name>.+)\.(?P<pid>[1-9]\d{0,8})\.(?P<what>tmp|old)")
#: A description longer than this is none.
_MOST_JSON_BYTES = 20_000_000


def processed_folder(home: Home) -> Path:
    """Return where processed scenarios lie, one folder each."""
    return home.root / "datasets" / "processed" / "nuplan"


def write_scenario(root: Path, scenario: Scenario) -> Path:
    """Write a recorded scenario below `root`, whole or not at all; returns its folder.

    Raises:
        UsageError: for a scenario without recorded tracks.
        DataError: as `hold_writable`, and for values that are no finite numbers.
    """
    hold_writable(scenario)
    files = _files(scenario)
    folder = root / scenario.name
    aside = root / f".{scenario.name}.{os.getpid()}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for name, data in files.items():
            write_atomic(aside / name, data)
        _put(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    fsync(root)
    return folder


def tidy(root: Path) -> None:
    """Put right what a write that was killed left below `root`: a folder that was put aside comes back."""
    for left in sorted(root.iterdir()) if root.is_dir() else ():
        found = _LEFT.fullmatch(left.name)
        if found is None or _is_alive(int(found["pid"])):
            continue
        folder = root / found["name"]
        if found["what"] == "old" and not folder.exists():
            left.rename(folder)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def hold_writable(scenario: Scenario) -> None:
    """Refuse a scenario that the layout cannot hold; writes nothing.

    Raises:
        UsageError: for one without recorded tracks.
        DataError: for a name that no folder may have, or a figure of `scenario.json` that none can be.
    """
    if scenario.tracks is None or "actions" not in scenario.details:
        raise UsageError(f"scenario '{scenario.name}' was not recorded.", hint="Made scenarios are kept by their seed.")
    try:
        _described(scenario)
    except ValidationError as error:
        source = str(scenario.details.get("source", ""))
        where, told = _first_of(error)
        if where == "name":
            raise DataError(
                f"{source}: a scenario would be named {scenario.name[:80]!r}, after its recording and the ego's id; "
                "expected letters, digits, `_`, `.` and `-`, 151 at most, a letter or digit first.",
                hint="Rename the recording or the car in the file, or leave the file out.",
            ) from error
        raise DataError(
            f"{source}: scenario '{scenario.name}': {where}: {told}.", hint="Mend the recording."
        ) from error


def hold_place(root: Path, scenario: Scenario) -> None:
    """Refuse to put a scenario in the place of one that another file gave; of the same file it may be mended.

    Raises:
        DataError: when the folder of its name holds one of another source.
    """
    folder, source = root / scenario.name, str(scenario.details.get("source", ""))
    try:
        there = _read_description(folder).recorded.source
    except DataError:  # nothing that anybody could read
        return
    if there != source:
        raise DataError(
            f"{source}: its scenario '{scenario.name}' is here already, from {there}.",
            hint=f"Rename the recording or the car in the file; or delete {folder} if that one may go.",
        )


def _first_of(error: ValidationError) -> tuple[str, str]:
    """Return where the first thing that is wrong stands, and what it is."""
    first = error.errors()[0]
    return ".".join(str(p) for p in first["loc"]) or "the file", first["msg"]


def _put(made: Path, folder: Path) -> None:
    """Put a folder in another one's place; whoever reads finds one of the two."""
    old = made.with_suffix(".old")
    if folder.exists():
        folder.rename(old)
    try:
        made.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _files(scenario: Scenario) -> dict[str, bytes]:
    tables = {
        "ego": (EGO, ego_of(scenario)),
        "agents": (AGENTS, agents_of(scenario)),
        "map": (MAP, map_of(scenario.lanes)),
        "route": (ROUTE, rows_of_route(scenario.route)),
    }
    found = {FILES[name]: table_bytes(scenario.name, columns, values) for name, (columns, values) in tables.items()}
    found[SCENARIO] = (_described(scenario).model_dump_json(indent=1) + "\n").encode()
    return found


def _described(scenario: Scenario) -> ScenarioFile:
    traffic, ego, details = scenario.traffic, scenario.ego, scenario.details
    cars = [
        CarFile(**{name: getattr(traffic, name)[i].item() for name in CarFile.model_fields})
        for i in range(len(traffic.lane))
    ]
    return ScenarioFile(
        name=scenario.name,
        duration_s=scenario.duration_s,
        expert_m=scenario.expert_m,
        goal_m=scenario.route.length_m,
        ego=EgoFile(**{name: getattr(ego, name) for name in EgoFile.model_fields}),
        cars=tuple(cars),
        recorded=RecordedFile(**{name: details[name] for name in RecordedFile.model_fields if name in details}),
    )


def read_scenarios(folders: Sequence[Path]) -> tuple[Scenario, ...]:
    """Read scenarios; those on one map share its arrays, so that a pack holds them once.

    Raises:
        DataError: when a file is missing, damaged, too large, or holds what no scenario has.
    """
    maps: dict[str, Lanes] = {}
    return tuple(_read(folder, maps) for folder in folders)


def _read(folder: Path, maps: dict[str, Lanes]) -> Scenario:
    told = _read_description(folder)
    tables: dict[str, Columns] = {
        name: read_table(folder / FILES[name], columns)
        for name, columns in (("ego", EGO), ("agents", AGENTS), ("route", ROUTE))
    }
    digest = _digest(folder / FILES["map"])
    if digest not in maps:
        maps[digest] = lanes_of(read_table(folder / FILES["map"], MAP), folder.name)
    lanes = maps[digest]
    route = route_of(tables["route"], told.goal_m, len(lanes.count), folder.name)
    tracks, actions = tracks_of(tables["ego"], tables["agents"], len(told.cars), folder.name)
    _check(told, lanes, folder.name)
    columns = {
        name: np.array([getattr(car, name) for car in told.cars], np.int64 if name in ("lane", "turn") else np.float64)
        for name in CarFile.model_fields
    }
    return Scenario(
        name=told.name,
        kind="replay",
        seed=0,
        duration_s=told.duration_s,
        lanes=lanes,
        route=route,
        ego=EgoStart(**told.ego.model_dump()),
        traffic=Traffic(**columns),
        tracks=tracks,
        expert_m=told.expert_m,
        details={**told.recorded.model_dump(), "actions": actions},
    )


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_plain(path, 1 << 30)).hexdigest()
    except OSError as error:
        told = f"{path.parent.name}/{path.name} cannot be read: {error.strerror}."
        raise DataError(told, hint=AGAIN) from error


def _read_description(folder: Path) -> ScenarioFile:
    path = folder / SCENARIO
    try:
        data = read_plain(path, _MOST_JSON_BYTES + 1)
        if len(data) > _MOST_JSON_BYTES:
            raise DataError(f"{folder.name}/{SCENARIO} is larger than {_MOST_JSON_BYTES:,} bytes.", hint=AGAIN)
        told = ScenarioFile.model_validate_json(data)
    except OSError as error:
        raise DataError(f"{folder.name}/{SCENARIO} cannot be read: {error.strerror}.", hint=AGAIN) from error
    except ValidationError as error:
        where, what = _first_of(error)
        raise DataError(f"{folder.name}/{SCENARIO}: {where}: {what}.", hint=AGAIN) from error
    return told


def _check(told: ScenarioFile, lanes: Lanes, name: str) -> None:
    for i, car in enumerate(told.cars, start=1):
        if car.lane >= len(lanes.count):
            raise DataError(f"{name}: car {i} is on lane {car.lane} of {len(lanes.count)}.", hint=AGAIN)
    sorts = len(told.recorded.sorts)
    if sorts not in (0, len(told.cars)):
        raise DataError(f"{name}/{SCENARIO} tells sorts of {sorts} cars; it has {len(told.cars)}.", hint=AGAIN)
