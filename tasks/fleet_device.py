"""Device checks within a run of the fleet: what awaits one is given to the boards that are attached."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from deployments.device_checks import answers, ask_board, no_board
from nightshift.errors import NightshiftError
from nightshift.plan.cell import Cell
from nightshift.plan.fanout import to_run
from nightshift.plan.fleet_config import load_fleet
from nightshift.plan.fleet_run import FleetCell, FleetStart
from nightshift.plan.records import read_record
from nightshift.plan.state import AWAITS, DEVICE, State, newest
from nightshift.settings import home
from nightshift.tracking.device import Wanted, of_cells, record
from nightshift.tracking.mlflow_store import open_store

if TYPE_CHECKING:
    from tasks.fleet import Night

logger = logging.getLogger("nightshift")

_BY_HAND = "Then: nightshift verify --all"


def check_on_devices(start: FleetStart, night: Night) -> None:
    """Let boards check what awaits that, what was trained before this run too, and ask the gate about each.

    Where no board is attached they stay as they are, and a remark says what to start.
    """
    wanted = of_cells(home(), _cells(start))
    if not wanted or night.stop.asked():
        return
    try:
        trouble = no_board(home())
        if trouble is not None:
            one = "1 model awaits its" if len(wanted) == 1 else f"{len(wanted)} models await their"
            night.remarks += (f"{one} device check: {trouble} {_BY_HAND}",)
            return
        # One by one: what was found stays said though the server goes away half-way.
        for remark in _checked(start, night, wanted):
            night.remarks += (remark,)
    except NightshiftError as error:
        # The models are trained: the morning tells of it, and the next night makes up for it.
        logger.warning("device checks: %s", error)
        night.remarks += (f"Device checks came to no end: {error} {_BY_HAND}",)


def with_devices(cells: Iterable[FleetCell]) -> tuple[FleetCell, ...]:
    """Return how cells ended, with what a board has said of them since their batch told."""
    return tuple(_told_since(cell) for cell in cells)


def _cells(start: FleetStart) -> Iterator[Cell]:
    trained = {planned.name for planned in to_run(start.plan)}
    for planned in start.plan.cells:
        if planned.cell_key and (planned.state is State.AWAITING or planned.name in trained):
            cell = newest(home(), planned.name)
            if cell is not None:
                yield cell


def _checked(start: FleetStart, night: Night, wanted: Iterable[Wanted]) -> Iterator[str]:
    """Yield a remark for each version that was not checked, or failed."""
    # A run that goes on after its crash finds the checks that it had asked for.
    own = f"{start.run_id}-{start.started_at:%Y%m%d%H%M%S}"
    asked = {ask_board(one, for_run=own): one for one in wanted}
    logger.info("%d bundles are given to the boards", len(asked))
    store = open_store(home())
    patience_s = load_fleet(home()).dead.pending_s
    for one, found in answers(home(), asked, should_stop=night.stop.asked, patience_s=patience_s):
        if isinstance(found, str):
            yield f"{one.name} v{one.version} was not checked on a device: {found}"
            continue
        try:
            told = record(home(), store, one.name, one.version, found)
        except NightshiftError as error:
            yield f"{one.name} v{one.version}: what the device has found was not recorded: {error}"
            continue
        logger.info("%s", told.line)
        if told.faults:
            yield f"Failed its device check: {told.line}"


def _told_since(cell: FleetCell) -> FleetCell:
    planned, outcome = cell.planned, cell.outcome
    if planned.state is not State.AWAITING and (outcome is None or outcome.device != AWAITS):
        return cell
    key = outcome.cell_key if outcome is not None else planned.cell_key
    register = read_record(home(), key, "register")
    said = str((register.summary.get(DEVICE) if register else "") or AWAITS)
    if said == AWAITS:
        return cell
    if outcome is not None:
        return cell.model_copy(update={"outcome": outcome.model_copy(update={"device": said})})
    reasons = (*planned.reasons, f"device check {said}")
    return cell.model_copy(update={"planned": planned.model_copy(update={"state": State.FRESH, "reasons": reasons})})
