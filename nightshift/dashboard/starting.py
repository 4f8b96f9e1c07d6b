"""Asks Prefect for runs: once for a request, and only where somebody takes them."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self
from urllib.parse import quote
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict

from nightshift.dashboard.prefect_api import PrefectApi, is_missing
from nightshift.dashboard.runs import TAG, USER, Run, Status
from nightshift.errors import ServiceError, TransientError, UsageError

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
#: A worker asks every few seconds; the server may need a minute to write it down.
_POLLED_S = 150.0
#: For all that Prefect is asked for one start, and for another one under the same key.
_PATIENCE_S = 30.0
_REQUEST = "nightshift.request"
#: Labels of a run: what its request was told.
ESTIMATED_S, ESTIMATED_FROM = "nightshift.estimated_s", "nightshift.estimated_from"


class ConflictError(TransientError):
    """Something that cannot be done as things stand."""


class Started(BaseModel):
    """A job that was asked for.

    Attributes:
        estimated_time: seconds.
        estimated_from: `past_runs`, or `time_limit`, which is seldom used up.
        url: of its status.
        repeated: whether it had been started before, under the same key.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    status: Status
    estimated_time: float
    estimated_from: Literal["past_runs", "time_limit"]
    url: str
    repeated: bool = False

    @classmethod
    def of(cls, run: Run, *, repeated: bool) -> Self:
        """Return what whoever asked for a run is told."""
        return cls(
            job_id=run.id,
            status=run.status,
            estimated_time=float(run.labels.get(ESTIMATED_S, 0.0)),
            estimated_from=run.labels.get(ESTIMATED_FROM, "time_limit"),
            url=f"/api/ml/train/status/{run.id}",
            repeated=repeated,
        )


class Starter:
    """Starts runs of deployments.

    Args:
        prefect: the server.
    """

    def __init__(self, prefect: PrefectApi) -> None:
        self._prefect = prefect
        #: Of the keys whose runs are being started: Prefect knows a key once for each flow, we once.
        self._busy: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def known(self, key: str, asked: str, flow: str = "") -> Run | None:
        """Return the run that was started under a key, None for none.

        Args:
            key: of a request, "" for none.
            asked: fingerprint of the request.
            flow: the run's, where it is known.

        Raises:
            ConflictError: when another request has that key.
            UsageError: for a key that cannot be one.
            ServiceError: when Prefect does not answer.
        """
        if not key:
            return None
        if not _KEY.fullmatch(key):
            raise UsageError("an idempotency key has 1 to 200 printable characters.", hint="A UUID is a good one.")
        wanted = {"flow_runs": {"idempotency_key": {"any_": [_own(key)]}}, "limit": 1}
        found = next(iter(await self._prefect.ask("flow_runs/filter", wanted)), None)
        return _checked(found, asked, flow) if found else None

    async def begin(
        self,
        deployment: str,
        parameters: Mapping[str, Any],
        name: str,
        asked: str,
        *,
        user: str,
        key: str,
        labels: Mapping[str, str | float] | None = None,
    ) -> tuple[Run, bool]:
        """Start a run of a deployment, or find the one that was started under the same key.

        Args:
            deployment: `<flow>/<name>`.
            parameters: of its flow, JSON values.
            name: of the run.
            asked: fingerprint of the request.
            user: who asks.
            key: of the request, "" for none.
            labels: what else the run keeps of the request.

        Returns:
            The run, and whether it is new.

        Raises:
            ConflictError: when another request has that key.
            UsageError: for a key that cannot be one.
            ServiceError: when Prefect does not answer, or nobody would take the run.
        """
        flow = deployment.partition("/")[0]
        own = _own(key) if key else str(uuid.uuid4())
        busy = self._busy.setdefault(own, asyncio.Lock())
        body = {
            "name": name,
            "parameters": parameters,
            "idempotency_key": own,
            "tags": [TAG],
            "labels": {**(labels or {}), _REQUEST: asked, USER: user},
        }
        try:
            async with asyncio.timeout(_PATIENCE_S), busy:
                known = await self.known(key, asked, flow)
                if known is not None:
                    return known, False
                found = await self._deployment(deployment)
                run = await self._prefect.ask(f"deployments/{found}/create_flow_run", body)
        except TimeoutError:
            raise ServiceError(
                f"Prefect takes longer than {_PATIENCE_S:g} s to start the run.",
                hint="`nightshift ps` tells what runs.",
            ) from None
        return _checked(run, asked, flow), True

    async def call_off(self, run_id: str, user: str) -> None:
        """Have a run end; one that a worker has not taken yet ends at once.

        Raises:
            ServiceError: when Prefect does not answer.
        """
        state = {"type": "CANCELLING", "name": "Cancelling", "message": f"Asked for by {user}."}
        await self._prefect.ask(f"flow_runs/{run_id}/set_state", {"state": state})

    async def _deployment(self, name: str) -> str:
        """Return a deployment's id, once it is sure that somebody takes its runs.

        Raises:
            ServiceError: with what stands in the way, and the command that mends it.
        """
        up = "It is made by: nightshift up"
        found = await self._need(f"deployments/name/{quote(name)}", f"there is no deployment '{name}'.", up)
        pool, queue = found.get("work_pool_name") or "", found.get("work_queue_name") or "default"
        place = await self._need(f"work_pools/{quote(pool)}", f"there is no work pool '{pool}'.", up)
        if place["is_paused"]:
            raise ServiceError(f"the work pool '{pool}' is paused.", hint=f"prefect work-pool resume {pool}")
        line = await self._need(
            f"work_pools/{quote(pool)}/queues/{quote(queue)}", f"'{pool}' has no queue '{queue}'.", up
        )
        if line["is_paused"]:
            raise ServiceError(
                f"the queue '{queue}' of '{pool}' is paused.", hint=f"prefect work-queue resume {queue} --pool {pool}"
            )
        polled = line.get("last_polled")
        if not polled or datetime.fromisoformat(polled).timestamp() < time.time() - _POLLED_S:
            elsewhere = f"prefect worker start --pool {pool}" + (f" --work-queue {queue}" if queue != "default" else "")
            raise ServiceError(
                f"no worker takes runs from '{pool}'. Nothing was started.",
                hint=f"Start one: nightshift up (on another machine: {elsewhere})",
            )
        return str(found["id"])

    async def _need(self, path: str, missing: str, hint: str) -> Any:
        try:
            return await self._prefect.ask(path)
        except ServiceError as error:
            if is_missing(error):
                raise ServiceError(f"{missing} Nothing was started.", hint=hint) from None
            raise


def _own(key: str) -> str:
    """Return what Prefect knows a key of a request by."""
    return f"dashboard:{key}"


def _checked(found: Mapping[str, Any], asked: str, flow: str) -> Run:
    """Return a run as Prefect tells it.

    Raises:
        ConflictError: when something else was asked for.
    """
    if found["labels"].get(_REQUEST) != asked:
        raise ConflictError(
            "under this idempotency key something else was asked for.", hint="Give every request a key of its own."
        )
    return Run.of(found, flow)
