"""Five detectors, each with its library's own score and the ONNX nodes that repeat it.

Every member scores standardised rows in double precision; a larger score is more abnormal, as in PyOD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nightshift.graphs.build import Graph

Float64 = NDArray[np.float64]

#: Reference rows of LOF move by this many standard deviations, so that equidistant neighbours have one order.
LOF_JITTER_SD = 1e-6

#: A residual below this share of the total variance is rounding, not a signal that Q could judge.
RESIDUAL_FLOOR = 1e-9


class Member(Protocol):
    """One voter."""

    @property
    def name(self) -> str:
        """Short name, as it stands in configs and reports."""

    @property
    def train_scores(self) -> Float64:
        """Scores `(n,)` of the rows the member was fitted on, from which its threshold is taken."""

    def score(self, rows: Float64) -> Float64:
        """Score standardised rows `(n, d)` with the training library; returns `(n,)`."""

    def emit(self, graph: Graph, rows: str) -> str:
        """Add nodes that turn double rows `(batch, d)` into a double score `(batch, 1)`."""


def size_mb(member: Member, n_columns: int) -> float:
    """Size of a member's own nodes, as they would stand alone."""
    graph = Graph(member.name)
    value = member.emit(graph, graph.input("rows", "float64", ("batch", n_columns)))
    graph.output(value, "score", "float64", ("batch", 1))
    return float(graph.build().ByteSize()) / 1e6


@dataclass(frozen=True)
class FitInputs:
    """What members are fitted on.

    Attributes:
        rows: standardised training rows `(n, d)`.
        reference: standardised normal rows `(r, d)` for the members whose cost is quadratic.
        contamination: share of training rows taken as abnormal.
        seed: drives every random choice.
    """

    rows: Float64
    reference: Float64
    contamination: float
    seed: int


@dataclass(frozen=True)
class IsolationForestMember:
    """PyOD's IForest; all trees become one `TreeEnsembleRegressor`.

    Source: Liu, Ting, Zhou, "Isolation Forest" (2008); scikit-learn `ensemble/_iforest.py`.
    """

    model: Any
    name: str = "iforest"

    @classmethod
    def fit(cls, inputs: FitInputs, n_trees: int, max_samples: int) -> IsolationForestMember:
        """Fit on all training rows."""
        from pyod.models.iforest import IForest

        model = IForest(
            n_estimators=n_trees,
            max_samples=min(max_samples, len(inputs.rows)),
            contamination=inputs.contamination,
            random_state=inputs.seed,
        )
        model.fit(inputs.rows)
        return cls(model)

    @property
    def train_scores(self) -> Float64:
        """Scores `(n,)` of the training rows."""
        return np.asarray(self.model.decision_scores_, dtype=np.float64)

    def score(self, rows: Float64) -> Float64:
        """PyOD's `decision_function`: 2**(-mean depth / c) + offset."""
        return np.asarray(self.model.decision_function(rows), dtype=np.float64)

    def split_points(self, column: int) -> Float64:
        """Distinct standardised values of a column at which some tree splits."""
        forest = self.model.detector_
        pairs = zip(forest.estimators_, forest.estimators_features_, strict=True)
        chosen = [t.tree_.threshold[np.append(used, -1)[t.tree_.feature] == column] for t, used in pairs]
        return np.unique(np.concatenate(chosen))

    def emit(self, graph: Graph, rows: str) -> str:
        """Add one tree node; the two targets hold high and low bits of the depth, so float32 sums are exact."""
        forest = self.model.detector_
        trees = [
            _tree_arrays(tree.tree_, used)
            for tree, used in zip(forest.estimators_, forest.estimators_features_, strict=True)
        ]
        single = graph.add("Cast", rows, to=1)  # scikit-learn casts to float32 before it compares
        parts = graph.add("TreeEnsembleRegressor", single, domain="ai.onnx.ml", **_ensemble_attributes(trees))
        depth = graph.add("ReduceSum", graph.add("Cast", parts, to=11), graph.const([1], "int64"), keepdims=1)
        denominator = len(trees) * _average_path_length(np.array([forest.max_samples_]))[0]
        exponent = graph.add("Div", depth, graph.const([-denominator], "float64"))
        power = graph.add("Pow", graph.const([2.0], "float64"), exponent)
        return graph.add("Add", power, graph.const([forest.offset_], "float64"))


