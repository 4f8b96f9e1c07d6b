"""A cell whose model is trained, judged and exported: what MLflow, the registry and the gate are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from nightshift import families
from nightshift.edge.manifest import (
    CARD_FILE,
    CHECK_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    SIGNATURE_FILE,
    BundleManifest,
)
from nightshift.edge.record import RecordError
from nightshift.errors import BundleError, ExportError, NightshiftError, first_line
from nightshift.family import FamilyConfig, Limits
from nightshift.files import sha256_file
from nightshift.findings import Finding
from nightshift.plan.cell import Cell
from nightshift.plan.records import STAGES, StageRecord, read_record, work_folder
from nightshift.problems.evaluation import Evaluation
from nightshift.settings import Home

EVALUATION_FILE = "evaluation.json"

#: What MLflow keeps of a bundle; `native/` stays on this machine and in DVC.
LOGGED = (MODEL_FILE, MANIFEST_FILE, CARD_FILE, CHECK_FILE, SIGNATURE_FILE)


@dataclass(frozen=True)
class Finished:
    """What a cell has made.

    Attributes:
        cell: the cell.
        bundle: folder of the bundle now: staging, or its place.
        manifest: its `bundle.json`.
        bundle_id: SHA-256 of that file.
        evaluation: how it was judged.
        records: stage -> record, of the stages before `register`.
    """

    cell: Cell
    bundle: Path
    manifest: BundleManifest
    bundle_id: str
    evaluation: Evaluation
    records: Mapping[str, StageRecord]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings of all stages, in their order."""
        return tuple(f for record in self.records.values() for f in record.findings)

    @property
    def config(self) -> FamilyConfig:
        """The cell's config, validated."""
        return families.get(self.cell.family).config.model_validate(self.cell.config["config"])

    @property
    def limits(self) -> Limits:
        """What the target allows."""
        return Limits.model_validate(self.cell.config["limits"])

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members of its ensemble or vote."""
        return tuple(m.name for m in self.evaluation.members)


def staging_folder(home: Home, cell_key: str) -> Path:
    """Return where export leaves a cell's bundle."""
    return home.models / ".staging" / cell_key


def version_folder(home: Home, cell: Cell, version: int) -> Path:
    """Return where a registered bundle lies."""
    return home.models / cell.family / cell.subject / cell.target / f"v{version}"


def read_finished(home: Home, cell: Cell, bundle: Path) -> Finished:
    """Read what a cell has made, with its bundle in a given folder.

    Raises:
        ExportError: when a part of it is missing or altered.
    """
    try:
        manifest, bundle_id = read_bundle(bundle)
        evaluation = Evaluation.model_validate_json((work_folder(home, cell.key) / EVALUATION_FILE).read_bytes())
    except (OSError, ValidationError, NightshiftError) as error:
        raise ExportError(
            f"{cell.name}: what was trained is not whole: {first_line(error)}.",
            hint="Run the same command again: the missing stages are done anew.",
        ) from error
    before = STAGES[: STAGES.index("register")]
    records = {name: r for name in before if (r := read_record(home, cell.key, name)) is not None}
    return Finished(cell, bundle, manifest, bundle_id, evaluation, records)


def read_bundle(folder: Path) -> tuple[BundleManifest, str]:
    """Return a bundle's manifest and id, its files checked against the hashes that the manifest lists.

    Raises:
        BundleError: when a file is missing or altered.
    """
    try:
        manifest = BundleManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, RecordError) as error:
        raise BundleError(f"{folder.name}/{MANIFEST_FILE} cannot be read.") from error
    for name, expected in manifest.hashes.items():
        file = folder / name
        if not file.is_file() or sha256_file(file) != expected:
            raise BundleError(f"{folder.name}/{name} is missing or altered.")
    return manifest, sha256_file(folder / MANIFEST_FILE)
