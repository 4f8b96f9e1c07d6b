"""Checks of sets of driving scenarios, of which a row is one: D001, D013, D020, D029, D030."""

from __future__ import annotations

from collections import defaultdict

from nightshift.data.checks.rows import Rows, listed
from nightshift.data.schema import PARTS
from nightshift.findings import Finding, finding

#: Columns that every set has: what a scenario is called, and what it was recorded in ("" where it was made).
NAME, RECORDING = "name", "recording"
#: Columns that a scenario is found by, and held against.
NEEDED = (NAME, "kind", RECORDING, "seed", "vehicles", "route_m", "expert_m")
#: Below this a part's scores say little.
_FEW = 3


def check_driving(rows: Rows) -> list[Finding]:
    """Return the findings on a set's scenarios and its cut into parts."""
    unsound = _unsound(rows)
    if unsound:
        return unsound
    found = []
    twice = _in_several(rows, NAME)
    if twice:
        what = f"scenario {listed(twice)} lies in several parts."
        found.append(finding("D013", what, remedy="Give each scenario to one part.", columns=[NAME]))
    shared = _in_several(rows, RECORDING)
    if shared and not twice:
        what = f"scenarios of the recording {listed(shared)} lie in several parts."
        found.append(finding("D029", what, columns=[RECORDING]))
    few = [part for part in PARTS if len(rows.frames[part]) < _FEW]
    if few:
        what = f"{' and '.join(few)} hold{'s' * (len(few) == 1)} fewer than {_FEW} scenarios."
        found.append(finding("D030", what))
    return found


def _unsound(rows: Rows) -> list[Finding]:
    """D001 and D020: columns that no scenario could be found by."""
    missing = [name for name in NEEDED if name not in rows.metadata.columns]
    if missing:
        remedy = f"A set of scenarios has the columns {', '.join(NEEDED)}."
        return [finding("D001", f"{listed(missing)} not found.", remedy=remedy, columns=missing)]
    holes = [name for name in NEEDED if any(rows.frames[part][name].isna().any() for part in PARTS)]
    return [finding("D020", f"{listed(holes)}: a scenario lacks its value.", columns=holes)] if holes else []


def _in_several(rows: Rows, column: str) -> list[str]:
    """Return the values of a column that stand in more than one part, sorted."""
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for part in PARTS:
        for value in rows.frames[part][column]:
            parts[str(value)].add(part)
    return sorted(value for value, where in parts.items() if value and len(where) > 1)
