"""Where a flow run and its cells stand, from Prefect's states, the progress files and the records. Plain reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from nightshift.dashboard.runs import (
    BATCH,
    ENDED,
    KEY_DIGITS,
    NO_BARS,
    SYNTHESIS,
    TRAIN,
    Bar,
    CellStatus,
    JobStatus,
    Run,
    Status,
    refs_of,
)
from nightshift.dashboard.together import whole
from nightshift.dashboard.words import step_of, waits
from nightshift.errors import NightshiftError, without_credentials
from nightshift.plan.batch import CellRef
from nightshift.plan.options import TrainOptions, settings_of
from nightshift.plan.outcome import BAD, CellOutcome
from nightshift.plan.past import past_of
from nightshift.plan.records import PROGRESS, STAGES, StageRecord, read_record, work_folder
from nightshift.plan.state import cell_of, make_cell, newest
from nightshift.plan.synthesis import STAGES as SYNTHESIS_STAGES
from nightshift.plan.synthesis import Synthesis, SynthesisOptions, synthesis_code
from nightshift.plan.synthesis import newest as newest_synthesis
from nightshift.progress import ProgressEvent, Tail, percent_of
from nightshift.settings import Home
from nightshift.simulate.profile import load_profile
from nightshift.tracking.results import read_result

# Of a progress file: where a training stands is at its end.
_EARLIER_BYTES = 200_000
# What is left of a stage is told once so much of it is done, after so long.
_ESTIMATE_SHARE, _ESTIMATE_S = 0.1, 3.0


@dataclass(frozen=True)
class Task:
    """A piece of work with a progress file: a cell, or a synthesis.

    Attributes:
        key: names its work folder; "" where it cannot be made.
        expected_s: by past runs.
    """

    name: str
    family: str
    key: str
    stages: tuple[str, ...] = STAGES
    expected_s: float | None = None


def brief_cell(run: Run, ref: CellRef) -> CellStatus:
    """Return where a cell stands as far as its run alone tells."""
    done = run.status == "completed"
    step = "Done" if done else step_of(None, run.status, run)
    return CellStatus(
        job_id="",
        name=ref.name,
        family=ref.family,
        status=run.status,
        progress=100.0 if done else 0.0,
        current_step=step,
        error=(run.why or run.state_name) if run.status == "failed" else "",
    )


class Desk:
    """Finds out where runs stand; keeps what it has read of the files of runs that go on.

    Used by one thread at a time.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._tasks: dict[tuple[str, str], Task] = {}
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._results: dict[str, tuple[str, dict[str, Any]]] = {}
        self._over: dict[tuple[str, str], tuple[Run, CellStatus]] = {}

    def forget(self, run_id: str) -> None:
        """Let go of what is known of a run that has ended."""
        for kept in (self._tasks, self._watched, self._over):
            for place in [p for p in kept if p[0] == run_id]:
                del kept[place]
        if not self._tasks:
            self._results.clear()

    def standing(
        self,
        run: Run,
        parts: Mapping[str, Run],
        outcomes: Mapping[str, CellOutcome],
        now: datetime,
        bars: Mapping[str, Bar] = NO_BARS,
    ) -> JobStatus:
        """Return where a run stands.

        Args:
            run: the run.
            parts: name of a cell -> the run of its own within this one, where it has one.
            outcomes: name of a cell -> how it ended, as the run has told.
            now: when Prefect was asked.
            bars: id of a run, or of one within it -> what it shows in Prefect, where nothing here tells of it.
        """
        if run.flow == SYNTHESIS:
            cells = [self._cell(run, run, task, None, bars) for task in self._synthesis(run)]
        else:
            refs = refs_of(run, outcomes)
            cells = [self._of_ref(run, ref, parts.get(ref.name), outcomes.get(ref.name), bars) for ref in refs]
        return whole(run, cells, now, bars.get(run.id))

    def _of_ref(
        self, run: Run, ref: CellRef, part: Run | None, outcome: CellOutcome | None, bars: Mapping[str, Bar]
    ) -> CellStatus:
        place = (run.id, ref.name)
        over = self._over.get(place)
        if over is not None and over[0] == part and not run.ended:
            # While others go on, what has ended is not read again.
            return over[1]
        task = self._task(run, ref)
        if outcome is not None and outcome.cell_key:
            task = replace(task, key=outcome.cell_key)
        own = part or (run if run.flow == TRAIN else _not_begun(run, ref))
        found = self._cell(run, own, task, outcome, bars)
        if part is not None and part.ended:
            self._over[place] = (part, found)
        return found

    def _cell(self, run: Run, own: Run, task: Task, outcome: CellOutcome | None, bars: Mapping[str, Bar]) -> CellStatus:
        place = (run.id, task.name)
        watched = self._watched.get(place)
        if watched is None or watched.key != task.key:
            watched = self._watched[place] = _Watched(self._home, task.key)
        watched.look()
        status: Status = own.status
        last = watched.last if watched.last and _within(run, watched.last.at) else None
        if last is None and (bar := bars.get(run.id if run.flow == BATCH else own.id)):
            last = watched.note(bar.events.get(task.name))
        if outcome is not None and status != "cancelled":
            status = "failed" if outcome.ending in BAD else "completed"
        elif status == "running" and last is None and run.flow == BATCH:
            status = "pending"
        records = self._records(run, task)
        told = CellStatus(
            job_id=f"{run.id}.{task.key[:KEY_DIGITS]}" if task.key else "",
            name=task.name,
            family=task.family,
            status=status,
            started_at=own.start,
            ended_at=own.end if status in ENDED else None,
        )
        if status == "pending":
            return told.model_copy(update={"current_step": waits(own)})
        update: dict[str, Any] = {"progress": _percent(last, status), "current_step": step_of(last, status, own)}
        if status == "running":
            update["remaining_s"] = _remaining_s(task, own, watched, last)
        update |= self._made(task, records, status)
        if status == "failed" or (status == "completed" and outcome is not None):
            update |= _why(own, records, outcome)
        if status == "completed":
            update["current_step"] = _how_it_ended(run, records, outcome, task)
        return told.model_copy(update=update)

    def _records(self, run: Run, task: Task) -> dict[str, StageRecord]:
        """Return the records of a piece of work, those of earlier runs too."""
        if not task.key:
            return {}
        return {n: r for n in task.stages if (r := read_record(self._home, task.key, n))}

    def _made(self, task: Task, records: Mapping[str, StageRecord], status: Status) -> dict[str, Any]:
        """Return metrics and bundle, as far as there are any."""
        if task.stages is not STAGES or "evaluate" not in records or status == "cancelled":
            return {}
        # An evaluation holds figures to draw, too: it is not read every second.
        stamp = "".join(records[name].started_at for name in ("evaluate", "export", "register") if name in records)
        if self._results.get(task.key, ("",))[0] != stamp:
            self._results[task.key] = (stamp, self._result(task))
        return self._results[task.key][1]

    def _result(self, task: Task) -> dict[str, Any]:
        cell = cell_of(self._home, task.key)
        if cell is None:
            return {}
        result = read_result(self._home, cell)
        found = result.evaluation
        rows = found.rows if found else []
        row = next((r for r in rows if found and r.kind == "model" and r.part == found.headline_part), None)
        metrics = {k: v for k, v in row.metrics.items() if v is not None} if row else {}
        return {"metrics": metrics, "model_path": result.bundle.as_posix() if result.bundle else ""}

    def _synthesis(self, run: Run) -> Iterator[Task]:
        given, place = run.parameters, (run.id, "synthesis")
        subject, key = str(given.get("machine_id", "")), ""
        if place not in self._tasks:
            with suppress(NightshiftError, ValidationError, TypeError):
                job = Synthesis(
                    subject=subject,
                    profile=load_profile(self._home, subject).model_dump(mode="json"),
                    rows=given.get("rows", 50_000),
                    seed=given.get("seed", 7),
                    options=SynthesisOptions.model_validate(given.get("options") or {}),
                    code=synthesis_code(),
                )
                key = job.key
            self._tasks[place] = Task(f"{subject}.synthesis", "synthesis", key, SYNTHESIS_STAGES)
        task = self._tasks[place]
        if run.start is not None and not self._works_on(run, task.key):
            # The profile may have been edited since.
            begun = newest_synthesis(self._home, subject)
            if begun is not None and self._works_on(run, begun.key):
                task = self._tasks[place] = replace(task, key=begun.key)
        yield task

    def _task(self, run: Run, ref: CellRef) -> Task:
        """Return which cell a reference means: the one that this run works on, or will."""
        place = (run.id, ref.name)
        task = self._tasks.get(place)
        if task is None:
            past = past_of(self._home, ref.subject, ref.family, ref.target)
            during = [v.cell_key for v in past.versions if run.ended and run.holds(v.at)]
            key = during[0] if during else self._planned(run, ref)
            task = self._tasks[place] = Task(ref.name, ref.family, key, expected_s=past.median_s)
        begun = newest(self._home, ref.name)
        if begun is not None and begun.key != task.key and self._works_on(run, begun.key):
            # Data or code have changed since it was asked for.
            task = self._tasks[place] = replace(task, key=begun.key)
        return task

    def _works_on(self, run: Run, key: str) -> bool:
        try:
            changed_s = (work_folder(self._home, key) / PROGRESS).stat().st_mtime
        except OSError:
            return False
        return _within(run, changed_s)

    def _planned(self, run: Run, ref: CellRef) -> str:
        """Return the key of the cell that a run trains when its turn comes; "" where it cannot be made."""
        options = run.parameters.get("options") or {}
        try:
            train = TrainOptions.model_validate(options.get("train") or {} if run.flow == BATCH else options)
            chosen = [one.family for one in refs_of(run)]
            params = settings_of(train, ref.family, chosen)
            return make_cell(self._home, ref.subject, ref.family, ref.target, params=params).key
        except (NightshiftError, ValidationError, AttributeError, TypeError):
            return ""


