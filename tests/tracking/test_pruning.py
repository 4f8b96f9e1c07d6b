"""Pruning a real registry and a real DVC repository: what is kept stays whole, and a kill is made up for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from support.homes import a_home
from support.machine import land_demo

from nightshift.data.dataset import Dataset
from nightshift.data.store import current, open_dataset
from nightshift.data.store import versions as stored
from nightshift.errors import UnknownNameError
from nightshift.plan import lock
from nightshift.plan.cell import Cell
from nightshift.plan.fleet_config import RetentionSettings
from nightshift.plan.records import work_folder
from nightshift.settings import Home
from nightshift.tracking import promotion, registry, versioning, versions
from nightshift.tracking.finished import read_bundle, version_folder
from nightshift.tracking.mlflow_store import open_store
from nightshift.tracking.pruning import Pruned, look, prune
from tests.tracking.bundles import a_cell, finish, threshold_for

pytestmark = []

LIMITS = RetentionSettings(versions=1, data_versions=1)


class History:
    """A machine whose data and model changed again and again; the first model is its champion to the end."""

    def __init__(self, home: Home) -> None:
        self.home, self.store = home, open_store(home)
        self.data: list[Dataset] = []
        self.cells: dict[int, Cell] = {}
        self.runs: dict[int, str] = {}
        self.bundles: dict[int, str] = {}

    def goes_on(self) -> None:
        """New data, a model of them, and both in DVC."""
        data = land_demo(self.home, seed=5 + len(self.data), runs=14)
        cell = a_cell(data, len(self.data))
        finish(self.home, cell, data, threshold_for(data))
        done = registry.register(self.home, self.store, cell)
        assert versioning.version_subject(self.home, data.subject).findings == ()
        self.data.append(data)
        self.cells[done.version], self.runs[done.version] = cell, done.run_id
        self.bundles[done.version] = done.bundle_id

    @property
    def name(self) -> str:
        return self.cells[1].name

    @property
    def subject(self) -> str:
        return self.data[0].subject

    def registered(self) -> set[int]:
        return {one.version.version for one in versions.inventory(self.store, self.name).get(self.name, [])}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[History]:
    with a_home(tmp_path_factory.mktemp("prune"), migrated_db) as home:
        told = History(home)
        for _ in range(3):
            told.goes_on()
        promotion.promote(told.store, told.name, 1)
        yield told


def files(home: Home) -> dict[str, int]:
    return {p.relative_to(home.root).as_posix(): p.stat().st_size for p in home.root.rglob("*") if p.is_file()}


def on_disk(home: Home) -> int:
    """Bytes that the home holds on the disk, but for databases and DVC's own memory of what it has seen."""
    own = [p for p in home.root.rglob("*") if p.is_file() and p.suffix != ".db" and "dvc-site" not in p.parts]
    return sum({p.stat().st_ino: p.stat().st_blocks * 512 for p in own}.values())


def is_kept(history: History, version: int, scratch: Path) -> None:
    """The version is whole wherever it is kept."""
    home, cell = history.home, history.cells[version]
    assert read_bundle(version_folder(home, cell, version))[1] == history.bundles[version]
    assert history.store.client.get_run(history.runs[version]).info.lifecycle_stage == "active"
    assert (home.artifacts / history.runs[version] / "artifacts" / "model" / "model.onnx").is_file()
    assert (work_folder(home, cell.key) / "cell.json").is_file()
    back = versioning.checkout(home, "models", history.bundles[version], scratch / f"v{version}")
    assert read_bundle(back)[1] == history.bundles[version]


def has_gone(history: History, version: int) -> None:
    """Nothing is left of the version."""
    home, cell = history.home, history.cells[version]
    assert version not in history.registered()
    assert not version_folder(home, cell, version).exists()
    assert not work_folder(home, cell.key).exists()
    assert not lock.lock_path(home, cell.key).exists()
    assert not (home.artifacts / history.runs[version]).exists()
    assert history.bundles[version] not in versioning.versions(home, "models")
    with pytest.raises(MlflowException, match="not found"):
        history.store.client.get_run(history.runs[version])


def names(done: Pruned) -> set[str]:
    return {one.removal.name for one in done.removed}


