"""Learning curves while they grow, each as one figure."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from nightshift.dashboard import live
from nightshift.dashboard.auth import Viewer
from nightshift.dashboard.service import Svc
from nightshift.problems.evaluation import Figure
from nightshift.tracking.driving_runs import read_run

router = APIRouter(prefix="/api/live", tags=["runs"])

Key = Annotated[str, Path(description="the cell's key, 12 hex digits or more", examples=["0123456789ab"])]
RunId = Annotated[str, Path(description="the driving run's id", examples=["ppo_v1"])]
Name = Annotated[str, Path(description="of the curve", examples=["loss"])]


@router.get("/runs/{run_id}")
def names_of_run(run_id: RunId, service: Svc, _user: Viewer) -> list[str]:
    """Return the names of a driving run's curves."""
    return list(live.run_names(read_run(service.home, run_id).rows))


@router.get("/runs/{run_id}/{name}")
def curve_of_run(run_id: RunId, name: Name, service: Svc, _user: Viewer) -> Figure:
    """Return one of a driving run's curves."""
    return live.run_figure(service.home, run_id, name)


@router.get("/{cell_key}")
def names_of_cell(cell_key: Key, service: Svc, _user: Viewer) -> list[str]:
    """Return the names of a cell's curves."""
    return list(live.live_names(service.home, cell_key))


@router.get("/{cell_key}/{name}")
def curve_of_cell(cell_key: Key, name: Name, service: Svc, _user: Viewer) -> Figure:
    """Return one of a cell's curves."""
    return live.live_figure(service.home, cell_key, name)
