"""What `nightshift prune` would remove now: looked up, nothing changed."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from nightshift.data import store as datasets
from nightshift.edge.manifest import MANIFEST_FILE
from nightshift.errors import NightshiftError, UsageError
from nightshift.plan import journal, lock
from nightshift.plan.cell import Cell
from nightshift.plan.fleet_config import RetentionSettings
from nightshift.plan.records import read_record
from nightshift.plan.state import newest_names
from nightshift.plan.synthesis import DESCRIBED
from nightshift.settings import Home
from nightshift.tracking import driving_prunable, retention, runs
from nightshift.tracking.finished import staging_folder
from nightshift.tracking.mlflow_store import Store
from nightshift.tracking.unversioned import Kind as DvcKind
from nightshift.tracking.versions import PRUNED, STATE, Held, Version, inventory

Kind = Literal["model", "work", "run", "data", "fleet", "result"]

#: What is removed is renamed into one of these first, so that nobody meets a half of it.
TRASH = ".pruned"
#: What somebody may be making at the moment is younger than this.
YOUNG_S = 86_400.0

_KEY = re.compile(r"([0-9a-f]{64})(\.\d+)?")
_VERSION = re.compile(r"v(\d+)")
_NO_CELL = "no cell belongs to it"


@dataclass(frozen=True)
class Removal:
    """One thing to remove.

    Attributes:
        name: for people.
        why: nothing keeps it.
        paths: files and folders of this home that go.
        lock: to hold meanwhile, "" for none.
        cell_key: of the cell whose work it is, "" for what force has set aside.
        model: registry name of that cell.
        version: of a model.
        subject: of a data version.
        dvc: kind and fingerprint of its version in DVC.
        artifacts: that MLflow keeps of it, in this home.
        is_scratch: of a cell that stays, what its training needed.
    """

    kind: Kind
    name: str
    why: str
    paths: tuple[Path, ...] = ()
    lock: str = ""
    cell_key: str = ""
    model: str = ""
    version: Version | None = None
    subject: str = ""
    dvc: tuple[DvcKind, str] | None = None
    artifacts: tuple[Path, ...] = ()
    is_scratch: bool = False


@dataclass(frozen=True)
class Survey:
    """What can go, and what is left for a reason that a person should know.

    Attributes:
        named_again: versions that an earlier prune had begun with, and that somebody has given an alias since.
    """

    removals: tuple[Removal, ...]
    remarks: tuple[str, ...] = ()
    named_again: tuple[Version, ...] = ()


@dataclass
class _Desk:
    """What one survey works with.

    Attributes:
        stays: model -> versions that are kept, or that only a folder knows.
        used_data: subject -> first digits of data versions that something kept was made from.
    """

    home: Home
    limits: RetentionSettings
    held: Mapping[str, list[Held]]
    now: float = field(default_factory=time.time)
    stays: dict[str, set[int]] = field(default_factory=dict)
    used_data: dict[str, set[str]] = field(default_factory=dict)
    bundle_ids: set[str] = field(default_factory=set)
    named_again: list[Version] = field(default_factory=list)

    @cached_property
    def in_use(self) -> dict[str, retention.InUse]:
        return {name: retention.in_use(self.home, name) for name in {*self.held, *newest_names(self.home)}}

    @cached_property
    def runs(self) -> Counter[str]:
        """How many versions each run has made."""
        return Counter(one.version.run_id for held in self.held.values() for one in held)

    @cached_property
    def half_registered(self) -> frozenset[str]:
        return frozenset(cell.key for cell in journal.entries(self.home))

    def uses(self, name: str, cell_key: str, dataset: str) -> bool:
        used = self.in_use.get(name)
        return used is not None and used.uses(cell_key, dataset)

    def is_old(self, path: Path, seconds: float = YOUNG_S) -> bool:
        try:
            return self.now - path.stat().st_mtime > seconds
        except OSError:
            return False

    def refer(self, subject: str, dataset: str) -> None:
        self.used_data.setdefault(subject, set()).add(dataset[:12])


def survey(home: Home, limits: RetentionSettings, store: Store | None) -> Survey:
    """Look up what can go.

    Args:
        home: to look through.
        limits: what is kept beside what is in use.
        store: the registry; None where there never was one.

    Raises:
        TransientError, ServiceError: when the registry cannot be read.
    """
    desk = _Desk(home, limits, inventory(store) if store else {})
    removals = [*_models(desk)]
    unknown = _unknown_bundles(desk)
    removals += [*_work(desk), *_staged(desk), *_downloaded(desk)]
    removals += _driving(desk, {path for one in removals for path in one.paths})
    # Only now is it known what every kept model and cell was made from.
    removals += [*_data(desk), *_syntheses(desk), *_fleet_runs(desk), *_results(desk)]
    remarks = (
        f"{unknown} bundles under models/ are not in the registry, and are left" if unknown else "",
        "what goes here stays in the store that the machines share" if home.store_url and removals else "",
    )
    return Survey(tuple(removals), tuple(remark for remark in remarks if remark), tuple(desk.named_again))


def is_local(home: Home) -> bool:
    """Whether the registry is this home's alone."""
    return home.mlflow_uri.startswith("sqlite:")


