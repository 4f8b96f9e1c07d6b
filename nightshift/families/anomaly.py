"""Is the machine behaving oddly? Five detectors on short-window features, and their calibrated majority vote.

Detectors learn from normal rows: the ones labelled normal where labels are given or follow from remaining life, else
all of train, of which `contamination` is taken as odd. Labels made from sensor thresholds are not used: they would
only teach the rule.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightshift.data.schema import PARTS
from nightshift.edge.manifest import Interface, Output
from nightshift.edge.window import build_windows
from nightshift.families._windows import feature_spec, interface_columns
from nightshift.family import Arrays, FamilyConfig, RunContext
from nightshift.findings import finding
from nightshift.graphs.build import Graph
from nightshift.graphs.detector_members import size_mb
from nightshift.graphs.detectors import (
    MEMBERS,
    DetectorSettings,
    FittedDetectors,
    MemberName,
    add_detectors,
    calibrate,
    fit_detectors,
    load_detectors,
    save_detectors,
)
from nightshift.graphs.features import (
    FeatureSpec,
    Statistic,
    add_features,
    compute_features,
    compute_table_features,
)
from nightshift.graphs.parity import CasedInputs, adversarial_windows
from nightshift.problems import anomaly_judge as judge
from nightshift.problems.anomaly import PROBLEM
from nightshift.problems.evaluation import Evaluation, Member
from nightshift.problems.problem import Samples
from nightshift.trainer.anomaly_clock import MemberClock
from nightshift.trainer.anomaly_view import PartView, has_truth, normal_rows, part_view, threshold_rule
from nightshift.trainer.samples import column_order

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset

_PARITY_ROWS = 3_000
_SPLITS_PER_COLUMN = 60


class AnomalyConfig(FamilyConfig):
    """What can be tuned.

    Attributes:
        contamination: share of training rows above each member's threshold, and nu of the One-Class SVM.
        final_rate: share of normal validation rows on which the vote may fire; None = `contamination`.
        members: which detectors vote.
        votes: members that must fire; None = the majority.
        tie: what it means when exactly half of an even number of members fire.
        window_rows: rows of history a decision looks at; independent rows always have 1.
        statistics: what is taken of every column over the window.
        reference_rows: normal rows kept by One-Class SVM and LOF, whose cost is quadratic in them.
        max_rows: at most so many training rows, drawn by seed, for the others.
        n_trees: isolation trees.
        max_samples: rows per isolation tree.
        n_neighbors: neighbours of LOF.
        explained_variance: share of variance that the PCA keeps for T2; the rest is Q's.
    """

    contamination: float = Field(default=0.05, ge=0.001, le=0.5, json_schema_extra={"flag": "--contamination"})
    final_rate: float | None = Field(default=None, ge=0.0, lt=1.0)
    members: tuple[MemberName, ...] = MEMBERS
    votes: int | None = Field(default=None, ge=1, le=len(MEMBERS))
    tie: Literal["normal", "anomaly"] = "normal"
    window_rows: int = Field(default=12, ge=1, le=1_000)
    statistics: tuple[Statistic, ...] = ("last", "mean", "spread")
    reference_rows: int = Field(default=2_000, ge=20, le=20_000)
    max_rows: int = Field(default=20_000, ge=50)
    n_trees: int = Field(default=100, ge=1, le=2_000)
    max_samples: int = Field(default=256, ge=2)
    n_neighbors: int = Field(default=50, ge=1)
    explained_variance: float = Field(default=0.9, gt=0.0, lt=1.0)

    @property
    def rate(self) -> float:
        """Share of normal rows on which the vote may fire."""
        return self.contamination if self.final_rate is None else self.final_rate

    def settings(self) -> DetectorSettings:
        """The part that the detectors need.

        Raises:
            ConfigError: when members repeat or more votes are asked for than there are members.
        """
        shared = self.model_dump(include={field.name for field in fields(DetectorSettings)})
        return DetectorSettings(**shared, train_rows=self.max_rows)


@dataclass(frozen=True)
class AnomalyModel:
    """A fitted vote.

    Attributes:
        interface: what goes in and comes out.
        spec: from window to features.
        detectors: from features to scores and vote.
        fit_s: seconds that each member's fit took.
        rate: share of normal validation rows that the vote was calibrated to.
    """

    interface: Interface
    spec: FeatureSpec
    detectors: FittedDetectors
    fit_s: dict[str, float]
    rate: float

    @property
    def summary(self) -> Mapping[str, str | int | float | bool]:
        """What MLflow keeps as parameters."""
        settings = self.detectors.settings
        shown = {f"threshold_{k}": v for k, v in self.interface.thresholds.items()}
        return {
            "members": ",".join(settings.members),
            "votes_needed": settings.votes_needed,
            "tie": settings.tie,
            "contamination": settings.contamination,
            "final_rate": self.rate,
            "margin_tails": self.detectors.margin,
            "window_rows": self.spec.window_rows,
            "statistics": ",".join(self.spec.statistics),
            "features": len(self.spec.feature_names),
            "judged_by_operating_point": self.detectors.inputs.point is not None,
            "regimes": len(self.spec.regimes.centres) if self.spec.regimes else 0,
            "train_rows": len(self.detectors.rows),
            "reference_rows": len(self.detectors.reference),
            "n_trees": settings.n_trees,
            "n_neighbors": settings.n_neighbors,
            "explained_variance": settings.explained_variance,
            "seed": settings.seed,
            **shown,
        }


class AnomalyFamily:
    """The family; see the module."""

    name = "anomaly"
    config = AnomalyConfig
    problem = "anomaly"
    group = "machine"
    needs: frozenset[str] = frozenset()
    libraries = ("numpy", "onnx", "pyod", "scikit-learn")
    checkpoints = False

    def train(self, data: Dataset, config: AnomalyConfig, ctx: RunContext) -> AnomalyModel:
        """Fit members on normal training rows, then calibrate the vote on those of validation.

        Raises:
            DataError: when no normal rows or no varying column is left.
            InterruptedTraining: when asked to stop.
        """
        spec = feature_spec(data, config, ctx, ages="ignored")  # an old machine is not an odd one
        normal = normal_rows(data, "train")
        table = compute_table_features(spec, data.matrix("train"), data.runs("train"), np.flatnonzero(normal))
        if len(table) > config.max_rows:
            ctx.note(finding("T008", f"{config.max_rows} of {len(table)} normal training rows were used."))
        watch = MemberClock(ctx, config.members)
        fitted = fit_detectors(table, config.settings(), operating_point=_operating_point(data, spec), on_member=watch)
        watch.end({key: getattr(config, key) for key in ("n_trees", "reference_rows", "max_rows")})
        fitted = calibrate(fitted, _calibration_features(data, spec), config.rate)
        ctx.step(len(config.members) + 1, len(config.members) + 1, "vote calibrated")
        return AnomalyModel(_interface(data, spec, fitted), spec, fitted, watch.seconds, config.rate)

    def predict(self, fitted: AnomalyModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Score and vote with PyOD and scikit-learn; `score` float32 `(n, members)`, `vote` int64 `(n,)`."""
        scores = fitted.detectors.scores(compute_features(fitted.spec, inputs["window"]))
        with np.errstate(over="ignore"):
            return {"score": scores.astype(np.float32), "vote": fitted.detectors.votes(scores)}

    def evaluate(self, fitted: AnomalyModel, data: Dataset, config: AnomalyConfig, ctx: RunContext) -> Evaluation:
        """Judge vote, members and baselines on all parts."""
        rule = threshold_rule(data, config.rate)
        rows, answers, test = [], [], part_view(data, "test", fitted.spec.window_rows)
        for step, part in enumerate(PARTS):
            view = test if part == "test" else part_view(data, part, fitted.spec.window_rows)
            answers = _answers(fitted, view, rule)
            rows += judge.score_rows(part, view.timeline, answers)
            ctx.step(step + 1, len(PARTS), f"{part} judged")
        judged = judge.evaluation(rows)
        kind = None if has_truth(data) else test.kind
        source = f"labels {data.metadata.label_source.value}" if kind is None else "injected anomalies"
        samples = test.samples(column_order(data, fitted.interface))
        return judged.model_copy(
            update={
                "figures": judge.figures(test.timeline, answers, kind),
                "findings": judge.findings(judged, config.max_gap, config.wanted, source, kind),
                "members": _leaderboard(fitted, judged, test),
                "statistics": PROBLEM.statistics({"vote": answers[0].vote}, samples),
                "notes": _notes(fitted, source),
            }
        )

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return a part's windows and truth; without labels, with anomalies injected (the same ones every time)."""
        return part_view(data, part, interface.window_rows).samples(column_order(data, interface))

    def save(self, fitted: AnomalyModel, folder: Path) -> None:
        """Write features, interface, and the rows and seed from which the detectors are refitted."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "features.json").write_text(fitted.spec.model_dump_json(indent=1), encoding="utf-8")
        (folder / "interface.json").write_text(fitted.interface.model_dump_json(indent=1), encoding="utf-8")
        more = {"fit_s": fitted.fit_s, "rate": fitted.rate}
        (folder / "training.json").write_text(json.dumps(more, indent=1), encoding="utf-8")
        save_detectors(fitted.detectors, folder / "detectors.npz")

    def load(self, folder: Path) -> AnomalyModel:
        """Read what `save` wrote; no pickle.

        Raises:
            TrainingError: when the libraries here refit the detectors differently.
        """
        more = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        return AnomalyModel(
            interface=Interface.model_validate_json((folder / "interface.json").read_bytes()),
            spec=FeatureSpec.model_validate_json((folder / "features.json").read_bytes()),
            detectors=load_detectors(folder / "detectors.npz"),
            fit_s=more["fit_s"],
            rate=more["rate"],
        )

    def export(self, fitted: AnomalyModel, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: window, features, imputation, scaling, members, thresholds, vote."""
        graph = Graph("anomaly")
        window = graph.input("window", "float32", ("batch", fitted.spec.window_rows, len(fitted.spec.columns)))
        values = add_detectors(graph, add_features(graph, fitted.spec, window), fitted.detectors)
        graph.output(values.score, "score", "float32", ("batch", len(fitted.detectors.members)))
        graph.output(values.vote, "vote", "int64", ("batch",))
        return graph.build()

    def parity_inputs(self, fitted: AnomalyModel, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return windows of val, and the same with newest readings on tree splits, missing, and extreme."""
        rows = np.arange(len(data.runs("val")))[:: max(1, len(data.runs("val")) // _PARITY_ROWS)]
        real = build_windows(data.matrix("val"), data.runs("val"), fitted.spec.window_rows, rows)
        return _hard_windows(fitted, real)

    def tolerances(self, fitted: AnomalyModel) -> Mapping[str, float]:
        """Scores are computed in double and agree to 1e-9; what is left is the float32 they are cast to."""
        return {"score": 1e-6}


FAMILY = AnomalyFamily()


def _operating_point(data: Dataset, spec: FeatureSpec) -> list[int]:
    """Positions of the features of settings; none where regimes already take the operating point out."""
    if spec.regimes is not None:
        return []
    settings = {s.name for s in data.metadata.sensors if s.role == "setting"}
    return [i for i, name in enumerate(spec.feature_names) if name.rpartition("__")[0] in settings or name in settings]


def _calibration_features(data: Dataset, spec: FeatureSpec) -> NDArray[np.float32]:
    """Features of the normal rows of validation: both halves, since nothing is stopped early or weighted here.

    Half of them missed the rate of unseen rows by more (0.18 against 0.11 at 0.05 on the demo machine's test part).
    """
    rows = np.flatnonzero(normal_rows(data, "val"))
    return compute_table_features(spec, data.matrix("val"), data.runs("val"), rows)


def _interface(data: Dataset, spec: FeatureSpec, fitted: FittedDetectors) -> Interface:
    members = fitted.settings.members
    return Interface(
        columns=interface_columns(data),
        window_rows=spec.window_rows,
        outputs=(
            Output(name="score", dtype="float32", shape=("batch", len(members)), meaning="larger is more abnormal"),
            Output(name="vote", dtype="int64", shape=("batch",), meaning="1 = anomaly, 0 = normal"),
        ),
        members=members,
        thresholds={m: float(t) for m, t in zip(members, fitted.thresholds, strict=True)},
    )


def _answers(fitted: AnomalyModel, view: PartView, rule: judge.ThresholdRule) -> list[judge.Answers]:
    """The vote first, then members, then baselines."""
    detectors = fitted.detectors
    scores = detectors.scores(compute_features(fitted.spec, view.window))
    strength = detectors.vote_strength(scores) - detectors.margin
    found = [judge.Answers(judge.VOTE, "model", detectors.votes(scores), strength)]
    for column, (name, threshold) in enumerate(zip(detectors.settings.members, detectors.thresholds, strict=True)):
        fired = (scores[:, column] > threshold).astype(np.int64)
        found.append(judge.Answers(name, "member", fired, scores[:, column]))
    return [*found, rule.answers(view.window[:, -1, :]), judge.constant(len(scores))]


def _leaderboard(fitted: AnomalyModel, judged: Evaluation, view: PartView) -> list[Member]:
    """Members by test F1, with what each costs alone."""
    f1 = {r.who: r.metrics["f1"] for r in judged.rows if r.kind == "member" and r.part == "test"}
    sample = compute_features(fitted.spec, view.window[:256])
    lines = []
    for member in fitted.detectors.members:
        start = time.perf_counter()
        fitted.detectors.scores_of(member.name, sample)
        seconds = time.perf_counter() - start
        lines.append(
            Member(
                name=member.name,
                score=f1[member.name],
                fit_s=fitted.fit_s.get(member.name),
                predict_s=seconds / max(len(sample), 1),
                size_mb=size_mb(member, fitted.detectors.inputs.n_judged),
                weight=1.0 / len(fitted.detectors.members),
            )
        )
    return sorted(lines, key=lambda m: -(m.score or 0.0))


def _notes(fitted: AnomalyModel, source: str) -> list[str]:
    settings = fitted.detectors.settings
    return [
        f"The vote fires when {settings.votes_needed} of {len(settings.members)} members do"
        + (f"; half of them count as {settings.tie}." if len(settings.members) % 2 == 0 else "."),
        f"Calibrated to fire on {fitted.rate:.1%} of normal validation rows. Judged on {source}.",
        "Scores are not point-adjusted. Alarms of one run less than an hour apart count as one.",
    ]


def _hard_windows(fitted: AnomalyModel, real: NDArray[np.float32]) -> CasedInputs:
    """Real windows, then ones whose newest row is adversarial, then ones that are extreme or missing throughout."""
    splits = {column: _raw_splits(fitted, column) for column in range(real.shape[2])}
    newest = adversarial_windows(real[:, -1:, :], splits, per_column=_SPLITS_PER_COLUMN)
    hard = np.resize(real, (len(newest.case), *real.shape[1:]))
    hard[:, -1, :] = newest["window"][:, 0, :]
    big = np.finfo(np.float32).max
    throughout = {"missing": (np.nan,), "infinite": (np.inf, -np.inf), "extreme": (big, -big, 0.0)}
    whole = [np.full_like(real[:1], value) for values in throughout.values() for value in values]
    case = [name for name, values in throughout.items() for _ in values]
    return CasedInputs({"window": np.concatenate([hard, *whole])}, np.concatenate([newest.case, case]))


def _raw_splits(fitted: AnomalyModel, column: int) -> NDArray[np.float32]:
    """Readings of a column that land on splits of the isolation trees, in the column's unit."""
    name = fitted.spec.columns[column]
    wanted = name if fitted.spec.window_rows == 1 else f"{name}__last"
    if wanted not in fitted.spec.feature_names or fitted.spec.regimes is not None:
        return np.zeros(0, dtype=np.float32)
    feature = fitted.spec.feature_names.index(wanted)
    return fitted.detectors.split_points(feature).astype(np.float32)
