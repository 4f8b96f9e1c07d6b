"""The fleet's plan: every cell with where it stands, why, how long it will take and on which pool it belongs.

Read from pointers, records and sketches alone: no data frame, no Prefect, no MLflow, no training library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from nightshift import families
from nightshift.data.drift import SensorDrift
from nightshift.data.groups import group_of
from nightshift.data.store import current, subjects
from nightshift.errors import NightshiftError, UnknownNameError
from nightshift.findings import Finding
from nightshift.plan.batch import wants_gpu
from nightshift.plan.cell import Cell
from nightshift.plan.drifted import DriftMeter, drift_finding, drift_reason
from nightshift.plan.durations import Durations
from nightshift.plan.fleet_config import ALL, FleetConfig
from nightshift.plan.only import Only
from nightshift.plan.only import chosen as chosen_of
from nightshift.plan.options import TrainOptions, settings_of
from nightshift.plan.past import Past, past_of, utc
from nightshift.plan.shared import sync
from nightshift.plan.state import TRAINED, CellState, State, make_cell, state
from nightshift.settings import Home

GPU_POOL, PI_POOL = "gpu-pool", "pi-pool"
_GPU_TARGETS = ("server", "vehicle", "gpu")
_QUEUES = {GPU_POOL: "default", PI_POOL: "train"}

#: What makes a cell urgent: a model that answers about values it has not seen, then one behind its data or absent.
DRIFTED, BEHIND, TO_TRAIN, NOTHING_TO_DO = 3, 2, 1, 0
_BEHIND = ("new data", "never trained", "trained, not registered", "its registration did not end")

NO_DATA = "no data has landed"
ASKED_FOR = "asked for (force)"
# What waits first, what cannot go on next, what needs nothing last.
_ORDER = (State.STALE, State.FAILED, State.TRAINING, State.BLOCKED, State.AWAITING, State.FRESH)
_TRAINS = (State.STALE, State.FAILED)


class Filters(BaseModel):
    """A part of the fleet; an empty one leaves nothing out.

    Attributes:
        tags: machines that have one of them.
        only: `landed` = machines with data that they were not trained on; `failed` = what did not end well last time.
        force: train what is up to date too; with `failed`, go on with what has begun. What is blocked stays so: the
            same data would be refused again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    machines: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    only: Only = "everything"
    force: bool = False


class PlannedCell(BaseModel):
    """One cell of a plan.

    Attributes:
        subject: the machine.
        family: "" (as `target`) where the machine has no data that can be opened: it is one blocked cell.
        name: of its model in the registry.
        cell_key: "" where not even the cell can be made.
        reasons: why it is in this state, each by itself.
        priority: greater is more urgent, 0 = nothing to do.
        estimated_s: of training what is left of it, 0.0 where nothing is.
        queue: of the pool.
        forced: why it is trained although its records are whole, "" otherwise; goes into `Cell.forced`.
        findings: drift, with the figures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    family: str
    target: str
    name: str
    cell_key: str
    state: State
    reasons: tuple[str, ...]
    priority: int = NOTHING_TO_DO
    estimated_s: float = 0.0
    pool: str = ""
    queue: str = ""
    tags: tuple[str, ...] = ()
    forced: str = ""
    findings: tuple[Finding, ...] = ()


class FleetPlan(BaseModel):
    """All cells asked for: what is to be trained first, most urgent first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    made_at: datetime
    cells: tuple[PlannedCell, ...]

    @property
    def to_train(self) -> tuple[PlannedCell, ...]:
        """The cells that a run trains: stale ones, and those that failed last time."""
        return tuple(c for c in self.cells if c.state in _TRAINS)

    @property
    def estimated_s(self) -> float:
        """Sum over what is to be trained, one after the other."""
        return sum(c.estimated_s for c in self.to_train)

    def by_state(self) -> dict[State, tuple[PlannedCell, ...]]:
        """Return the cells of each state; every state is there."""
        return {where: tuple(c for c in self.cells if c.state is where) for where in _ORDER}


