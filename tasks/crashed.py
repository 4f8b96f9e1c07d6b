"""What a run of the fleet that crashed was about: its plan, or what it was asked for where it had none yet."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from deployments.api import OUTAGE_S, RefusedError, ask
from nightshift.errors import ServiceError, UsageError
from nightshift.plan.fleet import Filters
from nightshift.plan.fleet_run import FleetOptions, FleetStart, read_start
from nightshift.settings import Home

logger = logging.getLogger("nightshift")

_PAUSE_S = 2.0
_NOT_FOUND = 404
_STOPPING = ("CANCELLING", "CANCELLED")
_HINT = "What is left is trained by: nightshift resume"


@dataclass(frozen=True)
class Crashed:
    """What is known of a run that crashed.

    Attributes:
        start: its plan; None when it crashed before it had one.
    """

    start: FleetStart | None
    filters: Filters
    options: FleetOptions


def left_by(home: Home, run_id: str, tries: int) -> Crashed:
    """Return what a run was about; of one that went on with another, what that one was.

    Args:
        run_id: of the flow run that crashed.
        tries: runs that may crash one after the other before they have a plan.

    Raises:
        ServiceError: when the Prefect server does not answer for long.
        UsageError: when there is no such run, when it was being stopped, or when too many crashed without a plan.
    """
    crashed = run_id
    for _ in range(tries):
        start = read_start(home, crashed)
        _refuse_stopped(crashed)
        if start is not None:
            return Crashed(start, start.filters, start.options)
        status, run = _asked(f"flow_runs/{crashed}")
        if status == _NOT_FOUND:
            raise UsageError(f"the Prefect server has no flow run {crashed} to go on with.", hint=_HINT)
        given = run["parameters"]
        if not given.get("continues"):
            named = {name: given[name] for name in Filters.model_fields if name in given}
            return Crashed(None, Filters.model_validate(named), FleetOptions.model_validate(given.get("options") or {}))
        crashed = given["continues"]
    raise UsageError(f"the run of the fleet {crashed} crashed {tries} times before it had a plan.", hint=_HINT)


def _refuse_stopped(run_id: str) -> None:
    """Go on with no run that somebody wanted to end, although it crashed on the way.

    Raises:
        UsageError: when it was being stopped.
    """
    status, states = _asked(f"flow_run_states/?flow_run_id={run_id}")
    if status != _NOT_FOUND and any(state["type"] in _STOPPING for state in states):
        raise UsageError(f"the run of the fleet {run_id} was being stopped when it crashed.", hint=_HINT)


def _asked(path: str) -> tuple[int, Any]:
    """Ask the server, which may have gone down together with the run that crashed; 404 is an answer.

    Raises:
        ServiceError: when it does not answer for long, or refuses.
    """
    deadline, told = time.monotonic() + OUTAGE_S, False
    while True:
        try:
            return ask(path, accept=(_NOT_FOUND,))
        except ServiceError as error:
            passes = not isinstance(error, RefusedError) or error.status >= 500
            if not passes or time.monotonic() > deadline:
                raise
            if not told:
                logger.warning("%s Waiting for it.", error)
            told = True
            time.sleep(_PAUSE_S)
