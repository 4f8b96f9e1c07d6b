"""Removes what nothing keeps; see `retention` for the rules and `prunable` for what that is.

The registry is first and last. A version is marked `pruned` there before its bundle goes, so that nobody makes it
champion any more, and is deleted there after everything else of it has gone: its files, its version in DVC, its run
and artifacts. So the registry itself says what a killed prune has begun, and the next one finishes it. Folders are
renamed aside before they are deleted: nobody meets the half of one. Data are renamed first and deleted last: a landing
of the same data that found them there a moment ago has set its pointer by then, and they are put back.
"""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from nightshift.data import store as datasets
from nightshift.errors import NightshiftError
from nightshift.plan import lock
from nightshift.plan.fleet_config import RetentionSettings
from nightshift.settings import Home
from nightshift.tracking import dvc_gc, registry_gc, retention, runs, versions
from nightshift.tracking.disk_space import Ledger
from nightshift.tracking.mlflow_store import Store, open_store
from nightshift.tracking.prunable import TRASH, Removal, bundle_folder, is_done, survey

logger = logging.getLogger("nightshift")

_LOCK = "prune"
# A landing that found its data in the store before they were set aside has pointed to them by then.
_SECOND_LOOK_S = 2.0
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Removed:
    """One thing that went, or would go.

    Attributes:
        freed: bytes on this home's disk; files that something else still links to are not counted.
    """

    removal: Removal
    freed: int


@dataclass(frozen=True)
class Pruned:
    """What a prune did, or would do.

    Attributes:
        removed: one by one.
        dvc_bytes: that go in DVC's remote; before the fact they are an upper bound.
        remarks: what was left, and why.
    """

    removed: tuple[Removed, ...]
    dvc_bytes: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def freed(self) -> int:
        """Bytes in all."""
        return sum(one.freed for one in self.removed) + self.dvc_bytes


Tell = Callable[[str], None]


def look(home: Home, limits: RetentionSettings) -> Pruned:
    """Return what `prune` would do; nothing is changed.

    Raises:
        TransientError, ServiceError: when the registry cannot be read.
    """
    found, ledger = survey(home, limits, _registry(home)), Ledger()
    given_up = [one.dvc for one in found.removals if one.dvc is not None]
    remarks = [*found.remarks, dvc_gc.kept_there(home) if given_up else ""]
    return Pruned(
        removed=tuple(Removed(one, ledger.freed((*one.paths, *one.artifacts))) for one in found.removals),
        dvc_bytes=0 if dvc_gc.kept_there(home) else sum(dvc_gc.size_of(home, *version) for version in given_up),
        remarks=tuple(remark for remark in remarks if remark),
    )


def prune(home: Home, limits: RetentionSettings, tell: Tell = lambda _line: None) -> Pruned:
    """Remove what nothing keeps. May be killed at any moment: the next one finishes what it had begun.

    Args:
        home: to prune.
        limits: what is kept beside what is in use.
        tell: takes a line about what is done now.

    Raises:
        BusyError: when another prune runs.
        TransientError, ServiceError: when the registry or DVC cannot be used.
    """
    with lock.held(home, _LOCK, busy="another `nightshift prune` is at work."):
        tell("looking")
        _put_data_back(home)
        store = _registry(home)
        found = survey(home, limits, store)
        work = _Work(home, limits, store)
        try:
            work.restore(found.named_again)
            tell("removing files")
            for one in found.removals:
                work.remove(one)
            work.set_data_aside(one for one in found.removals if one.kind == "data")
            tell("clearing DVC and the registry")
            dvc_bytes = work.clear_dvc(one.removal for one in work.removed)
            work.clear_registry()
            dvc_bytes += work.remove_data()
        finally:
            _put_data_back(home)
            _close_gaps(home)
            for folder in (home.models / TRASH, home.machinery / TRASH):
                shutil.rmtree(folder, ignore_errors=True)
        return Pruned(tuple(work.removed), dvc_bytes, (*found.remarks, *work.remarks))


