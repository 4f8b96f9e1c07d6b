"""train_machine: every model of one machine."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Cancelled

from flows.parameters import Families, Force, Subject, Target
from flows.train import train
from nightshift.plan.options import TrainOptions
from nightshift.plan.outcome import MachineOutcome
from tasks.cell_run import STOPPED
from tasks.gpu import told_to_inner_runs
from tasks.machine_run import chosen_families, machine_outcome, options_for, settled
from tasks.version import version


@flow(name="train-machine", flow_run_name="{subject}.{target}", persist_result=True, result_serializer="json")
def train_machine(
    subject: Subject,
    families: Families = ["classification", "rul", "anomaly", "forecast"],
    target: Target = "pi",
    force: Force = False,
    options: TrainOptions = TrainOptions(),
) -> MachineOutcome | State[Any]:
    """Train all models of one machine, one after another.

    A family that cannot apply is left out with the reason; one that fails or is blocked does not stop the others, and
    the run ends as failed after all were tried.

    Args:
        subject: the machine's id, as it was imported.
        families: which models.
        target: the device class that the models are built for.
        force: train even those that are up to date.
        options: how to train; each family takes the settings that it knows.

    Returns:
        How each ended; a `Cancelled` state when it was stopped on request.

    Raises:
        CellsFailedError: when a cell failed or was blocked; it holds every cell's outcome.
    """
    wanted = chosen_families(families)
    states = {}
    for family in wanted:
        own = options_for(options, family, wanted)
        with told_to_inner_runs():
            states[family] = train(subject, family, target, force, own, return_state=True)
        if states[family].is_cancelled():
            return Cancelled(message=STOPPED)
    outcome = machine_outcome(subject, target, states)
    version(subject)
    return settled(outcome)
