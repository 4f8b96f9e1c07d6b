"""register: the MLflow run, the version in the registry, the bundle's place, and the gate's word.

MLflow may be away: then the finished model is kept, the record says `pending`, and the next run registers without
training.
"""

from __future__ import annotations

from nightshift.errors import TransientError
from nightshift.findings import finding
from nightshift.plan.cell import Cell
from nightshift.progress import ProgressEvent
from nightshift.stages.chain import StageContext, StageResult
from nightshift.tracking.finished import staging_folder
from nightshift.tracking.mlflow_store import Patience, open_store, retried
from nightshift.tracking.registry import Registered, reconcile, register, served_files

_STEPS = 4


def run(cell: Cell, ctx: StageContext, patience: Patience | None = None) -> StageResult:
    """Register the cell's bundle as challenger, and as champion when the gate passes.

    Args:
        cell: an exported one.
        ctx: what the chain runs with.
        patience: how long to try to reach MLflow.

    Raises:
        ServiceError: when MLflow refuses for good.
        ExportError: when there is no whole bundle.
    """
    say = _Steps(cell, ctx)

    def attempt() -> StageResult:
        say("opening MLflow")
        store = open_store(ctx.home, patience)
        reconcile(ctx.home)
        return _result(register(ctx.home, store, cell, say), ctx, store.uri)

    try:
        return retried(attempt, patience)
    except TransientError as error:
        return _pending(cell, ctx, error)


class _Steps:
    """Counts lines as steps of progress; a new attempt begins anew."""

    def __init__(self, cell: Cell, ctx: StageContext) -> None:
        self._cell, self._sink, self._step = cell, ctx.sink(cell), 0

    def __call__(self, line: str) -> None:
        self._step = min(self._step + 1, _STEPS - 1)
        self._sink(ProgressEvent(cell=self._cell.key, stage="register", step=self._step, total=_STEPS, message=line))


def _result(done: Registered, ctx: StageContext, uri: str) -> StageResult:
    return StageResult(
        files=tuple(served_files(done.folder)),
        summary=done.summary(ctx.home, uri),
        findings=done.decision.findings if done.decision else (),
    )


def _pending(cell: Cell, ctx: StageContext, error: TransientError) -> StageResult:
    staged = staging_folder(ctx.home, cell.key)
    kept = staged.relative_to(ctx.home.root).as_posix() if staged.is_dir() else None
    return StageResult(
        status="pending",
        summary={"name": cell.name, "bundle": kept, "champion": False},
        findings=(finding("R001", error.what),),
        error=f"trained, not registered: {error.what}",
        hint="The model is kept. Run the same command again: it registers without training.",
    )
