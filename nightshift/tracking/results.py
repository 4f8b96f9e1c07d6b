"""What a cell's files say about it, gathered for the report, the closing block and `status`. Reads records only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from nightshift.edge.manifest import MANIFEST_FILE, MODEL_FILE, BundleManifest
from nightshift.family import Limits
from nightshift.findings import Finding, Severity
from nightshift.plan.cell import Cell
from nightshift.plan.past import past_of
from nightshift.plan.records import STAGES, StageRecord, read_record, work_folder
from nightshift.plan.state import cell_of
from nightshift.problems.evaluation import Evaluation
from nightshift.settings import Home

#: How the names of metrics begin where less is better; every other one is better when it is more.
LOWER_IS_BETTER = (
    *("rmse", "mae", "mape", "mase", "smape", "wape", "nasa", "winkler", "brier", "log_loss", "ece"),
    *("calibration_error", "fpr", "false_alarm", "trip_", "detection_delay", "collision"),
)


#: What people ask first, first.
_FAMILY_ORDER = (
    *("classification", "rul", "anomaly", "forecast", "tcn", "lstm_ae", "behaviour", "carbon"),
    *("ppo", "sac", "bc", "gail", "cimrl"),
    *("classifier", "regressor"),
)


def family_rank(family: str) -> int:
    """Return a family's place in a list; those without one follow."""
    return _FAMILY_ORDER.index(family) if family in _FAMILY_ORDER else len(_FAMILY_ORDER)


@dataclass(frozen=True)
class CellResult:
    """One cell's results, as far as it got.

    Attributes:
        records: stage -> record, in order.
        evaluation: None before the stage `evaluate` ended.
        bundle: folder of the bundle, relative to the home; None before `export` ended.
        manifest: of that bundle.
    """

    cell: Cell
    records: Mapping[str, StageRecord]
    evaluation: Evaluation | None
    bundle: Path | None
    manifest: BundleManifest | None

    @property
    def limits(self) -> Limits:
        """The target's limits for the family."""
        return Limits.model_validate(self.cell.config.get("limits", {}))

    @property
    def wanted(self) -> dict[str, float]:
        """Metric -> value to reach on test."""
        return dict(self.cell.config.get("config", {}).get("wanted", {}))

    @property
    def stopped(self) -> StageRecord | None:
        """The record that says why the cell did not go on; None when it did."""
        return next((r for r in self.records.values() if r.status not in ("done", "pending")), None)

    @property
    def findings(self) -> list[Finding]:
        """The findings of all stages, the heaviest first."""
        weight = {Severity.BLOCKER: 0, Severity.WARNING: 1, Severity.TIP: 2}
        found = {f.line(): f for record in self.records.values() for f in record.findings}
        return sorted(found.values(), key=lambda f: (weight[f.severity], f.code))

    @property
    def seconds(self) -> float:
        """Wall time of all stages."""
        return sum(r.seconds for r in self.records.values())

    @property
    def alias(self) -> str:
        """What the gate made of the version when it was registered."""
        return "champion" if self.fact("register", "champion") else "challenger"

    @property
    def device(self) -> str:
        """What the target's device has found, or that it is waited for; "" where it has no say and was not asked."""
        where = self.fact("register", "device")
        if not where or where == "awaiting":
            return "awaiting its check" if where else ""
        stand_in = self.fact("register", "device_stand_in")
        place = f"{self.fact('register', 'device_on')}{f', a stand-in: {stand_in}' if stand_in else ''}"
        figures = f"{self.fact('register', 'device_p99_ms')} ms p99, {self.fact('register', 'device_memory_mb')} MB"
        return f"{where} on {place}; {figures}"

    def fact(self, stage: str, *names: str) -> str | int | float | bool | None:
        """Return the first of some facts that a stage's summary holds, None when it holds none."""
        record = self.records.get(stage)
        return next((record.summary[n] for n in names if record and n in record.summary), None)


@dataclass(frozen=True)
class Aim:
    """A wanted figure beside the reached one."""

    metric: str
    wanted: float
    reached: float | None
    higher_is_better: bool

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        if self.reached is None:
            return False
        return self.reached >= self.wanted if self.higher_is_better else self.reached <= self.wanted

    @property
    def sign(self) -> str:
        """How the wanted figure reads."""
        return "≥" if self.higher_is_better else "≤"


def read_result(home: Home, cell: Cell) -> CellResult:
    """Gather what a cell's finished stages left."""
    records = {name: record for name in STAGES if (record := read_record(home, cell.key, name))}
    bundle = _bundle(home, cell, records.get("register"))
    return CellResult(cell, records, _evaluation(home, cell), bundle, _manifest(home, bundle))


def standing(home: Home, result: CellResult) -> CellResult | None:
    """Return what stands while a name's newest cell has not been registered: the champion, else the last version.

    None where the cell itself is registered, and where nothing else is.
    """
    cell, register = result.cell, result.records.get("register")
    if register is not None and register.status == "done":
        return None
    before = past_of(home, cell.subject, cell.family, cell.target).reference
    earlier = cell_of(home, before.cell_key) if before else None
    if earlier is None or earlier.key == cell.key:
        return None
    found = read_result(home, earlier)
    return found if found.evaluation and found.records.get("register") else None


def higher_is_better(evaluation: Evaluation, metric: str) -> bool:
    """Return a metric's direction."""
    if metric == evaluation.primary:
        return evaluation.higher_is_better
    return not metric.startswith(LOWER_IS_BETTER)


def aims(result: CellResult) -> list[Aim]:
    """Return the wanted figures of a cell's config beside what its test part reached."""
    found = result.evaluation
    if found is None:
        return []
    return [
        Aim(metric, wanted, found.score(found.headline_part, metric), higher_is_better(found, metric))
        for metric, wanted in result.wanted.items()
    ]


def _evaluation(home: Home, cell: Cell) -> Evaluation | None:
    try:
        return Evaluation.model_validate_json((work_folder(home, cell.key) / "evaluation.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _bundle(home: Home, cell: Cell, register: StageRecord | None) -> Path | None:
    version = register.summary.get("version") if register else None
    places = [home.models / ".staging" / cell.key]
    if version is not None:
        places.insert(0, home.models / cell.family / cell.subject / cell.target / f"v{version}")
    return next((p.relative_to(home.root) for p in places if (p / MODEL_FILE).is_file()), None)


def _manifest(home: Home, bundle: Path | None) -> BundleManifest | None:
    if bundle is None:
        return None
    try:
        return BundleManifest.model_validate(json.loads((home.root / bundle / MANIFEST_FILE).read_bytes()))
    except (OSError, ValueError):
        return None
