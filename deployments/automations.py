"""What the Prefect server does by itself: each `deployments/on_*.py` says when and what; here the server is made so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from deployments import on_landing, on_silence, on_trouble
from deployments.api import ask
from deployments.changes import TAG, Change, holds
from deployments.reactions import Reaction, Scene, UnmetError

_WANTED: tuple[Callable[[Scene], Iterator[Reaction]], ...] = (
    on_landing.wanted,
    on_silence.wanted,
    on_trouble.wanted,
)


def declare(scene: Scene) -> Iterator[Change]:
    """Create the automations on the server of `PREFECT_API_URL`, or bring edited ones back; else change nothing.

    Those with our tag that are not wanted any more are removed.

    Yields:
        each change when it is made.

    Raises:
        UnmetError: when the server lacks what one needs, after all others were declared.
        ServiceError: when the server refuses one, or lacks its deployment.
    """
    wanted: dict[str, dict[str, Any]] = {}
    unmet: UnmetError | None = None
    for make in _WANTED:
        try:
            wanted |= {reaction.name: reaction.body() for reaction in make(scene)}
        except UnmetError as error:
            unmet = error
    for name, body in wanted.items():
        yield from _one(name, body)
    _, ours = ask("automations/filter", {"automations": {"tags": {"all_": [TAG]}}})
    for found in ours:
        if found["name"] not in wanted:
            yield from _removed([found])
    if unmet is not None:
        raise unmet


def _one(name: str, wanted: Mapping[str, Any]) -> Iterator[Change]:
    found, what = _named(name), f"automation {name}"
    yield from _removed(found[1:])
    if not found:
        ask("automations/", wanted)
        yield Change("created", what)
    elif not holds(found[0], wanted):
        ask(f"automations/{found[0]['id']}", wanted, method="PUT")
        yield Change("updated", what)


def _removed(superfluous: Iterable[Mapping[str, Any]]) -> Iterator[Change]:
    for found in superfluous:
        ask(f"automations/{found['id']}", method="DELETE", accept=(404,))
        yield Change("removed", f"automation {found['name']}")


def declared(name: str, url: str) -> bool:
    """Whether a server has an automation of this name, and nobody has switched it off.

    Raises:
        ServiceError: when it does not answer.
    """
    return any(found["enabled"] for found in _named(name, url))


def _named(name: str, url: str = "") -> list[dict[str, Any]]:
    """Return the automations of a name, oldest first."""
    _, found = ask("automations/filter", {"automations": {"name": {"any_": [name]}}, "sort": "CREATED_DESC"}, url=url)
    return list(found)[::-1]