@dataclass(frozen=True)
class _TreeArrays:
    """One tree as flat arrays of length `n_nodes`; `depth` is set at leaves (edges from root + c(n_leaf))."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    depth: Float64


def _average_path_length(n_rows: NDArray[Any]) -> Float64:
    """c(n): mean path length of an unsuccessful search in a binary search tree of n rows."""
    n = n_rows.astype(np.float64)
    large = np.maximum(n, 3.0)
    general = 2.0 * (np.log(large - 1.0) + np.euler_gamma) - 2.0 * (large - 1.0) / large
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, general))


def _tree_arrays(tree: Any, used: NDArray[np.int64]) -> _TreeArrays:
    left, right = tree.children_left.astype(np.int64), tree.children_right.astype(np.int64)
    edges = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # parents precede children in scikit-learn's arrays
        if left[node] >= 0:
            edges[[left[node], right[node]]] = edges[node] + 1.0
    feature = np.where(left >= 0, np.asarray(used)[np.maximum(tree.feature, 0)], 0)
    depth = edges + _average_path_length(tree.n_node_samples)
    return _TreeArrays(left, right, feature, floor_to_float32(tree.threshold), depth)


def floor_to_float32(values: Float64) -> NDArray[np.float32]:
    """Largest float32 not above each double: `x <= t` then decides the same for every float32 `x`."""
    rounded = values.astype(np.float32)
    too_high = rounded.astype(np.float64) > values
    return np.where(too_high, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _ensemble_attributes(trees: list[_TreeArrays]) -> dict[str, Any]:
    tree_ids = np.concatenate([np.full(len(t.left), i) for i, t in enumerate(trees)])
    node_ids = np.concatenate([np.arange(len(t.left)) for t in trees])
    left = np.concatenate([t.left for t in trees])
    right = np.concatenate([t.right for t in trees])
    leaf = left < 0
    high, low = _exact_halves(np.concatenate([t.depth for t in trees])[leaf], len(trees))
    return {
        "n_targets": 2,
        "aggregate_function": "SUM",
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": np.concatenate([t.feature for t in trees]).tolist(),
        "nodes_values": np.where(leaf, 0.0, np.concatenate([t.threshold for t in trees])).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_truenodeids": np.where(leaf, 0, left).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, right).tolist(),
        "target_treeids": np.repeat(tree_ids[leaf], 2).tolist(),
        "target_nodeids": np.repeat(node_ids[leaf], 2).tolist(),
        "target_ids": np.tile([0, 1], int(leaf.sum())).tolist(),
        "target_weights": np.stack([high, low], axis=1).ravel().tolist(),
    }


def _exact_halves(values: Float64, n_terms: int) -> tuple[Float64, Float64]:
    """Split `values` into two parts whose sums over `n_terms` fit a float32 mantissa whatever the order."""
    high_step = 2.0 ** (np.ceil(np.log2(max(n_terms * float(values.max()), 1.0))) - 23)
    high = np.round(values / high_step) * high_step
    low_step = 2.0 ** (np.ceil(np.log2(n_terms * high_step)) - 23)
    return high, np.round((values - high) / low_step) * low_step


@dataclass(frozen=True)
class OneClassSvmMember:
    """PyOD's OCSVM with an RBF kernel, nu = contamination, fitted on the reference rows.

    Source: Schoelkopf et al., "Estimating the support of a high-dimensional distribution" (2001).
    """

    model: Any
    name: str = "ocsvm"

    @classmethod
    def fit(cls, inputs: FitInputs) -> OneClassSvmMember:
        """Fit on the reference rows."""
        from pyod.models.ocsvm import OCSVM

        # gamma is given as a number: the graph needs it, and 1/d is what "auto" means.
        model = OCSVM(
            nu=inputs.contamination, gamma=1.0 / inputs.reference.shape[1], contamination=inputs.contamination
        )
        model.fit(inputs.reference)
        return cls(model)

    @property
    def train_scores(self) -> Float64:
        """Scores `(r,)` of the reference rows."""
        return np.asarray(self.model.decision_scores_, dtype=np.float64).ravel()

    def score(self, rows: Float64) -> Float64:
        """PyOD's `decision_function`: minus the signed distance to the boundary."""
        return np.asarray(self.model.decision_function(rows), dtype=np.float64).ravel()

    def emit(self, graph: Graph, rows: str) -> str:
        """Add the kernel expansion in double (skl2onnx offers float32 only, which errs by 8e-4)."""
        svm = self.model.detector_
        squared = graph.add("Max", _squared_distances(graph, rows, svm.support_vectors_), graph.const(0.0, "float64"))
        kernel = graph.add("Exp", graph.add("Mul", squared, graph.const(-float(svm.gamma), "float64")))
        weighted = graph.add("MatMul", kernel, graph.const(-np.asarray(svm.dual_coef_, dtype=np.float64).T))
        return graph.add("Sub", weighted, graph.const(np.asarray(svm.intercept_, dtype=np.float64)))


