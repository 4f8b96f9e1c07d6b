"""Asks a person about a version that passed the gate, where the fleet's promotion is by hand, and does as they say."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, cast

import httpx
from prefect import suspend_flow_run
from prefect.client.schemas import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.input import RunInput
from prefect.settings import PREFECT_UI_URL
from pydantic import Field

from deployments.changes import TAG
from deployments.workers import troubles
from nightshift.errors import NightshiftError
from nightshift.plan.fleet_config import load_fleet
from nightshift.plan.shared import share_model
from nightshift.settings import home
from nightshift.tracking import promotion, versions
from nightshift.tracking.lineage import lineage, waiting
from nightshift.tracking.lineage_words import markdown
from nightshift.tracking.mlflow_store import Store, open_store, retried
from nightshift.tracking.promotion import PersonsWord
from nightshift.tracking.versions import Version
from tasks import logs

if TYPE_CHECKING:
    from nightshift.plan.fleet_run import FleetStart
    from tasks.fleet import Night

logger = logging.getLogger("nightshift")
#: Whose lines the command shows too.
_shown = logging.getLogger("nightshift.signals")

DEPLOYMENT, _PLACE = "promote-model/local", ("local-pool", "default")
# What a run's pause is known by: one that goes on after it finds its answer, and does not ask again.
_KEY = "decision"


class Decision(RunInput):
    """What a person says about a challenger.

    Attributes:
        decision: whether it becomes champion.
        note: why, for the history.
    """

    decision: Literal["promote", "refuse"] = Field(
        title="Decision", description="promote: it becomes champion now. refuse: the champion stays."
    )
    note: str = Field(default="", title="Note", description="Why, for the history.", max_length=500)


def settled_already(name: str, version: int) -> PersonsWord | None:
    """Return how a version stands that nobody needs to be asked about any more, None for one that waits.

    Raises:
        UnknownNameError: when it is gone.
        ServiceError: when its registration has not ended.
        TransientError: when MLflow cannot be reached.
    """
    logs.set_up()
    store = _store()
    found, holder = versions.find(store, name, version), versions.champion(store, name)
    if holder is not None and holder.version == version:
        return PersonsWord(name=name, version=version, ended="champion already")
    if found.tags.get(versions.GATE) == versions.REFUSED:
        return PersonsWord(name=name, version=version, ended="refused", note=found.tags.get(versions.NOTE, ""))
    return None


def asked(name: str, version: int, wait_h: float) -> Decision:
    """Return a person's answer; the run is suspended until there is one.

    It takes no process meanwhile, and outlives workers and servers; the form shows challenger beside champion. Who
    does not answer in time leaves a run that has failed and a version that still waits: `nightshift promote` is left.
    """
    form = Decision.with_initial_data(description=_description(name, version))
    return suspend_flow_run(wait_for_input=form, timeout=max(1, round(wait_h * 3600)), key=_KEY)


def done_as_said(name: str, version: int, said: Decision) -> PersonsWord:
    """Make the version champion, or note that it was refused.

    Raises:
        UnknownNameError: when it was removed meanwhile.
        UsageError: when it is to be refused and was made champion meanwhile.
        TransientError: when MLflow cannot be reached.
    """
    store = _store()
    if said.decision == "refuse":
        retried(lambda: promotion.refuse(store, name, version, said.note))
        share_model(home(), name)
        logger.info("%s: version %d was refused. %s", name, version, said.note)
        return PersonsWord(name=name, version=version, ended="refused", note=said.note)
    done = retried(lambda: promotion.promote(store, name, version, said.note))
    share_model(home(), name)
    logger.info("%s: version %d is champion. %s", name, version, said.note)
    return PersonsWord(
        name=name,
        version=version,
        ended="promoted",
        note=said.note,
        before=done.before.version if done.before else None,
    )


def ask_about_plan(start: FleetStart, night: Night) -> None:
    """Ask about every model of a plan of which a version waits, and let the morning tell of it."""
    if not night.stop.asked():
        night.remarks += ask_about(cell.name for cell in start.plan.cells if cell.cell_key)


def ask_about(names: Iterable[str]) -> tuple[str, ...]:
    """Start a run that asks a person about each of these models of which a version waits.

    One is started for a version, however often it is asked for. A training never fails for it.

    Returns:
        A line for each version that waits: where it is asked about, or the command.
    """
    wanted = tuple(names)
    if not wanted or not promotion.asks_a_person(home()):
        return ()
    try:
        found = waiting(_store(), wanted)
        lines = tuple(_ask(version) for version in found)
    except (NightshiftError, httpx.HTTPError) as error:
        lines = (f"Who is to promote could not be asked: {error}",)
    for line in lines:
        _shown.warning("%s", line)
    return lines


def _ask(version: Version) -> str:
    subject, family, target = version.name.rsplit(".", 2)
    command = f"nightshift promote {subject} {family} --target {target} --version {version.version}"
    what = f"{version.name} v{version.version} passed the gate and waits for a person"
    in_the_way = troubles(home(), [_PLACE])
    if in_the_way:
        return f"{what}: {command} (no form in the Prefect UI: {in_the_way[0].what})"
    try:
        run = _started(version)
    except ObjectNotFound:
        return f"{what}: {command} (for a form in the Prefect UI: nightshift deploy)"
    if run.state is not None and run.state.is_final():
        return f"{what}; nobody has answered its form in time: {command}"
    page = f"{PREFECT_UI_URL.value() or ''}/runs/flow-run/{run.id}"
    return f"{what}: {page}, or {command}"


def _started(version: Version) -> FlowRun:
    run = run_deployment(
        DEPLOYMENT,
        parameters={
            "name": version.name,
            "version": version.version,
            "wait_h": load_fleet(home()).promotion_wait_h,
        },
        idempotency_key=f"{version.name} {version.version} {version.bundle_id}",
        tags=[TAG],
        timeout=0,
        # A subflow cannot be suspended, and this run shall not wait for a person.
        as_subflow=False,
    )
    return cast(FlowRun, run)


def _description(name: str, version: int) -> str:
    store = _store()
    challenger = lineage(home(), store, name, version)
    holder = versions.champion(store, name)
    try:
        champion = lineage(home(), store, name, holder.version) if holder else None
    except NightshiftError:
        champion = None
    return markdown(challenger, champion)


def _store() -> Store:
    return retried(lambda: open_store(home()))
