"""What a deploy has changed on the server, and how what is there is held against what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: What Nightshift made on a server bears this tag; nothing else is ever removed.
TAG = "nightshift"


def quiet(_change: Change) -> None:
    """Tell nobody of a change."""


@dataclass(frozen=True)
class Change:
    """One line of `nightshift deploy`.

    Attributes:
        did: `created`, `updated` or `removed`.
        what: kind and name.
        detail: what is different, "" where the name says it all.
    """

    did: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.did} {self.what}" + (f": {self.detail}" if self.detail else "")


def holds(found: object, wanted: object) -> bool:
    """Whether the server's value says all that ours does; keys of its own (ids, times) aside.

    Lists of texts are sets: of an automation's events the server forgets the order.
    """
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(k in found and holds(found[k], v) for k, v in wanted.items())
    if isinstance(wanted, list):
        if isinstance(found, list) and all(isinstance(text, str) for text in (*found, *wanted)):
            return sorted(found) == sorted(wanted)
        same_length = isinstance(found, list) and len(found) == len(wanted)
        return same_length and all(holds(f, w) for f, w in zip(found, wanted, strict=True))  # type: ignore[call-overload]
    return found == wanted


def differing(found: Mapping[str, object], wanted: Mapping[str, object]) -> tuple[str, ...]:
    """Return the keys whose values are not the wanted ones; None and "" are the same, 0 is another."""
    return tuple(key for key, value in wanted.items() if _said(found.get(key)) != _said(value))


def _said(value: object) -> object:
    return None if value == "" else value
