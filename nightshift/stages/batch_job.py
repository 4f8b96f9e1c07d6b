"""What the processes of a batch tell each other: the job of a cell's process, and what it left behind."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from nightshift.plan.cell import Cell
from nightshift.plan.outcome import CellOutcome


class CellJob(BaseModel):
    """What one cell's process is to do.

    Attributes:
        cell: to train.
        threads: processor threads that it may use.
        run_id: of the batch; a batch that is tried again has the same one.
        result: file for what it leaves behind.
        log: file for what it and its libraries print.
        report_only: renew the machine's report and train nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: Cell
    threads: int
    run_id: str
    result: str
    log: str
    report_only: bool = False


class CellEnd(BaseModel):
    """How one cell's process ended.

    Attributes:
        what: `busy`: another process trains the cell; `stopped`: it was told to stop, and kept what it had.
        outcome: of the cell when the chain ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Literal["ended", "busy", "stopped"]
    outcome: CellOutcome | None = None


class Request(BaseModel):
    """A line to the fork server: start a job, or signal the process of one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    job: CellJob | None = None
    signal: int = 0


class Reply(BaseModel):
    """A line from the fork server: it is `ready`, a process has `started` or `ended`.

    Attributes:
        code: how it ended: the exit code, or the signal's number below zero.
        cpu_s: processor seconds of an ended one and of the helpers that it has waited for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Literal["ready", "started", "ended"]
    number: int = -1
    pid: int = 0
    code: int = 0
    cpu_s: float = 0.0
