"""Two homes that share nothing but S3 and Postgres: what lands on one is trained on the other, and both know it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.flow_scenarios import TINY, land
from support.homes import a_home

from nightshift.edge.runtime import Model
from nightshift.plan.batch import BatchOptions, CellRef
from nightshift.plan.fleet import Filters, make_plan
from nightshift.plan.fleet_config import FleetConfig
from nightshift.plan.options import TrainOptions
from nightshift.plan.state import State
from nightshift.settings import MLFLOW_DB_VARIABLE
from nightshift.stages.batch import Batch
from nightshift.tracking import versions
from nightshift.tracking.mlflow_store import open_store
from tests.scale.conftest import Postgres

pytestmark = [
    pytest.mark.scale,
    pytest.mark.timeout(900),
]


def test_the_plan_of_one_knows_what_the_other_has_trained(
    s3: str, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MLFLOW_DB_VARIABLE, f"postgresql://{postgres.database('fleet')}")
    fleet, quick = FleetConfig(families=("anomaly",), targets=("pi",)), TrainOptions(settings=TINY, threads=1)
    with a_home(tmp_path / "planner") as planner:
        land(planner, "pump_a")
        land(planner, "pump_b")
        before = make_plan(planner, fleet, Filters(), quick)
        assert [c.state for c in before.cells] == [State.STALE, State.STALE]
    with a_home(tmp_path / "trainer") as trainer:
        cells = [CellRef(subject=c.subject, family=c.family, target=c.target) for c in before.to_train]
        with (
            Batch(trainer, cells, BatchOptions(processes=2, train=quick)) as batch,
            ThreadPoolExecutor(batch.processes) as pool,
        ):
            ended = list(pool.map(batch.run, batch.cells))
        assert [c.ending if c else "stopped" for c in ended] == ["trained", "trained"]
    with a_home(tmp_path / "planner") as planner:
        after = make_plan(planner, fleet, Filters(), quick)
        assert [c.state for c in after.cells] == [State.FRESH, State.FRESH], after
        assert {c.cell_key for c in after.cells} == {c.cell_key for c in before.cells}
        Model.load(planner.models / "anomaly" / "pump_a" / "pi" / "v1")
        held = versions.challenger(open_store(planner), "pump_a.anomaly.pi")
        assert held is not None
        assert held.version == 1
        # New data on the planner's machine: exactly that cell is to be trained again, and the other machine sees it.
        land(planner, "pump_a", rows=500)
        now = make_plan(planner, fleet, Filters(), quick)
        assert {c.subject: c.state for c in now.cells} == {"pump_a": State.STALE, "pump_b": State.FRESH}
    with a_home(tmp_path / "trainer") as trainer:
        told = make_plan(trainer, fleet, Filters(), quick)
        assert {c.subject: c.state for c in told.cells} == {"pump_a": State.STALE, "pump_b": State.FRESH}
