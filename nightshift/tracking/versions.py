"""Versions of models as the MLflow registry knows them. Its aliases alone say who is champion."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from nightshift.errors import ServiceError, UnknownNameError
from nightshift.plan.cell import Cell
from nightshift.tracking import runs
from nightshift.tracking.mlflow_store import MAX_TAG, Store, told_apart

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION = "challenger", "champion"
STATE, PENDING, READY = "nightshift.state", "pending", "ready"
#: Of a version that `prune` has begun to remove: its bundle may be gone, and nobody makes it champion any more.
PRUNED = "pruned"
# MLflow's own limits of one page.
_MAX_MODELS, _MAX_VERSIONS = 1_000, 10_000
GATE, GATE_REASONS = "nightshift.gate", "nightshift.gate_reasons"
#: What the gate's tag says.
PROMOTED, NOT_PROMOTED, BY_HAND = "promoted", "not promoted", "promoted by hand"
#: Of a version that passed where the fleet's promotion is by hand; and of one that a person then refused.
WAITS, REFUSED = "waits for a person", "refused by hand"
#: When and by whom a version was made champion, as JSON.
PROMOTIONS = "nightshift.promotions"
#: A promotion that has begun and is not done with; it counts only where the alias has come to it.
PROMOTING = "nightshift.promoting"
#: A person's reason for the word in the gate's tag.
NOTE = "nightshift.gate_note"
By = Literal["gate", "device check", "hand", "rollback"]
MEMBERS, MEMBERS_CUT = "nightshift.members", "nightshift.members_cut"
_MAX_NOTE = 500


class Promotion(BaseModel):
    """One time that a version was made champion.

    Attributes:
        at: ISO 8601, UTC.
        by: who made it.
        note: a person's reason, "" without one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str
    by: By
    note: str = ""


_PROMOTIONS = TypeAdapter(tuple[Promotion, ...])


@dataclass(frozen=True)
class Version:
    """One version.

    Attributes:
        name: `<subject>.<family>.<target>`.
        version: N.
        run_id: of the MLflow run that made it.
        tags: of the version.
        created_at: ISO 8601, UTC; "" where it is not known.
    """

    name: str
    version: int
    run_id: str
    tags: Mapping[str, str]
    created_at: str = ""

    @property
    def bundle_id(self) -> str:
        """SHA-256 of its `bundle.json`."""
        return self.tags.get(runs.BUNDLE_ID, "")

    @property
    def cell_key(self) -> str:
        """Key of the cell that made it, "" for a version that is not Nightshift's."""
        return self.tags.get(runs.CELL_KEY, "")

    @property
    def is_pending(self) -> bool:
        """Whether its registration has not ended."""
        return self.tags.get(STATE) == PENDING

    @property
    def promotions(self) -> tuple[Promotion, ...]:
        """When it was made champion, oldest first; one of before these were noted has the gate's word alone."""
        try:
            return _PROMOTIONS.validate_json(self.tags[PROMOTIONS])
        except (KeyError, ValidationError):
            by = {PROMOTED: "gate", BY_HAND: "hand"}.get(self.tags.get(GATE, ""))
            return (Promotion.model_validate({"at": self.created_at, "by": by}),) if by else ()

    @property
    def promoting(self) -> Promotion | None:
        """A promotion that was begun and not ended; the version is champion only if the alias says so."""
        try:
            return Promotion.model_validate_json(self.tags[PROMOTING])
        except (KeyError, ValidationError):
            return None


@dataclass(frozen=True)
class Held:
    """A version with the aliases that refer to it."""

    version: Version
    aliases: frozenset[str] = frozenset()


def inventory(store: Store, name: str = "") -> dict[str, list[Held]]:
    """Return the versions of every model, or of one, newest first, by the model's name."""
    query = f"name = '{name}'" if name else None
    aliases: dict[str, dict[int, set[str]]] = {}
    found: dict[str, list[Held]] = {}
    with told_apart(store.uri):
        for model in _pages(store.client.search_registered_models, query, _MAX_MODELS):
            for alias, number in model.aliases.items():
                aliases.setdefault(model.name, {}).setdefault(int(number), set()).add(alias)
        for made in _pages(store.client.search_model_versions, query, _MAX_VERSIONS):
            version = _version(made)
            referring = frozenset(aliases.get(version.name, {}).get(version.version, ()))
            found.setdefault(version.name, []).append(Held(version, referring))
    return {model: sorted(held, key=lambda h: -h.version.version) for model, held in found.items()}


def mark(store: Store, held: Version, state: str) -> None:
    """Set the state of a version."""
    with told_apart(store.uri):
        store.client.set_model_version_tag(held.name, str(held.version), STATE, state)


