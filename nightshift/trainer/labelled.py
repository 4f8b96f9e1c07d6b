"""An estimator of class codes that answers in the caller's own labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if

from nightshift.trainer.contract import Values


def _has_probabilities(model: Labelled) -> bool:
    return hasattr(model.estimator, "predict_proba")


class Labelled(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A fitted classifier of the codes 0 to k-1, for libraries that take no other labels.

    Kinds put it around what they have fitted; nobody else needs to make one.

    Args:
        estimator: fitted; its classes are 0 to k-1.
        classes: (k,) label of each code.
    """

    def __init__(self, estimator: Any, classes: Any) -> None:
        self.estimator = estimator
        self.classes = classes

    @property
    def classes_(self) -> Values:
        """(k,) labels, in the order of `predict_proba`'s columns."""
        return np.asarray(self.classes)

    @property
    def n_features_in_(self) -> int:
        """Columns that it was fitted on."""
        return int(self.estimator.n_features_in_)

    def fit(self, X: Any, y: Any) -> Labelled:
        """Fit the estimator on the codes of y, whose labels must be among `classes`."""
        self.estimator.fit(X, np.searchsorted(self.classes_, y))
        return self

    def predict(self, X: Any) -> Values:
        """Return the label of each row, (n,)."""
        found: Values = self.classes_[np.asarray(self.estimator.predict(X)).astype(np.int64).ravel()]
        return found

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, (n, k)."""
        return np.asarray(self.estimator.predict_proba(X))

    def __sklearn_is_fitted__(self) -> bool:
        from sklearn.utils.validation import _is_fitted

        return bool(_is_fitted(self.estimator))
