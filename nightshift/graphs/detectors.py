"""An anomaly vote: imputation, scaling, five detectors, thresholds and the majority, natively and as ONNX nodes.

A member fires when its score lies above its threshold; the row is an anomaly when enough members fire. All
thresholds move together by one `margin`, measured in each member's own upper tail, until the vote fires on the
wanted share of rows known to be normal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import ConfigError, DataError, TrainingError
from nightshift.graphs.build import Graph
from nightshift.graphs.detector_inputs import DetectorInputs, Float32
from nightshift.graphs.detector_members import (
    FitInputs,
    Float64,
    IsolationForestMember,
    LofMember,
    Member,
    OneClassSvmMember,
    PcaMember,
    ZScoreMember,
)

MemberName = Literal["iforest", "ocsvm", "lof", "zscore", "pca"]
MEMBERS: tuple[MemberName, ...] = ("iforest", "ocsvm", "lof", "zscore", "pca")

#: Thresholds keep at least this distance (in margin units) from every calibration row, so rounding flips none.
MIN_GAP = 1e-6

_PROBE_ROWS = 64


@dataclass(frozen=True)
class DetectorSettings:
    """How the detectors are fitted and how they vote.

    Attributes:
        members: names out of `MEMBERS`, in the order of the score columns.
        contamination: share of training rows above each member's threshold before calibration; also nu.
        reference_rows: number of normal training rows for the members whose cost is quadratic.
        train_rows: at most so many training rows, chosen by seed, for all other members.
        n_trees: isolation trees.
        max_samples: rows per isolation tree.
        n_neighbors: neighbours of LOF.
        explained_variance: share of variance kept by the PCA.
        votes: members that must fire; None is a majority, with `tie` for an even number of members.
        tie: what half of the members firing means.
        seed: drives every random choice.
    """

    members: tuple[str, ...] = MEMBERS
    contamination: float = 0.05
    reference_rows: int = 2_000
    train_rows: int = 20_000
    n_trees: int = 100
    max_samples: int = 256
    n_neighbors: int = 50
    explained_variance: float = 0.9
    votes: int | None = None
    tie: Literal["normal", "anomaly"] = "normal"
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [m for m in self.members if m not in MEMBERS]
        if unknown or not self.members or len(set(self.members)) != len(self.members):
            raise ConfigError(f"members must be distinct names out of {', '.join(MEMBERS)}; got {self.members}")
        if not 0.0 < self.contamination <= 0.5:
            raise ConfigError(f"contamination must lie in (0, 0.5]; got {self.contamination}")
        if not 1 <= self.votes_needed <= len(self.members):
            raise ConfigError(f"votes must lie in 1..{len(self.members)} (the number of members); got {self.votes}")

    @property
    def votes_needed(self) -> int:
        """Members that must fire for an anomaly."""
        if self.votes is not None:
            return self.votes
        half, odd = divmod(len(self.members), 2)
        return half + 1 if odd or self.tie == "normal" else half


@dataclass(frozen=True)
class FittedDetectors:
    """Fitted members and all that stands around them.

    Attributes:
        settings: what they were fitted with.
        inputs: imputation and scaling.
        members: fitted members, in the order of `settings.members`.
        base_threshold: `(m,)` member thresholds at `contamination` on training rows.
        tail: `(m,)` distance from there to the threshold at a tenth of `contamination`.
        margin: common shift of all thresholds, in tails.
        rows: float32 `(n, d)` training rows as drawn, NaN included; `load_detectors` refits from them.
        reference: int64 `(r,)` positions in `rows` of the reference rows.
    """

    settings: DetectorSettings
    inputs: DetectorInputs
    members: tuple[Member, ...]
    base_threshold: Float64
    tail: Float64
    margin: float
    rows: Float32
    reference: NDArray[np.int64]

    @property
    def thresholds(self) -> Float64:
        """Member thresholds `(m,)` in use: a score above it is a vote for anomaly."""
        return self.base_threshold + self.margin * self.tail

    def scores(self, features: Float32) -> Float64:
        """Member scores `(n, m)` of features `(n, d)`, by the libraries."""
        rows = self.inputs.apply(features)
        return np.stack([member.score(rows) for member in self.members], axis=1)

    def scores_of(self, name: str, features: Float32) -> Float64:
        """Score features `(n, d)` with one member; returns `(n,)`."""
        member = self.members[self.settings.members.index(name)]
        return member.score(self.inputs.apply(features))

    def split_points(self, feature: int) -> Float64:
        """Values of a feature, in its own unit, at which isolation trees split.

        None without that member, and none where a reading is judged by its operating point: the split then lies
        elsewhere for every row.
        """
        if self.inputs.point is not None:
            return np.zeros(0)
        found = [m.split_points(feature) for m in self.members if isinstance(m, IsolationForestMember)]
        return self.inputs.raw(feature, np.concatenate([np.zeros(0), *found]))

    def vote_strength(self, scores: Float64) -> Float64:
        """Continuous form of the vote, `(n,)` in tails: above `margin` exactly where the vote fires."""
        tails = np.sort((scores - self.base_threshold) / self.tail, axis=1)
        return np.asarray(tails[:, -self.settings.votes_needed])

    def votes(self, scores: Float64) -> NDArray[np.int64]:
        """Labels `(n,)` from member scores `(n, m)`: 1 anomaly, 0 normal."""
        fired = (scores > self.thresholds).sum(axis=1)
        return np.asarray(fired >= self.settings.votes_needed, dtype=np.int64)


@dataclass(frozen=True)
class DetectorValues:
    """Names of the graph values `score` (float32, `(batch, m)`) and `vote` (int64, `(batch,)`)."""

    score: str
    vote: str


def fit_detectors(
    features: Float32,
    settings: DetectorSettings,
    normal: NDArray[np.bool_] | None = None,
    operating_point: Sequence[int] = (),
    on_member: Callable[[str], bool] = lambda _name: True,
) -> FittedDetectors:
    """Fit imputation, scaling and members.

    Args:
        features: float32 `(n, d)`, NaN = missing.
        settings: members, sizes, seed.
        normal: `(n,)`, rows that may serve as reference rows; None means all of them.
        operating_point: positions of features that say what the machine was asked to do; readings are judged by
            what those leave unexplained.
        on_member: told each member's name before it is fitted; False leaves it out of the vote, and what it raises
            ends the fit.

    Raises:
        DataError: when there are fewer than two rows, no column that varies or no normal row.
    """
    if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
        raise DataError(f"detectors need a table of at least 2 rows and 1 column; got shape {features.shape}")
    allowed = np.ones(len(features), dtype=bool) if normal is None else normal
    if not allowed.any():
        raise DataError("detectors need at least one normal training row for their reference; got none")
    rng = np.random.default_rng(settings.seed)
    reference = _draw(rng, np.flatnonzero(allowed), settings.reference_rows)
    others = np.setdiff1d(np.arange(len(features)), reference)
    kept = np.sort(np.concatenate([reference, _draw(rng, others, settings.train_rows - len(reference))]))
    return _fit(
        features[kept].astype(np.float32),
        np.searchsorted(kept, reference),
        _index(operating_point),
        settings,
        on_member,
    )


def calibrate(fitted: FittedDetectors, normal_features: Float32, target_rate: float) -> FittedDetectors:
    """Shift all thresholds together until the vote fires on `target_rate` of normal rows, or just below.

    Args:
        fitted: detectors whose margin is to be set.
        normal_features: float32 `(n, d)` rows known to be normal and not used in fitting.
        target_rate: wanted share of votes among them.

    Raises:
        DataError: when there are no rows or the rate is outside [0, 1).
    """
    if not len(normal_features) or not 0.0 <= target_rate < 1.0:
        raise DataError(
            f"calibration needs normal rows and a rate in [0, 1); got {len(normal_features)} rows, rate {target_rate}"
        )
    strength = np.sort(fitted.vote_strength(fitted.scores(normal_features)))
    return replace(fitted, margin=_cut_above(strength, int(np.floor(target_rate * len(strength)))))


def add_detectors(graph: Graph, features: str, fitted: FittedDetectors) -> DetectorValues:
    """Add imputation, scaling, all members, thresholds and the vote to `graph`.

    Args:
        graph: where the nodes go.
        features: name of a float32 value `(batch, d)`, NaN = missing.
        fitted: what to write.
    """
    rows = fitted.inputs.emit(graph, features)
    scores = graph.add("Concat", *[member.emit(graph, rows) for member in fitted.members], axis=1)
    fired = graph.add("Cast", graph.add("Greater", scores, graph.const(fitted.thresholds)), to=7)
    count = graph.add("ReduceSum", fired, graph.const([1], "int64"), keepdims=0)
    enough = graph.add("GreaterOrEqual", count, graph.const(fitted.settings.votes_needed, "int64"))
    return DetectorValues(score=graph.add("Cast", scores, to=1), vote=graph.add("Cast", enough, to=7))


def save_detectors(fitted: FittedDetectors, path: Path) -> None:
    """Write what a refit needs, and probe scores to recognise a refit that came out differently."""
    probe = fitted.scores(fitted.rows[:_PROBE_ROWS])
    np.savez_compressed(
        path,
        settings=np.array(json.dumps(asdict(fitted.settings), sort_keys=True)),
        rows=fitted.rows,
        reference=fitted.reference,
        operating_point=_index(point.settings if (point := fitted.inputs.point) is not None else ()),
        margin=np.array(fitted.margin),
        probe=probe,
    )


def load_detectors(path: Path) -> FittedDetectors:
    """Refit from the saved rows and seed; nothing is unpickled.

    Raises:
        TrainingError: when the refit scores its own rows differently, as another library version may.
    """
    with np.load(path, allow_pickle=False) as stored:
        settings = _settings_from_json(str(stored["settings"]))
        fitted = _fit(stored["rows"], stored["reference"], stored["operating_point"], settings)
        margin, probe = float(stored["margin"]), stored["probe"]
    if not np.allclose(fitted.scores(fitted.rows[:_PROBE_ROWS]), probe, rtol=1e-9, atol=1e-9):
        raise TrainingError(
            f"{path.name}: refitting gave other scores than when it was saved.",
            hint="The file was altered, or scikit-learn or PyOD changed. Train anew; the ONNX bundle still serves.",
        )
    return replace(fitted, margin=margin)


def _settings_from_json(text: str) -> DetectorSettings:
    fields = json.loads(text)
    return DetectorSettings(**{**fields, "members": tuple(fields["members"])})


def _draw(rng: np.random.Generator, positions: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Draw at most `count` of `positions`, sorted."""
    if len(positions) <= count:
        return positions
    return np.sort(rng.choice(positions, size=max(count, 0), replace=False))