def champion(store: Store, name: str) -> Version | None:
    """Return the champion of a model, None when there is none."""
    return _by_alias(store, name, CHAMPION)


def challenger(store: Store, name: str) -> Version | None:
    """Return the newest registered version of a model, None when there is none."""
    return _by_alias(store, name, CHALLENGER)


def of_cell(store: Store, cell: Cell) -> list[Version]:
    """Return the versions of a cell that are not deleted, newest first."""
    with told_apart(store.uri):
        query = f"name = '{cell.name}' and tags.`{runs.CELL_KEY}` = '{cell.key}'"
        found = [_version(v) for v in store.client.search_model_versions(query)]
    return sorted(found, key=lambda v: -v.version)


def make_champion(
    store: Store, name: str, version: int, by: By, note: str = "", then: Callable[[], None] | None = None
) -> None:
    """Make a version champion: the one place that sets the alias. Whoever calls it holds the model's register lock.

    The promotion is told before the alias is set, and noted after: whatever was noted came about, and what a crash
    left between the two is made up for by the next call, for this version or for another one. A version that is
    champion already has nothing noted but that.

    Args:
        store: of the registry.
        name: of the model.
        version: its number.
        by: who makes it champion.
        note: a person's reason.
        then: does what else belongs to a promotion; it may be done twice. `Version.promoting` stays until it is done.
    """
    now = champion(store, name)
    if now is None or now.version != version:
        if now is not None:
            _note(store, now)
            _done(store, now)
        told = Promotion(at=_now(), by=by, note=" ".join(note.split())[:_MAX_NOTE])
        with told_apart(store.uri):
            store.client.set_model_version_tag(name, str(version), PROMOTING, told.model_dump_json())
            store.client.set_registered_model_alias(name, CHAMPION, str(version))
    made = read(store, name, version)
    _note(store, made)
    if then is not None:
        then()
    _done(store, made)


def _note(store: Store, held: Version) -> None:
    """Note what a champion was told of its promotion; done twice, it is noted once."""
    if held.promoting is None:
        return
    kept = [*(p for p in held.promotions if p.at != held.promoting.at), held.promoting]
    # The oldest promotions make room for the newest.
    while len(text := json.dumps([p.model_dump() for p in kept], ensure_ascii=False)) > MAX_TAG:
        kept.pop(0)
    with told_apart(store.uri):
        store.client.set_model_version_tag(held.name, str(held.version), PROMOTIONS, text)


def _done(store: Store, held: Version) -> None:
    if PROMOTING in held.tags:
        with told_apart(store.uri):
            store.client.delete_model_version_tag(held.name, str(held.version), PROMOTING)


def read(store: Store, name: str, version: int) -> Version:
    """Return one version as it is now, whole or not."""
    with told_apart(store.uri):
        return _version(store.client.get_model_version(name, str(version)))


def find(store: Store, name: str, version: int) -> Version:
    """Return one version that is whole.

    Raises:
        UnknownNameError: when the model has no such version, or it is being removed.
        ServiceError: when its registration has not ended.
    """
    with told_apart(store.uri):
        listed = {int(v.version): _version(v) for v in store.client.search_model_versions(f"name = '{name}'")}
    known = {n: v for n, v in listed.items() if v.tags.get(STATE) != PRUNED}
    if version not in known:
        raise UnknownNameError(f"version of {name}", str(version), [str(n) for n in sorted(known)])
    if known[version].tags.get(STATE) != READY:
        raise ServiceError(
            f"version {version} of {name} is not whole yet.", hint="The next `nightshift train` finishes it."
        )
    return known[version]


def delete(store: Store, held: Version) -> None:
    """Give a version up; its number is not used again."""
    with told_apart(store.uri):
        store.client.delete_model_version(held.name, str(held.version))


def _pages(search: Callable[..., Any], query: str | None, at_once: int) -> Iterator[Any]:
    token = None
    while True:
        page = search(filter_string=query, max_results=at_once, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _by_alias(store: Store, name: str, alias: str) -> Version | None:
    with told_apart(store.uri):
        for model in store.client.search_registered_models(f"name = '{name}'"):
            if alias in model.aliases:
                return _version(store.client.get_model_version(name, str(model.aliases[alias])))
    return None


def _version(found: ModelVersion) -> Version:
    made = datetime.fromtimestamp(int(found.creation_timestamp or 0) / 1000, UTC).isoformat(timespec="microseconds")
    return Version(str(found.name), int(found.version), str(found.run_id), dict(found.tags), made)


def _now() -> str:
    """To the microsecond: what a rollback goes back to is told by the order of promotions."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
