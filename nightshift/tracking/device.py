"""Device checks: which versions wait for one, and what becomes of a version once a device has told.

What a device has found stands in tags of the version; the register record's summary says the same, so that a plan sees
it without MLflow. The gate is asked again with the device's figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from nightshift.edge.manifest import DeviceCheck
from nightshift.edge.record import RecordError
from nightshift.errors import DataError, NightshiftError, ServiceError
from nightshift.family import Limits
from nightshift.findings import Finding, finding
from nightshift.plan import lock
from nightshift.plan.cell import Cell
from nightshift.plan.records import StageRecord, read_record, work_folder, write_record
from nightshift.plan.shared import share_cell
from nightshift.plan.state import AWAITS, DEVICE, newest_cells
from nightshift.settings import Home
from nightshift.tracking import gate, judge, promotion, runs, verdict, versions
from nightshift.tracking.finished import Finished, read_finished, version_folder
from nightshift.tracking.mlflow_store import Store, told_apart
from nightshift.tracking.versions import Version

CHECK, P99_MS, MEMORY_MB = "nightshift.device_check", "nightshift.device_p99_ms", "nightshift.device_memory_mb"


@dataclass(frozen=True)
class Wanted:
    """A version that a device is to check.

    Attributes:
        name: of its model.
        version: its number.
        bundle_id: SHA-256 of its `bundle.json`.
        folder: of its bundle, relative to the home.
        architecture: of the target's devices, "" for any.
    """

    name: str
    version: int
    bundle_id: str
    folder: str
    architecture: str = ""


@dataclass(frozen=True)
class Recorded:
    """What became of a version that a device has checked.

    Attributes:
        faults: what the device has found wrong, () when nothing.
        champion: whether it is champion now.
        said: the gate's word, or why it was not asked.
        findings: of the gate, and of a champion that failed.
    """

    name: str
    version: int
    check: DeviceCheck
    faults: tuple[str, ...]
    champion: bool
    said: str
    findings: tuple[Finding, ...] = ()

    @property
    def line(self) -> str:
        """One line for a terminal or a report."""
        found = "; ".join(self.faults) or "passed"
        return f"{self.name} v{self.version} {gate.checked_by(self.check)}: {found}. {self.said}"


def awaiting(home: Home, subject: str | None = None) -> tuple[Wanted, ...]:
    """Return the newest versions that wait for a device's check, of one machine or of all, sorted by name."""
    return of_cells(home, newest_cells(home, subject))


def of_cells(home: Home, cells: Iterable[Cell]) -> tuple[Wanted, ...]:
    """Return those of some cells that wait for a device's check."""
    found = (_waits(home, cell) for cell in cells)
    return tuple(wanted for wanted in found if wanted)


def _waits(home: Home, cell: Cell) -> Wanted | None:
    record = read_record(home, cell.key, "register")
    if record is None or record.status != "done" or record.summary.get(DEVICE) != AWAITS:
        return None
    return Wanted(
        name=cell.name,
        version=int(str(record.summary["version"])),
        bundle_id=str(record.summary["bundle_sha256"]),
        folder=str(record.summary["bundle"]),
        architecture=judge.device_of(home, cell.target).architecture,
    )


def wanted_of(home: Home, store: Store, cell: Cell, version: int | None = None) -> Wanted:
    """Return any version of a model as one to be checked; the newest by default.

    Its bundle is fetched from MLflow where it is not in this home any more.

    Raises:
        UnknownNameError: when the model has no such version.
        ServiceError: when it has none, or its registration has not ended.
        NotComparableError: when its bundle is nowhere whole.
    """
    newest = versions.challenger(store, cell.name) if version is None else None
    if version is None and newest is None:
        raise ServiceError(f"{cell.name} has no version yet.", hint="`nightshift train` makes the first one.")
    held = newest or versions.find(store, cell.name, version or 0)
    folder = judge.contender(home, store, cell, held).folder
    return Wanted(
        name=cell.name,
        version=held.version,
        bundle_id=held.bundle_id,
        folder=folder.relative_to(home.root).as_posix(),
        architecture=judge.device_of(home, cell.target).architecture,
    )


def known(held: Version) -> DeviceCheck | None:
    """Return what a device has found of a version, None before one has checked it."""
    try:
        return DeviceCheck.model_validate_json(held.tags[CHECK])
    except (KeyError, RecordError):
        return None


def record(home: Home, store: Store, name: str, version: int, check: DeviceCheck) -> Recorded:
    """Keep what a device has found of a version, ask the gate again, and do what it says.

    The present champion is not asked about again: one that fails stays, and a finding says so. Nor is a version that a
    later one has overtaken, or that was champion before and is not any more.

    Args:
        home: where the version was trained.
        store: of the registry.
        name: of the model.
        version: its number.
        check: what the device has found.

    Raises:
        UnknownNameError: when the model has no such version.
        DataError: when the device has checked another bundle.
        ServiceError, TransientError: when MLflow refuses or cannot be reached; the same call does it again.
    """
    with lock.held(home, f"register-{name}", wait=True):
        held = versions.find(store, name, version)
        if check.bundle_id != held.bundle_id:
            raise DataError(
                f"{check.device} has checked the bundle {check.bundle_id[:12]}, version {version} of {name} is "
                f"{held.bundle_id[:12]}.",
                hint="Check that version again: nightshift verify",
            )
        with told_apart(store.uri):
            for tag, value in _tags(check).items():
                store.client.set_model_version_tag(name, str(version), tag, value)
        cell = _cell_of(home, store, held)
        told = _judged(home, store, held, cell, check)
    share_cell(home, cell)
    return told


