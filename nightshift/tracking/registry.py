"""The registry: a finished bundle becomes version N of its model in five steps, or nothing.

1. MLflow version N with the tag `state=pending`. 2. `models/.staging/<cell_key>/` is renamed to
`models/<family>/<subject>/<target>/v<N>/`. 3. The stage record. 4. `state=ready` and the alias `challenger`. 5. The
gate, and the alias `champion` when it says so.

An entry of `plan.journal` stands from before the first step until after the last. What a crash left
is found there at the next start without opening MLflow, and `reconcile` finishes it, or takes it back. Each step may
be done twice, so finishing is doing all of them again. Versions of other machines that share a MLflow server have no
journal here and are left alone. N is never used again: MLflow keeps the numbers of deleted versions, and a number
whose folder exists (the database was lost) is passed over.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from nightshift.edge.manifest import MODEL_FILE, DeviceCheck
from nightshift.errors import ExportError, NightshiftError, TransientError
from nightshift.files import fsync
from nightshift.plan import journal, lock
from nightshift.plan.cell import Cell
from nightshift.plan.records import StageRecord, record_files, work_folder, write_record
from nightshift.settings import Home
from nightshift.tracking import device, runs, versions
from nightshift.tracking.finished import LOGGED, Finished, read_finished, staging_folder, version_folder
from nightshift.tracking.gate import GateDecision, device_faults
from nightshift.tracking.judge import decide
from nightshift.tracking.mlflow_store import MAX_TAG, Store, open_store, told_apart
from nightshift.tracking.promotion import conclude
from nightshift.tracking.unversioned import dvc_file
from nightshift.tracking.verdict import device_facts, facts_of

logger = logging.getLogger("nightshift")

Summary = dict[str, str | int | float | bool | None]


def _silent(_line: str) -> None:
    return


@dataclass(frozen=True)
class Registered:
    """A model in the registry.

    Attributes:
        name: `<subject>.<family>.<target>`.
        version: N.
        run_id: of its MLflow run.
        folder: of its bundle.
        bundle_id: SHA-256 of its `bundle.json`.
        decision: the gate's; None before it was asked.
        verdict: what was done about it.
        checked: what a device has found of it, for a version that is registered once more.
    """

    name: str
    version: int
    run_id: str
    folder: Path
    bundle_id: str
    decision: GateDecision | None = None
    verdict: str = ""
    checked: Summary = field(default_factory=dict)

    def summary(self, home: Home, uri: str) -> Summary:
        """Return what the stage record keeps."""
        facts: Summary = {
            "name": self.name,
            "version": self.version,
            "semantic_version": f"1.{self.version}.0",
            "run_id": self.run_id,
            "tracking_uri": uri,
            "bundle": self.folder.relative_to(home.root).as_posix(),
            "onnx": (self.folder / MODEL_FILE).relative_to(home.root).as_posix(),
            "bundle_sha256": self.bundle_id,
            "dvc": dvc_file(home, "models", self.bundle_id).relative_to(home.root).as_posix(),
        }
        if self.decision is not None:
            facts |= facts_of(self.decision, self.verdict)
        return facts | self.checked


def register(home: Home, store: Store, cell: Cell, say: Callable[[str], None] = _silent) -> Registered:
    """Register a cell's exported bundle: all five steps, whatever part of them was done before.

    Args:
        home: where everything is kept.
        store: an open one.
        cell: whose bundle.
        say: takes a line about what is done now.

    Raises:
        TransientError: when MLflow cannot be reached; nothing is lost, and the next call goes on.
        ServiceError: when MLflow refuses; what was begun is taken back.
        ExportError: when there is no whole bundle to register.
    """
    with lock.held(home, f"register-{cell.name}", wait=True):
        journal.open_entry(home, cell)
        try:
            done = _all_steps(home, store, cell, say)
        except TransientError:
            raise
        except Exception:
            _take_back(home, store, cell)
            raise
        journal.close_entry(home, cell.key)
        return done


def reconcile(home: Home) -> list[str]:
    """Finish what a crash left half registered, or take it back; costs nothing when there is no such thing.

    Cells that another process works on now are left to it. Returns a line for each cell.
    """
    told: list[str] = []
    for cell in journal.entries(home):
        if lock.is_held(home, cell.key):
            continue
        try:
            with lock.held(home, cell.key):
                told.append(_finish(home, cell))
        except TransientError as error:
            told.append(f"{cell.name}: still to be registered: {error.what}")
    for line in told:
        logger.warning("%s", line)
    return told


def served_files(folder: Path) -> list[Path]:
    """Return what a registered model cannot be without; `native/` may be deleted by a person who needs the space."""
    return [folder / name for name in LOGGED if (folder / name).is_file()]


def _finish(home: Home, cell: Cell) -> str:
    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        store = open_store(home)
        done = register(home, store, cell)
    except TransientError:
        raise
    except NightshiftError as error:
        (work_folder(home, cell.key) / "register.json").unlink(missing_ok=True)
        journal.close_entry(home, cell.key)
        return f"{cell.name}: a half registered version was taken back: {error.what}"
    _write_stage_record(home, store, cell, done, started, time.perf_counter() - clock)
    return f"{cell.name}: version {done.version} was half registered, and is whole now"


def _all_steps(home: Home, store: Store, cell: Cell, say: Callable[[str], None]) -> Registered:
    finished = _find_bundle(home, store, cell)
    say("logging to MLflow")
    run_id = runs.log_run(store, finished)
    version = _create_version(home, store, finished, run_id)
    finished = _move(home, finished, version)
    done = Registered(cell.name, version, run_id, finished.bundle, finished.bundle_id)
    _write_stage_record(home, store, cell, done, datetime.now(UTC), 0.0)
    _make_ready(store, done)
    say(f"asking the gate about version {version}")
    check = device.known(versions.read(store, done.name, done.version))
    decision = _ask_gate(home, store, finished, done, check)
    verdict = conclude(store, done.name, done.version, decision)
    checked = device_facts(check, tuple(device_faults(check, finished.limits))) if check else {}
    return replace(done, decision=decision, verdict=verdict, checked=checked)


def _find_bundle(home: Home, store: Store, cell: Cell) -> Finished:
    """Read the staged bundle, else the one that an earlier attempt has moved into place."""
    staged = staging_folder(home, cell.key)
    if staged.is_dir():
        return read_finished(home, cell, staged)
    for held in versions.of_cell(store, cell):
        folder = version_folder(home, cell, held.version)
        if folder.is_dir():
            finished = read_finished(home, cell, folder)
            if finished.bundle_id == held.bundle_id:
                return finished
    raise ExportError(f"{cell.name}: there is no bundle to register.", hint="Run the same command again.")


def _create_version(home: Home, store: Store, finished: Finished, run_id: str) -> int:
    """Step 1. Returns the number of this bundle's version; an attempt on another bundle of this cell is taken back."""
    cell = finished.cell
    for held in versions.of_cell(store, cell):
        if held.bundle_id == finished.bundle_id:
            return held.version
        if held.is_pending:
            shutil.rmtree(version_folder(home, cell, held.version), ignore_errors=True)
            versions.delete(store, held)
    with told_apart(store.uri):
        if not store.client.search_registered_models(f"name = '{cell.name}'"):
            store.client.create_registered_model(cell.name, tags={"nightshift.subject": cell.subject})
        source = f"{store.client.get_run(run_id).info.artifact_uri}/{runs.MODEL_FOLDER}"
        while True:
            made = store.client.create_model_version(cell.name, source, run_id, tags=_version_tags(finished))
            version = int(made.version)
            if not version_folder(home, cell, version).exists():
                break
            store.client.delete_model_version(cell.name, str(version))
        store.client.set_model_version_tag(cell.name, str(version), "nightshift.semantic_version", f"1.{version}.0")
        return version