def _registry(home: Home) -> Store | None:
    """Open the registry; None where there never was one, so that looking makes none."""
    uri = home.mlflow_uri
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE).partition("?")[0]).exists():
        return None
    return open_store(home)


@dataclass
class _Work:
    """One prune at work.

    Attributes:
        removed: what has gone.
        remarks: what was left.
        aside: data versions that wait for their second look, and where they are.
        stays: first digits of data that a model was made from which is left after all.
    """

    home: Home
    limits: RetentionSettings
    store: Store | None
    removed: list[Removed] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    aside: list[tuple[Removal, Path]] = field(default_factory=list)
    stays: set[str] = field(default_factory=set)
    ledger: Ledger = field(default_factory=Ledger)
    set_aside_at: float = 0.0

    def restore(self, named_again: Iterable[versions.Version]) -> None:
        """Take versions back that an earlier prune had begun with and that an alias refers to now."""
        for version in named_again:
            if self.store is not None:
                versions.mark(self.store, version, versions.READY)

    def set_data_aside(self, found: Iterable[Removal]) -> None:
        """Rename data versions out of the store, but for those of a model that was left after all."""
        for one in found:
            (path,) = one.paths
            if path.name in self.stays or path.name == _points_to(self.home, one.subject):
                self._leave(one, "it is in use by now")
                continue
            place = path.parent.parent / TRASH / f"{one.subject}.{path.name}"
            place.parent.mkdir(exist_ok=True)
            path.rename(place)
            self.aside.append((one, place))
        self.set_aside_at = time.monotonic()

    def remove(self, one: Removal) -> None:
        """Remove one thing that is not data, under its lock, unless it is needed by now."""
        if one.kind == "data":
            return
        try:
            if not one.lock:
                self._go(one)
                return
            with lock.held(self.home, one.lock):
                if one.version is not None:
                    self._remove_version(one, one.version)
                elif not self._is_needed(one):
                    self._go(one)
                    if one.cell_key:
                        lock.forget(self.home, one.lock)
        except lock.BusyError:
            self._leave(one, "somebody works on it")

    def remove_data(self) -> int:
        """Delete the data set aside unless a landing has pointed to them meanwhile; returns what DVC frees."""
        if not self.aside:
            return 0
        time.sleep(max(0.0, self.set_aside_at + _SECOND_LOOK_S - time.monotonic()))
        gone = []
        for one, place in self.aside:
            if _points_to(self.home, one.subject) == _short(place):
                self._leave(one, "it is in use again")
            else:
                gone.append((one, place))
        freed = self.clear_dvc(one for one, _ in gone)
        for one, place in gone:
            self.removed.append(Removed(one, self._delete([place])))
            (self.home.data / "store" / ".unfinished" / place.name).unlink(missing_ok=True)
            _drop_empty(self.home.data / "store" / one.subject)
        return freed

    def clear_dvc(self, gone: Iterable[Removal]) -> int:
        """Give the versions up that DVC holds of what has gone; returns the freed bytes."""
        given_up = [one.dvc for one in gone if one.dvc is not None]
        remark = dvc_gc.kept_there(self.home) if given_up else ""
        freed, more = dvc_gc.forget(self.home, given_up)
        self.remarks += [line for line in (remark, more) if line and line not in self.remarks]
        return freed

    def clear_registry(self) -> None:
        """Delete the runs, and at last the versions, of the models that have gone."""
        for one in self.removed:
            version, store = one.removal.version, self.store
            if version is None or store is None:
                continue
            with lock.held(self.home, one.removal.lock, wait=True):
                if self._has_alias(store, version):
                    # Set in MLflow itself a moment ago; whoever asks for the bundle gets MLflow's copy.
                    versions.mark(store, version, versions.READY)
                    self._leave(one.removal, "an alias refers to it by now; its files are in MLflow")
                    continue
                registry_gc.delete(store, version)

    def _remove_version(self, one: Removal, version: versions.Version) -> None:
        """Mark a version in the registry, look at its aliases once more, and remove its bundle and artifacts."""
        store = self.store
        if store is None:
            return
        if not self._may_go(store, version):
            self._leave(one, "it is in use by now")
            return
        versions.mark(store, version, versions.PRUNED)
        if not self._may_go(store, version):
            # By an alias that somebody set in MLflow itself at this moment.
            versions.mark(store, version, versions.READY)
            self._leave(one, "it is in use by now")
            return
        freed = self.ledger.freed(one.artifacts)
        self.removed.append(Removed(one, freed + self._delete(one.paths)))
        _drop_empty(one.paths[0].parent)

    def _may_go(self, store: Store, version: versions.Version) -> bool:
        held = versions.inventory(store, version.name).get(version.name, [])
        kept = retention.kept(self.home, held, retention.in_use(self.home, version.name), self.limits.versions)
        return version.version not in kept

    def _has_alias(self, store: Store, version: versions.Version) -> bool:
        held = versions.inventory(store, version.name).get(version.name, [])
        return any(one.aliases for one in held if one.version.version == version.version)

    def _is_needed(self, one: Removal) -> bool:
        """Whether work has come into use since the survey, or belongs to a version that was left."""
        if one.is_scratch:
            return not is_done(one.paths[0].parent)
        if one.cell_key and one.model and retention.in_use(self.home, one.model).uses(one.cell_key, ""):
            return True
        version = retention.version_of(one.paths[0]) if one.model else None
        return version is not None and bundle_folder(self.home, one.model, version).is_dir()

    def _leave(self, one: Removal, why: str) -> None:
        self.remarks.append(f"{one.name} is left: {why}")
        if one.version is not None:
            self.stays.add(one.version.tags.get(runs.DATASET, "")[:12])

    def _go(self, one: Removal) -> None:
        self.removed.append(Removed(one, self._delete(one.paths)))

    def _delete(self, paths: Iterable[Path]) -> int:
        """Rename each aside, so that it has gone at once and whole, and delete it; returns the bytes."""
        freed = self.ledger.freed(there := [path for path in paths if path.exists()])
        for path in there:
            place = self._trash_for(path) / uuid4().hex
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.rename(place)
            except OSError as error:
                # A folder that somebody keeps on another disk.
                if error.errno != errno.EXDEV:
                    raise
                place = path
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink()
        return freed

    def _trash_for(self, path: Path) -> Path:
        return (self.home.models if path.is_relative_to(self.home.models) else self.home.machinery) / TRASH


