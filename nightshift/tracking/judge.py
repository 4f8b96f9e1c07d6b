"""Puts a challenger before the gate: finds the champion, judges both on the same rows, and asks."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from nightshift.edge.manifest import BundleManifest, DeviceCheck
from nightshift.errors import BundleError, ServiceError, UnknownNameError, first_line
from nightshift.plan.cell import Cell
from nightshift.plan.config import TargetDevice, target_device
from nightshift.problems import problem as problems
from nightshift.problems.evaluation import Evaluation
from nightshift.settings import Home
from nightshift.tracking import champion as champions
from nightshift.tracking import gate, runs
from nightshift.tracking.finished import EVALUATION_FILE, Finished, read_bundle, version_folder
from nightshift.tracking.mlflow_store import Store, told_apart
from nightshift.tracking.versions import MEMBERS, MEMBERS_CUT, Version


def decide(
    home: Home, store: Store, finished: Finished, holder: Version | None, device: DeviceCheck | None = None
) -> gate.GateDecision:
    """Gather what the gate asks, and ask it.

    Args:
        home: where bundles and data are.
        store: of the registry.
        finished: the challenger.
        holder: the present champion, None when there is none.
        device: what a device has found of the challenger, None before one has checked it.

    Raises:
        ConfigError: when the target's file cannot be used.
        TransientError: when MLflow cannot be reached.
    """
    return gate.decide(
        gate.GateInput(
            problem=problems.get(finished.manifest.problem),
            manifest=finished.manifest,
            evaluation=finished.evaluation,
            limits=finished.limits,
            margin=finished.config.margin,
            findings=finished.findings,
            champion=_judged(home, store, finished, holder) if holder else None,
            device=device,
            awaits_device=device_of(home, finished.cell.target).require_device_check,
        )
    )


def device_of(home: Home, target: str) -> TargetDevice:
    """Return what the devices of a target are; of a target that is gone, that none of them has a say.

    Raises:
        ConfigError: when the target's file cannot be used.
    """
    try:
        return target_device(home, target)
    except UnknownNameError:
        return TargetDevice()


def contender(home: Home, store: Store, cell: Cell, held: Version) -> champions.Contender:
    """Return a registered version ready to be judged: its folder here, else MLflow's copy of it.

    Raises:
        NotComparableError: when neither is whole.
        TransientError: when MLflow cannot be reached.
    """
    folder = version_folder(home, cell, held.version)
    try:
        manifest = _checked(folder, held)
    except BundleError:
        folder, manifest = downloaded(home, store, held)
    try:
        stored = runs.read_artifact(store, held.run_id, EVALUATION_FILE)
        evaluation = Evaluation.model_validate_json(stored)
    except (ServiceError, ValidationError):
        evaluation = None
    return champions.Contender(folder, manifest, evaluation, held.bundle_id)


def _judged(home: Home, store: Store, finished: Finished, holder: Version) -> gate.Champion:
    known = gate.Champion(
        version=holder.version,
        interface=finished.manifest.interface,
        members=tuple(m for m in holder.tags.get(MEMBERS, "").split(",") if m),
        members_cut=holder.tags.get(MEMBERS_CUT) == "true",
    )
    try:
        held = contender(home, store, finished.cell, holder)
        known = replace(known, interface=held.manifest.interface)
        if gate.changed_inputs(known.interface, finished.manifest.interface):
            return known
        return replace(known, comparison=champions.compare(home, finished, held))
    except champions.NotComparableError as error:
        return replace(known, why_not=error.what)


def _checked(folder: Path, held: Version) -> BundleManifest:
    manifest, found = read_bundle(folder)
    if found != held.bundle_id:
        raise BundleError(f"{folder.name} is not the bundle that was registered as version {held.version}.")
    return manifest


def downloaded(home: Home, store: Store, held: Version) -> tuple[Path, BundleManifest]:
    """Fetch MLflow's copy of a version once; it is kept under its hash.

    Raises:
        NotComparableError: when MLflow has no whole one.
        TransientError: when MLflow cannot be reached.
    """
    kept = home.machinery / "bundles" / held.bundle_id
    try:
        return kept, _checked(kept, held)
    except BundleError:
        shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        try:
            with told_apart(store.uri):
                folder = Path(store.client.download_artifacts(held.run_id, runs.MODEL_FOLDER, scratch))
            manifest = _checked(folder, held)
        except (ServiceError, BundleError, OSError) as error:
            raise champions.NotComparableError(f"its bundle is gone: {first_line(error)}") from error
        folder.rename(kept)
    return kept, manifest