def _version_tags(finished: Finished) -> dict[str, str]:
    manifest = finished.manifest
    tags = {
        **runs.tags_of(finished),
        versions.STATE: versions.PENDING,
        versions.GATE: "undecided",
        versions.MEMBERS: ",".join(finished.members)[:MAX_TAG],
        versions.MEMBERS_CUT: str(any(f.code == "T004" for f in finished.findings)).lower(),
        "nightshift.size_bytes": str(manifest.size_bytes),
        "nightshift.trained_until": manifest.trained_until or "",
        f"nightshift.{manifest.primary}": str(finished.evaluation.score(finished.evaluation.headline_part)),
    }
    return {k: v for k, v in tags.items() if v}


def _move(home: Home, finished: Finished, version: int) -> Finished:
    """Step 2: one rename; the export stage's record then names the files where they are."""
    cell = finished.cell
    place = version_folder(home, cell, version)
    if finished.bundle != place:
        place.parent.mkdir(parents=True, exist_ok=True)
        finished.bundle.rename(place)
        fsync(place.parent)
    _rebase_export(home, cell, staging_folder(home, cell.key), place)
    return replace(finished, bundle=place)


def _make_ready(store: Store, done: Registered) -> None:
    """Step 4. The alias never goes back to an older version."""
    now = versions.challenger(store, done.name)
    with told_apart(store.uri):
        store.client.set_model_version_tag(done.name, str(done.version), versions.STATE, versions.READY)
        if now is None or now.version <= done.version:
            store.client.set_registered_model_alias(done.name, versions.CHALLENGER, str(done.version))


