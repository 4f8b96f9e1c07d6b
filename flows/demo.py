"""demo: a machine from its profile to four models, in one run."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Cancelled

from flows.machine import train_machine
from flows.parameters import Families, Force, Target
from flows.synthesize import MachineId, Rows, Seed, synthesize_machine
from nightshift.plan.options import TrainOptions
from nightshift.plan.outcome import MachineOutcome
from nightshift.plan.synthesis import SynthesisOptions
from tasks.cell_run import STOPPED
from tasks.version import version


@flow(name="demo", flow_run_name="{machine_id}.demo", persist_result=True, result_serializer="json")
def demo(
    machine_id: MachineId,
    rows: Rows,
    seed: Seed,
    synthesis: SynthesisOptions,
    families: Families,
    target: Target = "pi",
    force: Force = False,
    options: TrainOptions = TrainOptions(),
) -> MachineOutcome | State[Any]:
    """Make a machine's data from its profile, and train all its models on what has landed.

    Args:
        machine_id: a machine with a profile.
        rows: of the data.
        seed: of everything random in the data.
        synthesis: how to make the data.
        families: which models.
        target: the device class that the models are built for.
        force: train even what is up to date.
        options: how to train.

    Returns:
        How each model ended; a `Cancelled` state when it was stopped on request.

    Raises:
        BlockedError: when the quality gate refuses the data.
        CellsFailedError: when a cell failed or was blocked; it holds every cell's outcome.
    """
    landed = synthesize_machine(machine_id, rows, seed, synthesis, return_state=True)
    if landed.is_cancelled():
        return Cancelled(message=STOPPED)
    landed.result()
    trained = train_machine(machine_id, families, target, force, options, return_state=True)
    if trained.is_cancelled():
        return Cancelled(message=STOPPED)
    version(machine_id)
    return trained.result()
