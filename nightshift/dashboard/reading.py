"""What the dashboard asks Prefect about runs, in our words."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from nightshift.dashboard.prefect_api import PAGE, PrefectApi, is_missing
from nightshift.dashboard.runs import BATCH, FLEET, MACHINE, RUN_ID, TABLE, TAG, Bar, Run
from nightshift.errors import NightshiftError, ServiceError, UnknownNameError
from nightshift.plan.batch import BatchOutcome
from nightshift.plan.outcome import CellOutcome
from nightshift.plan.shown import events_in
from nightshift.plan.table import OUTCOME as TABLE_OUTCOME
from nightshift.plan.table import TableOutcome

#: Runs that are looked through at once, the newest.
RECENT = 200
# What is planned ahead and what is a part of another run comes in between.
_PAGES = 5
_OUTCOME = "batch-outcome"
# What the name of a batch that is given again ends with, before the number.
_TRY = ", try "
#: What Prefect is asked of several runs, it is asked so many times at once.
_AT_ONCE = 6
#: A run that was not there is not looked for again so soon; so many of these are remembered.
_MISSING_S, _MOST_MISSING = 5.0, 1_000


class UnknownJobError(UnknownNameError):
    """A job that does not exist, or does not any more."""

    def __init__(self, job_id: str) -> None:
        NightshiftError.__init__(
            self, f"there is no job '{job_id[:60]}'.", hint="`GET /api/ml/jobs` lists them; old ones are deleted."
        )


class Told(NamedTuple):
    """What Prefect tells of a run besides its state.

    Attributes:
        parts: name of a cell -> the run of its own within this one; of a run of the fleet its batches.
        outcomes: name of a cell -> how it ended.
        table: how a training on a table ended.
    """

    parts: Mapping[str, Run] = {}
    outcomes: Mapping[str, CellOutcome] = {}
    table: TableOutcome | None = None


class Reader:
    """Reads runs.

    Args:
        prefect: the server.
    """

    def __init__(self, prefect: PrefectApi) -> None:
        self._prefect = prefect
        self._flows: dict[str, str] = {}
        self._few, self._sought = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(_AT_ONCE)
        self._missing: dict[str, float] = {}

    async def run(self, run_id: str) -> Run:
        """Return a run.

        Raises:
            UnknownJobError: when there is none, or was none a moment ago.
            ServiceError: when Prefect does not answer.
        """
        if time.monotonic() - self._missing.get(run_id, float("-inf")) < _MISSING_S:
            raise UnknownJobError(run_id)
        try:
            async with self._sought:
                found = await self._prefect.ask(f"flow_runs/{run_id}")
        except ServiceError as error:
            if is_missing(error):
                if len(self._missing) >= _MOST_MISSING:
                    self._missing.clear()
                self._missing[run_id] = time.monotonic()
                raise UnknownJobError(run_id) from None
            raise
        (run,) = await self._named([found])
        return run

    async def told(self, run: Run) -> Told:
        """Return what there is to know of a run; of one that has not begun there is nothing.

        Raises:
            ServiceError: when Prefect does not answer.
        """
        if run.start is None:
            return Told()
        async with self._few:
            if run.flow == TABLE and run.ended:
                table = await self._table(run)
                return Told(outcomes=_registered(table) if table else {}, table=table)
            return Told(
                await self._parts(run) if run.flow in (BATCH, MACHINE, FLEET) else {},
                await self._outcomes(run) if run.flow == BATCH and run.ended else {},
            )

    async def _parts(self, run: Run) -> dict[str, Run]:
        """Return the runs of a run's cells by name: tasks of a batch, flows within one of a machine.

        Of a run of the fleet the newest try of each batch counts; one that goes on after a crash finds the batches of
        the run before.
        """
        if run.flow == BATCH:
            wanted: dict[str, Any] = {"flow_runs": {"id": {"any_": [run.id]}}, "sort": "ID_DESC"}
            parts = await self._prefect.all("task_runs/filter", wanted)
            return {str(part["name"]): Run.of(part) for part in parts}
        before = str(run.parameters.get("continues") or "")
        ids = [run.id, before] if run.flow == FLEET and re.fullmatch(RUN_ID, before) else [run.id]
        wanted = {"flow_runs": {"parent_flow_run_id": {"any_": ids}}, "sort": "EXPECTED_START_TIME_ASC"}
        parts = await self._prefect.all("flow_runs/filter", wanted)
        if run.flow != FLEET:
            return {str(part["name"]): Run.of(part) for part in parts}
        return {str(part["name"]).partition(_TRY)[0]: Run.of(part, BATCH) for part in parts}

    async def _outcomes(self, run: Run) -> dict[str, CellOutcome]:
        """Return how the cells of a batch ended, as it has told."""
        with suppress(ValueError, LookupError, TypeError):
            outcome = BatchOutcome.model_validate_json(await self._outcome(run, _OUTCOME))
            return {cell.name: cell for cell in outcome.cells}
        return {}

    async def _table(self, run: Run) -> TableOutcome | None:
        """Return how a training on a table ended, as it has told."""
        with suppress(ValueError, LookupError, TypeError):
            return TableOutcome.model_validate_json(await self._outcome(run, TABLE_OUTCOME))
        return None

    async def _outcome(self, run: Run, key: str) -> str:
        """Return what a run has left for others to read.

        Raises:
            LookupError, TypeError, ValueError: when it has left nothing like it.
        """
        wanted = {"flow_run_id": {"any_": [run.id]}, "key": {"any_": [key]}}
        found = await self._prefect.ask("artifacts/filter", {"artifacts": wanted, "sort": "CREATED_DESC", "limit": 1})
        return str(_rows(found[0]["data"])[0]["outcome"])

    async def bars(self, run_ids: Collection[str]) -> dict[str, Bar]:
        """Return what runs show of their progress, by run; asked for in one request, and in none for no run.

        Raises:
            ServiceError: when Prefect does not answer.
        """
        wanted = {"flow_run_id": {"any_": sorted(run_ids)}, "type": {"any_": ["progress"]}}
        bars: dict[str, Bar] = {}
        asked = {"artifacts": wanted, "sort": "CREATED_DESC"}
        for found in await self._prefect.all("artifacts/filter", asked) if run_ids else ():
            with suppress(ValueError, LookupError, TypeError):
                at_s = datetime.fromisoformat(found["updated"]).timestamp()
                bar = Bar(float(found["data"]), events_in(str(found.get("description") or ""), at_s))
                # A run that is tried again begins another one.
                bars.setdefault(str(found["flow_run_id"]), bar)
        return bars

    async def newest(self, **wanted: Any) -> list[Run]:
        """Return the newest of our runs that are like this, without those that wait for their hour."""
        body = {"flow_runs": {"tags": {"all_": [TAG]}, **wanted}, "sort": "EXPECTED_START_TIME_DESC", "limit": PAGE}
        jobs: list[Any] = []
        for number in range(_PAGES):
            found = await self._prefect.ask("flow_runs/filter", {**body, "offset": number * PAGE})
            jobs += [run for run in found if not _is_part(run) and not _is_planned(run)]
            if len(found) < PAGE or len(jobs) >= RECENT:
                break
        return await self._named(jobs[:RECENT])

    async def _named(self, found: list[Mapping[str, Any]]) -> list[Run]:
        """Return runs with the names of their flows."""
        unknown = {run["flow_id"] for run in found} - self._flows.keys()
        if unknown:
            flows = await self._prefect.ask("flows/filter", {"flows": {"id": {"any_": list(unknown)}}})
            self._flows |= {flow["id"]: str(flow["name"]) for flow in flows}
        return [Run.of(run, self._flows.get(run["flow_id"], "")) for run in found]


def _registered(table: TableOutcome) -> dict[str, CellOutcome]:
    """Return the model that a training on a table has registered, as a batch tells of its cells."""
    if not table.registered:
        return {}
    subject, family, target = table.registered.rsplit(".", 2)
    own = {"cell_key": table.cell_key, "version": table.version, "ending": "trained"}
    return {
        table.registered: CellOutcome.model_validate({"subject": subject, "family": family, "target": target, **own})
    }


def _is_part(found: Mapping[str, Any]) -> bool:
    """Whether a run goes on within another one's process; what that gives to a worker is a job of its own."""
    return bool(found.get("parent_task_run_id")) and not found.get("deployment_id")


def _is_planned(found: Mapping[str, Any]) -> bool:
    """Whether a schedule has made a run ahead of its hour."""
    return bool(found.get("auto_scheduled")) and found.get("state_name") == "Scheduled"


def _rows(data: Any) -> Any:
    return json.loads(data) if isinstance(data, str) else data
