"""A synthesis: what is asked for, the key that says whether it is the same one, and where it stands, from records."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nightshift.errors import EXIT_OK, NightshiftError, UsageError
from nightshift.files import write_atomic
from nightshift.plan.cell import sha256_json
from nightshift.plan.code import closure, fingerprint_of
from nightshift.plan.records import StageRecord, read_record, work_folder
from nightshift.settings import Home
from nightshift.simulate.profile import MIN_RUNS, Profile, load_profile
from nightshift.simulate.profile_rules import MAX_ROWS
from nightshift.simulate.quality.limits import QualityLimits

STAGES = ("profile", "physics", "generate", "quality", "land")
ROWS = (1_000, MAX_ROWS)
MAX_SEED = 2**32 - 1
#: Beside its records in the work folder.
DESCRIBED, QUALITY_FILE, PICTURES_FILE = "synthesis.json", "judged.json", "pictures.json"
# They say how to run and what to do afterwards, not what is made.
_NOT_IN_KEY = {"event", "force", "threads"}
_KEY = re.compile(r"[0-9a-f]{64}")
_LIBRARIES = ("numpy", "pandas", "scipy", "scikit-learn", "lightgbm", "torch", "sdmetrics")
# What shows and keeps, but makes no row.
_SHOWS_ONLY = ("nightshift.tracking", "nightshift.stages.recorded")


class SynthesisOptions(BaseModel):
    """How to make the data. What is left empty comes from the code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generator_seeds: int = Field(
        default=5,
        ge=1,
        le=20,
        title="Generator seeds",
        description="How often each generator is fitted and judged; figures are means over them.",
    )
    seed_units: int = Field(
        default=2_000,
        ge=500,
        le=100_000,
        title="Seed units",
        description="Lives that are drawn from the profile; generators learn from 60 % of them.",
    )
    epochs: int | None = Field(
        default=None, ge=1, le=100_000, title="Epochs (TVAE)", description="Passes over the seed units; empty = usual."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", title="Device", description="Where the TVAE is trained; auto takes a GPU when there is one."
    )
    limits: QualityLimits = Field(
        default=QualityLimits(), title="Quality limits", description="What the data must reach before it may land."
    )
    event: bool = Field(default=True, title="Event", description="Whether a landing is told, which starts training.")
    force: bool = Field(default=False, title="Force", description="Make the data even when it is up to date.")
    threads: int | None = Field(
        default=None, gt=0, title="Threads", description="Processor threads to use; empty = all of the machine."
    )


class Synthesis(BaseModel):
    """One machine's data to make: profile, rows, seed, options and code.

    Attributes:
        profile: as JSON values.
        code: fingerprint of what makes the rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    profile: dict[str, Any]
    rows: int
    seed: int
    options: SynthesisOptions = SynthesisOptions()
    code: str

    @property
    def key(self) -> str:
        """The synthesis key, 64 hex digits; it names the work folder."""
        options = self.options.model_dump(exclude=_NOT_IN_KEY)
        return sha256_json([self.profile, self.subject, self.rows, self.seed, options, self.code])

    @property
    def name(self) -> str:
        """For people, and of its artifacts."""
        return f"{self.subject}.synthesis"

    @property
    def label(self) -> str:
        """What a progress bar of it is called."""
        return "synthesis"

    @property
    def machine(self) -> Profile:
        """The profile, validated."""
        return Profile.model_validate(self.profile)

    @property
    def generator_seeds(self) -> tuple[int, ...]:
        """One seed per fit of each generator; the units of one of them land."""
        return tuple((self.seed + i) % (MAX_SEED + 1) for i in range(self.options.generator_seeds))


class SynthesisOutcome(BaseModel):
    """How a synthesis ended.

    Attributes:
        dataset: fingerprint of what landed.
        rows: that landed.
        new: whether the machine had other data before.
        generator: whose units are the train part, and `why`.
        report: the quality report's page, relative to the home.
        seconds: of the whole run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    ending: Literal["landed", "up to date"]
    key: str
    dataset: str
    rows: int
    new: bool = True
    generator: str
    why: str = ""
    report: str = ""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """The command's exit code."""
        return EXIT_OK