def is_done(folder: Path) -> bool:
    """Whether the cell of a work folder went through all stages."""
    return retention.version_of(folder) is not None and (folder / "report.json").is_file()


def bundle_folder(home: Home, name: str, version: int) -> Path:
    """Return where a version's bundle lies, or would lie."""
    subject, family, target = retention.split_name(name) or ("", "", "")
    return home.models / family / subject / target / f"v{version}"


def _models(desk: _Desk) -> Iterator[Removal]:
    for name, held in sorted(desk.held.items()):
        pieces = retention.split_name(name)
        if pieces is None:
            continue
        kept = retention.kept(desk.home, held, desk.in_use[name], desk.limits.versions)
        for one in held:
            version = one.version
            folder = bundle_folder(desk.home, name, version.version)
            begun = version.tags.get(STATE) == PRUNED
            # A registry that other homes share: what lies there belongs to them.
            ours = version.cell_key and (is_local(desk.home) or folder.is_dir() or begun)
            if version.version in kept or not ours:
                desk.stays.setdefault(name, set()).add(version.version)
                desk.bundle_ids.add(version.bundle_id)
                desk.refer(pieces[0], version.tags.get(runs.DATASET, ""))
                desk.named_again += [version] if begun and version.version in kept else []
                continue
            yield _model(desk, name, version, folder)


def _model(desk: _Desk, name: str, version: Version, folder: Path) -> Removal:
    return Removal(
        kind="model",
        name=f"{name} version {version.version}",
        why=f"older than the last {desk.limits.versions}, and no alias refers to it",
        paths=(folder,),
        lock=f"register-{name}",
        model=name,
        version=version,
        dvc=("models", version.bundle_id) if version.bundle_id else None,
        artifacts=(desk.home.artifacts / version.run_id,) if desk.runs[version.run_id] == 1 else (),
    )


def _unknown_bundles(desk: _Desk) -> int:
    """Keep bundles that the registry does not know, as after the loss of its database; returns how many."""
    known = {(name, one.version.version) for name, held in desk.held.items() for one in held}
    unknown = 0
    for manifest in desk.home.models.glob(f"[!.]*/*/*/v*/{MANIFEST_FILE}"):
        family, subject, target, folder = manifest.parts[-5:-1]
        number, name = _VERSION.fullmatch(folder), f"{subject}.{family}.{target}"
        if number is None:
            continue
        version = int(number[1])
        if (name, version) not in known:
            unknown += 1
            desk.stays.setdefault(name, set()).add(version)
        if version in desk.stays.get(name, ()):
            desk.refer(subject, retention.dataset_of(manifest.parent))
    return unknown


def _work(desk: _Desk) -> Iterator[Removal]:
    for folder in sorted(desk.home.work.iterdir()) if desk.home.work.is_dir() else []:
        found = _KEY.fullmatch(folder.name)
        if not found or (folder / DESCRIBED).exists() or lock.is_held(desk.home, found[1]):
            continue
        try:
            cell = Cell.model_validate_json((folder / "cell.json").read_bytes())
        except (OSError, ValidationError):
            if desk.is_old(folder):
                yield Removal("work", folder.name[:12], _NO_CELL, (folder,), found[1], found[1])
            continue
        if _is_needed(desk, folder, cell, aside=bool(found[2])):
            desk.refer(cell.subject, cell.dataset)
            yield from _spent(desk, folder, cell)
        else:
            key = "" if found[2] else cell.key
            yield Removal(
                "work", f"{cell.name} {cell.key[:12]}{found[2] or ''}", _why(cell), (folder,), cell.key, key, cell.name
            )


def _why(cell: Cell) -> str:
    return f"of data {cell.dataset[:12]}, and no kept version was made by it"


def _is_needed(desk: _Desk, folder: Path, cell: Cell, *, aside: bool) -> bool:
    """Whether a kept version was made there, or somebody will look at this cell again."""
    if retention.version_of(folder) in desk.stays.get(cell.name, ()):
        return True
    if aside:
        return False
    return cell.key in desk.half_registered or desk.uses(cell.name, cell.key, cell.dataset)


def _spent(desk: _Desk, folder: Path, cell: Cell) -> Iterator[Removal]:
    """Yield what a cell that went through all stages keeps for a training that nobody will go on with."""
    left = tuple(p for name in ("scratch", "checkpoints") if (p := folder / name).is_dir() and any(p.iterdir()))
    if left and is_done(folder):
        name = f"{cell.name} {folder.name[:12]} checkpoints"
        yield Removal("work", name, "it is trained", left, cell.key, is_scratch=True)


def _staged(desk: _Desk) -> Iterator[Removal]:
    """Yield bundles that were exported and never registered, of cells whose work goes or has gone."""
    folder = staging_folder(desk.home, "")
    keys = desk.half_registered.union(*(used.keys for used in desk.in_use.values()))
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        key = next((part for part in path.name.split(".") if _KEY.fullmatch(part)), "")
        if key not in keys and desk.is_old(path) and not lock.is_held(desk.home, key):
            yield Removal("work", f"staged bundle {key[:12]}", "never registered", (path,), key, key)


