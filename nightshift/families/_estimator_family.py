"""What `classifier` and `regressor` answer alike: training, judging, samples, the graph and its check, files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nightshift.families._estimator import (
    LIBRARIES,
    EstimatorConfig,
    EstimatorModel,
    Role,
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


class EstimatorFamily(ABC):
    """A family of any estimator that the trainer knows; each has a `predict` and `tolerances` of its own.

    Attributes:
        role: of the column that is to be answered.
    """

    name: str
    problem: str
    needs: frozenset[str]
    role: Role
    config = EstimatorConfig
    group = "estimator"
    libraries = LIBRARIES
    checkpoints = False

    def train(self, data: Dataset, config: EstimatorConfig, ctx: RunContext) -> EstimatorModel:
        """Fit on the train part, stopped by val where the settings say so.

        Raises:
            DataError: when no column has a value.
            ExportError: for an estimator that a bundle cannot answer with.
            TrainingError: when the estimator cannot be fitted.
            InterruptedTraining: when asked to stop.
        """
        return train(data, config, ctx, self.role)

    @abstractmethod
    def predict(self, fitted: EstimatorModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with the training library."""

    def evaluate(self, fitted: EstimatorModel, data: Dataset, config: EstimatorConfig, ctx: RunContext) -> Evaluation:
        """Judge the model beside a dummy and a linear model on all parts."""
        return evaluate(fitted, data, config, ctx, self.role, self.predict)

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return all rows of a part."""
        return samples_of(interface, data, part, self.role)

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
