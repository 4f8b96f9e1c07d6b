"""Which class is a row of a table of? Any classifier that the trainer knows, on tables that have landed."""

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
    decided,
    hard_rows,
    load,
    samples_of,
    save,
    train,
)
from nightshift.families._estimator_graph import graph_of
from nightshift.families._estimator_judge import evaluate
from nightshift.family import Arrays, RunContext
from nightshift.graphs.parity import CasedInputs
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.problem import Samples

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset
    from nightshift.edge.manifest import Interface


class ClassifierConfig(EstimatorConfig):
    """What can be tuned."""


class ClassifierFamily:
    """The family; see the module."""

    name = "classifier"
    config = ClassifierConfig
    problem = "classification"
    group = "estimator"
    needs: frozenset[str] = frozenset({"class"})
    libraries = LIBRARIES
    checkpoints = False

    def train(self, data: Dataset, config: ClassifierConfig, ctx: RunContext) -> EstimatorModel:
        """Fit on the train part, stopped by val where the settings say so.

        Raises:
            DataError: when no column has a value.
            ExportError: for an estimator that a bundle cannot answer with.
            TrainingError: when the estimator cannot be fitted.
            InterruptedTraining: when asked to stop.
        """
        return train(data, config, ctx, "class")

    def predict(self, fitted: EstimatorModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with the training library: `probability` float32 `(n, classes)`, `label` int64 `(n,)`."""
        table, classes = fitted.frame(inputs["window"]), fitted.interface.classes
        if not len(table):
            return {"probability": np.zeros((0, len(classes)), np.float32), "label": np.zeros(0, np.int64)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows that are unlike those trained on
            probability = np.asarray(fitted.model.predict_proba(table), np.float32)
            found, place = np.unique(np.asarray(fitted.model.predict(table)).ravel(), return_inverse=True)
        code = np.array([classes.index(str(one)) for one in found], np.int64)
        return {"probability": probability, "label": code[place]}

    def evaluate(self, fitted: EstimatorModel, data: Dataset, config: ClassifierConfig, ctx: RunContext) -> Evaluation:
        """Judge the model beside a dummy and a linear model on all parts."""
        return evaluate(fitted, data, config, ctx, "class", self.predict)

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return all rows of a part."""
        return samples_of(interface, data, part, "class")

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
        made = hard_rows(fitted, ctx)
        keep = decided(self.predict(fitted, made)["probability"], fitted.threshold)
        return CasedInputs({"window": made["window"][keep]}, made.case[keep])

    def tolerances(self, fitted: EstimatorModel) -> Mapping[str, float]:
        """Graphs sum in float32."""
        return {"probability": TOLERANCE}


FAMILY = ClassifierFamily()
