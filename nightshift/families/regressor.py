"""Which number belongs to a row of a table? Any regressor that the trainer knows, on tables that have landed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.families._estimator import TOLERANCE, EstimatorModel
from nightshift.families._estimator_family import EstimatorFamily
from nightshift.family import Arrays


class RegressorFamily(EstimatorFamily):
    """The family; see the module."""

    name = "regressor"
    problem = "regression"
    needs = frozenset({"value"})
    role = "value"

    def predict(self, fitted: EstimatorModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with the training library: `value` float32 `(n,)`."""
        table = fitted.frame(inputs["window"])
        if not len(table):
            return {"value": np.zeros(0, np.float32)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows that are unlike those trained on
            return {"value": np.asarray(fitted.model.predict(table), np.float32).ravel()}

    def tolerances(self, fitted: EstimatorModel) -> Mapping[str, float]:
        """Graphs sum in float32."""
        return {"value": TOLERANCE * fitted.scale}


FAMILY = RegressorFamily()
