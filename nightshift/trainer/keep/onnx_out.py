"""A trained model as one ONNX graph, which is given away only when it answers real rows as the model does.

Converters are wrong for some estimators without a word. So an estimator must be on a list of those that were tried,
and every graph is asked the rows of the table in single precision, also with gaps where the model takes them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import ExportError, first_line
from nightshift.files import write_atomic
from nightshift.trainer.keep import native, onnx_graph

if TYPE_CHECKING:
    from nightshift.trainer.results.result import CVResult, TrainResult

#: Those whose graphs answered as they do; measured with skl2onnx 1.20 on 300 rows, of two classes and of three.
# fmt: off
ESTIMATORS = frozenset({
    "AdaBoostClassifier", "BaggingClassifier", "BernoulliNB", "CalibratedClassifierCV", "CategoricalNB",
    "ComplementNB", "DecisionTreeClassifier", "ExtraTreeClassifier", "ExtraTreesClassifier", "GaussianNB",
    "GradientBoostingClassifier", "KNeighborsClassifier", "LinearDiscriminantAnalysis", "LinearSVC",
    "LogisticRegression", "LogisticRegressionCV", "MLPClassifier", "MultinomialNB", "NuSVC", "OneVsRestClassifier",
    "PassiveAggressiveClassifier", "Perceptron", "QuadraticDiscriminantAnalysis", "RadiusNeighborsClassifier",
    "RandomForestClassifier", "RidgeClassifier", "RidgeClassifierCV", "SGDClassifier", "SVC", "StackingClassifier",
    "ARDRegression", "AdaBoostRegressor", "BaggingRegressor", "BayesianRidge", "DecisionTreeRegressor", "ElasticNet",
    "ElasticNetCV", "ExtraTreeRegressor", "ExtraTreesRegressor", "GammaRegressor", "GaussianProcessRegressor",
    "GradientBoostingRegressor", "HuberRegressor", "KNeighborsRegressor", "Lars", "LarsCV", "Lasso", "LassoCV",
    "LassoLars", "LassoLarsCV", "LassoLarsIC", "LinearRegression", "LinearSVR", "MLPRegressor", "NuSVR",
    "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "PLSRegression", "PassiveAggressiveRegressor",
    "PoissonRegressor", "QuantileRegressor", "RANSACRegressor", "RadiusNeighborsRegressor", "RandomForestRegressor",
    "Ridge", "RidgeCV", "SGDRegressor", "SVR", "StackingRegressor", "TheilSenRegressor", "TweedieRegressor",
    "VotingRegressor", "LGBMClassifier", "LGBMRegressor", "XGBClassifier", "XGBRegressor", "CatBoostClassifier",
    "CatBoostRegressor",
})
# fmt: on
_LIBRARIES = ("sklearn", "lightgbm", "xgboost", "catboost")
#: Largest difference of a probability; of a value, as a share of the largest.
TOLERANCE = 1e-5
MAX_ROWS = 1_000
_SEED = 0


@dataclass(frozen=True)
class OnnxReport:
    """A graph, and how it compares to its model.

    Attributes:
        model: `onnx.ModelProto`. Inputs are `x` (n, columns) float32, or one (n, 1) of each column's name where some
            hold text; outputs `label` and, where the estimator tells them, `probabilities`, or `value`.
        rows: that were compared; those made for it among them.
        gaps: whether it may be given rows with gaps, as NaN.
        largest: difference of a probability, or of a value as a share of the largest. No label differs, but where the
            model itself gives two classes the same probability.
        path: where it was written.
    """

    model: Any
    rows: int
    gaps: bool
    largest: float
    path: Path | None = None


def result_to_onnx(result: TrainResult | CVResult, path: str | Path | None = None) -> OnnxReport:
    """Return a result's model as ONNX, checked on rows of its table; write it when a path is given.

    Raises:
        ExportError: when it has no ONNX form, or the graph answers otherwise; nothing is written then.
    """
    return exported(result.model, result.example, path)


def exported(model: Any, X: Any, path: str | Path | None = None) -> OnnxReport:
    """Return a model as ONNX, checked on rows; see `result_to_onnx`.

    Args:
        X: (n, columns) rows like those trained on.

    Raises:
        ExportError: when it has no ONNX form, or the graph answers otherwise.
    """
    peeled = native.peel(model)
    name = type(onnx_graph.bare_of(peeled.estimator)).__name__
    if name not in ESTIMATORS or peeled.kind.name not in _LIBRARIES:
        raise ExportError(f"{name} has no ONNX form here.", hint="Save it, or train one such as LGBMClassifier.")
    if X is None or hasattr(X, "tocsr") or not len(X):
        raise ExportError("no dense rows to check the graph on.", hint="Give rows: load(path).to_onnx(X).")
    rows = onnx_graph.single(X[:MAX_ROWS])
    try:
        graph = onnx_graph.converted(peeled, rows)
    except ExportError:
        raise
    except Exception as error:  # converters raise whatever comes: KeyError, RuntimeError, their own
        raise ExportError(
            f"{name} cannot be converted to ONNX: {first_line(error)}.",
            hint="Leave out columns of dates, and text with gaps; or save the model instead.",
        ) from error
    report = _compared(model, graph, rows)
    if path is None:
        return report
    place = Path(path).expanduser()
    write_atomic(place, graph.SerializeToString())
    return replace(report, path=place)


def _compared(model: Any, graph: Any, rows: Any) -> OnnxReport:
    """Ask both the same rows: real ones, their values mixed anew, and these with gaps where the model takes them.

    Raises:
        ExportError: with the figure, when they differ.
    """
    count, largest, gaps = len(rows), _difference(model, graph, rows, "rows of the table"), False
    mixed = onnx_graph.mixed(rows, MAX_ROWS, _SEED)
    if _takes(model, mixed):
        largest = max(largest, _difference(model, graph, mixed, "rows with values of the table mixed anew"))
        count += len(mixed)
    some = onnx_graph.with_gaps(mixed, _SEED)
    if some is not None and _takes(model, some):
        largest = max(largest, _difference(model, graph, some, "rows with gaps"))
        count, gaps = count + len(some), True
    return OnnxReport(graph, count, gaps, largest)


def _takes(model: Any, rows: Any) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.predict(rows)
    except (ValueError, TypeError):
        return False
    return True


def _difference(model: Any, graph: Any, rows: Any, which: str) -> float:
    """Return the largest difference of a number.

    Raises:
        ExportError: when it is too large, or a label differs.
    """
    asked = onnx_graph.run(graph, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows that are unlike those trained on
        predicted = np.asarray(model.predict(rows)).ravel()
        told = np.asarray(model.predict_proba(rows)) if "probabilities" in asked else None
    if "value" in asked:
        wanted = predicted.astype(np.float64)
        labels, largest = 0, float(np.abs(asked["value"].ravel() - wanted).max() / max(1.0, np.abs(wanted).max()))
    else:
        differs = _differs(asked["label"].ravel(), predicted)
        labels = int((differs if told is None else differs & decided(told, getattr(model, "threshold", None))).sum())
        largest = 0.0 if told is None else float(np.abs(asked["probabilities"] - told).max())
    if labels or not largest <= TOLERANCE:
        what = f"{labels} labels differ" if labels else f"numbers differ by up to {largest:.2g}"
        raise ExportError(
            f"the graph does not answer as the model does: of {len(rows)} {which}, {what}. Expected up to {TOLERANCE}.",
            hint="Train with scale=False where trees were scaled, or save the model instead.",
        )
    return largest


def _differs(found: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.bool_]:
    if wanted.dtype.kind in "OU":
        return np.asarray(found.astype(str) != wanted.astype(str))
    return np.asarray(found != wanted)


def decided(probability: NDArray[Any], threshold: float | None, tie: float = TOLERANCE) -> NDArray[np.bool_]:
    """Mark the rows whose class no rounding decides, `(n,)`: a forest of ten trees is often split five to five."""
    if threshold is not None:
        return np.asarray(np.abs(probability[:, 1] - threshold) > tie)
    second, first = np.sort(probability, axis=1)[:, -2:].T
    return np.asarray(first - second > tie)
