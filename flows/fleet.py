"""train_fleet: every model of the fleet that is not up to date, overnight."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Cancelled

from flows.parameters import Continues, FleetFamilies, Force, Machines, Only, Tags, Targets
from nightshift.plan.fleet import Filters
from nightshift.plan.fleet_run import FleetOptions, FleetOutcome
from tasks.cell_run import STOPPED
from tasks.fleet import close, night, plan_fleet, settled, train_batches, version_trained
from tasks.fleet_device import check_on_devices
from tasks.promote import ask_about_plan


@flow(name="train-fleet", flow_run_name="fleet", persist_result=True, result_serializer="json")
def train_fleet(
    machines: Machines = (),
    families: FleetFamilies = (),
    targets: Targets = (),
    tags: Tags = (),
    force: Force = False,
    only: Only = "everything",
    options: FleetOptions = FleetOptions(),
    continues: Continues = "",
) -> FleetOutcome | State[Any]:
    """Train what the fleet needs, in batches on the work pools, and tell how it went.

    What is up to date is not trained again. A cell that fails stops no other; the run ends as failed after all were
    tried. A pool without a worker fails its own cells, with the command that starts one. While another run of the
    fleet is at work in this home, it waits.

    Args:
        machines: only these; empty = all of the fleet.
        families: only these; empty = all of the fleet.
        targets: only these; empty = all of the fleet.
        tags: only machines with one of these tags of fleet.yaml.
        force: train even what is up to date.
        only: everything; landed = machines with new data; failed = what did not end well last time.
        options: how to train; everything left empty comes from the configs.
        continues: leave empty; else a flow run of the fleet that crashed: what is left of its plan is done.

    Returns:
        How every cell ended; a `Cancelled` state when it was stopped on request.

    Raises:
        FleetFailedError: when a cell failed or was blocked; it holds every cell's outcome.
        UnknownNameError: for a machine, family, target or tag that the fleet does not have.
        ConfigError: for a fleet.yaml or a setting that cannot be used.
    """
    filters = Filters(machines=machines, families=families, targets=targets, tags=tags, only=only, force=force)
    with night() as run:
        if not run.begun:
            return Cancelled(message=STOPPED)
        start = plan_fleet(filters, options, continues)
        ends = train_batches(start, run)
        check_on_devices(start, run)
        ask_about_plan(start, run)
        version_trained(start, run)
        outcome = close(start, ends, run)
    return settled(outcome)
