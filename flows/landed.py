"""train_landed: the models of every machine whose data have landed and were not tried yet."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Cancelled

from flows.machine import train_machine
from flows.parameters import Target
from nightshift.plan.landed import LandedOutcome
from tasks.cell_run import STOPPED
from tasks.landed import LandedRun


@flow(name="train-landed", flow_run_name="landed.{target}", persist_result=True, result_serializer="json")
def train_landed(target: Target = "pi") -> LandedOutcome | State[Any]:
    """Train what has landed, one machine after another, until nothing is left.

    Which machines that are is asked of the plan, not of the event that started the run: a burst of landings starts one
    run, and what lands while it works is found when it asks again. A machine that fails does not stop the others; the
    run ends as failed after all were tried.

    Args:
        target: the device class that the models are built for.

    Returns:
        How each machine ended; a `Cancelled` state when it was stopped on request.

    Raises:
        MachinesFailedError: when a cell failed or was blocked; it holds every machine's outcome.
    """
    run = LandedRun(target)
    while machines := run.left():
        for machine in machines:
            run.begin(machine)
            ended = train_machine(machine.subject, list(machine.families), target, return_state=True)
            if ended.is_cancelled():
                return Cancelled(message=STOPPED)
            run.note(machine, ended)
    return run.settled()
