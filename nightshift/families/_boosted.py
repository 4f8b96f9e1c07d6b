"""What `behaviour` and `carbon` share: windows to features to one booster, and the way out as one graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightshift.edge.manifest import Interface
from nightshift.families._vehicle import VehicleConfig, inputs_of, matrix_of, summary_of
from nightshift.families._windows import load_frame, save_frame
from nightshift.family import RunContext
from nightshift.findings import finding
from nightshift.graphs.boosters import lightgbm_model
from nightshift.graphs.features import (
    DerivedColumn,
    FeatureSpec,
    Statistic,
    add_features,
    compute_features,
    compute_table_features,
)
from nightshift.graphs.trees import add_tree_models
from nightshift.problems.evaluation import Figure, Member, Series
from nightshift.trainer.boosted import Boosted, BoostedSettings

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.graphs.build import Graph

_SHOWN_FEATURES = 20


class BoostedConfig(VehicleConfig):
    """What can be tuned.

    Attributes:
        statistics: what is taken of every column over the window.
        products: pairs of columns whose product, row by row, is a column too; a pair that the data lack is left out.
        ratios: the same of quotients.
        n_estimators: rounds at most; each adds one tree, or one tree of each kind.
        tree_depth: of a tree, at most.
        learning_rate: share of a tree that is added.
        max_leaves: of a tree.
        min_leaf_rows: fewest windows in a leaf.
        row_share: share of the windows that a round sees.
        feature_share: share of the features that a tree sees.
        l2: penalty of leaf values.
        patience: rounds without a better figure on validation's first half after which training ends.
        max_rows: training windows at most, drawn by seed.
    """

    statistics: tuple[Statistic, ...] = Field(
        default=("last", "mean", "spread", "slope", "minimum", "maximum"), min_length=1
    )
    products: tuple[tuple[str, str], ...] = ()
    ratios: tuple[tuple[str, str], ...] = ()
    n_estimators: int = Field(default=1_000, ge=1, le=20_000)
    tree_depth: int = Field(default=7, ge=1, le=16)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    max_leaves: int = Field(default=31, ge=2, le=1_024)
    min_leaf_rows: int = Field(default=20, ge=1)
    row_share: float = Field(default=0.8, gt=0, le=1)
    feature_share: float = Field(default=0.6, gt=0, le=1)
    l2: float = Field(default=1.0, ge=0)
    patience: int = Field(default=50, ge=1)
    max_rows: int = Field(default=200_000, ge=50)

    def settings(self) -> BoostedSettings:
        """The part that the booster needs."""
        return BoostedSettings(**self.model_dump(include={f.name for f in fields(BoostedSettings)}))


@dataclass(frozen=True)
class BoostedModel:
    """A fitted booster on window features.

    Attributes:
        interface: what goes in and comes out.
        spec: from window to features.
        boosted: from features to the answer.
        settings: hyperparameters and what training chose, for MLflow.
    """

    interface: Interface
    spec: FeatureSpec
    boosted: Boosted
    settings: dict[str, str | int | float | bool]

    @property
    def summary(self) -> Mapping[str, str | int | float | bool]:
        """What MLflow keeps as parameters."""
        return self.settings

    def answer(self, windows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what the booster says of windows `(n, window_rows, columns)`."""
        return self.boosted.answer(compute_features(self.spec, windows))

    def answer_rows(self, data: Dataset, part: str, ends: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return what it says of the windows of a part that end at given rows; they are never all in memory."""
        return self.boosted.answer(features_of(data, part, self.interface, self.spec, ends))


def features_of(
    data: Dataset, part: str, interface: Interface, spec: FeatureSpec, ends: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the features of the windows of a part that end at given rows, `(n, n_features)`."""
    return compute_table_features(spec, matrix_of(data, part, interface.columns), data.runs(part), ends)


def window_spec(data: Dataset, config: BoostedConfig) -> FeatureSpec:
    """Describe the features; nothing of them is fitted."""
    columns = inputs_of(data, config)
    numbers = {c.name for c in columns if not c.categories}
    made = [
        *(DerivedColumn(name=f"{a}_x_{b}", kind="product", left=a, right=b) for a, b in config.products),
        *(DerivedColumn(name=f"{a}_per_{b}", kind="ratio", left=a, right=b) for a, b in config.ratios),
    ]
    return FeatureSpec(
        window_rows=config.window_rows,
        columns=tuple(c.name for c in columns),
        statistics=config.statistics if config.window_rows > 1 else ("last",),
        derived=tuple(d for d in made if numbers >= {d.left, d.right}),
        categorical=tuple(c.name for c in columns if c.categories),
    )


def drawn(n_windows: int, config: BoostedConfig, ctx: RunContext) -> NDArray[np.intp]:
    """Return which training windows are used, in order."""
    if n_windows <= config.max_rows:
        return np.arange(n_windows)
    ctx.note(finding("T008", f"{config.max_rows} of {n_windows} training windows were used."))
    return np.sort(np.random.default_rng(config.seed).permutation(n_windows)[: config.max_rows])


def settings_of(
    config: BoostedConfig, spec: FeatureSpec, boosted: Boosted, train_windows: int
) -> dict[str, str | int | float | bool]:
    """Return what MLflow keeps as parameters."""
    return summary_of(
        config,
        statistics=",".join(spec.statistics),
        features=len(spec.feature_names),
        train_windows=train_windows,
        rounds=boosted.rounds,
        rounds_tried=boosted.rounds_tried,
        tuning_loss=boosted.tuning_loss,
    )


def add_booster(graph: Graph, fitted: BoostedModel) -> str:
    """Add input, features and trees to a graph; return the trees' double value `(batch, n)`."""
    window = graph.input("window", "float32", ("batch", fitted.spec.window_rows, len(fitted.spec.columns)))
    features = add_features(graph, fitted.spec, window)
    columns = np.arange(len(fitted.spec.feature_names), dtype=np.int64)
    return add_tree_models(graph, features, [lightgbm_model(fitted.boosted.booster, columns)])


def save_model(fitted: BoostedModel, folder: Path) -> None:
    """Write features, interface, settings and LightGBM's own file."""
    save_frame(folder, fitted.spec, fitted.interface, fitted.settings)
    fitted.boosted.save(folder)


def load_model(folder: Path) -> BoostedModel:
    """Read what `save_model` wrote, from our own work folder."""
    spec, interface, settings = load_frame(folder)
    boosted = Boosted.load(folder, rounds_tried=settings["rounds_tried"], tuning_loss=settings["tuning_loss"])
    return BoostedModel(interface, spec, boosted, settings)


def importance_figure(fitted: BoostedModel) -> Figure:
    """Return which features the trees use most."""
    share = fitted.boosted.importance()
    top = np.argsort(-share, kind="stable")[:_SHOWN_FEATURES]
    names = [fitted.spec.feature_names[i] for i in top]
    bars = Series(label="share of gain", x=list(names), y=share[top].tolist(), style="bars")
    return Figure(key="importance", title="What the trees look at", y_label="share of gain", series=[bars])


def member_of(fitted: BoostedModel, score: float | None) -> Member:
    """Return the one line of the leaderboard."""
    return Member(name="LightGBM", score=score, weight=1.0)