def make_plan(
    home: Home, config: FleetConfig, filters: Filters | None = None, train: TrainOptions | None = None
) -> FleetPlan:
    """Return where every cell of the fleet (or the part asked for) stands, on all machines that share a store.

    Args:
        home: where everything is kept.
        config: what belongs to the fleet.
        filters: the part.
        train: how a run would train, where that is another than what the configs say.

    Raises:
        UnknownNameError: for a machine, family, target or tag asked for that the fleet does not have.
        ConfigError: for a setting of `train` that no family of the fleet knows.
        ServiceError, TransientError: when the store that the machines share cannot be used.
    """
    sync(home)
    asked, options = filters or Filters(), train or TrainOptions()
    own = [families.canonical(name) for name in asked.families]
    chosen = _chosen("family of the fleet", own, config.chosen_families)
    settings = {family: settings_of(options, family, chosen) for family in chosen}
    file = Path(options.config_file) if options.config_file else None
    desk = _Desk(home, config, asked.force, datetime.now(UTC), settings, file, goes_on=asked.only == "failed")
    wanted = _chosen("target of the fleet", asked.targets, config.every_target)
    cells = [
        planned for subject in _machines(home, config, asked) for planned in _cells_of_machine(desk, subject, wanted)
    ]
    return FleetPlan(made_at=desk.now, cells=tuple(sorted(chosen_of(home, asked.only, cells), key=_rank)))


@dataclass
class _Desk:
    """What one plan works with.

    Attributes:
        settings: by family, what a run would set over its config files.
        file: a config file that it would read beside them.
        goes_on: with what an earlier run has begun: force then concerns whole records alone.
    """

    home: Home
    config: FleetConfig
    force: bool
    now: datetime
    settings: Mapping[str, dict[str, Any]]
    file: Path | None
    goes_on: bool = False
    meter: DriftMeter = field(init=False)
    durations: Durations = field(init=False)

    def __post_init__(self) -> None:
        self.meter, self.durations = DriftMeter(self.home), Durations(self.home)


@dataclass
class _Case:
    """A cell with what its records say, and what earlier versions left once somebody asks."""

    desk: _Desk
    cell: Cell
    standing: CellState

    @cached_property
    def past(self) -> Past:
        return past_of(self.desk.home, self.cell.subject, self.cell.family, self.cell.target)


@dataclass(frozen=True)
class _Verdict:
    """Where a cell stands for the fleet, beyond what its records say."""

    state: State
    reasons: tuple[str, ...]
    forced: str = ""
    findings: tuple[Finding, ...] = ()


def _machines(home: Home, config: FleetConfig, asked: Filters) -> list[str]:
    landed = subjects(home)
    fleet = list(dict.fromkeys([*(landed if config.machines == ALL else ()), *config.named]))
    chosen = _chosen("machine of the fleet", asked.machines, fleet)
    if not asked.tags:
        return sorted(chosen)
    tags = set(_chosen("tag", asked.tags, tuple(config.tags)))
    return sorted(subject for subject in chosen if tags & set(config.tags_of(subject)))


