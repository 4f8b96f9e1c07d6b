"""What `classification` and `rul` share: windows to features to an AutoGluon ensemble, and the way out as one graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightshift.edge.manifest import Interface
from nightshift.errors import DataError
from nightshift.families._windows import feature_spec, load_frame, save_frame
from nightshift.family import RunContext
from nightshift.graphs.build import Graph
from nightshift.graphs.ensemble import add_predictor, member_nodes
from nightshift.graphs.features import (
    FeatureSpec,
    Statistic,
    add_features,
    compute_features,
    compute_table_features,
)
from nightshift.trainer.gluon.config import TabularConfig
from nightshift.trainer.gluon.lighter import lighter
from nightshift.trainer.gluon.tabular import TabularModel, TrainingTable, fit_tabular, room_of
from nightshift.trainer.samples import column_order
from nightshift.trainer.tree_cost import WEIGHT_NODES

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset


class WindowedConfig(TabularConfig):
    """The tabular config, and how windows become features.

    Attributes:
        window_rows: rows of history that a decision looks at; independent rows always have 1.
        statistics: what is taken of every column over the window.
    """

    window_rows: int = Field(default=30, ge=1, le=1_000)
    statistics: tuple[Statistic, ...] = Field(default=("last", "mean", "spread", "slope"), min_length=1)


@dataclass(frozen=True)
class WindowedModel:
    """A fitted ensemble on window features.

    Attributes:
        interface: what goes in and comes out.
        spec: from window to features.
        tabular: from features to the answer.
        settings: hyperparameters and what training chose, for MLflow.
    """

    interface: Interface
    spec: FeatureSpec
    tabular: TabularModel
    settings: dict[str, str | int | float | bool]

    @property
    def summary(self) -> Mapping[str, str | int | float | bool]:
        """What MLflow keeps as parameters."""
        notes = self.tabular.notes
        shown: dict[str, str | int | float | bool] = {
            "window_rows": self.spec.window_rows,
            "statistics": ",".join(self.spec.statistics),
            "features": len(self.spec.feature_names),
            "derived": len(self.spec.derived),
            "regimes": len(self.spec.regimes.centres) if self.spec.regimes else 0,
            "train_rows": notes.train_rows,
            "bag_folds": notes.bag_folds,
            "best": notes.best,
            "members": ",".join(m.name for m in notes.members),
        }
        weights = {f"weight_{m.name}": m.weight for m in notes.members if m.weight}
        return self.settings | shown | weights | {f"threshold_{k}": v for k, v in self.interface.thresholds.items()}

    def answer(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the ensemble says of windows `(n, window_rows, columns)`."""
        return self.tabular.answer(compute_features(self.spec, windows))

    def answer_rows(self, data: Dataset, part: str, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return what the ensemble says of rows of a part; their windows are never all in memory."""
        values = data.matrix(part)[:, column_order(data, self.interface)]
        return self.tabular.answer(compute_table_features(self.spec, values, data.runs(part), rows))


def check_columns(data: Dataset) -> None:
    """Refuse training data in which no column says anything.

    Raises:
        DataError: when every value is missing.
    """
    if not np.isfinite(data.matrix("train")).any():
        raise DataError(
            f"no sensor of '{data.subject}' has a value in the train part.", hint="Check the sensors and the mapping."
        )


def fit_spec(data: Dataset, config: WindowedConfig, ctx: RunContext) -> FeatureSpec:
    """Fit the feature graph on the train part."""
    check_columns(data)
    return feature_spec(data, config, ctx, ages="instant")


def training_table(
    data: Dataset,
    spec: FeatureSpec,
    train: tuple[NDArray[np.integer], NDArray[Any]],
    tuning: tuple[NDArray[np.integer], NDArray[Any]],
) -> TrainingTable:
    """Compute the features of training and tuning rows.

    Args:
        data: the dataset.
        spec: the features.
        train: indices of rows of train `(n,)`, and their targets `(n,)`.
        tuning: the same of val.
    """
    features = [
        compute_table_features(spec, data.matrix(part), data.runs(part), rows)
        for part, (rows, _) in (("train", train), ("val", tuning))
    ]
    return TrainingTable(
        columns=spec.feature_names,
        train=features[0],
        target=train[1],
        group=data.runs("train")[train[0]],
        tuning=features[1],
        tuning_target=tuning[1],
    )


def fit_ensemble(
    table: TrainingTable, config: TabularConfig, ctx: RunContext, *, problem: Literal["binary", "regression"]
) -> TabularModel:
    """Fit the ensemble, and weigh a lighter one where the target has no room for the best.

    Raises:
        ConfigError, DataError, InterruptedTraining, TrainingError: as `fit_tabular`.
    """
    fitted, room = fit_tabular(table, config, ctx, problem=problem), room_of(ctx.limits)
    # Trees are counted by converting them, which is only worth it where there could be too many.
    if fitted.notes.most_nodes <= room:
        return fitted
    return lighter(fitted, table, member_nodes(fitted.predictor, weight_nodes=WEIGHT_NODES), room, ctx)


#: Largest accepted difference of a network's answer, as a share of the answers' range. torch's float32 layers answer a
#: row alone and among many up to 5e-6 apart where a reading is absurd (1e9); the graph's layers are in double.
NETWORK_TOLERANCE = 5e-5


def has_network(fitted: WindowedModel) -> bool:
    """Return whether a neural network has a say."""
    return any(m.name.startswith("NeuralNet") and m.weight != 0 for m in fitted.tabular.notes.members)


def add_answer(graph: Graph, fitted: WindowedModel) -> str:
    """Add input, features and ensemble to a graph; return the ensemble's value `(batch, n)`."""
    window = graph.input("window", "float32", ("batch", fitted.spec.window_rows, len(fitted.spec.columns)))
    features = add_features(graph, fitted.spec, window)
    return add_predictor(graph, features, fitted.spec.feature_names, fitted.tabular.predictor)


def save_model(fitted: WindowedModel, folder: Path) -> None:
    """Write features, interface, settings and AutoGluon's files."""
    save_frame(folder, fitted.spec, fitted.interface, fitted.settings)
    fitted.tabular.save(folder)


def load_model(folder: Path) -> WindowedModel:
    """Read what `save_model` wrote, from our own work folder."""
    spec, interface, settings = load_frame(folder)
    return WindowedModel(interface, spec, TabularModel.load(folder), settings)


def settings_of(config: WindowedConfig) -> dict[str, str | int | float | bool]:
    """Return the scalar part of a config, which MLflow keeps."""
    plain = config.model_dump(mode="json", exclude={"mute", "wanted", "window_rows", "statistics"})
    return {key: value for key, value in plain.items() if isinstance(value, str | int | float | bool)}
