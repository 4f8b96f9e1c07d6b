"""A fitted AutoGluon tabular predictor as nodes of one graph.

Covers binary, multiclass and regression predictors whose best model is, or weighs, LightGBM, XGBoost, CatBoost,
RandomForest, ExtraTrees and the torch network, bagged, stacked, refitted on all rows or single. What AutoGluon does
around its models is copied: columns with two values become 0/1, its sparse rows let XGBoost read 0 as missing,
probabilities are clipped for log-loss metrics, temperatures are applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nightshift.errors import ExportError
from nightshift.graphs.boosters import catboost_model, lightgbm_model, xgboost_model
from nightshift.graphs.build import ELEMENT_TYPES
from nightshift.graphs.nets import add_network, network_columns
from nightshift.graphs.trees import Floats, Ints, TreeModel, add_tree_models, forest_model

if TYPE_CHECKING:
    from autogluon.tabular import TabularPredictor

    from nightshift.graphs.build import Graph

#: AutoGluon keeps probabilities this far from 0 and 1 where the metric is a log loss.
_EPSILON = 1e-7
_CONVERTIBLE = (
    "LightGBM (GBM), XGBoost (XGB), CatBoost (CAT), RandomForest (RF), ExtraTrees (XT), NeuralNetTorch (NN_TORCH)"
)
#: Generators that leave float columns as they are, drop them, or make them 0/1.
_PLAIN_GENERATORS = {
    "AsTypeFeatureGenerator",
    "AutoMLPipelineFeatureGenerator",
    "BulkFeatureGenerator",
    "DropDuplicatesFeatureGenerator",
    "DropUniqueFeatureGenerator",
    "FillNaFeatureGenerator",
    "IdentityFeatureGenerator",
    "PipelineFeatureGenerator",
}


@dataclass(frozen=True)
class _Table:
    """A float32 value `(batch, n)` and the column index of each name."""

    value: str
    index: Mapping[str, int]

    def columns(self, names: Sequence[str], model: str) -> Ints:
        missing = [name for name in names if name not in self.index]
        if missing:
            raise ExportError(f"model '{model}' reads column '{missing[0]}', which the graph's features do not hold.")
        return np.array([self.index[name] for name in names], np.int64)


@dataclass(frozen=True)
class _Prediction:
    """A prediction kept as a linear mix, so that folds and members are averaged once, at the end.

    Attributes:
        value: double value `(batch, n_parts)`.
        mix: `(n_parts, n_targets)`; the prediction is `value @ mix`. One target for binary (positive class) and
            regression, else one per class.
        folds: how many equally weighted blocks of targets `value` holds.
    """

    value: str
    mix: Floats
    folds: int = 1


def add_predictor(graph: Graph, features: str, columns: Sequence[str], predictor: TabularPredictor) -> str:
    """Add the nodes of the predictor's best model.

    Args:
        graph: receives the nodes.
        features: float32 value `(batch, len(columns))`; NaN is missing.
        columns: names of its columns, as the predictor was given them; it may have dropped some.
        predictor: a fitted predictor that was given float columns alone.

    Returns:
        float32 value: probabilities `(batch, n_classes)` in the order of `predictor.class_labels`, or predictions
        `(batch, 1)` in the target's unit for regression.

    Raises:
        ExportError: naming the model and the reason, when a part of it has no faithful converter.
    """
    trainer = predictor._trainer
    if trainer.problem_type not in ("binary", "multiclass", "regression"):
        raise ExportError(f"AutoGluon problem type '{trainer.problem_type}' has no converter.")
    table = _Table(features, {name: i for i, name in enumerate(columns)})
    booleans = _boolean_columns(predictor._learner.feature_generators)
    builder = _Builder(graph, trainer, _with_booleans(graph, table, booleans))
    best = builder.predict(predictor.model_best)
    if trainer.problem_type == "regression":
        return _to_float(graph, builder.collapsed(best))
    return _probabilities(graph, best, predictor)


def member_nodes(predictor: TabularPredictor, *, weight_nodes: float) -> dict[str, int]:
    """Return the nodes of each fitted member's trees, folds together.

    Args:
        predictor: fitted.
        weight_nodes: how many nodes a network's weight counts as.

    Raises:
        ExportError: as `add_predictor`.
    """
    trainer = predictor._trainer
    n_classes = _classes(trainer)
    counted = {}
    for name in trainer.get_model_names():
        model = trainer.load_model(name)
        if hasattr(model, "_get_model_weights"):
            continue
        folds = [model.load_child(child) for child in model.models] if hasattr(model, "load_child") else [model]
        counted[name] = sum(_nodes(fold, name, n_classes, weight_nodes) for fold in folds)
    return counted


def _nodes(model: Any, name: str, n_classes: int, weight_nodes: float) -> int:
    if model.ag_key == "NN_TORCH":
        return int(weight_nodes * sum(part.numel() for part in model.model.parameters()))
    anywhere = _Table("", dict.fromkeys(_input_names(model), 0))
    return sum(len(tree.left) for tree in _read(model, name, anywhere, n_classes).trees)


def _classes(trainer: Any) -> int:
    """Return 0 for regression, else the number of classes that were trained on."""
    return int({"regression": 0, "binary": 2}.get(trainer.problem_type, trainer.num_classes))


def _probabilities(graph: Graph, best: _Prediction, predictor: TabularPredictor) -> str:
    """Spread the internal prediction over all class labels, classes too rare to be trained on included as 0."""
    mix, constant = best.mix, np.zeros(best.mix.shape[1])
    if predictor._trainer.problem_type == "binary":
        mix, constant = np.hstack([-mix, mix]), np.array([1.0, 0.0])
    cleaner = predictor._learner.label_cleaner
    if getattr(cleaner, "invalid_class_count", 0):
        place = np.eye(len(cleaner.ordered_class_labels))[cleaner.label_index_to_keep]
        mix, constant = mix @ place, constant @ place
    if not constant.any() and np.array_equal(mix, np.eye(len(mix))):
        return _to_float(graph, best.value)
    return _to_float(graph, graph.add("Gemm", best.value, graph.const(mix), graph.const(constant)))


def _to_float(graph: Graph, value: str) -> str:
    return graph.add("Cast", value, to=ELEMENT_TYPES["float32"])


def _to_double(graph: Graph, value: str) -> str:
    return graph.add("Cast", value, to=ELEMENT_TYPES["float64"])


def _boolean_columns(generators: Sequence[Any]) -> dict[str, float]:
    """Return, for each column that AutoGluon turned into 0/1, the value that it calls 1.

    Raises:
        ExportError: when a generator computes features of its own, or a column is not a float.
    """
    booleans: dict[str, float] = {}
    waiting = list(generators)
    while waiting:
        generator = waiting.pop()
        kind = type(generator).__name__
        if kind not in _PLAIN_GENERATORS:
            raise ExportError(
                f"AutoGluon's {kind} computes features that have no converter.",
                hint="Give AutoGluon float32 columns only.",
            )
        booleans |= getattr(generator, "_bool_features", None) or {}
        for stage in ("pre_generators", "generators", "post_generators"):
            for part in _parts(generator, stage):
                waiting += part if isinstance(part, list) else [part]
        if kind == "AsTypeFeatureGenerator":
            _refuse_other_than_floats(generator)
    return booleans


def _parts(generator: Any, stage: str) -> list[Any]:
    return list(getattr(generator, stage, None) or getattr(generator, f"_{stage}", None) or [])


def _refuse_other_than_floats(generator: Any) -> None:
    raw = generator.feature_metadata_in.type_map_raw
    for name, kind in raw.items():
        if kind != "float":
            raise ExportError(
                f"column '{name}' reached AutoGluon as {kind}, expected float.", hint="Cast it to float32."
            )


def _with_booleans(graph: Graph, table: _Table, booleans: Mapping[str, float]) -> _Table:
    """Replace each two-valued column by 1 where it equals its true value and 0 elsewhere, NaN included."""
    known = {name: value for name, value in booleans.items() if name in table.index}
    if not known:
        return table
    true_value = np.full((1, len(table.index)), np.nan, np.float32)
    for name, value in known.items():
        true_value[0, table.index[name]] = value
    is_boolean = graph.const(~np.isnan(true_value))
    equal = graph.add("Equal", table.value, graph.const(true_value))
    as_float = graph.add("Cast", equal, to=ELEMENT_TYPES["float32"])
    return _Table(graph.add("Where", is_boolean, as_float, table.value), table.index)


class _Builder:
    """Adds models of one trainer to one graph, each once."""

    def __init__(self, graph: Graph, trainer: Any, table: _Table) -> None:
        self._graph = graph
        self._trainer = trainer
        self._table = table
        self._n_classes = _classes(trainer)
        self._done: dict[str, _Prediction] = {}

    def predict(self, name: str) -> _Prediction:
        """Return the prediction of the trainer's model `name`, adding its nodes on first use."""
        if name not in self._done:
            self._done[name] = self._add(self._trainer.load_model(name))
        return self._done[name]

    def collapsed(self, prediction: _Prediction) -> str:
        """Return the prediction as one double value `(batch, n_targets)`."""
        if np.array_equal(prediction.mix, np.eye(len(prediction.mix))):
            return prediction.value
        return self._graph.add("MatMul", prediction.value, self._graph.const(prediction.mix))

    def _add(self, model: Any) -> _Prediction:
        if hasattr(model, "_get_model_weights"):
            prediction = self._weighted(model)
        elif hasattr(model, "load_child"):
            prediction = self._folds(
                model.name, [model.load_child(child) for child in model.models], self._below(model)
            )
        else:
            prediction = self._folds(model.name, [model], self._table)
        if model.temperature_scalar is None:
            return prediction
        value = self._with_temperature(self.collapsed(prediction), float(model.temperature_scalar))
        return _Prediction(value, np.eye(prediction.mix.shape[1]))

    def _weighted(self, model: Any) -> _Prediction:
        # Its members are clipped already where the metric asks for it, and weights sum to one: nothing left to clip.
        weights = {model.stack_column_prefix_to_model_map[p]: w for p, w in model._get_model_weights().items()}
        members = {name: self.predict(name) for name in weights}
        mix = np.vstack([member.mix * float(weights[name]) for name, member in members.items()])
        return _Prediction(self._concat([member.value for member in members.values()]), mix)

    def _below(self, model: Any) -> _Table:
        """Append the layer below's predictions to the columns of a stacked model, under AutoGluon's names for them."""
        names = list(getattr(model, "stack_columns", None) or [])
        if not names:
            return self._table
        members = [model.stack_column_prefix_to_model_map[prefix] for prefix in model.stack_column_prefix_lst]
        below = [self._as_autogluon_rounds(self.predict(member)) for member in members]
        start = len(self._table.index)
        index = {**self._table.index, **{name: start + i for i, name in enumerate(names)}}
        return _Table(self._concat([self._table.value, *below]), index)

    def _as_autogluon_rounds(self, prediction: _Prediction) -> str:
        """Average folds in float32, one after the other: trees stacked on top split between neighbouring floats."""
        if prediction.folds == 1:
            return _to_float(self._graph, self.collapsed(prediction))
        value = _to_float(self._graph, prediction.value)
        folds = self._graph.add_many("Split", [value], prediction.folds, axis=1, num_outputs=prediction.folds)
        return self._graph.add("Div", self._graph.add("Sum", *folds), self._graph.const(prediction.folds, "float32"))

    def _folds(self, name: str, models: Sequence[Any], table: _Table) -> _Prediction:
        if len(models) > 1 and any(model.temperature_scalar is not None for model in models):
            raise ExportError(f"folds of model '{name}' carry a temperature each, which has no converter.")
        n_targets = self._n_classes if self._n_classes > 2 else 1
        if models[0].ag_key == "NN_TORCH":
            value = self._concat([self._network(model, name, table) for model in models])
        else:
            read = [_read(model, name, table, self._n_classes) for model in models]
            value = add_tree_models(self._graph, table.value, read)
        if self._n_classes and models[0].normalize_pred_probas:
            value = self._clipped(value, len(models), n_targets)
        return _Prediction(value, np.tile(np.eye(n_targets), (len(models), 1)) / len(models), len(models))

    def _network(self, model: Any, name: str, table: _Table) -> str:
        with _named(name):
            columns = table.columns(network_columns(model), name)
            return add_network(self._graph, table.value, columns, model)

    def _clipped(self, value: str, folds: int, n_targets: int) -> str:
        """Keep probabilities off 0 and 1, and let each fold's classes sum to one again."""
        graph = self._graph
        low, high = graph.const(_EPSILON, "float64"), graph.const(1 - _EPSILON, "float64")
        if n_targets == 1:
            return graph.add("Clip", value, low, high)
        by_fold = graph.add("Reshape", value, graph.const([-1, folds, n_targets], "int64"))
        clipped = graph.add("Clip", by_fold, low)
        shares = graph.add("Div", clipped, graph.add("ReduceSum", clipped, graph.const([-1], "int64"), keepdims=1))
        return graph.add("Reshape", shares, graph.const([-1, folds * n_targets], "int64"))

    def _with_temperature(self, value: str, temperature: float) -> str:
        """Divide log-probabilities by the temperature and normalise again."""
        graph = self._graph
        # AutoGluon takes the complement and the logarithm of float32 probabilities, which matters close to 1.
        rounded = _to_float(graph, value)
        if self._n_classes == 2:
            rest = graph.add("Sub", graph.const(1.0, "float32"), rounded)
            rounded = graph.add("Concat", rest, rounded, axis=1)
        logits = graph.add("Log", _to_double(graph, rounded))
        shares = graph.add("Softmax", graph.add("Div", logits, graph.const(temperature, "float64")), axis=-1)
        if self._n_classes == 2:
            return graph.add("Gather", shares, graph.const([1], "int64"), axis=1)
        return shares

    def _concat(self, values: Sequence[str]) -> str:
        return values[0] if len(values) == 1 else self._graph.add("Concat", *values, axis=1)


