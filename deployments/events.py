"""Tells the Prefect server of landings: the notes of the outbox become events, by plain HTTP."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from typing import Any

from deployments import posts, server
from deployments.api import ask
from deployments.automations import declared
from deployments.on_landing import EVENT, NAME, RESOURCE
from nightshift.data import outbox
from nightshift.errors import ServiceError
from nightshift.settings import Home

log = logging.getLogger("nightshift")

_AT_ONCE = 50


def deliver(home: Home) -> int:
    """Tell the home's Prefect server of every landing it has not heard of; returns how many were told.

    Notes stay where they are, for `up`, while no server runs, or none that would react: an event that meets no
    automation is lost. A server that does not answer is a warning, since the data have landed.
    """
    notes = outbox.pending(home)
    url = server.address(home) if notes else ""
    if not url:
        return 0
    told = 0
    try:
        if not declared(NAME, url):
            return 0
        for first in range(0, len(notes), _AT_ONCE):
            some = notes[first : first + _AT_ONCE]
            ask("events", [event_of(note) for note in some], url=url)
            for note in some:
                outbox.withdraw(home, note.subject, note.fingerprint)
            told += len(some)
    except ServiceError as error:
        log.warning("landings are not told of yet: %s `nightshift up` tells of them.", error)
    return told


def worker_online(home: Home) -> bool:
    """Whether a worker of this machine's pool is heard by the server; without one a run waits."""
    url = server.address(home)
    online = {"workers": {"status": {"any_": ["ONLINE"]}}}
    try:
        return bool(url and ask(f"work_pools/{posts.LOCAL_POOL}/workers/filter", online, url=url)[1])
    except ServiceError:
        return False


def event_of(note: outbox.Note) -> dict[str, Any]:
    """Return the event of a note, as `POST /api/events` takes it.

    It occurs when it is told: the server ignores an event older than the last one that fired. Its id is the
    landing's, so that one sent twice, after a crash between sending and forgetting, counts once.
    """
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{RESOURCE}/{note.subject}/{note.fingerprint}/{note.at}")),
        "occurred": datetime.now(UTC).isoformat(),
        "event": EVENT,
        "resource": {
            "prefect.resource.id": f"{RESOURCE}.{note.subject}",
            "prefect.resource.name": note.subject,
            "nightshift.fingerprint": note.fingerprint,
        },
        "payload": {
            "machine_id": note.subject,
            "fingerprint": note.fingerprint,
            "rows": note.rows,
            "landed_at": note.at,
        },
    }
