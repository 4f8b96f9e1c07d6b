"""What a run does, in words for people."""

from __future__ import annotations

from nightshift.dashboard.runs import Run, Status
from nightshift.errors import without_credentials
from nightshift.progress import ProgressEvent, described

_WORDS = {
    **{"load": "Loading data", "validate": "Checking data", "train": "Training", "evaluate": "Evaluating"},
    **{"export": "Exporting", "register": "Registering", "report": "Writing the report", "table": "Training"},
    **{"profile": "Reading the profile", "physics": "Simulating", "generate": "Fitting generators"},
    **{"quality": "Judging quality", "land": "Landing data"},
}


def waits(own: Run) -> str:
    """Return what a run that has not begun waits for."""
    if own.status == "running":
        return "Waiting for its turn"
    return "Starting" if own.state == "PENDING" else "Waiting for a worker"


def step_of(last: ProgressEvent | None, status: Status, own: Run) -> str:
    """Return what is done now, or was done last.

    Args:
        last: newest event, None where nothing is told yet.
        status: of the cell.
        own: its run.
    """
    if status in ("failed", "cancelled"):
        stage = _WORDS.get(last.stage, last.stage) if last else ""
        word = "Failed" if status == "failed" else "Stopped on request"
        return f"{word}: {stage}" if stage else word
    if own.state == "CANCELLING":
        return "Stopping: what is done is kept"
    if last is None:
        return "Starting"
    text = "" if last.step == 0 or (last.total and last.step >= last.total) else described(last)
    return " ".join(part for part in (_WORDS.get(last.stage, last.stage), without_credentials(text)) if part)[:200]