def plan_synthesis(home: Home, subject: str, rows: int, seed: int, options: SynthesisOptions) -> Synthesis:
    """Make the synthesis of a machine's present profile and code.

    Raises:
        UnknownNameError: for a machine without a profile; names the nearest.
        ConfigError: for a profile that is refused, and for the device cuda where there is no GPU.
        UsageError: for rows or a seed outside of what can be used, with the figures.
    """
    _check_device(options.device)
    low, high = ROWS
    if not low <= rows <= high:
        raise UsageError(f"rows is {rows:,}, expected {low:,} to {high:,}.", hint="Ask for 50,000 to begin with.")
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed is {seed}, expected 0 to {MAX_SEED}.", hint="Any whole number in between will do.")
    profile = load_profile(home, subject)
    if rows < profile.min_rows:
        raise UsageError(
            f"rows is {rows:,}, and '{subject}' needs at least {profile.min_rows:,}: {MIN_RUNS} runs of "
            f"{profile.life.mean_h:g} h at one row per {profile.sampling_s:g} s, with a tenth to spare.",
            hint=f"Ask for --rows {profile.min_rows} or more.",
        )
    return Synthesis(
        subject=subject,
        profile=profile.model_dump(mode="json"),
        rows=rows,
        seed=seed,
        options=options,
        code=synthesis_code(),
    )


def _check_device(device: str) -> None:
    """Refuse a GPU that is not here before anything is made; torch takes seconds to load, and is asked for one only."""
    if device == "cuda":
        from nightshift.nets.device import pick

        pick(device)


@lru_cache(maxsize=1)
def synthesis_code() -> str:
    """Return the hash of the modules and libraries that make the rows."""
    modules = closure("nightshift.stages.synthesis.chain")
    return fingerprint_of((m for m in modules if not m.startswith(_SHOWS_ONLY)), _LIBRARIES)


def records(home: Home, job: Synthesis) -> dict[str, StageRecord]:
    """Return the intact records of a synthesis, in order."""
    return {name: record for name in STAGES if (record := read_record(home, job.key, name))}


def is_fresh(home: Home, job: Synthesis) -> bool:
    """Whether everything is done and what landed is still the machine's present data."""
    found = records(home, job)
    done = [name for name, record in found.items() if record.status == "done"]
    return done == list(STAGES) and still_present(home, job.subject, found["land"])


def still_present(home: Home, subject: str, landed: StageRecord) -> bool:
    """Whether the dataset that a `land` record speaks of is its subject's present one."""
    from nightshift.data.store import current

    with suppress(NightshiftError):
        return current(home, subject) == landed.summary.get("dataset")
    return False


def outcome_of(
    home: Home, job: Synthesis, ending: Literal["landed", "up to date"], seconds: float = 0.0
) -> SynthesisOutcome:
    """Return the outcome that the records of a finished synthesis hold."""
    found = records(home, job)
    judged, landed = found["quality"].summary, found["land"].summary
    return SynthesisOutcome(
        subject=job.subject,
        ending=ending,
        key=job.key,
        dataset=str(landed["dataset"]),
        rows=int(landed["rows"] or 0),
        new=ending == "landed" and bool(landed["new"]),
        generator=str(judged["chosen"]),
        why=str(judged["why"]),
        report=str(judged["report"]),
        seconds=round(seconds, 3),
    )


def remember(home: Home, job: Synthesis) -> None:
    """Keep the description of a synthesis beside its records."""
    write_atomic(work_folder(home, job.key) / DESCRIBED, job.model_dump_json(indent=1).encode())


def newest(home: Home, subject: str) -> Synthesis | None:
    """Return the synthesis of a machine that was last worked on, None without any that can be read."""
    found = [p for p in home.work.glob(f"*/{DESCRIBED}") if _KEY.fullmatch(p.parent.name)]
    for path in sorted(found, key=lambda p: p.stat().st_mtime_ns, reverse=True):
        with suppress(OSError, ValidationError):
            text = path.read_text(encoding="utf-8")
            if f'"{subject}"' in text and (job := Synthesis.model_validate_json(text)).subject == subject:
                return job
    return None
