"""CommonRoad scenarios, formats 2018b and 2020a: lanelets, limits, and how the cars drove.

Source: Althoff, Koschi, Manzinger, "CommonRoad: Composable benchmarks for motion planning on roads", IV 2017, and the
format's documentation of 2018b and 2020a.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nightshift.driving.importers.commonroad_cars import cars_of
from nightshift.driving.importers.recording import Lanelet, NothingToDriveError, Recording
from nightshift.driving.importers.xml_tree import read_tree
from nightshift.driving.importers.xml_values import flag, number, points, words
from nightshift.errors import DataError

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

VERSIONS = ("2018b", "2020a")
#: Signs "maximum speed" of the countries that the format knows; their value is in m/s.
_LIMIT_SIGNS = {"274", "274.1", "R2-1", "R301", "3.24", "R15", "C43", "B14", "R-32", "B31", "50", "R4-1"}
_NOT_FOR_CARS = {"sidewalk", "crosswalk", "bicycleLane"}
_FAST_ROADS = {"highway", "interstate"}
#: Where a map tells no limit: 65 mph on a freeway, 50 km/h elsewhere.
_FREEWAY_MPS, _TOWN_MPS = 29.06, 50 / 3.6
#: `USA_US101-3_3_T-1`: country, map and its number; scenarios of one map were cut from one recording.
_BENCHMARK = re.compile(r"(?:C-)?([A-Za-z]{3}_[^_]+-\d+)_")


def read_commonroad(path: Path) -> Recording:
    """Read one file.

    Raises:
        NothingToDriveError: when it holds no road.
        DataError: when it is no CommonRoad file of a known version, is damaged, or holds values that are no numbers.
    """
    root = read_tree(path)
    version = root.get("commonRoadVersion", "")
    if root.tag != "commonRoad" or version not in VERSIONS:
        found = f"version '{version[:20]}'" if root.tag == "commonRoad" else f"<{root.tag[:40]}>"
        raise DataError(
            f"{path.name} is no CommonRoad file of version {' or '.join(VERSIONS)}: it has {found}.",
            hint="Convert it with CommonRoad's own tools.",
        )
    name = root.get("benchmarkID") or path.stem
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,100}", name):
        raise DataError(f"{path.name} has the benchmarkID '{name[:80]}'.", hint="Letters, digits, `_`, `-`, `.`, `:`.")
    step_s = number(root.get("timeStepSize"), path.name, "timeStepSize")
    if not 0.01 <= step_s <= 0.5:
        raise DataError(f"{path.name} has time steps of {step_s:g} s; expected 0.01 to 0.5 s.", hint="Check the file.")
    drives, remarks = cars_of(root, path.name)
    tags = set((root.get("tags") or "").split()) | {t.tag for t in root.iterfind("scenarioTags/*")}
    map_of = _BENCHMARK.match(name)
    return Recording(
        name=name.replace(":", "_"),
        group=map_of.group(1) if map_of else name,
        step_s=step_s,
        start_s=0.0,
        lanelets=_lanelets(root, path.name),
        drives=drives,
        limit_mps=_FREEWAY_MPS if tags & _FAST_ROADS else _TOWN_MPS,
        source=f"{path.name}: {root.get('source') or 'unknown source'}",
        remarks=remarks,
    )


def _lanelets(root: ET.Element, file: str) -> dict[str, Lanelet]:
    limits = _limits(root, file)
    found: dict[str, Lanelet] = {}
    for element in root.iterfind("lanelet"):
        name = element.get("id", "")
        if not name or name in found:
            raise DataError(f"{file}: the lanelet id '{name[:40]}' is missing or stands twice.", hint="Mend the file.")
        found[name] = _lanelet(element, f"{file}: lanelet {name[:40]}", limits)
    if not found:
        raise NothingToDriveError(f"{file} holds no lanelet: there is no road to drive on.", hint="Leave the file out.")
    return {name: _without_strangers(piece, found.keys()) for name, piece in found.items()}


def _lanelet(element: ET.Element, where: str, limits: dict[str, float]) -> Lanelet:
    given = element.findtext("speedLimit")
    limit = number(given, where, "speedLimit") if given else None
    signed = [limits[ref] for e in element.iterfind("trafficSignRef") if (ref := e.get("ref", "")) in limits]
    if limit is None and signed:
        limit = min(signed)
    if limit is not None and not 0.5 <= limit <= 100:
        raise DataError(f"{where} has a speed limit of {limit:g} m/s; expected 0.5 to 100.", hint="Mend the file.")
    left, right = (
        np.asarray(points(element.find(bound), where, bound), float) for bound in ("leftBound", "rightBound")
    )
    return Lanelet(
        left=left,
        right=right,
        successors=tuple(e.get("ref", "") for e in element.iterfind("successor")),
        left_of=_same_way(element, "adjacentLeft"),
        right_of=_same_way(element, "adjacentRight"),
        limit_mps=limit,
        cars_may=not _NOT_FOR_CARS & set(words(element, "laneletType")),
    )


def _same_way(element: ET.Element, side: str) -> str:
    neighbour = element.find(side)
    return neighbour.get("ref", "") if neighbour is not None and neighbour.get("drivingDir") == "same" else ""


def _without_strangers(piece: Lanelet, known: Iterable[str]) -> Lanelet:
    """Maps are cut out of larger ones: what lies outside is named there still."""
    here = set(known)
    return Lanelet(
        left=piece.left,
        right=piece.right,
        successors=tuple(n for n in piece.successors if n in here),
        left_of=piece.left_of if piece.left_of in here else "",
        right_of=piece.right_of if piece.right_of in here else "",
        limit_mps=piece.limit_mps,
        cars_may=piece.cars_may,
    )


def _limits(root: ET.Element, file: str) -> dict[str, float]:
    found = {}
    for sign in root.iterfind("trafficSign"):
        for element in sign.iterfind("trafficSignElement"):
            value = element.findtext("additionalValue")
            if flag(element, "trafficSignID") in _LIMIT_SIGNS and value:
                found[sign.get("id", "")] = number(value, f"{file}: sign {sign.get('id')}", "additionalValue")
    return found
