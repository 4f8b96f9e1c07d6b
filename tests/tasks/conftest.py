"""What a run of the fleet works on, on real, small data."""

from __future__ import annotations

import pytest
from support.datasets import calendar_rows, describe

from nightshift.data.importers.landing import split_and_land
from nightshift.plan.fanout import fan_out, to_run
from nightshift.plan.fleet import Filters, make_plan
from nightshift.plan.fleet_config import FleetConfig
from nightshift.plan.fleet_run import FleetOptions, FleetStart
from nightshift.settings import Home


@pytest.fixture
def start(home: Home) -> FleetStart:
    """A run that trains two cells in one batch."""
    split_and_land(home, calendar_rows(), describe("pump_1"))
    plan = make_plan(home, FleetConfig(families=("anomaly", "rul")))
    batches = fan_out(to_run(plan), 1_800, 1)
    return FleetStart(
        run_id="r", started_at=plan.made_at, filters=Filters(), options=FleetOptions(), plan=plan, batches=batches
    )