def _chosen(kind: str, asked: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return what was asked for, each once, or all.

    Raises:
        UnknownNameError: for a name that is not known.
    """
    for name in asked:
        if name not in known:
            raise UnknownNameError(kind, name, known, hint="configs/fleet.yaml says what belongs to the fleet.")
    return tuple(dict.fromkeys(asked or known))


def _rank(cell: PlannedCell) -> tuple[int, int, str]:
    return _ORDER.index(cell.state), -cell.priority, cell.name


def _cells_of_machine(desk: _Desk, subject: str, wanted: Sequence[str]) -> Iterator[PlannedCell]:
    try:
        dataset = current(desk.home, subject)
        group = group_of(desk.home, subject, dataset)
    except NightshiftError as error:
        why = NO_DATA if isinstance(error, UnknownNameError) else str(error)
        yield _blocked(desk, subject, "", "", why)
        return
    # Of another group's family nothing could come but the word that it does not apply.
    own = {family: params for family, params in desk.settings.items() if families.get(family).group == group}
    for target in (name for name in desk.config.targets_of(group) if name in wanted):
        for family, params in own.items():
            try:
                cell = make_cell(desk.home, subject, family, target, dataset=dataset, file=desk.file, params=params)
            except NightshiftError as error:
                yield _blocked(desk, subject, family, target, str(error))
            else:
                yield _planned(desk, cell)


def _blocked(desk: _Desk, subject: str, family: str, target: str, why: str) -> PlannedCell:
    return PlannedCell(
        subject=subject,
        family=family,
        target=target,
        name=".".join(part for part in (subject, family, target) if part),
        cell_key="",
        state=State.BLOCKED,
        reasons=(why,),
        tags=desk.config.tags_of(subject),
    )


def _planned(desk: _Desk, cell: Cell) -> PlannedCell:
    case = _Case(desk, cell, state(desk.home, cell))
    verdict = _judged(case)
    pool = pool_of(cell)
    priority, estimated_s = NOTHING_TO_DO, 0.0
    if verdict.state in _TRAINS:
        priority = _priority(verdict)
        done = {} if verdict.forced else case.standing.records
        estimated_s = desk.durations.estimate_s(cell.family, case.past.median_s, done)
    return PlannedCell(
        subject=cell.subject,
        family=cell.family,
        target=cell.target,
        name=cell.name,
        cell_key=cell.key,
        state=verdict.state,
        reasons=verdict.reasons,
        priority=priority,
        estimated_s=estimated_s,
        pool=pool,
        queue=_QUEUES[pool],
        tags=desk.config.tags_of(cell.subject),
        forced=verdict.forced,
        findings=verdict.findings,
    )


def _judged(case: _Case) -> _Verdict:
    """Add to what the records say: the champion's age, drift, and whether it was asked for."""
    standing = case.standing
    if standing.state is State.BLOCKED and standing.record and standing.record.status == "not_applicable":
        return _Verdict(State.BLOCKED, (f"does not apply: {standing.reason}",))
    if standing.state in (State.BLOCKED, State.TRAINING):
        return _Verdict(standing.state, standing.reasons)
    asked = (ASKED_FOR,) if case.desk.force else ()
    if standing.state in TRAINED:
        again = (*_too_old(case), *asked)
        return _Verdict(State.STALE, again, "; ".join(again)) if again else _Verdict(standing.state, standing.reasons)
    found = _drift(case)
    drift = (drift_reason(found),) if found else ()
    remarks = (drift_finding(found),) if found else ()
    # What is not whole is trained anyway; forced, it would begin anew where it could go on from its checkpoint.
    asked = () if case.desk.goes_on else asked
    return _Verdict(standing.state, (*standing.reasons, *drift, *asked), "".join(asked), remarks)


def _too_old(case: _Case) -> tuple[str, ...]:
    """Return why a fresh cell is trained again for its champion's age, () when it is not.

    Its own training counts too: one that the gate refused is tried again after as many days, not every night.
    """
    days, register = case.desk.config.champion_max_age_days, case.standing.record
    if days is None or register is None:
        return ()
    latest = case.desk.now - timedelta(days=days)
    if utc(register.started_at) > latest:
        return ()
    champion = case.past.champion
    if champion is None or champion.at > latest:
        return ()
    return (f"champion older than {days:g} days (version {champion.version}, {champion.at:%Y-%m-%d})",)


def _drift(case: _Case) -> tuple[SensorDrift, ...]:
    """Return the sensors that have drifted since the champion (without one: the newest version) was trained."""
    reference = case.past.reference
    if reference is None:
        return ()
    return case.desk.meter.drifted(case.cell.subject, reference.dataset, case.cell.dataset)


def _priority(verdict: _Verdict) -> int:
    if verdict.findings:
        return DRIFTED
    return BEHIND if any(reason in _BEHIND for reason in verdict.reasons) else TO_TRAIN


def pool_of(cell: Cell) -> str:
    """Return the work pool that a cell belongs to.

    Driving and torch families, and whatever asks for a GPU, go where GPUs are; the others by their target.
    """
    return GPU_POOL if wants_gpu(cell) or cell.target in _GPU_TARGETS else PI_POOL