def _ask_gate(
    home: Home, store: Store, finished: Finished, done: Registered, check: DeviceCheck | None
) -> GateDecision:
    """Ask the gate, and keep its word with the run; step 5 is to do as it says."""
    holder = versions.champion(store, done.name)
    if holder is not None and holder.version == done.version:
        decision = GateDecision(promote=True, reasons=("champion already",))
    else:
        decision = decide(home, store, finished, holder, check)
    with told_apart(store.uri):
        runs.log_gate(store, done.run_id, decision.model_dump_json(indent=1))
    return decision


def _write_stage_record(
    home: Home, store: Store, cell: Cell, done: Registered, started: datetime, seconds: float
) -> None:
    """Step 3. The stage writes it again at its end, with its duration and the gate's word."""
    write_record(
        home,
        StageRecord(
            stage="register",
            cell_key=cell.key,
            status="done",
            started_at=started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            seconds=round(seconds, 3),
            files=record_files(home, served_files(done.folder)),
            summary=done.summary(home, store.uri),
            findings=done.decision.findings if done.decision else (),
        ),
    )


def _take_back(home: Home, store: Store, cell: Cell) -> None:
    """Undo a pending version: its bundle goes back to staging, its record and its number are given up."""
    try:
        for held in versions.of_cell(store, cell):
            if not held.is_pending:
                continue
            place, staged = version_folder(home, cell, held.version), staging_folder(home, cell.key)
            if place.is_dir() and not staged.exists():
                staged.parent.mkdir(parents=True, exist_ok=True)
                place.rename(staged)
                _rebase_export(home, cell, place, staged)
            versions.delete(store, held)
            (work_folder(home, cell.key) / "register.json").unlink(missing_ok=True)
        journal.close_entry(home, cell.key)
    except (NightshiftError, OSError) as error:
        logger.warning("%s: a pending version is left for the next start: %s", cell.name, error)


def _rebase_export(home: Home, cell: Cell, old: Path, new: Path) -> None:
    """Let the export stage's record name its files where they are now, so that export is not done again."""
    path = work_folder(home, cell.key) / "export.json"
    try:
        record = StageRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return
    before, after = (f"{p.relative_to(home.root).as_posix()}/" for p in (old, new))
    if any(f.path.startswith(before) for f in record.files):
        files = tuple(f.model_copy(update={"path": f.path.replace(before, after, 1)}) for f in record.files)
        write_record(home, record.model_copy(update={"files": files}))
