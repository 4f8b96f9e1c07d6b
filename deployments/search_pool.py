"""The trials of a search on a work pool: runs that share its study, watched by plain HTTP until it is done."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from deployments.api import ENDED, OUTAGE_S, RefusedError, ask
from deployments.runs import begin, call_off, message_of, states_of
from deployments.server import address
from deployments.workers import NobodyTakesError, require_workers, troubles
from nightshift.data.shared_tables import share_table
from nightshift.errors import ServiceError, TrainingError, UnknownNameError, UsageError
from nightshift.plan.fleet_config import load_fleet
from nightshift.plan.table import TableJob, TableOptions
from nightshift.settings import STUDY_DB_VARIABLE, Home
from nightshift.stages.estimator import file_of
from nightshift.trainer.search.study import is_alive
from nightshift.trainer.search.watch import Look

FLOW = "search-estimator"
_POLL_S = 1.0
#: How often it is asked whether somebody would take the runs, while none is at work.
_LOOK_S = 10.0
_WAITS = "SCHEDULED"
#: What an address may carry behind its question mark that nobody is to read.
_SECRET = frozenset({"password", "passfile", "sslpassword"})
_ALIVE = (_WAITS, "PENDING", "RUNNING")
#: Begins the tag of a run that tells who waits for it: machine, process, when.
_WAITER = "waiter:"
_GOES_ON = "The trials that ended are kept: the same command goes on."


@dataclass(frozen=True)
class _Place:
    """Where the runs go, and what they are asked for."""

    deployment_id: str
    pool: str
    queue: str
    url: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class _Hand:
    """A run that works on the study.

    Attributes:
        attempt: of its place among the runs, from 1 on.
    """

    name: str
    run_id: str
    attempt: int = 1


def hands_of(home: Home, job: TableJob) -> SearchPool | None:
    """Return what has a job's trials done on its work pool; None where it names none.

    Raises:
        UsageError: for a pool without a search, or a storage whose password the server would show.
    """
    if not job.pool:
        return None
    if not job.search:
        raise UsageError("a pool is for the trials of a search, and none is asked for.", hint="Give --search 40.")
    place = urlsplit(job.storage)
    if place.password or not _SECRET.isdisjoint(parse_qs(place.query)):
        raise UsageError(
            "the storage holds a password, which Prefect would show with every run.",
            hint=f"Put the address into {STUDY_DB_VARIABLE}, here and where the workers run, and leave --storage out.",
        )
    return SearchPool(home, job)


class SearchPool:
    """Has runs on a job's work pool do the trials of its search.

    One that crashed is begun again, up to `dead.tries` of fleet.yaml. When the wait is cut short, they are called off,
    and so are those that a process of this machine has left which waited for the same and was killed. Others who wait
    for the same have runs of their own, on the same study.
    """

    def __init__(self, home: Home, job: TableJob) -> None:
        self._home, self._job, self._dead = home, job, load_fleet(home).dead
        self._hands: list[_Hand] = []
        self._tag = f"{_WAITER}{socket.gethostname()}:{os.getpid()}:{time.time():.0f}"
        self._why = "none began"
        self._looked = self._waits_since = self._answered = 0.0

    def __call__(self, look: Look) -> None:
        """Begin the runs and watch them until no trial is left.

        Args:
            look: see `trainer.search.watch`.

        Raises:
            ServiceError: when nobody takes runs from the pool, or the server does not answer for long.
            UnknownNameError: for a pool that no such runs go to.
            TrainingError: when every run has ended before.
        """
        place = self._place()
        self._looked = self._waits_since = self._answered = time.monotonic()
        try:
            self._begin_all(place)
            note = f"{len(self._hands)} runs of {FLOW} on {place.pool} share the trials"
            while look(note) > 0:
                time.sleep(_POLL_S)
                note = self._step(place)
                if not self._hands and look(note) > 0:
                    raise TrainingError(
                        f"all runs on {place.pool} have ended before the search: {self._why}.", hint=_GOES_ON
                    )
        except BaseException:
            with suppress(ServiceError):
                call_off([hand.run_id for hand in self._hands], place.url)
            raise
        # Those at work see by themselves that nothing is left.
        with suppress(ServiceError):
            states = states_of([hand.run_id for hand in self._hands], place.url)
            call_off([run_id for run_id, state in states.items() if state["type"] == _WAITS], place.url)

    def _place(self) -> _Place:
        """Return where the runs go, when somebody would take them there."""
        home, job = self._home, self._job
        url = address(home)
        if not url:
            raise ServiceError("no Prefect server runs that has work pools.", hint="Start it: nightshift up")
        _, found = ask("deployments/filter", {"flows": {"name": {"any_": [FLOW]}}}, url=url)
        places = {one["work_pool_name"]: one for one in found}
        if not places:
            raise ServiceError(f"the Prefect server has no deployment of {FLOW}.", hint="Made by: nightshift deploy")
        if job.pool not in places:
            raise UnknownNameError("work pool", job.pool, places)
        chosen = places[job.pool]
        require_workers(home, [(job.pool, chosen["work_queue_name"])], url)
        return _Place(chosen["id"], job.pool, chosen["work_queue_name"], url, self.parameters())

    def parameters(self) -> dict[str, Any]:
        """Return what the runs are asked for; brings the table into the shared store where there is one."""
        home, job = self._home, self._job
        path, settings = file_of(home, job), dict(job.settings)
        model = settings.pop("model", None)
        here = {"pool": "", "workers": 1, "run_dir": "", "resume": False, "track": False}
        options = TableOptions.model_validate(
            {
                **job.model_dump(include=set(TableOptions.model_fields)),
                **here,
                "settings": settings,
                "subject": job.called,
            }
        )
        return {
            # Another machine may have its home elsewhere.
            "file": str(path.relative_to(home.root) if path.is_relative_to(home.root) else path),
            "target": job.target,
            "model": model,
            "options": options.model_dump(mode="json"),
            "store_key": share_table(home, path),
        }

    def _begin_all(self, place: _Place) -> None:
        """Begin the runs; those that one has left who waited for the same give their trials back."""
        alive = {"deployment_id": {"any_": [place.deployment_id]}, "state": {"type": {"any_": _ALIVE}}}
        _, found = ask("flow_runs/filter", {"flow_runs": alive, "limit": 200}, url=place.url)
        same = [run for run in found if run["parameters"] == place.parameters]
        call_off([run["id"] for run in same if _is_left(run["tags"])], place.url)
        for i in range(1, self._job.workers + 1):
            name = f"{self._job.called} search {i} of {self._job.workers}"
            run_id = begin(place.deployment_id, name, place.parameters, tags=[self._tag], url=place.url)
            self._hands.append(_Hand(name, run_id))

    def _begun_again(self, place: _Place, hand: _Hand) -> _Hand:
        """Return the next run in a crashed one's place; whoever asks for it again gets the same one."""
        attempt = hand.attempt + 1
        shown, key = f"{hand.name}, try {attempt}", f"{hand.run_id}.{attempt}"
        run_id = begin(place.deployment_id, shown, place.parameters, key=key, tags=[self._tag], url=place.url)
        return _Hand(hand.name, run_id, attempt)

    def _step(self, place: _Place) -> str:
        """Look at the runs, and return what is to be said of them; while the server is away, the study is enough."""
        try:
            states = states_of([hand.run_id for hand in self._hands], place.url)
            self._answered = time.monotonic()
            self._refuse_waiting(place, states)
            return " ".join(self._settled(place, states))
        except RefusedError:
            raise
        except ServiceError as error:
            if time.monotonic() - self._answered > OUTAGE_S or isinstance(error, NobodyTakesError):
                raise
            return ""

    def _settled(self, place: _Place, states: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        """Let go of the runs that have ended, and begin those again that crashed."""
        for hand in [hand for hand in self._hands if states[hand.run_id]["type"] in ENDED]:
            kind, why = states[hand.run_id]["type"], message_of(states[hand.run_id])
            self._why = f"{hand.name} {kind.lower()}" + (f": {why}" if why else "")
            again = kind == "CRASHED" and hand.attempt < self._dead.tries
            # Let go of only once the next one is there: a server that is away is asked again.
            next_one = [self._begun_again(place, hand)] if again else []
            self._hands = [other for other in self._hands if other != hand] + next_one
            if kind != "COMPLETED":
                yield f"{self._why}." + (" It is begun again." if again else "")

    def _refuse_waiting(self, place: _Place, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Give up runs that nobody has taken for long.

        Raises:
            NobodyTakesError: when no worker has been there for `dead.pending_s` of fleet.yaml.
        """
        now = time.monotonic()
        if any(state["type"] not in (_WAITS, *ENDED) for state in states.values()):
            self._waits_since = now
        elif now - self._looked > _LOOK_S:
            self._looked = now
            found = troubles(self._home, [(place.pool, place.queue)], place.url)
            if not found:
                self._waits_since = now
            elif now - self._waits_since > self._dead.pending_s:
                raise NobodyTakesError(found[0].what, hint=f"{found[0].hint} {_GOES_ON}")


def _is_left(tags: Iterable[str]) -> bool:
    """Whether the process of this machine that waited for a run is no more."""
    for tag in tags:
        host, _, rest = tag.removeprefix(_WAITER).partition(":")
        if tag.startswith(_WAITER) and host == socket.gethostname():
            pid, when = map(int, rest.split(":"))
            return not is_alive(pid, datetime.fromtimestamp(when, UTC))
    return False
