"""A model as routes name it, its versions as files tell of them, and what the registry says of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from nightshift import families
from nightshift.dashboard.starting import ConflictError
from nightshift.data.groups import TARGETS
from nightshift.data.schema import check_subject
from nightshift.data.store import subjects
from nightshift.errors import ServiceError, TransientError, UnknownNameError
from nightshift.plan.config import targets
from nightshift.plan.past import MAX_VERSIONS, Past, Trained, past_of, version_of
from nightshift.plan.shared import share_model
from nightshift.plan.state import cell_of, newest, newest_names
from nightshift.settings import Home, is_own_file
from nightshift.tracking.results import CellResult, read_result

if TYPE_CHECKING:
    from nightshift.tracking.lineage import Entry, Lineage
    from nightshift.tracking.mlflow_store import Store
    from nightshift.tracking.promotion import NewChampion
    from nightshift.tracking.versions import Version

_REGISTRY_DOWN = "`nightshift up` starts it; the models themselves can be used and downloaded without it."


@dataclass(frozen=True)
class ModelId:
    """One model of a machine, for a target: every part is a name that was checked."""

    machine: str
    family: str
    target: str

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return f"{self.machine}.{self.family}.{self.target}"

    def folder(self, home: Home, version: int) -> Path:
        """Return where a version's bundle lies."""
        return home.models / self.family / self.machine / self.target / f"v{version}"

    def past(self, home: Home, most: int | None = MAX_VERSIONS) -> Past:
        """Return its versions, as files tell of them: the newest ones and the champion; None = all."""
        return past_of(home, self.machine, self.family, self.target, most)


@dataclass(frozen=True)
class Registry:
    """What the registry says of a model.

    Attributes:
        versions: newest first.
        lineage: of the version asked for, else of the champion, else of the newest version.
    """

    versions: tuple[Entry, ...]
    lineage: Lineage


def model_id(home: Home, machine: str, family: str, target: str = "") -> ModelId:
    """Return the model that a request means; without a target the one that there is, else that of the family's group.

    Raises:
        UsageError: for an id that is no machine id.
        UnknownNameError: for a machine, family or target that is not known; names the nearest.
    """
    own = families.canonical(family)
    check_subject(machine)
    known = {*subjects(home), *(name.split(".")[0] for name in newest_names(home))}
    if machine not in known:
        raise UnknownNameError("machine", machine, known)
    if target and target not in targets(home):
        raise UnknownNameError("target", target, targets(home))
    return ModelId(machine, own, target or _target(home, machine, own))


def _target(home: Home, machine: str, family: str) -> str:
    usual = TARGETS[families.get(family).group]
    there = sorted(name.split(".")[2] for name in newest_names(home) if name.startswith(f"{machine}.{family}."))
    return usual if usual in there or not there else there[0]


def chosen_version(home: Home, model: ModelId, number: int | None = None) -> Trained:
    """Return a version: the one asked for, else the champion, else the newest.

    Raises:
        UnknownNameError: when there is none, or not that one.
    """
    if number is not None and (found := version_of(home, model.machine, model.family, model.target, number)):
        return found
    past = model.past(home)
    if past.reference is None:
        has = [name for name in newest_names(home) if name.startswith(f"{model.machine}.")]
        train = f"To train it: the page Train, or `nightshift train {model.family} --subject {model.machine}`."
        raise UnknownNameError("model", model.name, [name for name in has if name != model.name], hint=train)
    if number is not None:
        raise UnknownNameError(f"version of {model.name}", str(number), [str(v.version) for v in past.versions])
    return past.reference


@contextmanager
def opened_registry(home: Home) -> Iterator[Store]:
    """Give the registry while the body runs; whatever keeps it from answering is a service that is down.

    Raises:
        ServiceError: when it does not answer.
    """
    from nightshift.tracking.mlflow_store import Patience, open_store

    try:
        yield open_store(home, Patience(attempts=1, probe_s=2.0))
    except TransientError as error:
        raise ServiceError(error.what, hint=_REGISTRY_DOWN) from error


def registered_version(home: Home, model: ModelId, number: int) -> Version:
    """Return a version that the registry knows, whether its bundle is here or not.

    Raises:
        UnknownNameError: when it knows no such version.
        ServiceError: when it does not answer.
    """
    from nightshift.tracking import versions

    with opened_registry(home) as store:
        return versions.find(store, model.name, number)


def read_registry(home: Home, model: ModelId, number: int | None = None) -> Registry:
    """Return what the registry says of a model, with the lineage of a version; without one, as `Registry` says.

    The store is named where it has an address: a file of this machine is nobody's business who looks from elsewhere.

    Raises:
        UnknownNameError: when it has no version.
        ServiceError: when it does not answer.
    """
    from nightshift.tracking.lineage import history, lineage
    from nightshift.tracking.versions import inventory

    with opened_registry(home) as store:
        held = inventory(store, model.name)
        if not held.get(model.name):
            chosen_version(home, model)  # says what there is
            raise ServiceError(
                f"the registry does not know {model.name}, of which this home has a version.",
                hint="See whether MLFLOW_TRACKING_URI names the registry that it was trained with.",
            )
        entries = history(store, model.name)
        found = lineage(home, store, model.name, number if number in {e.version for e in entries} else None)
        if is_own_file(found.tracking_uri):
            found = found.model_copy(update={"tracking_uri": ""})
        return Registry(entries, found)


class Change(BaseModel):
    """A change of champion.

    Attributes:
        version: champion now.
        before: champion until then, None without one.
    """

    name: str
    version: int
    before: int | None


def promote(home: Home, model: ModelId, version: int, note: str) -> Change:
    """Make a version champion by a person's word, on every machine that shares the store.

    Raises:
        UnknownNameError: when there is no such version.
        ServiceError: when the registry does not answer, or the version is not whole.
    """
    from nightshift.tracking import promotion

    with opened_registry(home) as store:
        done = promotion.promote(store, model.name, version, note)
    share_model(home, model.name)
    return _change(done)


def roll_back(home: Home, model: ModelId, note: str, champion: int | None = None) -> Change:
    """Make the champion before the present one champion again.

    Args:
        home: whose model it is.
        model: the model.
        note: why.
        champion: the version that is left, as whoever asks has seen it: who asks twice goes back once.

    Raises:
        ConflictError: when another version is champion by now.
        UsageError: when there is none before.
        ServiceError: when the registry does not answer.
    """
    from nightshift.tracking import promotion, versions

    with opened_registry(home) as store:
        present = versions.champion(store, model.name) if champion is not None else None
    if present is not None and present.version != champion:
        raise ConflictError(f"version {present.version} is champion by now, not {champion}.", hint="Look again.")
    with opened_registry(home) as store:
        done = promotion.rollback(store, model.name, note)
    share_model(home, model.name)
    return _change(done)


def _change(done: NewChampion) -> Change:
    before = done.before.version if done.before else None
    return Change(name=done.version.name, version=done.version.version, before=before)


def results_of(home: Home, model: ModelId, version: Trained | None) -> CellResult | None:
    """Return what the files say of a version, of the newest attempt where none is registered; None without a trace."""
    cell = cell_of(home, version.cell_key) if version is not None else newest(home, model.name)
    return read_result(home, cell) if cell is not None else None
