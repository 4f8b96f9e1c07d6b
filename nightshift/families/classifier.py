"""Which class is a row of a table of? Any classifier that the trainer knows, on tables that have landed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.families._estimator import TOLERANCE, EstimatorModel, hard_rows
from nightshift.families._estimator_family import EstimatorFamily
from nightshift.family import Arrays, RunContext
from nightshift.graphs.parity import CasedInputs

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset

#: Two classes whose probabilities are closer are told apart by rounding alone.
_TIE = 2e-5


class ClassifierFamily(EstimatorFamily):
    """The family; see the module."""

    name = "classifier"
    problem = "classification"
    needs = frozenset({"class"})
    role = "class"

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

    def parity_inputs(self, fitted: EstimatorModel, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return rows of val, mixed ones, and such with missing, infinite and unseen values."""
        from nightshift.trainer.keep.onnx_out import decided

        made = hard_rows(fitted, ctx)
        keep = decided(self.predict(fitted, made)["probability"], fitted.threshold, _TIE)
        return CasedInputs({"window": made["window"][keep]}, made.case[keep])

    def tolerances(self, fitted: EstimatorModel) -> Mapping[str, float]:
        """Graphs sum in float32."""
        return {"probability": TOLERANCE}


FAMILY = ClassifierFamily()
