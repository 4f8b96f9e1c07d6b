"""Who becomes champion: by the gate's word, by a person's, or by going back to the one before.

MLflow's alias alone says who is champion. A version's tags say how it came to that, and the register records of this
home repeat it for plans and reports, which open no MLflow. The version is told, the alias set, tags and records
follow; what a crash leaves undone is done by the same command again, or noted by the next promotion.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from nightshift.errors import NightshiftError, UsageError
from nightshift.plan import lock
from nightshift.plan.fleet_config import load_fleet
from nightshift.plan.past import note_champion, note_gate
from nightshift.settings import Home
from nightshift.tracking import versions
from nightshift.tracking.gate import GateDecision
from nightshift.tracking.mlflow_store import MAX_TAG, Store, told_apart
from nightshift.tracking.versions import CHAMPION, GATE, GATE_REASONS, READY, STATE, By, Held, Promotion, Version

logger = logging.getLogger("nightshift")


@dataclass(frozen=True)
class NewChampion:
    """A change of champion.

    Attributes:
        version: champion now.
        before: champion until then, None when there was none, or it is the same.
        finished: it was cut off before, and only brought to its end now.
    """

    version: Version
    before: Version | None = None
    finished: bool = False


class PersonsWord(BaseModel):
    """What became of a version that a person was asked about.

    Attributes:
        ended: how.
        note: the person's reason.
        before: champion until then, None when there was none, or it still is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    ended: Literal["promoted", "refused", "champion already"]
    note: str = ""
    before: int | None = None


def conclude(store: Store, name: str, version: int, decision: GateDecision, by: By = "gate") -> str:
    """Do as the gate says, and return the verdict that its tag has. The caller holds the model's register lock.

    Where the fleet's promotion is by hand, a version that passes waits for a person.
    """
    holder = versions.champion(store, name)
    is_champion = holder is not None and holder.version == version
    verdict = versions.NOT_PROMOTED
    if decision.promote:
        verdict = versions.WAITS if not is_champion and asks_a_person(store.home) else versions.PROMOTED

    def tell() -> None:
        with told_apart(store.uri):
            reasons = "; ".join(decision.reasons)[:MAX_TAG]
            store.client.set_model_version_tag(name, str(version), GATE_REASONS, reasons)
            store.client.set_model_version_tag(name, str(version), GATE, verdict)

    if verdict == versions.PROMOTED:
        versions.make_champion(store, name, version, by, then=tell)
    else:
        tell()
    return verdict


def asks_a_person(home: Home) -> bool:
    """Whether the fleet's promotion is by hand; also where its config cannot be read: nobody is promoted unasked."""
    try:
        return load_fleet(home).promotion == "by_hand"
    except NightshiftError as error:
        logger.warning("A person is asked before a promotion: %s", error.what)
        return True


def promote(store: Store, name: str, version: int, note: str = "") -> NewChampion:
    """Make a version champion by hand.

    Raises:
        UnknownNameError: when the model has no such version, or it is being removed.
        ServiceError: when its registration has not ended.
    """
    with lock.held(store.home, f"register-{name}", wait=True):
        before = versions.champion(store, name)
        found = versions.find(store, name, version)
        versions.make_champion(
            store, name, version, "hand", note, then=lambda: _tell(store, found, versions.BY_HAND, note)
        )
    return NewChampion(found, before if before is not None and before.version != version else None)


def refuse(store: Store, name: str, version: int, note: str = "") -> Version:
    """Note that a person has refused a version that waited; the champion stays.

    Raises:
        UnknownNameError: when the model has no such version, or it is being removed.
        UsageError: when it is champion meanwhile.
        ServiceError: when its registration has not ended.
    """
    with lock.held(store.home, f"register-{name}", wait=True):
        found = versions.find(store, name, version)
        holder = versions.champion(store, name)
        if holder is not None and holder.version == version:
            raise UsageError(
                f"version {version} of {name} is champion already: it cannot be refused any more.",
                hint="`nightshift rollback` goes back to the champion before.",
            )
        _tell(store, found, versions.REFUSED, note)
    return found


def rollback(store: Store, name: str, note: str = "") -> NewChampion:
    """Go back to the champion before the present one; a rollback that was cut off is brought to its end instead.

    Raises:
        UsageError: when there is no champion, or none before it that is still there.
    """
    with lock.held(store.home, f"register-{name}", wait=True):
        held = versions.inventory(store, name).get(name, [])
        now = next((h.version for h in held if CHAMPION in h.aliases), None)
        if now is not None and now.promoting is not None and now.promoting.by == "rollback":
            _go_back(store, now, now.promoting.note)
            return NewChampion(versions.read(store, name, now.version), finished=True)
        target = before(held)
        if now is None or target is None:
            raise UsageError(
                _no_way_back(name, now),
                hint="`nightshift history` lists the versions; any of them is made champion by: nightshift promote",
            )
        _go_back(store, target, note or f"from version {now.version}")
    return NewChampion(target, now)


def _go_back(store: Store, target: Version, note: str) -> None:
    versions.make_champion(
        store,
        target.name,
        target.version,
        "rollback",
        note,
        then=lambda: note_champion(store.home, target.name, target.version),
    )


def before(held: Sequence[Held]) -> Version | None:
    """Return the version that a rollback would make champion, None when there is none.

    Champions are a stack: a rollback takes the top away, so that the next one goes further back and not forth again.
    """
    now = next((h.version.version for h in held if CHAMPION in h.aliases), None)
    if now is None:
        return None
    whole = {h.version.version: h.version for h in held if h.version.tags.get(STATE) == READY}
    below = [number for number in _stack(held, now)[:-1] if number in whole and number != now]
    return whole[below[-1]] if below else None


def waiting(held: Iterable[Held]) -> Version | None:
    """Return the newest version of a model that waits for a person; one that the champion has overtaken does not."""
    known = list(held)
    champion = next((h.version.version for h in known if CHAMPION in h.aliases), 0)
    own = [h.version for h in known if h.version.tags.get(GATE) == versions.WAITS and h.version.version > champion]
    return max(own, key=lambda version: version.version, default=None)


def _stack(held: Sequence[Held], now: int) -> list[int]:
    """Return the champions that led to the present one, oldest first."""
    stack: list[int] = []
    for number, promotion in in_order(held):
        if promotion.by == "rollback" and number in stack:
            del stack[len(stack) - stack[::-1].index(number) :]
        elif stack[-1:] != [number]:
            stack.append(number)
    if now in stack:
        return stack[: len(stack) - stack[::-1].index(now)]
    return [*stack, now]


def in_order(held: Iterable[Held]) -> list[tuple[int, Promotion]]:
    """Return all promotions of a model, oldest first, each with its version."""
    found = [(h.version.version, promotion) for h in held for promotion in h.version.promotions]
    return sorted(found, key=lambda one: (one[1].at, one[0]))


def _no_way_back(name: str, now: Version | None) -> str:
    if now is None:
        return f"{name} has no champion."
    return f"{name} has no champion before version {now.version} that is still there."


def _tell(store: Store, found: Version, verdict: str, note: str) -> None:
    """Note a person's word in the tag and in the records."""
    with told_apart(store.uri):
        store.client.set_model_version_tag(found.name, str(found.version), GATE, verdict)
        if note:
            store.client.set_model_version_tag(found.name, str(found.version), versions.NOTE, note[:MAX_TAG])
    if verdict == versions.BY_HAND:
        note_champion(store.home, found.name, found.version)
    note_gate(store.home, found.name, found.version, verdict + (f" ({' '.join(note.split())})" if note else ""))
