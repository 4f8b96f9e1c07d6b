"""The fleet's matrix: where every model of every machine stands, kept in the process and brought up to date beside it.

Nobody waits for thousands of records to be read: whoever asks gets what is known, with the moment that it is of, and
what is older than a few seconds is looked after in the meantime. Only machines whose files have changed are read again.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillReadingError
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from threading import Lock
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from nightshift.dashboard.machine_facts import Facts, facts_of, stamp, stamp_of_configs
from nightshift.data.groups import MACHINE
from nightshift.data.store import subjects
from nightshift.errors import NightshiftError, ServiceError
from nightshift.plan.cell import Cell
from nightshift.plan.fleet import Filters, make_plan
from nightshift.plan.fleet_config import FleetConfig, load_fleet
from nightshift.plan.past import Past, Trained, past_of
from nightshift.plan.shared import sync
from nightshift.plan.state import State, newest, newest_names, refreshed, state
from nightshift.settings import Home, without_places
from nightshift.tracking.results import family_rank

logger = logging.getLogger("nightshift")

#: Where a cell stands: a state of the plan, or that the family is not for such data, which is nobody's fault.
Word = Literal["fresh", "stale", "training", "failed", "blocked", "awaiting device check", "does not apply"]
WORDS: tuple[Word, ...] = get_args(Word)

#: What is older than this is looked after when somebody asks; they wait for it so long at most.
_OLD_S, _WAIT_S = 3.0, 0.05
#: Whom nobody has gone before for so long would see what stood then, and waits a little longer.
_LONG_AGO_S, _LONG_WAIT_S = 15.0, 0.2
#: How long somebody waits who needs the first reading, or what has just happened to be in it.
_PATIENCE_S = 20.0
#: What no file tells (a champion's age, a file altered in place) shows within this, so many machines at a time.
_AGAIN_S, _AT_ONCE = 600.0, 20
#: A file that has changed so shortly before it was read may change again under the same stamp.
_RACY_NS = 2 * 10**9
#: How often other machines' news are asked for where the fleet shares a store.
_SYNC_S = 60.0
_DOES_NOT_APPLY = "does not apply: "


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MatrixCell(_Record):
    """One model of a machine.

    Attributes:
        name: in the registry.
        cell_key: of what the plan would train, "" where it cannot be made.
        reasons: why it stands so, each by itself.
        estimated_s: of training it, 0 where there is nothing to train.
        versions: the newest ones and the champion, newest first.
        older: versions further back.
    """

    machine: str
    family: str
    target: str
    name: str
    cell_key: str
    state: Word
    reasons: tuple[str, ...]
    estimated_s: float = 0.0
    versions: tuple[Trained, ...] = ()
    older: int = 0

    @property
    def champion(self) -> Trained | None:
        """The version in use, None without one."""
        return Past(self.versions).champion

    @property
    def reason(self) -> str:
        """All reasons on one line."""
        return ", ".join(self.reasons)


class Machine(_Record):
    """A machine, vehicle, scenario set or table, with where its models stand.

    Attributes:
        facts: what its data say.
        trouble: why no model of it can be planned, "" where nothing is wrong.
        cells: in the order of families.
    """

    id: str
    facts: Facts
    tags: tuple[str, ...] = ()
    trouble: str = ""
    cells: tuple[MatrixCell, ...] = ()


@dataclass(frozen=True)
class Matrix:
    """The fleet at a moment.

    Attributes:
        as_of: up to when every change is in it.
        machines: by group, then id.
        problem: why it could not be brought up to date, "" when it was.
    """

    as_of: datetime
    machines: tuple[Machine, ...]
    problem: str = ""

    @cached_property
    def by_id(self) -> dict[str, Machine]:
        """Machines by id."""
        return {machine.id: machine for machine in self.machines}

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags, sorted."""
        return tuple(sorted({tag for machine in self.machines for tag in machine.tags}))