class _Watched:
    """What a progress file has told so far; where there is none, a bar in Prefect tells when a stage began."""

    def __init__(self, home: Home, key: str) -> None:
        self.key = key
        self.last: ProgressEvent | None = None
        self.stage_began = 0.0
        self._noted: ProgressEvent | None = None
        self._tail = Tail(work_folder(home, key) / PROGRESS, earlier=_EARLIER_BYTES) if key else None

    def look(self) -> None:
        """Read what is new."""
        for event in self._tail.fresh() if self._tail else ():
            self.last = self.note(event)

    def note(self, event: ProgressEvent | None) -> ProgressEvent | None:
        """Note when the stage of an event began, and return it."""
        if event is not None:
            if self._noted is None or event.stage != self._noted.stage or not event.step:
                self.stage_began = event.at
            self._noted = event
        return event


def _not_begun(run: Run, ref: CellRef) -> Run:
    """Return the run of a cell that Prefect has not heard of yet: it ends as its job does."""
    return run if run.ended else replace(run, name=ref.name, start=None)


def _within(run: Run, at_s: float) -> bool:
    return run.holds(datetime.fromtimestamp(at_s, UTC))


def _percent(last: ProgressEvent | None, status: Status) -> float:
    if status == "completed":
        return 100.0
    return round(percent_of(last), 1) if last else 0.0


