"""Where a model comes from, in one view: data, config, code, run, parity, figures of devices, and who promoted it.

Read from the registry and the version's MLflow run, so that it is whole on every machine that reaches them; what a run
of an older release does not hold is left empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationError

from nightshift import families
from nightshift.data.store import open_dataset
from nightshift.edge.manifest import MANIFEST_FILE, BundleManifest, DeviceCheck
from nightshift.edge.record import RecordError
from nightshift.errors import NightshiftError, ServiceError, UsageError
from nightshift.plan.cell import Cell
from nightshift.problems.evaluation import Evaluation
from nightshift.settings import Home
from nightshift.tracking import promotion, runs, versions
from nightshift.tracking.device import known
from nightshift.tracking.finished import EVALUATION_FILE
from nightshift.tracking.gate import GateDecision
from nightshift.tracking.mlflow_store import Store
from nightshift.tracking.versions import CHALLENGER, CHAMPION, Held, Promotion, Version

Read = TypeVar("Read")
#: A device's records are no models of pydantic.
_Bundle = Annotated[
    BundleManifest, PlainValidator(BundleManifest.model_validate), PlainSerializer(BundleManifest.model_dump)
]
_Device = Annotated[DeviceCheck, PlainValidator(DeviceCheck.model_validate), PlainSerializer(DeviceCheck.model_dump)]

_MEGABYTE = 1e6


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Record):
    """The primary metric on the headline part.

    Attributes:
        baseline: value of the best baseline, `baseline_name`.
    """

    metric: str = ""
    part: str = ""
    value: float | None = None
    baseline: float | None = None
    baseline_name: str = ""


class Entry(_Record):
    """One version in the history of a model.

    Attributes:
        created_at: ISO 8601, UTC.
        state: where it stands, in words.
        promoted: the newest time that it became champion, None when it never did.
        gate: the gate's reasons.
        note: of the person who decided against or for it.
    """

    version: int
    created_at: str
    champion: bool
    state: str
    promoted: Promotion | None = None
    score: Score = Score()
    gate: str = ""
    note: str = ""


class DataOrigin(_Record):
    """The data that a version was trained on.

    Attributes:
        rows: part -> rows; empty where this home does not have that version of the data any more.
        landed_at: ISO 8601.
        trained_until: time of the newest row that it has seen.
    """

    fingerprint: str = ""
    rows: dict[str, int] = {}
    landed_at: str = ""
    source: str = ""
    trained_until: str = ""


class Setting(_Record):
    """A setting that is not the family's default."""

    value: str
    default: str


class Origin(_Record):
    """The settings and the code that made a version.

    Attributes:
        settings: name -> what is not the family's default.
        uncommitted: whether files differed from the commit.
    """

    config_fingerprint: str = ""
    settings: dict[str, Setting] = {}
    code_fingerprint: str = ""
    commit: str = ""
    uncommitted: bool = False
    python: str = ""
    libraries: dict[str, str] = {}


class Lineage(_Record):
    """Everything that made a version, and everything that judged it.

    Attributes:
        bundle: its `bundle.json`: size, latency, memory and parity stand there.
        decision: the gate's, with its figures.
        device: what a device has found.
        promotions: oldest first.
    """

    name: str
    entry: Entry
    bundle_id: str
    data: DataOrigin
    origin: Origin
    run_id: str
    tracking_uri: str
    bundle: _Bundle | None = None
    decision: GateDecision | None = None
    device: _Device | None = None
    findings: tuple[str, ...] = ()
    promotions: tuple[Promotion, ...] = ()

    @property
    def size_mb(self) -> float | None:
        """Size of the bundle."""
        return self.bundle.size_bytes / _MEGABYTE if self.bundle else None


def history(store: Store, name: str) -> tuple[Entry, ...]:
    """Return the versions of a model, newest first.

    Raises:
        UsageError: when it has none.
    """
    return tuple(_entry(store, held) for held in _held(store, name))


def lineage(home: Home, store: Store, name: str, version: int | None = None) -> Lineage:
    """Return the lineage of a version, by default of the champion, else of the newest.

    Raises:
        UnknownNameError: when there is no such version.
        UsageError: when the model has none.
    """
    found = _held(store, name)
    if version is None:
        held = next((h for h in found if CHAMPION in h.aliases), found[0])
    else:
        number = versions.find(store, name, version).version
        held = next(h for h in found if h.version.version == number)
    return _lineage(home, store, held)


def _held(store: Store, name: str) -> Sequence[Held]:
    found = versions.inventory(store, name).get(name)
    if not found:
        raise UsageError(f"{name} has no version in the registry.", hint="`nightshift train` makes the first one.")
    return found


def _entry(store: Store, held: Held) -> Entry:
    version = held.version
    return Entry(
        version=version.version,
        created_at=version.created_at,
        champion=CHAMPION in held.aliases,
        state=_state(held),
        promoted=version.promotions[-1] if version.promotions else None,
        score=_score(store, version),
        gate=version.tags.get(versions.GATE_REASONS, ""),
        note=version.tags.get(versions.NOTE, ""),
    )


