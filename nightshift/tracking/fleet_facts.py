"""What is to be said of a run of the fleet: champions, causes of failures, drift, restarts and costs.

Gathered from the outcome, the stage records and the bundles' notes; what a worker elsewhere keeps is left empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from nightshift.data.store import current
from nightshift.errors import NightshiftError
from nightshift.plan.cell import Cell
from nightshift.plan.drifted import DriftMeter
from nightshift.plan.fleet import NO_DATA
from nightshift.plan.fleet_run import FleetCell, FleetOutcome
from nightshift.plan.outcome import CellOutcome
from nightshift.plan.past import Trained, past_of
from nightshift.plan.records import STAGES, read_record, work_folder
from nightshift.settings import Home
from nightshift.tracking.fleet_cells import standing
from nightshift.tracking.results import LOWER_IS_BETTER

_DRIFT = "D022"
#: Where a model is judged: a forecast by its backtest.
_HEADLINES = ("test", "backtest")
#: More machines than this are not named in a command.
_NAMED = 4
# As a cell says that goes on after its process was cut off.
_ANEW = re.compile(r"\bcut off in \w+;|begun anew|from its checkpoint")


@dataclass(frozen=True)
class Change:
    """What a newly registered version has done to the champion.

    Attributes:
        promoted: it is champion now.
        before, now: the primary metric of the champion until then, and of the new version, each as judged when it was
            trained; None where it is not known.
        gain: positive = better.
        gate: the gate's own words; its difference is measured on the same rows.
    """

    name: str
    metric: str
    promoted: bool
    version: int
    old_version: int | None = None
    before: float | None = None
    now: float | None = None
    gain: float | None = None
    gate: str = ""

    @property
    def first(self) -> bool:
        """Whether there was no champion before."""
        return self.promoted and self.old_version is None


@dataclass(frozen=True)
class Cause:
    """Why some cells did not end well.

    Attributes:
        what: as the first of them says it.
        hint: what it says can be done.
        names: of the cells.
        commands: what mends it, line by line.
    """

    ending: str
    what: str
    hint: str
    names: tuple[str, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Drifted:
    """A sensor whose values lie elsewhere than in the data that the models in use were trained on; None = not known."""

    subject: str
    sensor: str
    families: tuple[str, ...]
    psi: float | None = None
    ks: float | None = None
    missing_change: float | None = None


@dataclass(frozen=True)
class Restart:
    """A cell that was not trained in one go."""

    name: str
    attempts: int
    said: str


@dataclass(frozen=True)
class Cost:
    """What some cells took, in seconds."""

    name: str
    cells: int
    seconds: float
    estimated_s: float
    cpu_s: float
    gpu_s: float


def changes(home: Home, outcome: FleetOutcome) -> tuple[Change, ...]:
    """Return what each newly registered version has done, champions first, the greatest gain first."""
    found = [
        _change(home, cell.outcome)
        for cell in outcome.cells
        if cell.outcome is not None and cell.outcome.ending == "trained" and cell.outcome.version is not None
    ]
    return tuple(sorted(found, key=lambda c: (not c.promoted, -(c.gain or 0.0), c.name)))


def _change(home: Home, trained: CellOutcome) -> Change:
    name, version = trained.name, trained.version or 0
    record = read_record(home, trained.cell_key, "register")
    facts = record.summary if record else {}
    promoted, gate = facts.get("champion") is True, str(facts.get("gate") or "")
    own = _note(home, trained, version)
    metric = trained.metric or str(own.get("primary", ""))
    now = trained.value if trained.value is not None else _value(own, metric)
    old = _champion_before(home, trained, version)
    before = _value(_note(home, trained, old.version), metric) if old else None
    sign = 1.0 if own.get("higher_is_better", not metric.startswith(LOWER_IS_BETTER)) else -1.0
    gain = sign * (now - before) if now is not None and before is not None else None
    return Change(name, metric, promoted, version, old.version if old else None, before, now, gain, gate)


def _champion_before(home: Home, trained: CellOutcome, version: int) -> Trained | None:
    past = past_of(home, trained.subject, trained.family, trained.target, most=None)
    return next((v for v in past.versions if v.promoted and v.version < version), None)


def _note(home: Home, trained: CellOutcome, version: int) -> dict[str, Any]:
    """Return what a bundle says of itself, {} when it is not here."""
    folder = home.models / trained.family / trained.subject / trained.target / f"v{version}"
    try:
        found = json.loads((folder / "bundle.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _value(note: dict[str, Any], metric: str) -> float | None:
    parts = note.get("metrics")
    if not isinstance(parts, dict):
        return None
    found = (parts[part].get(metric) for part in _HEADLINES if isinstance(parts.get(part), dict))
    return next((float(v) for v in found if isinstance(v, (int, float))), None)


def causes(home: Home, outcome: FleetOutcome) -> tuple[Cause, ...]:
    """Return why cells failed, were blocked or are not registered: the same reason once, the gravest first."""
    groups: dict[tuple[str, str], list[tuple[FleetCell, str, str]]] = {}
    for cell in outcome.cells:
        stands = standing(cell)
        if stands.grave >= 2:
            hint = cell.outcome.hint if cell.outcome else _hint(home, cell)
            groups.setdefault((stands.word, _alike(cell, stands.why)), []).append((cell, stands.why, hint))
    ordered = sorted(groups.values(), key=lambda own: (-standing(own[0][0]).grave, -len(own)))
    return tuple(_cause(own) for own in ordered)


def _cause(own: Sequence[tuple[FleetCell, str, str]]) -> Cause:
    cell, what, hint = own[0]
    cells = [one for one, _, _ in own]
    return Cause(
        ending=standing(cell).word,
        what=what or "no reason was given",
        hint=hint,
        names=tuple(one.name for one in cells),
        commands=_commands(cells),
    )


def _alike(cell: FleetCell, why: str) -> str:
    """Return a reason without what is the cell's own: its names, paths, numbers and hashes."""
    planned = cell.planned
    for own in (planned.name, planned.subject, planned.family, planned.target, planned.cell_key):
        why = re.sub(rf"(?<!\w){re.escape(own)}(?!\w)", "*", why) if own else why
    return re.sub(r"/\S+|\b[0-9a-f]{8,}\b|\d+(\.\d+)?", "#", why)