def _tags(check: DeviceCheck) -> dict[str, str]:
    return {
        CHECK: check.model_dump_json(),
        P99_MS: f"{check.latency.p99_ms:.4g}",
        MEMORY_MB: f"{check.footprint.memory_mb:.1f}",
    }


def _cell_of(home: Home, store: Store, held: Version) -> Cell:
    """Return the cell that made a version, as this home or else its MLflow run keeps it."""
    try:
        return Cell.model_validate_json((work_folder(home, held.cell_key) / "cell.json").read_bytes())
    except (OSError, ValidationError):
        return Cell.model_validate_json(runs.read_artifact(store, held.run_id, "cell.json"))


def _judged(home: Home, store: Store, held: Version, cell: Cell, check: DeviceCheck) -> Recorded:
    faults = tuple(gate.device_faults(check, Limits.model_validate(cell.config["limits"])))
    holder = versions.champion(store, held.name)
    own = _own_record(home, held, cell)
    facts = verdict.device_facts(check, faults)
    if holder is not None and holder.version == held.version:
        found = (_failed(held, faults),) if faults else ()
        said = f"promoted: {gate.checked_by(check)}"
        if held.promoting is not None and held.promoting.by == "device check":
            # The check that has promoted it was cut off.
            done = gate.GateDecision(promote=True, reasons=(gate.checked_by(check),))
            promotion.conclude(store, held.name, held.version, done, "device check")
        _rewrite(home, own, {**facts, "champion": True}, found, said)
        stays = "It is champion, and stays so until a person says otherwise." if faults else "It is champion."
        return Recorded(held.name, held.version, check, faults, True, stays, found)
    why_not = _why_not_asked(held, holder)
    finished = None if why_not else _finished(home, own, cell, held)
    if finished is None:
        _rewrite(home, own, facts, ())
        why = why_not or "What made it is not whole in this home: the gate was not asked."
        return Recorded(held.name, held.version, check, faults, False, why)
    decision = judge.decide(home, store, finished, holder, check)
    with told_apart(store.uri):
        runs.log_gate(store, held.run_id, decision.model_dump_json(indent=1))
    word = promotion.conclude(store, held.name, held.version, decision, "device check")
    told = {**facts, **verdict.facts_of(decision, word)}
    _rewrite(home, own, told, decision.findings)
    said = f"The gate: {told['gate']}."
    return Recorded(held.name, held.version, check, faults, bool(told["champion"]), said, decision.findings)


def _failed(held: Version, faults: tuple[str, ...]) -> Finding:
    subject, family, target = held.name.rsplit(".", 2)
    return finding(
        "G006",
        f"champion v{held.version} of {held.name}: {'; '.join(faults)}.",
        remedy=f"To go back to the one before: nightshift rollback {subject} {family} --target {target}",
    )


def _why_not_asked(held: Version, holder: Version | None) -> str:
    if holder is not None and holder.version > held.version:
        return f"The gate was not asked: v{holder.version}, a later one, is champion."
    if held.tags.get(versions.GATE) == versions.REFUSED:
        return "The gate was not asked: a person has refused it."
    if held.promotions:
        return "The gate was not asked: it was champion before, and a person may make it so again."
    return ""


def _own_record(home: Home, held: Version, cell: Cell) -> StageRecord | None:
    """Return the register record of just this version; a training that was forced since has the same cell."""
    found = read_record(home, cell.key, "register")
    return found if found and found.summary.get("bundle_sha256") == held.bundle_id else None


def _finished(home: Home, own: StageRecord | None, cell: Cell, held: Version) -> Finished | None:
    try:
        return read_finished(home, cell, version_folder(home, cell, held.version)) if own else None
    except NightshiftError:
        return None


def _rewrite(
    home: Home, own: StageRecord | None, facts: verdict.Facts, found: tuple[Finding, ...], said: str = ""
) -> None:
    """Let the register record say what is so now; a `gate` of its own stays, unless it says that the check is missing.

    A record of a version that a crash left promoted and awaiting is mended so.
    """
    if own is None:
        return
    if said and own.summary.get(DEVICE) == AWAITS:
        facts = {**facts, "gate": said}
    # What the gate has said before is replaced only by what it says now.
    kept = tuple(f for f in own.findings if f.code not in ("G005", "G006") and not (found and f.code[0] == "G"))
    write_record(home, own.model_copy(update={"summary": {**own.summary, **facts}, "findings": (*kept, *found)}))
