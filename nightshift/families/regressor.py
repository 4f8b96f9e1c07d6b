"""Which number belongs to a row of a table? Any regressor that the trainer knows, on tables that have landed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.families._estimator import (
    LIBRARIES,
    TOLERANCE,
    EstimatorConfig,
    EstimatorModel,
    hard_rows,
    load,
    samples_of,
    save,
    train,
)
from nightshift.families._estimator_graph import graph_of
from nightshift.families._estimator_judge import evaluate
from nightshift.family import Arrays, RunContext
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.problem import Samples

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset
    from nightshift.edge.manifest import Interface


class RegressorConfig(EstimatorConfig):
    """What can be tuned."""


class RegressorFamily:
    """The family; see the module."""

    name = "regressor"
    config = RegressorConfig
    problem = "regression"
    group = "estimator"
    needs: frozenset[str] = frozenset({"value"})
    libraries = LIBRARIES
    checkpoints = False

    def train(self, data: Dataset, config: RegressorConfig, ctx: RunContext) -> EstimatorModel:
        """Fit on the train part, stopped by val where the settings say so.

        Raises:
            DataError: when no column has a value.
            ExportError: for an estimator that a bundle cannot answer with.
            TrainingError: when the estimator cannot be fitted.
            InterruptedTraining: when asked to stop.
        """
        return train(data, config, ctx, "value")

    def predict(self, fitted: EstimatorModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with the training library: `value` float32 `(n,)`."""
        table = fitted.frame(inputs["window"])
        if not len(table):
            return {"value": np.zeros(0, np.float32)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows that are unlike those trained on
            return {"value": np.asarray(fitted.model.predict(table), np.float32).ravel()}

    def evaluate(self, fitted: EstimatorModel, data: Dataset, config: RegressorConfig, ctx: RunContext) -> Evaluation:
        """Judge the model beside a dummy and a linear model on all parts."""
        return evaluate(fitted, data, config, ctx, "value", self.predict)

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return all rows of a part."""
        return samples_of(interface, data, part, "value")

    def save(self, fitted: EstimatorModel, folder: Path) -> None:
        """Write the model as the trainer saves it, and what stands around it."""
        save(fitted, folder)

    def load(self, folder: Path) -> EstimatorModel:
        """Read what `save` wrote, from our own work folder."""
        return load(folder)

    def export(self, fitted: EstimatorModel, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: window, gaps filled, words for codes, the model.

        Raises:
            ExportError: when the estimator has no faithful graph.
        """
        return graph_of(fitted, self.name)

    def parity_inputs(self, fitted: EstimatorModel, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return rows of val, mixed ones, and such with missing, infinite and unseen values."""
        return hard_rows(fitted, ctx)

    def tolerances(self, fitted: EstimatorModel) -> Mapping[str, float]:
        """Graphs sum in float32."""
        return {"value": TOLERANCE * fitted.scale}


FAMILY = RegressorFamily()
