"""Data made from a machine's profile: asked for, where it stands, what was judged."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from nightshift.dashboard.auth import User
from nightshift.dashboard.service import Service
from nightshift.plan.lock import is_held
from nightshift.plan.records import PROGRESS, StageRecord, work_folder
from nightshift.plan.synthesis import (
    MAX_SEED,
    PICTURES_FILE,
    QUALITY_FILE,
    ROWS,
    STAGES,
    Synthesis,
    SynthesisOptions,
    newest,
    plan_synthesis,
    records,
)
from nightshift.problems.evaluation import Figure
from nightshift.progress import read_events
from nightshift.settings import Home
from nightshift.simulate.profile import load_profile
from nightshift.simulate.quality.report import FIGURES, QualityReport
from nightshift.tracking.quality_report import page_of

DEPLOYMENT = "synthesize-machine/local"
USUAL_ROWS, USUAL_SEED = 50_000, 7
#: Quick fits each generator once: the same limits, judged by one fit instead of the mean of several.
QUICK_SEEDS = 1
#: Measured on two cores: about half a minute for each fit of the three generators and its judging.
_FIT_S = 31.0

_LEARN = (
    "More to learn from: the standard five fits instead of quick, or more seed units (nightshift synthesize has them)."
)
_SENSOR = "Give the sensor that tells the most more noise, or let its ways to fail add less (the YAML has both)."
#: What to change in a profile or in what was asked, by the gate's line that was missed.
_ADVICE = {
    FIGURES["failure_share"]: "Set the time by which a failure is to be seen to 10 to 20 % of the mean life.",
    FIGURES["sensor_auc"]: _SENSOR,
    FIGURES["violations"]: "The units break a law of physics, named below: correct the ranges or the load.",
}

State = Literal["running", "landed", "refused", "failed", "stopped"]
_KEPT_FIGURES = TypeAdapter(list[Figure])


class SynthesisAsked(BaseModel):
    """What a synthesis is asked with; without rows it is 50,000, or what the profile needs where that is more."""

    model_config = ConfigDict(extra="forbid")

    rows: int | None = Field(default=None, ge=ROWS[0], le=ROWS[1])
    seed: int = Field(default=USUAL_SEED, ge=0, le=MAX_SEED)
    options: SynthesisOptions = SynthesisOptions()


@dataclass(frozen=True)
class Synthesised:
    """Where a machine's newest synthesis stands.

    Attributes:
        stages: (name, status) of all, in order; "" for one that has not ended.
        error, hint: why nothing has landed.
        report: of the quality stage, None before it.
        figures: its pictures.
        told: the newest line of progress, while it runs.
        share: done of the present stage, 0 to 1.
        page: of the report, relative to the home; "" without one.
        seconds: of its stages so far.
    """

    job: Synthesis
    state: State
    stages: tuple[tuple[str, str], ...]
    error: str
    hint: str
    report: QualityReport | None
    figures: tuple[Figure, ...]
    told: str
    share: float
    page: str
    seconds: float
    started_at: str


def advice(report: QualityReport) -> tuple[str, ...]:
    """Return what to change so that data pass, one line each."""
    return tuple(dict.fromkeys(_ADVICE.get(line.name, _LEARN) for line in report.missed))


async def start(service: Service, user: User, machine: str, asked: SynthesisAsked, key: str) -> str:
    """Start a synthesis of a machine's present profile and return its job.

    Raises:
        UnknownNameError: for a machine without a profile.
        NightshiftError: for a profile or a request that is refused, and when nothing can be started now.
    """
    job = await run_in_threadpool(_planned, service.home, machine, asked)
    options = job.options.model_dump(mode="json", exclude_unset=True)
    parameters = {"machine_id": machine, "rows": job.rows, "seed": job.seed, "options": options}
    job_id, new = await service.jobs.run_flow(DEPLOYMENT, parameters, job.name, key, user.name)
    if new:
        service.audit.note(user.name, "started", job_id, machine=machine, synthesis=job.key[:12], rows=job.rows)
    return job_id


def _planned(home: Home, machine: str, asked: SynthesisAsked) -> Synthesis:
    rows = asked.rows or max(USUAL_ROWS, load_profile(home, machine).min_rows)
    return plan_synthesis(home, machine, rows, asked.seed, asked.options)


def estimate_s(generator_seeds: int, past: Synthesised | None = None) -> float:
    """Return about how long a synthesis takes, by an earlier one of the machine where that has landed."""
    known = past is not None and past.state == "landed" and past.seconds > 1
    fit_s = past.seconds / past.job.options.generator_seeds if past and known else _FIT_S
    return fit_s * generator_seeds


def standing(home: Home, machine: str) -> Synthesised | None:
    """Return where the newest synthesis of a machine stands, None where none was begun."""
    job = newest(home, machine)
    if job is None:
        return None
    done = records(home, job)
    state, decisive = _state(home, job, done)
    report = _report(home, job)
    event = next(iter(list(read_events(work_folder(home, job.key) / PROGRESS))[-1:]), None)
    page = page_of(home, machine, passed=state == "landed")
    return Synthesised(
        job=job,
        state=state,
        stages=tuple((name, done[name].status if name in done else "") for name in STAGES),
        error=decisive.error if decisive else "",
        hint=decisive.hint if decisive else "",
        report=report,
        figures=_figures(home, job) if report else (),
        told=event.message if event and state == "running" else "",
        share=min(event.step / event.total, 1.0) if event and event.total else 0.0,
        page=page.relative_to(home.root).as_posix() if page.is_file() else "",
        seconds=sum(record.seconds for record in done.values()),
        started_at=next((record.started_at for record in done.values()), ""),
    )


def _state(home: Home, job: Synthesis, done: dict[str, StageRecord]) -> tuple[State, StageRecord | None]:
    if is_held(home, job.key):
        return "running", None
    failed = next((r for r in done.values() if r.status != "done"), None)
    if failed is not None:
        return ("refused" if failed.status == "blocked" else "failed"), failed
    return ("landed" if len(done) == len(STAGES) else "stopped"), None


def _report(home: Home, job: Synthesis) -> QualityReport | None:
    with suppress(OSError, ValidationError):
        return QualityReport.model_validate_json((work_folder(home, job.key) / QUALITY_FILE).read_bytes())
    return None


def _figures(home: Home, job: Synthesis) -> tuple[Figure, ...]:
    with suppress(OSError, ValidationError):
        return tuple(_KEPT_FIGURES.validate_json((work_folder(home, job.key) / PICTURES_FILE).read_bytes()))
    return ()
