"""What the buttons of the profile's form do to a profile."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

from nightshift.simulate.edit import Content, fitted, shared_out, with_mode, with_sensor
from nightshift.simulate.templates import SHIFTS

_LISTS = ("sensors", "failure_modes")


def changed(content: Content, action: str, given: Mapping[str, str]) -> Content:
    """Return a profile after an action; one that is not known changes nothing.

    Args:
        content: the profile.
        action: `fit`, `add-sensor`, `add-mode`, `add-shift`, `use-shifts`, or `drop:<list>.<number>`.
        given: values of the form's selects, by name.
    """
    match action.partition(":"):
        case ("fit", _, _):
            return fitted(content)
        case ("add-sensor", _, _):
            return with_sensor(content, given.get("new_sensor", ""))
        case ("add-mode", _, _):
            return with_mode(content, given.get("new_mode", ""))
        case ("add-shift", _, _):
            return _with_shifts(content, [*_shifts(content), {"begin": "", "end": ""}])
        case ("use-shifts", _, _):
            wanted = next((shifts for name, shifts in SHIFTS.items() if name == given.get("working")), None)
            return content if wanted is None else _with_shifts(content, [dict(s) for s in wanted])
        case ("drop", _, what):
            return _without(content, what)
    return content


def _without(content: Content, what: str) -> Content:
    name, _, number = what.partition(".")
    found = deepcopy(content)
    items = _shifts(found) if name == "shifts" else found.get(name) if name in _LISTS else None
    if isinstance(items, list) and number.isascii() and number.isdigit() and int(number[:6]) < len(items):
        del items[int(number[:6])]
    return shared_out(found) if name == "failure_modes" else found


def _shifts(content: Content) -> list[Content]:
    schedule = content.get("schedule")
    shifts = schedule.get("shifts") if isinstance(schedule, dict) else None
    return shifts if isinstance(shifts, list) else []


def _with_shifts(content: Content, shifts: list[Content]) -> Content:
    schedule = content.get("schedule")
    return {**content, "schedule": {**(schedule if isinstance(schedule, dict) else {}), "shifts": shifts}}