@dataclass(frozen=True)
class LofMember:
    """PyOD's LOF in novelty mode over distinct reference rows.

    Duplicates are dropped, since more of them than neighbours make the density infinite.

    Source: Breunig et al., "LOF: identifying density-based local outliers" (2000).
    """

    model: Any
    name: str = "lof"

    @classmethod
    def fit(cls, inputs: FitInputs, n_neighbors: int) -> LofMember:
        """Fit on the distinct reference rows, each moved by a jitter far below any sensor's resolution."""
        from pyod.models.lof import LOF

        distinct = np.unique(inputs.reference, axis=0)
        jitter = np.random.default_rng(inputs.seed).normal(scale=LOF_JITTER_SD, size=distinct.shape)
        model = LOF(
            n_neighbors=max(1, min(n_neighbors, len(distinct) - 1)), contamination=inputs.contamination, novelty=True
        )
        model.fit(distinct + jitter)
        return cls(model)

    @property
    def train_scores(self) -> Float64:
        """Scores `(r,)` of the distinct reference rows, each judged by the others."""
        return np.asarray(self.model.decision_scores_, dtype=np.float64)

    def score(self, rows: Float64) -> Float64:
        """PyOD's `decision_function`: the local outlier factor."""
        return np.asarray(self.model.decision_function(rows), dtype=np.float64)

    def emit(self, graph: Graph, rows: str) -> str:
        """Choose neighbours by the expanded square, then measure the chosen ones by true differences.

        The expanded square alone loses half of the digits for rows that lie close together; differences to
        all reference rows would need `batch * r * d` doubles. Axes are positive, since onnxruntime 1.31 reduces
        another one of an empty batch when they are negative.
        """
        lof = self.model.detector_
        reference = np.asarray(lof._fit_X, dtype=np.float64)
        k = graph.const([lof.n_neighbors_], "int64")
        squared = _squared_distances(graph, rows, reference)
        _, nearest = graph.add_many("TopK", [squared, k], 2, largest=0, sorted=1)
        neighbours = graph.add("Gather", graph.const(reference), nearest, axis=0)
        difference = graph.add("Sub", graph.add("Unsqueeze", rows, graph.const([1], "int64")), neighbours)
        columns, neighbour = graph.const([2], "int64"), graph.const([1], "int64")
        distance = graph.add("Sqrt", graph.add("ReduceSumSquare", difference, columns, keepdims=0))
        core = graph.const(np.asarray(lof._distances_fit_X_[:, lof.n_neighbors_ - 1], dtype=np.float64))
        reach = graph.add("Max", distance, graph.add("Gather", core, nearest, axis=0))
        mean_reach = graph.add("ReduceMean", reach, neighbour, keepdims=1)
        density = graph.add("Gather", graph.const(np.asarray(lof._lrd, dtype=np.float64)), nearest, axis=0)
        # 1e-10 is scikit-learn's guard against a zero reach.
        inverse_density = graph.add("Add", mean_reach, graph.const(1e-10, "float64"))
        return graph.add("Mul", graph.add("ReduceMean", density, neighbour, keepdims=1), inverse_density)


@dataclass(frozen=True)
class ZScoreMember:
    """Largest absolute standard score over the columns."""

    train_scores: Float64
    name: str = "zscore"

    @classmethod
    def fit(cls, inputs: FitInputs) -> ZScoreMember:
        """The scaler has done the fitting; only the training scores are kept."""
        return cls(np.abs(inputs.rows).max(axis=1))

    def score(self, rows: Float64) -> Float64:
        """Largest `|z|` of each row."""
        return np.asarray(np.abs(rows).max(axis=1), dtype=np.float64)

    def emit(self, graph: Graph, rows: str) -> str:
        """Add the maximum of absolutes."""
        return graph.add("ReduceMax", graph.add("Abs", rows), graph.const([1], "int64"), keepdims=1)


