"""Which types a saved model may hold beside those that skops trusts by itself, and what is looked at in them.

A name stands here when its class was read: making one from a file runs nothing that the file names. Names are matched
whole; a prefix such as `sklearn.` would let in what opens files. Where compiled code follows numbers of the file
without looking (trees' children and columns), these numbers are checked once the model is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from nightshift.errors import CorruptFileError, UntrustedError

#: Exact name -> why it may be read.
TRUSTED: dict[str, str] = {
    # Reading one gives numpy a type's description, never an object of it.
    "numpy.dtype": "a description of numbers",
    # Compiled: takes arrays of a checked dtype and shape; children and columns are checked by `check_numbers`.
    "sklearn.tree._tree.Tree": "arrays of nodes",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": "an array of nodes; see Tree",
    # Compiled: takes 13 values; row numbers and the nodes' bounds are checked by `check_numbers`.
    "sklearn.neighbors._kd_tree.KDTree": "rows and the order that they are searched in",
    "sklearn.neighbors._ball_tree.BallTree": "rows and the order that they are searched in",
    # Distances without weights of their own: three values that they do not follow.
    "sklearn.metrics._dist_metrics.EuclideanDistance64": "no state that is used",
    "sklearn.metrics._dist_metrics.ManhattanDistance64": "no state that is used",
    "sklearn.metrics._dist_metrics.ChebyshevDistance64": "no state that is used",
    # Plain Python: attributes alone, and each is read by the same list.
    "sklearn._loss.loss.HalfTweedieLoss": "attributes alone",
    "sklearn._loss.loss.HalfTweedieLossIdentity": "attributes alone",
    "sklearn.calibration._CalibratedClassifier": "a classifier and its calibrators",
    "sklearn.calibration._SigmoidCalibration": "two numbers",
    "sklearn.calibration._TemperatureScaling": "one number",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace": "arrays and a kernel",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer": "arrays and numbers",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer": "arrays and numbers",
    # Its `__setstate__` does nothing, and it is a dict.
    "sklearn.utils._bunch.Bunch": "a dict",
    # Kernels: numbers, and kernels of this list.
    "sklearn.gaussian_process.kernels.CompoundKernel": "kernels",
    "sklearn.gaussian_process.kernels.ConstantKernel": "numbers",
    "sklearn.gaussian_process.kernels.DotProduct": "numbers",
    "sklearn.gaussian_process.kernels.ExpSineSquared": "numbers",
    "sklearn.gaussian_process.kernels.Exponentiation": "a kernel and a number",
    "sklearn.gaussian_process.kernels.Matern": "numbers",
    "sklearn.gaussian_process.kernels.Product": "two kernels",
    "sklearn.gaussian_process.kernels.RBF": "numbers",
    "sklearn.gaussian_process.kernels.RationalQuadratic": "numbers",
    "sklearn.gaussian_process.kernels.Sum": "two kernels",
    "sklearn.gaussian_process.kernels.WhiteKernel": "numbers",
    # What a tuned threshold was chosen by. A scorer calls a function, which must be of this list itself.
    "sklearn.metrics._scorer._CurveScorer": "a scorer's settings",
    "sklearn.metrics._scorer._Scorer": "a scorer's settings",
    "sklearn.metrics._classification.balanced_accuracy_score": "a function of numbers",
    "sklearn.utils._metadata_requests.MetadataRequest": "names of keywords",
    "sklearn.utils._metadata_requests.MethodMetadataRequest": "names of keywords",
    # How rows are parted: numbers alone.
    "sklearn.model_selection._split.GroupKFold": "numbers",
    "sklearn.model_selection._split.KFold": "numbers",
    "sklearn.model_selection._split.ShuffleSplit": "numbers",
    "sklearn.model_selection._split.StratifiedKFold": "numbers",
    "sklearn.model_selection._split.StratifiedShuffleSplit": "numbers",
    "sklearn.model_selection._split.TimeSeriesSplit": "numbers",
    # What columns are chosen by.
    "sklearn.feature_selection._univariate_selection.f_classif": "a function of numbers",
    "sklearn.feature_selection._univariate_selection.f_regression": "a function of numbers",
    # Ours: attributes alone.
    "nightshift.trainer.prepare.dates.DateParts": "times and names",
    "nightshift.trainer.prepare.plain.Plain": "names of columns",
}
#: These hand rows to their trees without a look at how many columns each tree was made for.
_UNCHECKED = ("sklearn.ensemble._forest", "sklearn.ensemble._gb", "sklearn.ensemble._iforest")
#: Attributes that hold rows as they were trained on.
_ROWS = ("_fit_X", "support_vectors_", "X_train_", "X_fit_", "X_")
_TREE, _PREDICTOR, _SEARCHED = "Tree", "TreePredictor", ("KDTree", "BallTree")


def unlisted(data: bytes) -> list[str]:
    """Return the types in a skops file that neither skops nor the list trusts."""
    from skops.io import get_untrusted_types

    return sorted(set(get_untrusted_types(data=data)) - set(TRUSTED))


def read(data: bytes, where: str) -> Any:
    """Read a skops file that holds nothing but trusted types, and look at the numbers in it.

    Args:
        where: names the file in an error.

    Raises:
        UntrustedError: for another type; nothing was made of the file then.
        CorruptFileError: when it cannot be read.
    """
    from zipfile import BadZipFile

    from skops.io import loads

    try:
        if strangers := unlisted(data):
            raise UntrustedError(
                f"{where} holds {', '.join(strangers[:3])}, which the list of trusted types does not.",
                hint="Read it only where it was trained, from a model saved with format='joblib'.",
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a class that is to go: who trained it has heard of it
            model = loads(data, trusted=list(TRUSTED))
    except (BadZipFile, KeyError, ValueError, TypeError, AttributeError, ImportError, OSError) as error:
        raise CorruptFileError(f"{where} cannot be read as a skops file.", hint="Save the model again.") from error
    check_numbers(model, where)
    return model


def holds_rows(model: Any) -> bool:
    """Whether a fitted model holds rows that it was trained on, as nearest neighbours do."""
    return any(getattr(part, "__dict__", {}).get(name) is not None for part, _ in _parts(model) for name in _ROWS)


def check_numbers(model: Any, where: str) -> None:
    """Refuse trees whose nodes lead out of the tree or read a column that is not there.

    Raises:
        CorruptFileError: for such a tree.
    """
    for part, columns in _parts(model):
        name = type(part).__name__
        wrong = (
            (name == _TREE and not _tree_holds(part, columns))
            or (name == _PREDICTOR and not _predictor_holds(part, columns))
            or (name in _SEARCHED and not _search_holds(part))
        )
        if wrong:
            raise CorruptFileError(f"{where} holds a tree whose nodes lead out of it.", hint="Save the model again.")


def _tree_holds(tree: Any, columns: int | None) -> bool:
    state = tree.__getstate__()
    count = state["node_count"]
    if not 0 < count <= len(state["nodes"]):
        return False
    nodes = state["nodes"][:count]
    inner = nodes["left_child"] != -1
    width = tree.n_features if columns is None else min(columns, tree.n_features)
    return _inside(inner, nodes["left_child"], nodes["right_child"], nodes["feature"], width)


def _predictor_holds(tree: Any, columns: int | None) -> bool:
    nodes = tree.nodes
    inner = nodes["is_leaf"] == 0
    sets = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
    if not len(nodes) or (len(sets) and int(sets.max()) >= len(tree.raw_left_cat_bitsets)):
        return False
    return columns is not None and _inside(inner, nodes["left"], nodes["right"], nodes["feature_idx"], columns)


def _inside(inner: Any, left: Any, right: Any, feature: Any, columns: int) -> bool:
    """Whether each node that is no leaf has children after itself, which allows no circle, and reads a column."""
    place = np.flatnonzero(inner)
    for child in (left[inner].astype(np.int64), right[inner].astype(np.int64)):
        if not ((child > place) & (child < len(inner))).all():
            return False
    read = feature[inner].astype(np.int64)
    return bool(((read >= 0) & (read < columns)).all())


def _search_holds(tree: Any) -> bool:
    rows, order, nodes, bounds, _, levels, count, *_ = tree.__getstate__()
    start, end = nodes["idx_start"], nodes["idx_end"]
    # A node that is no leaf has the children 2i + 1 and 2i + 2.
    children = 2 * np.flatnonzero(nodes["is_leaf"] == 0) + 2
    return bool(
        count == len(nodes) == 2**levels - 1 == bounds.shape[1]
        and bounds.shape[2] == (rows.shape[1] if type(tree).__name__ == "KDTree" else bounds.shape[2])
        and len(order) == len(rows)
        and np.array_equal(np.sort(order), np.arange(len(rows)))
        and ((start >= 0) & (start <= end) & (end <= len(rows))).all()
        and (children < count).all()
    )


def _parts(model: Any) -> Iterator[tuple[Any, int | None]]:
    """Yield every object in a model with the columns that it is handed, None where that is not known."""
    seen: set[int] = set()
    left: list[tuple[Any, int | None, bool]] = [(model, None, False)]
    while left:
        part, columns, bound = left.pop()
        if isinstance(part, str | bytes | int | float | bool | None) or id(part) in seen:
            continue
        seen.add(id(part))
        held: Any = ()
        if isinstance(part, dict):
            held = part.values()
        elif isinstance(part, list | tuple | set):
            held = part
        elif isinstance(part, np.ndarray):
            held = part.ravel().tolist() if part.dtype == object else ()
        elif _may_hold(part):
            own = vars(part).get("n_features_in_")
            if own is not None:
                columns = min(int(own), columns) if bound and columns is not None else int(own)
                bound = type(part).__module__ in _UNCHECKED
            held = vars(part).values()
        yield part, columns
        left.extend((one, columns, bound) for one in held)


def _may_hold(part: Any) -> bool:
    """Whether an object's attributes are looked into: not those of modules, classes and nets, which lead anywhere."""
    nets = type(part).__module__.partition(".")[0] in ("torch", "skorch", "keras", "tensorflow")
    return hasattr(part, "__dict__") and not isinstance(part, type | ModuleType) and not nets