def _hint(home: Home, cell: FleetCell) -> str:
    """Return what the record that blocks a cell says can be done."""
    if not cell.planned.cell_key:
        return ""
    found = (read_record(home, cell.planned.cell_key, stage) for stage in STAGES)
    return next((record.hint for record in found if record and record.status == "blocked"), "")


def _commands(cells: Sequence[FleetCell]) -> tuple[str, ...]:
    """Return what mends a cause; what a person has to do first is in the hint."""
    word, first = standing(cells[0]).word, cells[0].planned
    machines = list(dict.fromkeys(c.planned.subject for c in cells))
    only = "".join(f" --machine {m}" for m in machines) if len(machines) <= _NAMED else ""
    if word == "failed":
        return (f"nightshift resume{only}",)
    if word == "not registered":
        return ("nightshift up", f"nightshift resume{only}")
    shown = machines[0] if len(machines) == 1 else "ID"
    if first.cell_key or NO_DATA in first.reasons:
        return (f"nightshift land FOLDER --machine {shown}",)
    return (f"nightshift plan{only}",)


def drifted(home: Home, outcome: FleetOutcome) -> tuple[Drifted, ...]:
    """Return the sensors that have drifted since the model in use was trained, per machine, the worst first."""
    meter, found = DriftMeter(home), dict[tuple[str, str], Drifted]()
    for cell in outcome.cells:
        for remark in cell.planned.findings:
            for seen in _sensors(home, meter, cell, remark.columns) if remark.code == _DRIFT else ():
                key = (seen.subject, seen.sensor)
                known = found.get(key)
                families = (*known.families, *seen.families) if known else seen.families
                worst = max((one for one in (known, seen) if one), key=lambda d: d.psi or 0.0)
                found[key] = Drifted(*key, families, worst.psi, worst.ks, worst.missing_change)
    return tuple(sorted(found.values(), key=lambda d: (d.subject, -(d.psi or 0.0), d.sensor)))


