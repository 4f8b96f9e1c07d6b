"""A net as an estimator of rows: it takes tables in double precision, and answers in the caller's own labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from nightshift.trainer.contract import Values

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class SeededNet:
    """A net, as the caller gave it, with what one fit of it is drawn from.

    Attributes:
        threads: None: as many as its library takes.
    """

    model: Any
    seed: int
    threads: int | None
    device: str


def matrix(X: Any) -> Matrix:
    """Return rows in single precision, (n, columns), that torch can take without a copy or a warning."""
    dense = X.toarray() if hasattr(X, "toarray") else X.to_numpy(np.float32) if hasattr(X, "to_numpy") else X
    return np.require(dense, np.float32, ["C", "W"])


class _Net(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    net: Any

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")


class NetClassifier(ClassifierMixin, _Net):  # type: ignore[misc]
    """A fitted net of the codes 0 to k-1, around which the trainer puts the caller's labels.

    Args:
        net: fitted; answers the probability of each class.
        classes: (k,) label of each code, sorted.
    """

    def __init__(self, net: Any, classes: Any) -> None:
        self.net = net
        self.classes = classes

    @property
    def classes_(self) -> Values:
        """(k,) labels, in the order of `predict_proba`'s columns."""
        return np.asarray(self.classes)

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the net anew on the codes of y, whose labels must be among `classes`."""
        rows = matrix(X)
        self.net.fit(rows, np.searchsorted(self.classes_, y))
        self.n_features_in_ = rows.shape[1]
        return self

    def predict(self, X: Any) -> Values:
        """Return the label of each row, (n,)."""
        rows = matrix(X)
        own = hasattr(self.net, "classes_")  # a net that knows of classes may have a threshold of its own
        found = self.net.predict(rows) if own else self.net.predict_proba(rows).argmax(axis=1)
        answer: Values = self.classes_[np.asarray(found).astype(np.int64).ravel()]
        return answer

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, (n, k)."""
        return np.asarray(self.net.predict_proba(matrix(X)))


class NetRegressor(RegressorMixin, _Net):  # type: ignore[misc]
    """A fitted net of numbers; where it was told so it learns them with mean 0 and variance 1.

    Args:
        net: fitted.
        shift: taken off y.
        scale: y is divided by it after that.
    """

    def __init__(self, net: Any, shift: float = 0.0, scale: float = 1.0) -> None:
        self.net = net
        self.shift = shift
        self.scale = scale

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the net anew."""
        rows = matrix(X)
        self.net.fit(rows, ((np.asarray(y) - self.shift) / self.scale).astype(np.float32).reshape(-1, 1))
        self.n_features_in_ = rows.shape[1]
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the value of each row, (n,)."""
        found = np.asarray(self.net.predict(matrix(X)), dtype=np.float64).reshape(-1)
        return found * self.scale + self.shift


class KerasNet(BaseEstimator):  # type: ignore[misc]
    """Keras' own wrapper of a model, which knows no probabilities, and prints when it predicts.

    Args:
        net: SKLearnClassifier or SKLearnRegressor of `keras.wrappers`.
    """

    def __init__(self, net: Any) -> None:
        self.net = net

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the model anew."""
        self.net.fit(X, y, verbose=0)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the model's numbers, (n, outputs)."""
        return np.asarray(self.net.model_.predict(X, verbose=0))

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, (n, k)."""
        return self.predict(X)