@dataclass(frozen=True)
class Asked:
    """A part of the matrix; "" leaves nothing out.

    Attributes:
        text: in the machine's id, title or type.
        state: of one of its cells.
    """

    text: str = ""
    tag: str = ""
    state: str = ""

    def machines(self, matrix: Matrix) -> tuple[Machine, ...]:
        """Return the machines asked for."""
        return tuple(m for m in self._named(matrix) if not self.state or self.state in _states(m))

    def counts(self, matrix: Matrix) -> dict[Word, int]:
        """Return how many cells are in each state, whichever state is asked for."""
        found = Counter(state for machine in self._named(matrix) for state in _states(machine))
        return {word: found[word] for word in WORDS}

    def _named(self, matrix: Matrix) -> Iterator[Machine]:
        text = self.text.strip().lower()
        for machine in matrix.machines:
            about = f"{machine.id} {machine.facts.title} {machine.facts.type}".lower()
            if text in about and (not self.tag or self.tag in machine.tags):
                yield machine


def _states(machine: Machine) -> list[Word]:
    """Return the states of a machine's cells; where its data cannot be used, it is one blocked cell."""
    found = [cell.state for cell in machine.cells]
    return [*found, "blocked"] if machine.trouble else found


@dataclass
class _Kept:
    """A machine as it was last read.

    Attributes:
        stamp: of the files that were read.
        names: registry names that were ever worked on.
        read_at: monotonic.
        settled: False when it must be read again whatever the files say.
    """

    machine: Machine
    stamp: tuple[int, ...]
    names: tuple[str, ...]
    read_at: float
    settled: bool


class FleetMatrix:
    """The matrix of a home.

    Args:
        home: whose.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._kept: dict[str, _Kept] = {}
        self._configs: tuple[int, ...] = ()
        self._matrix: Matrix | None = None
        self._read_at = self._synced_at = float("-inf")
        self._lock = Lock()
        self._reader = ThreadPoolExecutor(1, "matrix")
        self._reading: Future[Matrix] | None = None

    def start(self) -> None:
        """Begin to read, so that the first who asks need not wait."""
        self._look()

    def stop(self) -> None:
        """End what is being read."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def get(self, *, now: bool = False) -> Matrix:
        """Return the matrix, at most a few seconds old where somebody has asked shortly before.

        Args:
            now: wait, though not for ever, until everything that has happened before is in it.

        Raises:
            NightshiftError: when it could never be read.
            ServiceError: when its first reading takes long.
        """
        wait_s = _WAIT_S if time.monotonic() - self._read_at < _LONG_AGO_S else _LONG_WAIT_S
        reading = self._look(always=now)
        if reading is not None:
            with suppress(StillReadingError):
                return reading.result(_PATIENCE_S if now or self._matrix is None else wait_s)
        if self._matrix is None:
            raise ServiceError("The fleet is still being read for the first time.", hint="Load the page again.")
        return self._matrix

    def _look(self, *, always: bool = False) -> Future[Matrix] | None:
        """Begin to bring it up to date when it is old; return what is being done, None when nothing need be."""
        with self._lock:
            running = self._reading if self._reading is not None and not self._reading.done() else None
            # One that has not begun will see all that has happened until now.
            always = always and (running is None or running.running())
            if always or (running is None and time.monotonic() - self._read_at > _OLD_S):
                self._reading = running = self._reader.submit(self._refresh)
            return running

    def _refresh(self) -> Matrix:
        began = datetime.now(UTC)
        try:
            machines = self._machines()
        except Exception as error:
            if not isinstance(error, NightshiftError):
                logger.exception("the fleet could not be read")
            if self._matrix is None:
                raise
            # What was read before is better than nothing, whatever is wrong now.
            problem = without_places(self._home, str(error)) or type(error).__name__
            self._matrix = replace(self._matrix, problem=problem)
        else:
            self._matrix = Matrix(began, machines)
        self._read_at = time.monotonic()
        return self._matrix

    def _machines(self) -> tuple[Machine, ...]:
        home, config = self._home, load_fleet(self._home)
        if home.store_url and time.monotonic() - self._synced_at > _SYNC_S:
            sync(home)
            self._synced_at = time.monotonic()
        configs = stamp_of_configs(home)
        if configs != self._configs:
            self._kept, self._configs = {}, configs
        landed, names = subjects(home), _names_by_subject(home)
        known = sorted({*landed, *config.named, *names})
        self._kept = {subject: kept for subject in known if (kept := self._kept.get(subject))}
        changed = self._changed(known, names)
        in_fleet = [s for s in changed if (s in config.named) or (s in landed and config.includes(s))]
        self._read(config, changed, in_fleet, names)
        own = [self._kept[subject].machine for subject in known]
        return tuple(sorted(own, key=lambda m: (m.facts.group != MACHINE, m.facts.group, m.id)))

    def _changed(self, known: Sequence[str], names: dict[str, tuple[str, ...]]) -> list[str]:
        """Return the machines to be read: new ones, those whose files have changed, and a few whose turn it is."""
        changed = []
        turns, long_ago = _AT_ONCE, time.monotonic() - _AGAIN_S
        for subject in known:
            kept, own = self._kept.get(subject), names.get(subject, ())
            if kept and kept.settled and kept.names == own and kept.stamp == stamp(self._home, kept.machine, own):
                if kept.read_at > long_ago or not turns:
                    continue
                turns -= 1
            changed.append(subject)
        return changed

    def _read(
        self, config: FleetConfig, changed: Sequence[str], in_fleet: Sequence[str], names: dict[str, tuple[str, ...]]
    ) -> None:
        home = self._home
        planned: dict[str, list[MatrixCell]] = {}
        trouble: dict[str, str] = {}
        if in_fleet:
            for cell in make_plan(home, config, Filters(machines=tuple(in_fleet))).cells:
                if not cell.family:
                    trouble[cell.subject] = without_places(home, ", ".join(cell.reasons))
                    continue
                found = _cell(home, cell.subject, cell.family, cell.target, cell.cell_key, cell.state, cell.reasons)
                found = found.model_copy(update={"estimated_s": cell.estimated_s})
                planned.setdefault(cell.subject, []).append(found)
        for subject in changed:
            began_ns = time.time_ns()
            own = names.get(subject, ())
            cells = planned.get(subject, [])
            cells += _others(home, own, {cell.name for cell in cells})
            machine = Machine(
                id=subject,
                facts=facts_of(home, subject),
                tags=config.tags_of(subject),
                trouble=trouble.get(subject, ""),
                cells=tuple(sorted(cells, key=lambda c: (family_rank(c.family), c.family, c.target))),
            )
            marks = stamp(home, machine, own)
            busy = any(cell.state == "training" for cell in cells)
            settled = not busy and max(marks, default=0) < began_ns - _RACY_NS
            self._kept[subject] = _Kept(machine, marks, own, time.monotonic(), settled)