def _downloaded(desk: _Desk) -> Iterator[Removal]:
    folder = desk.home.machinery / "bundles"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in desk.bundle_ids and desk.is_old(path):
            yield Removal("model", f"copy {path.name[:12]}", "of a version that is not kept", (path,))


def _driving(desk: _Desk, gone: Collection[Path]) -> Iterator[Removal]:
    """Yield runs of driving policies that are old, but for those of the cells whose work stays."""
    folders = desk.home.work.iterdir() if desk.home.work.is_dir() else ()
    cells = frozenset(path.name for path in folders if path not in gone)
    for one in driving_prunable.outlived(desk.home, desk.limits.driving_runs, cells, desk.limits.runs_days):
        yield Removal("run", one.name, one.why, one.paths, one.cell)


def _data(desk: _Desk) -> Iterator[Removal]:
    root = desk.home.data / "store"
    yield from (_set_aside(desk, path) for path in sorted((root / TRASH).glob("*")))
    for folder in sorted(root.glob("[!.]*")):
        subject = folder.name
        try:
            landed = datasets.versions(desk.home, subject)
        except UsageError:  # no machine's folder
            continue
        kept = {*landed[-desk.limits.data_versions :], *desk.used_data.get(subject, ()), _present(desk.home, subject)}
        for path in sorted(folder.iterdir()):
            if path.name in landed and path.name not in kept:
                why = f"older than the last {desk.limits.data_versions}, and no kept model was made from it"
                dvc = _in_dvc(desk, subject, path.name)
                yield Removal("data", f"{subject} {path.name}", why, (path,), subject=subject, dvc=dvc)
            elif path.name not in landed and path.name not in kept and desk.is_old(path):
                yield Removal("data", f"{subject} {path.name}", "its landing was cut off", (path,), subject=subject)


def _set_aside(desk: _Desk, path: Path) -> Removal:
    subject, short = path.name.split(".")[:2]
    dvc = _in_dvc(desk, subject, short)
    return Removal("data", f"{subject} {short}", "an earlier prune had begun", (path,), subject=subject, dvc=dvc)


def _in_dvc(desk: _Desk, subject: str, short: str) -> tuple[DvcKind, str] | None:
    """Return a data version's name in DVC, None where another subject has the same data."""
    if any(path.parent.name != subject for path in (desk.home.data / "store").glob(f"[!.]*/{short}")):
        return None
    files = list((desk.home.dvc / "datasets").glob(f"{short}*.dvc"))
    return ("datasets", files[0].stem) if len(files) == 1 else None


def _present(home: Home, subject: str) -> str:
    try:
        return datasets.current(home, subject)[:12]
    except NightshiftError:
        return ""


def _syntheses(desk: _Desk) -> Iterator[Removal]:
    """Yield the work of syntheses but the last of each machine and those whose data are still there."""
    newest: dict[str, float] = {}
    found = []
    for described in desk.home.work.glob(f"*/{DESCRIBED}"):
        key = _KEY.fullmatch(described.parent.name)
        if not key or lock.is_held(desk.home, key[1]):
            continue
        subject, at = _subject_of(described), described.stat().st_mtime
        newest[subject] = max(at, newest.get(subject, 0.0))
        found.append((described.parent, key[1], bool(key[2]), subject, at))
    for folder, name, aside, subject, at in sorted(found):
        land = read_record(desk.home, folder.name, "land")
        there = land is not None and str(land.summary.get("dataset"))[:12] == _present(desk.home, subject)
        if aside or (at < newest[subject] and not there):
            yield Removal(
                "work", f"synthesis of {subject} {folder.name[:12]}", "a later one followed", (folder,), lock=name
            )


def _subject_of(described: Path) -> str:
    try:
        return str(json.loads(described.read_bytes())["subject"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _fleet_runs(desk: _Desk) -> Iterator[Removal]:
    last, why = desk.limits.fleet_runs, f"older than the last {desk.limits.fleet_runs}"
    folders = _newest_first(path for path in (desk.home.work / "fleet").glob("*") if path.is_dir())
    for folder in folders[last:]:
        # One without an outcome may be going on.
        if (folder / "outcome.json").is_file() or desk.is_old(folder):
            yield Removal("fleet", f"run {folder.name[:12]}", why, (folder,))
    pages = (page for page in (desk.home.reports / "fleet").glob("*.*") if page.stem != "latest")
    for page in _newest_first(pages)[last:]:
        yield Removal("fleet", f"report {page.name}", why, (page,))


def _newest_first(paths: Iterator[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def _results(desk: _Desk) -> Iterator[Removal]:
    """Yield the results of Prefect runs: notes of a few hundred bytes, that Prefect itself never removes."""
    age_s, folder = desk.limits.runs_days * 86_400, desk.home.prefect / "storage"
    old = tuple(p for p in sorted(folder.iterdir()) if desk.is_old(p, age_s)) if folder.is_dir() else ()
    if old:
        yield Removal(
            "result", f"{len(old):,} results of Prefect runs", f"older than {desk.limits.runs_days:g} days", old
        )