def _sensors(home: Home, meter: DriftMeter, cell: FleetCell, columns: Iterable[str]) -> Iterator[Drifted]:
    planned = cell.planned
    before, now = _datasets(home, cell)
    figures = {d.name: d for d in meter.drifted(planned.subject, before, now)} if before and now else {}
    for sensor in columns:
        f = figures.get(sensor)
        own = (f.psi, f.ks, f.missing_change) if f else (None, None, None)
        yield Drifted(planned.subject, sensor, (planned.family,), *own)


def _datasets(home: Home, cell: FleetCell) -> tuple[str, str]:
    """Return what the model in use before the run was trained on, and what the cell is of; "" where nobody knows."""
    planned = cell.planned
    new = cell.outcome.version if cell.outcome else None
    past = past_of(home, planned.subject, planned.family, planned.target, most=None)
    older = [v for v in past.versions if new is None or v.version < new]
    before = next((v for v in older if v.promoted), next(iter(older), None))
    return before.dataset if before else "", _dataset(home, planned.subject, planned.cell_key)


def _dataset(home: Home, subject: str, cell_key: str) -> str:
    try:
        return Cell.model_validate_json((work_folder(home, cell_key) / "cell.json").read_bytes()).dataset
    except (OSError, ValidationError):
        pass
    try:
        return current(home, subject)
    except NightshiftError:
        return ""


def restarts(home: Home, outcome: FleetOutcome) -> tuple[Restart, ...]:
    """Return the cells that were begun again after their worker had died, and what each says of it."""
    found = []
    for cell in outcome.cells:
        ended = cell.outcome
        said = ended.reason if ended and _ANEW.search(ended.reason) else ""
        if not said and ended and ended.ending == "trained":
            said = _begun_anew(home, ended.cell_key)
        if said or cell.attempts > 1:
            found.append(Restart(cell.name, cell.attempts, said))
    return tuple(found)


def _begun_anew(home: Home, cell_key: str) -> str:
    record = read_record(home, cell_key, "train")
    return next((f.what for f in record.findings if f.code == "R003"), "") if record else ""


def cell_costs(outcome: FleetOutcome) -> tuple[Cost, ...]:
    """Return what each tried cell took, the slowest first; those that took nothing are left out."""
    found = [
        Cost(c.name, 1, c.outcome.seconds, c.planned.estimated_s, c.outcome.cpu_s, c.outcome.gpu_s)
        for c in outcome.cells
        if c.outcome is not None and c.outcome.seconds > 0 and c.outcome.ending != "up to date"
    ]
    return tuple(sorted(found, key=lambda cost: -cost.seconds))


def family_costs(outcome: FleetOutcome) -> tuple[Cost, ...]:
    """Return what the cells of each family took together, the costliest first."""
    costs = {cost.name: cost for cost in cell_costs(outcome)}
    groups: dict[str, list[Cost]] = {}
    for cell in outcome.cells:
        if cell.name in costs:
            groups.setdefault(cell.planned.family, []).append(costs[cell.name])
    return tuple(sorted((total(family, own) for family, own in groups.items()), key=lambda cost: -cost.seconds))


def total(name: str, costs: Sequence[Cost]) -> Cost:
    """Return a sum of costs."""
    return Cost(
        name,
        sum(c.cells for c in costs),
        sum(c.seconds for c in costs),
        sum(c.estimated_s for c in costs),
        sum(c.cpu_s for c in costs),
        sum(c.gpu_s for c in costs),
    )