def _remaining_s(task: Task, own: Run, watched: _Watched, last: ProgressEvent | None) -> float | None:
    """Return what is left, by past runs of the same model, else by the pace of what goes on now."""
    now = datetime.now(UTC).timestamp()
    if task.expected_s is not None and own.start is not None:
        left = task.expected_s - (now - own.start.timestamp())
        return round(left, 1) if left > 0 else None
    share = last.step / last.total if last and last.total else 0.0
    took_s = now - watched.stage_began
    if share < _ESTIMATE_SHARE or took_s < _ESTIMATE_S or share >= 1.0:
        return None
    return round(took_s / share * (1.0 - share), 1)


def _why(own: Run, records: Mapping[str, StageRecord], outcome: CellOutcome | None) -> dict[str, str]:
    if outcome is not None:
        bad = outcome.ending in BAD
        return _shown(outcome.reason if bad else "", outcome.hint)
    for record in records.values():
        if record.error and own.holds(datetime.fromisoformat(record.started_at)):
            return _shown(record.error, record.hint)
    # A refusal that is remembered from an earlier run has its record from then.
    stopped = next((r for r in records.values() if r.error and r.error in own.message), None)
    return _shown(stopped.error, stopped.hint) if stopped else {"error": own.why or own.state_name}


def _shown(error: str, hint: str) -> dict[str, str]:
    return {"error": without_credentials(error), "hint": without_credentials(hint)}


def _how_it_ended(run: Run, records: Mapping[str, StageRecord], outcome: CellOutcome | None, task: Task) -> str:
    if outcome is not None and outcome.ending not in ("trained", *BAD):
        return without_credentials(f"{outcome.ending.capitalize()}: {outcome.reason}")
    refused = next((r for r in records.values() if r.status == "not_applicable"), None)
    if refused:
        return without_credentials(f"Not applicable: {refused.error}")
    last = records.get(task.stages[-1])
    if last is not None and not run.holds(datetime.fromisoformat(last.started_at)):
        return "Up to date: nothing had to be done"
    return "Done"