def _put_data_back(home: Home) -> None:
    """Put back what was set aside and not deleted: by a prune that was killed or failed, or in use again."""
    for place in (home.data / "store" / TRASH).glob("*"):
        before = home.data / "store" / place.name.partition(".")[0] / _short(place)
        if before.exists():
            # The same data have landed anew.
            shutil.rmtree(place)
        else:
            before.parent.mkdir(exist_ok=True)
            place.rename(before)
    _drop_empty(home.data / "store" / TRASH)


def _close_gaps(home: Home) -> None:
    """Number the folders that force has set aside from 1 again: who looks for them stops at the first gap."""
    numbers: dict[str, list[int]] = {}
    for path in home.work.glob("*.*") if home.work.is_dir() else []:
        key, _, number = path.name.partition(".")
        if number.isdigit():
            numbers.setdefault(key, []).append(int(number))
    for key, found in numbers.items():
        if max(found) == len(found):
            continue
        with suppress(lock.BusyError), lock.held(home, key):
            for new, old in enumerate(sorted(found), 1):
                if new != old:
                    (home.work / f"{key}.{old}").rename(home.work / f"{key}.{new}")


def _short(place: Path) -> str:
    """Return the first digits of a data version that was set aside."""
    return place.name.partition(".")[2]


def _points_to(home: Home, subject: str) -> str:
    try:
        return datasets.current(home, subject)[:12]
    except NightshiftError:
        return ""


def _drop_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
