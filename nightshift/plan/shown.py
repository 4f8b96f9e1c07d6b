"""Progress as Prefect shows it: a line for people to each job at work.

The dashboard has it from there where a worker's disk is not this machine's.
"""

from __future__ import annotations

import re

from nightshift.errors import without_credentials
from nightshift.progress import ProgressEvent, described

_LINE = re.compile(r"(?:- )?(\S+): (\w+)(?: (\d[\d.e+]*)/(\d[\d.e+]*))?(?: (.*))?")
_LONGEST = 300


def line_of(name: str, event: ProgressEvent) -> str:
    """Return an event of a job as a line: `pump_7.rul.pi: train 5/10 member 5`."""
    text = described(event)
    if event.spoken and event.total:
        text = f"{event.step:g}/{event.total:g} {text}"
    return without_credentials(" ".join(f"{name}: {event.stage} {text}".split()))[:_LONGEST]


def events_in(text: str, at_s: float) -> dict[str, ProgressEvent]:
    """Return the events of such lines by the names of their jobs; what is no such line is left out.

    Args:
        text: a line to each.
        at_s: when they were told, seconds since the epoch.
    """
    found: dict[str, ProgressEvent] = {}
    for line in text.splitlines():
        told = _LINE.fullmatch(line)
        if told is None:
            continue
        name, stage, step, total, message = told.groups()
        try:
            event = ProgressEvent("", stage, float(step or 0), float(total or 0), message=message or "", at=at_s)
        except ValueError:
            continue
        found[name] = event
    return found