def _index(positions: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(positions, dtype=np.int64)


def _fit(
    rows: Float32,
    reference: NDArray[np.int64],
    operating_point: NDArray[np.int64],
    settings: DetectorSettings,
    on_member: Callable[[str], bool] = lambda _name: True,
) -> FittedDetectors:
    inputs = DetectorInputs.fit(rows, operating_point)
    judged = inputs.apply(rows)
    given = FitInputs(judged, judged[reference], settings.contamination, settings.seed)
    members = tuple(_fit_member(name, given, settings) for name in settings.members if on_member(name))
    if len(members) < len(settings.members):
        # Fewer members vote: a number of votes that they cannot reach gives way to their majority.
        votes = settings.votes if settings.votes and settings.votes <= len(members) else None
        settings = replace(settings, members=tuple(member.name for member in members), votes=votes)
    base, tail = _thresholds_and_tails(members, settings.contamination)
    return FittedDetectors(settings, inputs, members, base, tail, 0.0, rows, reference)


def _fit_member(name: str, inputs: FitInputs, settings: DetectorSettings) -> Member:
    fits: dict[str, Callable[[], Member]] = {
        "iforest": lambda: IsolationForestMember.fit(inputs, settings.n_trees, settings.max_samples),
        "ocsvm": lambda: OneClassSvmMember.fit(inputs),
        "lof": lambda: LofMember.fit(inputs, settings.n_neighbors),
        "zscore": lambda: ZScoreMember.fit(inputs),
        "pca": lambda: PcaMember.fit(inputs, settings.explained_variance),
    }
    return fits[name]()


def _thresholds_and_tails(members: tuple[Member, ...], contamination: float) -> tuple[Float64, Float64]:
    levels = [0.5, 1.0 - contamination, 1.0 - contamination / 10.0]
    middle, base, far = np.stack([np.quantile(m.train_scores, levels) for m in members], axis=1)
    # A member whose tail is flat (few distinct scores) still needs a unit to move by.
    tail = np.maximum(far - base, np.maximum(0.1 * (base - middle), 1e-9))
    cut = [
        _cut_above(np.sort((m.train_scores - b) / t), int(contamination * len(m.train_scores)))
        for m, b, t in zip(members, base, tail, strict=True)
    ]
    return base + np.array(cut) * tail, tail


def _cut_above(ascending: Float64, n_above: int) -> float:
    """A cut with at most `n_above` values above it, at least `MIN_GAP / 2` from every value."""
    values = np.append(ascending, ascending[-1] + 1.0)
    gaps = np.diff(values)
    first = len(ascending) - 1 - n_above
    usable = np.flatnonzero(gaps[first:] >= MIN_GAP)
    below = first + int(usable[0])
    return float(values[below] + 0.5 * gaps[below])