def _names_by_subject(home: Home) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name in newest_names(home):
        if name.count(".") == 2:
            found.setdefault(name.split(".")[0], []).append(name)
    return {subject: tuple(names) for subject, names in found.items()}


def _others(home: Home, names: Iterable[str], planned: set[str]) -> list[MatrixCell]:
    """Return the models that no plan of the fleet has: of policies, tables and machines outside of it."""
    cells = [cell for name in names if name not in planned and (cell := newest(home, name))]
    return [_other(home, cell) for cell in cells]


def _other(home: Home, cell: Cell) -> MatrixCell:
    try:
        now = refreshed(home, cell)
        stands = state(home, now)
    except NightshiftError as error:
        return _cell(home, cell.subject, cell.family, cell.target, cell.key, State.STALE, (error.what,))
    record = stands.record
    reasons = stands.reasons
    if stands.state is State.BLOCKED and record is not None and record.status == "not_applicable":
        reasons = (f"{_DOES_NOT_APPLY}{stands.reason}",)
    return _cell(home, cell.subject, cell.family, cell.target, now.key, stands.state, reasons)


def _cell(
    home: Home, subject: str, family: str, target: str, key: str, stands: State, reasons: tuple[str, ...]
) -> MatrixCell:
    reasons = tuple(without_places(home, reason) for reason in reasons)
    told = ", ".join(reasons)
    never = stands is State.BLOCKED and told.startswith(_DOES_NOT_APPLY)
    past = past_of(home, subject, family, target)
    return MatrixCell(
        machine=subject,
        family=family,
        target=target,
        name=f"{subject}.{family}.{target}",
        cell_key=key,
        state="does not apply" if never else stands.value,
        reasons=(told.removeprefix(_DOES_NOT_APPLY),) if never else reasons,
        versions=past.versions,
        older=past.older,
    )
