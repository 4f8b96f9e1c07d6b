"""synthesize_machine: from a machine's profile to data that lands."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import State, flow
from prefect.states import Cancelled
from pydantic import Field

from nightshift.plan.synthesis import MAX_SEED, ROWS, SynthesisOptions, SynthesisOutcome
from tasks.cell_run import STOPPED
from tasks.synthesis import announce, generate, land, physics, plan, profile, quality, synthesis_run
from tasks.version import version

MachineId = Annotated[str, Field(title="Machine", examples=["motor_siemens_1la7_001"])]
Rows = Annotated[int, Field(title="Rows", ge=ROWS[0], le=ROWS[1])]
Seed = Annotated[int, Field(title="Seed", ge=0, le=MAX_SEED)]


@flow(
    name="synthesize-machine",
    flow_run_name="{machine_id}.synthesis",
    persist_result=True,
    result_serializer="json",
)
def synthesize_machine(
    machine_id: MachineId,
    rows: Rows = 50_000,
    seed: Seed = 7,
    options: SynthesisOptions = SynthesisOptions(),
) -> SynthesisOutcome | State[Any]:
    """Make a machine's run-to-failure data from its profile, judge it, and land it when it is good enough.

    The same profile, rows, seed, options and code are not made again, and the run says so.

    Args:
        machine_id: a machine with a profile, `configs/machines/<id>.yaml`.
        rows: in all three parts together.
        seed: of everything random.
        options: how to make the data.

    Returns:
        How it ended; a `Cancelled` state when it was stopped on request.

    Raises:
        BlockedError: when the quality gate refuses the data, or the machine breaks a law of physics.
        NightshiftError: when a stage fails.
    """
    job = plan(machine_id, rows, seed, options)
    with synthesis_run(job) as run:
        profile(job)
        physics(job)
        generate(job)
        quality(job)
        land(job)
    if run.outcome is None:
        return Cancelled(message=STOPPED)
    # First: an error in versioning must not swallow the event.
    announce(job)
    version(machine_id)
    return run.outcome