@dataclass(frozen=True)
class PcaMember:
    """Hotelling's T2 and the residual Q (SPE) of a PCA, each over its own limit; the larger ratio is the score.

    PyOD's PCA weights distances to eigenvectors and is neither of the two statistics.

    Attributes:
        pca: fitted `sklearn.decomposition.PCA`.
        t2_limit: the (1 - contamination) quantile of T2 over training rows.
        q_limit: the same of Q; infinite where nothing is left over for Q to judge.
        train_scores: scores `(n,)` of the training rows.

    Source: Jackson and Mudholkar, "Control procedures for residuals associated with PCA" (1979).
    """

    pca: Any
    t2_limit: float
    q_limit: float
    train_scores: Float64
    name: str = "pca"

    @classmethod
    def fit(cls, inputs: FitInputs, explained_variance: float) -> PcaMember:
        """Keep the fewest components that explain `explained_variance`, and one column's worth of residual."""
        from sklearn.decomposition import PCA

        rows = inputs.rows
        full = PCA(svd_solver="full").fit(rows)
        share = np.cumsum(full.explained_variance_ratio_)
        enough = int(np.searchsorted(share, explained_variance) + 1)
        n_kept = max(1, min(enough, rows.shape[1] - 1, len(share)))
        pca = PCA(n_components=n_kept, svd_solver="full").fit(rows)
        t2, q = _t2_and_q(pca, rows)
        level = 1.0 - inputs.contamination
        t2_limit, q_limit = float(np.quantile(t2, level)), float(np.quantile(q, level))
        if q_limit < RESIDUAL_FLOOR * rows.shape[1]:
            q_limit = np.inf
        return cls(pca, t2_limit, q_limit, np.maximum(t2 / t2_limit, q / q_limit))

    def score(self, rows: Float64) -> Float64:
        """The larger of T2 and Q, each over its limit."""
        t2, q = _t2_and_q(self.pca, rows)
        return np.maximum(t2 / self.t2_limit, q / self.q_limit)

    def emit(self, graph: Graph, rows: str) -> str:
        """Add projection, T2, back-projection and Q."""
        axes = np.asarray(self.pca.components_, dtype=np.float64)
        centred = graph.add("Sub", rows, graph.const(np.asarray(self.pca.mean_, dtype=np.float64)))
        projected = graph.add("MatMul", centred, graph.const(axes.T))
        spread = graph.const(np.sqrt(self.pca.explained_variance_).astype(np.float64))
        columns = graph.const([1], "int64")
        t2 = graph.add("ReduceSumSquare", graph.add("Div", projected, spread), columns, keepdims=1)
        residual = graph.add("Sub", centred, graph.add("MatMul", projected, graph.const(axes)))
        q = graph.add("ReduceSumSquare", residual, columns, keepdims=1)
        t2_ratio = graph.add("Div", t2, graph.const(self.t2_limit, "float64"))
        return graph.add("Max", t2_ratio, graph.add("Div", q, graph.const(self.q_limit, "float64")))


def _t2_and_q(pca: Any, rows: Float64) -> tuple[Float64, Float64]:
    projected = pca.transform(rows)
    t2 = (projected**2 / pca.explained_variance_).sum(axis=1)
    q = ((rows - pca.inverse_transform(projected)) ** 2).sum(axis=1)
    return t2, q


def _squared_distances(graph: Graph, rows: str, points: NDArray[Any]) -> str:
    """Add `|x|^2 - 2 x p + |p|^2` between rows `(batch, d)` and `points` `(r, d)`; returns `(batch, r)`."""
    fixed = np.asarray(points, dtype=np.float64)
    own = graph.add("ReduceSumSquare", rows, graph.const([1], "int64"), keepdims=1)
    cross = graph.add("MatMul", rows, graph.const(-2.0 * fixed.T))
    return graph.add("Add", graph.add("Add", cross, own), graph.const((fixed**2).sum(axis=1)))
