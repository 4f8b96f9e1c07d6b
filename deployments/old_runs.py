"""Deletes the runs of Nightshift's flows that ended long ago from the Prefect server, through its API.

Ours are the runs of the flows that our deployments name, whoever started them, and whatever has our tag. Prefect's own
vacuum knows neither: it would take other people's runs on a server that we share.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.api import ENDED, ask
from deployments.changes import TAG

# What the server lists, and deletes, at once.
_LISTED, _DELETED = 200, 50


def old_runs(url: str, days: float) -> frozenset[str]:
    """Return the ids of our runs that ended longer ago than so many days.

    Args:
        url: of the server's API.
        days: since they ended.

    Raises:
        ServiceError: when the server does not answer.
    """
    before = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    old = {"state": {"type": {"any_": list(ENDED)}}, "end_time": {"before_": before}}
    _, deployed = ask("deployments/filter", {"deployments": {"tags": {"all_": [TAG]}}, "limit": _LISTED}, url=url)
    flows = sorted({deployment["flow_id"] for deployment in deployed})
    found = set(_ids(url, {"flow_runs": {**old, "tags": {"all_": [TAG]}}}))
    if flows:
        found.update(_ids(url, {"flow_runs": old, "flows": {"id": {"any_": flows}}}))
    return frozenset(found)


def delete(url: str, runs: Collection[str]) -> int:
    """Delete runs with their logs, and return how many were still there.

    Raises:
        ServiceError: when the server does not answer; what was deleted until then stays deleted.
    """
    left, deleted = sorted(runs), 0
    for first in range(0, len(left), _DELETED):
        which = {"flow_runs": {"id": {"any_": left[first : first + _DELETED]}}, "limit": _DELETED}
        _, answer = ask("flow_runs/bulk_delete", which, url=url)
        deleted += len(answer["deleted"])
    return deleted


def _ids(url: str, which: dict[str, Any]) -> Iterator[str]:
    offset = 0
    while True:
        _, page = ask("flow_runs/filter", {**which, "limit": _LISTED, "offset": offset, "sort": "ID_DESC"}, url=url)
        yield from (run["id"] for run in page)
        offset += _LISTED
        if len(page) < _LISTED:
            return
