"""Runs of driving policies on a pool's workers, as Prefect's states of their flow runs tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nightshift.errors import NightshiftError, ServiceError

if TYPE_CHECKING:
    from nightshift.settings import Home
    from nightshift.tracking.driving_runs import RunView

#: States of a flow run that is at work, or about to be.
_WORKS = ("RUNNING", "CANCELLING")
_MOST = 200
#: A run that no flow run is known of counts as gone once it has told nothing for so long.
_QUIET_S = 600.0
#: Flows that train cells which their names do not tell.
_MANY = ("train-batch", "train-machine", "train-fleet")
#: So many digits of a cell's key name the run to go on with, at least.
_DIGITS = 6


def at_work(home: Home, runs: Sequence[RunView]) -> tuple[tuple[RunView, ...], tuple[str, ...]]:
    """Return runs with what Prefect knows of them, and a remark where it does not answer.

    A training that was killed leaves its MLflow run open: where no flow run is at work that could be it, and it has
    been quiet for long, it is gone.
    """
    if not runs:
        return (), ()
    try:
        flows = _flows(home)
    except NightshiftError as error:
        return tuple(runs), (f"Whether runs of other workers are still at work is not known: {error.what}",)
    if flows is None:
        return tuple(runs), ()
    told = {run.flow_run for run in runs}
    return tuple(_judged(run, flows, [f for f in flows if str(f["id"]) not in told]) for run in runs), ()


def cancel(home: Home, run: RunView) -> None:
    """Ask for the end of the flow run that trains a run, and of no other's.

    Raises:
        ServiceError: when Prefect does not answer, or has no flow run that trains this run alone.
    """
    from deployments.runs import call_off

    flow = _flow_of(run, _flows(home) or ())
    hint = f"On that machine: nightshift driving stop {run.run_id}."
    where = f"run '{run.run_id}' is trained on '{run.worker or run.host}'"
    if flow is None:
        raise ServiceError(f"{where}, and Prefect knows no flow run of it that is at work.", hint=hint)
    if flow.get("flow_name") in _MANY:
        raise ServiceError(f"{where} by flow run '{flow['name']}' with others, which would end too.", hint=hint)
    call_off([str(flow["id"])], _url(home))


def _flow_of(run: RunView, flows: Sequence[Any]) -> Any | None:
    """Return the flow run that trains a run: the one it was begun in, or one that was told to go on with it."""
    begun = next((flow for flow in flows if run.flow_run and str(flow["id"]) == run.flow_run), None)
    return begun or next((flow for flow in flows if _goes_on_with(run, flow)), None)


def _goes_on_with(run: RunView, flow: Any) -> bool:
    asked = str((flow.get("parameters") or {}).get("resume") or "").strip().lower()
    return len(asked) >= _DIGITS and run.cell.startswith(asked) and _is_named(run, flow)


def _is_named(run: RunView, flow: Any) -> bool:
    return str(flow["name"]).startswith(f"{run.subject}.{run.algorithm}.")


def _judged(run: RunView, flows: Sequence[Any], unclaimed: Sequence[Any]) -> RunView:
    """Return a run with what flow runs tell of it; `unclaimed` are those that no run says it is trained in."""
    flow = _flow_of(run, flows)
    if flow is None and not run.flow_run:
        # Started by hand on its machine, where no worker says in which flow run.
        flow = next((one for one in unclaimed if _is_named(run, one)), None)
    if flow is not None:
        return run.model_copy(update={"state": "stopping" if flow["state_type"] == "CANCELLING" else "running"})
    others = not run.flow_run and any(one.get("flow_name") in _MANY for one in unclaimed)
    quiet = _age_s(run.updated_at) > _QUIET_S
    return run if others or not quiet else run.model_copy(update={"state": "gone", "eta_s": None})


def _flows(home: Home) -> list[Any] | None:
    """Return the flow runs that are at work, None where no server is known.

    Raises:
        ServiceError: when the server does not answer.
    """
    from deployments.api import ask

    url = _url(home)
    if not url:
        return None
    body = {"flow_runs": {"state": {"type": {"any_": list(_WORKS)}}}, "limit": _MOST}
    _, found = ask("flow_runs/filter", body, url=url)
    many = {"flow_runs": body["flow_runs"], "flows": {"name": {"any_": list(_MANY)}}, "limit": _MOST}
    _, batches = ask("flow_runs/filter", many, url=url)
    unnamed = {flow["id"] for flow in batches}
    return [{**flow, "flow_name": _MANY[0] if flow["id"] in unnamed else "train"} for flow in found]


def _url(home: Home) -> str:
    from deployments.server import address

    return address(home)


def _age_s(text: str) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    except ValueError:
        return float("inf")
