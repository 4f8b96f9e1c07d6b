"""In what two trainings differ, for a checkpoint or a run that is refused. Loads nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: An error names so much of each value.
_LONGEST = 60


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return in what two trainings differ, key by key with both values: `epochs is 100 there and 150 here`.

    Args:
        there: what a checkpoint was written with; JSON-able values, nested by name.
        here: what it is to go on with.
    """
    before, now = _flat(there), _flat(here)
    # A config's key and the loop's own of the same name and values are one difference.
    found: dict[str, None] = {}
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            name = key.rpartition(".")[2]
            found[f"{name} is {before.get(key, 'not set')} there and {now.get(key, 'not set')} here"] = None
    return list(found)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values as `a.b -> text`; the text is that of JSON, which a checkpoint has gone through."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value, ensure_ascii=False)[:_LONGEST]
    return flat
