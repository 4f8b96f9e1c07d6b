"""train_batch: many models of many machines, each in a process of its own, in one run."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Cancelled
from pydantic import Field

from nightshift.plan.batch import BatchOptions, BatchOutcome, CellRef
from tasks.batch import settled, train_cells, version_trained
from tasks.cell_run import STOPPED

Cells = Annotated[list[CellRef], Field(title="Cells", min_length=1)]


def _name() -> str:
    """Return the name that the run which asked for the batch has given it, else `batch`."""
    options = (flow_run.parameters or {}).get("options") or {}
    for_run = options.get("for_run") if isinstance(options, dict) else options.for_run
    return str(flow_run.name) if for_run else "batch"


@flow(name="train-batch", flow_run_name=_name, persist_result=True, result_serializer="json")
def train_batch(cells: Cells, options: BatchOptions = BatchOptions()) -> BatchOutcome | State[Any]:
    """Train many models at once; interpreter and libraries are loaded once for all of them.

    What is up to date is not trained again, what another run trains is waited for, and a cell that fails, dies or
    exceeds its limits stops no other; the run ends as failed after all were tried.

    Args:
        cells: machine, family and target of each.
        options: what the batch may use, and how its cells are trained.

    Returns:
        How each ended; a `Cancelled` state when it was stopped on request.

    Raises:
        BatchFailedError: when a cell failed or was blocked; it holds every cell's outcome.
        CapacityError: when the machine has too little memory or disk for them.
    """
    outcome = train_cells(cells, options)
    if outcome is None:
        return Cancelled(message=STOPPED)
    version_trained(outcome, options)
    return settled(outcome)