def _state(held: Held) -> str:
    """Where a version stands; the alias goes before what the tags say."""
    tags = held.version.tags
    if CHAMPION in held.aliases:
        return "champion"
    if tags.get(versions.STATE) == versions.PENDING:
        return "registration not ended"
    if tags.get(versions.STATE) == versions.PRUNED:
        return "being removed"
    verdict = tags.get(versions.GATE, "undecided")
    if verdict == versions.WAITS:
        return verdict
    if held.version.promotions:
        return "was champion"
    newest = "challenger, " if CHALLENGER in held.aliases else ""
    return f"{newest}{verdict}"


def _score(store: Store, version: Version) -> Score:
    found = _artifact(store, version, EVALUATION_FILE, Evaluation.model_validate_json)
    if found is None:
        return Score()
    best = found.best_baseline()
    return Score(
        metric=found.primary,
        part=found.headline_part,
        value=found.score(found.headline_part),
        baseline=best[1] if best else None,
        baseline_name=best[0] if best else "",
    )


def _lineage(home: Home, store: Store, held: Held) -> Lineage:
    version = held.version
    bundle = _artifact(store, version, f"{runs.MODEL_FOLDER}/{MANIFEST_FILE}", BundleManifest.model_validate_json)
    cell = _artifact(store, version, runs.CELL_FILE, Cell.model_validate_json)
    return Lineage(
        name=version.name,
        entry=_entry(store, held),
        bundle_id=version.bundle_id,
        data=_data(home, version, bundle),
        origin=_origin(store, version, cell),
        run_id=version.run_id,
        tracking_uri=store.uri,
        bundle=bundle,
        decision=_artifact(store, version, runs.GATE_FILE, GateDecision.model_validate_json),
        device=known(version),
        findings=tuple(version.tags.get("nightshift.findings", "").split()),
        promotions=version.promotions,
    )


def _data(home: Home, version: Version, bundle: BundleManifest | None) -> DataOrigin:
    fingerprint = version.tags.get(runs.DATASET, "")
    until = (bundle.trained_until if bundle else None) or version.tags.get("nightshift.trained_until", "")
    subject = version.name.rsplit(".", 2)[0]
    try:
        metadata = open_dataset(home, subject, fingerprint).metadata
    except NightshiftError:
        return DataOrigin(fingerprint=fingerprint, trained_until=until)
    return DataOrigin(
        fingerprint=fingerprint,
        rows={part: summary.rows for part, summary in metadata.parts.items()},
        landed_at=metadata.created_at,
        source=metadata.provenance.source,
        trained_until=until,
    )


def _origin(store: Store, version: Version, cell: Cell | None) -> Origin:
    about = _json(store, version, runs.ENVIRONMENT_FILE)
    return Origin(
        config_fingerprint=version.tags.get("nightshift.config", ""),
        settings=_settings(cell) if cell else {},
        code_fingerprint=version.tags.get("nightshift.code", ""),
        commit=str(about.get("commit") or version.tags.get("mlflow.source.git.commit", "")),
        uncommitted=bool(about.get("uncommitted_changes")),
        python=str(about.get("python") or ""),
        libraries={str(k): str(v) for k, v in dict(about.get("libraries") or {}).items()},
    )


def _settings(cell: Cell) -> dict[str, Setting]:
    """Return the settings that are not the family's defaults; those that the family has lost since, too."""
    try:
        defaults = runs.flattened(families.get(cell.family).config().model_dump(mode="json"))
    except (NightshiftError, ValidationError):
        defaults = {}
    own = runs.flattened(cell.config.get("config", {}))
    return {
        name: Setting(value=value, default=defaults.get(name, ""))
        for name, value in sorted(own.items())
        if value != defaults.get(name)
    }


def _artifact(store: Store, version: Version, name: str, read: Callable[[bytes], Read]) -> Read | None:
    """Return an artifact of a version's run, None where it is lost, or of a release with another form."""
    try:
        return read(runs.read_artifact(store, version.run_id, name))
    except (ServiceError, ValidationError, RecordError):
        return None


def _json(store: Store, version: Version, name: str) -> Mapping[str, Any]:
    try:
        found = json.loads(runs.read_artifact(store, version.run_id, name))
    except (ServiceError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def waiting(store: Store, names: Sequence[str]) -> tuple[Version, ...]:
    """Return the newest version that waits for a person of each of these models, sorted by name."""
    wanted = sorted(set(names))
    # The registry of a fleet is long: one model is asked for by its name.
    found = versions.inventory(store, wanted[0] if len(wanted) == 1 else "")
    waits = (promotion.waiting(found.get(name, ())) for name in wanted)
    return tuple(version for version in waits if version)