def _read(model: Any, name: str, table: _Table, n_classes: int) -> TreeModel:
    """Read one fitted AutoGluon model into trees.

    Raises:
        ExportError: naming the model, when its type or a part of it has no converter.
    """
    readers: dict[str, Callable[[Any, Ints], TreeModel]] = {
        "GBM": lambda fitted, columns: lightgbm_model(fitted.model, columns),
        "XGB": lambda fitted, columns: xgboost_model(fitted.model, columns, zero_is_missing=fitted._ohe),
        "CAT": lambda fitted, columns: catboost_model(fitted.model, columns),
        "RF": lambda fitted, columns: forest_model(fitted.model, columns, n_classes),
        "XT": lambda fitted, columns: forest_model(fitted.model, columns, n_classes),
    }
    reader = readers.get(model.ag_key)
    if reader is None:
        raise ExportError(
            f"model '{name}' is a {type(model).__name__}, which has no converter.",
            hint=f"Train with only these model types: {_CONVERTIBLE}.",
        )
    with _named(name):
        return reader(model, table.columns(_input_names(model), name))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the model's name before the reason why it cannot be converted."""
    try:
        yield
    except ExportError as error:
        raise ExportError(f"model '{name}' cannot be converted: {error.what}", hint=error.hint) from error


def _input_names(model: Any) -> list[str]:
    """Return the columns a model's trees number, in their order."""
    if model._model_specific_feature_generators is not None:
        raise ExportError("it computes features of its own.", hint="Leave out model-specific preprocessing.")
    names = list(model._features_internal_to_align)
    if getattr(model, "_requires_remap", False):
        original = {renamed: name for name, renamed in model._features_internal_map.items()}
        names = [original[name] for name in names]
    one_hot = getattr(model, "_ohe_generator", None)
    if one_hot is not None:
        names = list(one_hot.other_cols)
    return names
