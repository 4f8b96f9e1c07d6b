"""A training on a table of anybody's: what is asked for, and how it ended; the same for command and flow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nightshift.errors import EXIT_OK

#: Key of the artifact by which a run tells how it ended.
OUTCOME = "table-outcome"
_NOT_IN_IDS = re.compile(r"[^a-z0-9]+")


class TableOptions(BaseModel):
    """How to train on a table: the one pydantic parameter of the flow, so that its form is usable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: str | None = Field(
        default=None, title="Groups", description="Column: rows of one value stay in one part. No input of the model."
    )
    times: str | None = Field(
        default=None, title="Times", description="Column: what is later is judged by what was before. No input."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        title="Settings",
        description='Keys of a training file, such as {"cross_validation": 5, "params": {"n_estimators": 300}}.',
    )
    subject: str = Field(default="", title="Name", description="Of the run in MLflow; empty = the file's name.")
    track: bool = Field(default=True, title="Log in MLflow")
    registry: bool = Field(default=True, title="Register", description="As any other model; where it is logged.")
    device_class: str = Field(default="server", title="Device class", description="It is registered for, such as pi.")
    run_dir: str = Field(
        default="", title="Run folder", description="Keeps what has ended, to go on from; empty = none."
    )
    resume: bool = Field(default=False, title="Resume", description="Go on with what lies in the run folder.")
    search: int = Field(
        default=0,
        ge=0,
        title="Search",
        description="Trials of a search over the model's parameters, in all; runs of one storage share it.",
    )
    space: dict[str, Any] = Field(
        default_factory=dict,
        title="Search over",
        description='Such as {"num_leaves": {"low": 7, "high": 127, "log": true}}; empty = what is usual.',
    )
    storage: str = Field(
        default="", title="Storage", description="Of the search: sqlite:///… or postgresql://…; empty = in the home."
    )
    pool: str = Field(
        default="",
        title="Work pool",
        description="Whose workers do the search's trials, such as gpu-pool; empty = this run does them.",
    )
    workers: int = Field(default=2, ge=1, title="Runs", description="That share the trials on the work pool.")


class TableJob(TableOptions):
    """A training on a file.

    Attributes:
        file: CSV or Parquet, on the machine that trains; relative to the home.
        target: column of y.
    """

    file: str = Field(min_length=1)
    target: str = Field(min_length=1)

    @property
    def called(self) -> str:
        """What it is called."""
        return self.subject or subject_of(Path(self.file))

    @property
    def key(self) -> str:
        """As a `Job`'s; a table leaves no records."""
        return ""

    @property
    def name(self) -> str:
        """As a `Job`'s: of its artifacts."""
        return f"{self.called}.table"

    @property
    def label(self) -> str:
        """As a `Job`'s."""
        return self.called


class TableOutcome(BaseModel):
    """How it ended.

    Attributes:
        metric: the one that decides.
        scores: part -> metric -> figure.
        saved: folder of the model, from the home on where it lies there; "" where it is not saved.
        run_id: of MLflow, "" where it is not logged.
        registered: name in the registry, "" where it is not registered.
        cell_key: of the model that is registered.
        version: there.
        gate: what the gate said.
        reason: why it is not saved, logged or registered, "" where all went well.
        exit_code: of the command.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    model: str
    task: str
    rows: int
    metric: str
    scores: Mapping[str, Mapping[str, float | None]]
    findings: tuple[str, ...] = ()
    saved: str = ""
    run_id: str = ""
    registered: str = ""
    cell_key: str = ""
    version: int = 0
    gate: str = ""
    reason: str = ""
    seconds: float = 0.0
    exit_code: int = EXIT_OK

    @property
    def judged(self) -> dict[str, float]:
        """The figures that it is judged by: of test, else of the rows that folds or validation held out."""
        part = next((part for part in ("test", "held_out", "validation") if part in self.scores), "")
        return {name: value for name, value in self.scores.get(part, {}).items() if value is not None}


def subject_of(file: Path) -> str:
    """Return a file's name as an id: lower case, letters, digits and underscores."""
    return _NOT_IN_IDS.sub("_", file.stem.lower()).strip("_") or "table"