def test_looking_names_what_goes_and_changes_nothing(history: History) -> None:
    before = files(history.home)
    found = look(history.home, LIMITS)
    assert files(history.home) == before
    assert {n for n in names(found) if "version" in n} == {f"{history.name} version {v}" for v in (2,)}
    gone = [f"{history.subject} {history.data[1].fingerprint[:12]}"]
    assert [one.removal.name for one in found.removed if one.removal.kind == "data"] == gone
    assert found.freed > 100_000
    assert found.dvc_bytes > 0


KILLED = """
import os, sys
from pathlib import Path
from nightshift.settings import use_home
home = use_home(Path(sys.argv[1]))
import mlflow
from dvc.repo import Repo
from nightshift.plan.code import code_fingerprint
from nightshift.plan.fleet_config import RetentionSettings
from nightshift.tracking import pruning, versions
code_fingerprint("anomaly")  # once, before the forks
real = versions.mark
def die(*_a, **_k):
    os.kill(os.getpid(), 9)
def mark_and_die(*arguments):
    real(*arguments)
    die()
steps = [(versions, "mark", mark_and_die), (Repo, "gc", die), (versions, "delete", die),
         (pruning._Work, "remove_data", die)]
for owner, name, instead in steps:
    child = os.fork()
    if not child:
        setattr(owner, name, instead)
        pruning.prune(home, RetentionSettings(versions=1, data_versions=1))
        os._exit(0)
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_kill_at_any_step_is_made_up_for_by_the_next_prune(history: History, tmp_path: Path) -> None:
    root = Path(versioning.__file__).resolve().parents[2]
    child = [sys.executable, "-c", KILLED, str(history.home.root)]
    done = subprocess.run(child, cwd=root, capture_output=True, text=True, check=False)
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["-9"] * 4, done.stderr[-2000:]
    assert len(list((history.home.data / "store" / ".pruned").iterdir())) == 1
    prune(history.home, LIMITS)
    assert history.registered() == {1, 3}
    for version in (1, 3):
        is_kept(history, version, tmp_path)
    has_gone(history, 2)
    kept = {data.fingerprint[:12] for data in (history.data[0], history.data[2])}
    assert set(stored(history.home, history.subject)) == kept
    assert {v[:12] for v in versioning.versions(history.home, "datasets")} == kept
    assert current(history.home, history.subject) == history.data[-1].fingerprint
    for data in (history.data[0], history.data[2]):
        assert open_dataset(history.home, history.subject, data.fingerprint).fingerprint == data.fingerprint
        versioning.checkout(history.home, "datasets", data.fingerprint, tmp_path / data.fingerprint[:12])
    champion = versions.champion(history.store, history.name)
    assert champion is not None
    assert champion.version == 1


def test_a_second_prune_removes_nothing_and_takes_back_what_has_an_alias_again(history: History) -> None:
    challenger = versions.challenger(history.store, history.name)
    assert challenger is not None
    versions.mark(history.store, challenger, versions.PRUNED)
    before = files(history.home)
    done = prune(history.home, LIMITS)
    assert (done.removed, done.freed, done.remarks) == ((), 0, ())
    found = {one.version.version: one.version for one in versions.inventory(history.store)[history.name]}
    assert found[3].tags[versions.STATE] == versions.READY
    after = files(history.home)
    assert {p for p in before if "lock" not in p} == {p for p in after if "lock" not in p}


def test_what_somebody_works_on_is_left_with_its_data_and_the_bytes_are_those_that_go(
    history: History, tmp_path: Path
) -> None:
    history.goes_on()
    promotion.promote(history.store, history.name, 1)
    with lock.held(history.home, f"register-{history.name}"):
        left = prune(history.home, LIMITS)
    assert f"{history.name} version 3 is left: somebody works on it" in left.remarks
    is_kept(history, 3, tmp_path)
    assert history.data[2].fingerprint[:12] in stored(history.home, history.subject)
    before = on_disk(history.home)
    done = prune(history.home, LIMITS)
    after = on_disk(history.home)
    has_gone(history, 3)
    assert history.registered() == {1, 4}
    assert done.freed == pytest.approx(before - after, rel=0.2)
    with pytest.raises(UnknownNameError):
        promotion.promote(history.store, history.name, 3)
