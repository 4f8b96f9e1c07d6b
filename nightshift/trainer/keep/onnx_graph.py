"""The graph of a fitted model, by each library's converter, with the caller's labels."""

from __future__ import annotations

import copy
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import ExportError
from nightshift.trainer.keep.native import Peeled

OPSETS = {"": 17, "ai.onnx.ml": 3}
_IR = 8
_X = "x"
_ANSWERS = frozenset({"label", "probabilities", "value"})
_GAP_ROWS = 100


def single(X: Any) -> Any:
    """Return rows with their numbers in single precision, of X's own type; those whose text has gaps are left out.

    Raises:
        ExportError: for a column that is neither numbers nor text.
    """
    if not hasattr(X, "iloc"):
        return np.asarray(X, np.float32)
    rows = X.copy()
    whole = np.ones(len(rows), bool)
    for name in rows.columns:
        column = rows[name]
        if _is_number(column):
            rows[name] = column.to_numpy(np.float32, na_value=np.nan)
        elif column.map(lambda one: isinstance(one, str) or one is None or one != one).all():
            whole &= column.notna().to_numpy()
        else:
            raise ExportError(
                f"column {name!r} of {column.dtype} has no ONNX form.", hint="Make numbers or text of it, or save."
            )
    return rows[whole]


def _is_number(column: Any) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return bool(is_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype))


def mixed(rows: Any, count: int, seed: int) -> Any:
    """Return rows whose values are each drawn from their column: places of the table where few rows are."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(rows), (count, rows.shape[1]))
    if not hasattr(rows, "iloc"):
        return np.take_along_axis(rows, drawn, axis=0)
    # Each column keeps its own type.
    some = rows.iloc[drawn[:, 0]].reset_index(drop=True)
    return some.assign(**{name: rows[name].array[drawn[:, place]] for place, name in enumerate(rows.columns)})


def with_gaps(rows: Any, seed: int) -> Any:
    """Return some rows with a gap in one of their numbers; None where there are no numbers."""
    rng = np.random.default_rng(seed)
    some = (rows.iloc if hasattr(rows, "iloc") else rows)[:_GAP_ROWS].copy()
    if not hasattr(some, "iloc"):
        some[np.arange(len(some)), rng.integers(0, some.shape[1], len(some))] = np.nan
        return some
    numbers = [name for name in some.columns if some[name].dtype == np.float32]
    if not numbers:
        return None
    chosen = rng.integers(0, len(numbers), len(some))
    for place, name in enumerate(numbers):
        some[name] = some[name].mask(chosen == place)
    return some


def run(graph: Any, rows: Any) -> dict[str, NDArray[Any]]:
    """Return a graph's answers by name."""
    from nightshift.edge.session import open_session

    session = open_session(graph.SerializeToString())
    names = [value.name for value in session.get_inputs()]
    if names == [_X]:
        given = {_X: np.ascontiguousarray(rows, np.float32)}
    else:
        given = {str(name): _column(rows[name]) for name in rows.columns if str(name) in names}
    outputs = [value.name for value in session.get_outputs()]
    return dict(zip(outputs, map(np.asarray, session.run(outputs, given)), strict=True))


def _column(values: Any) -> NDArray[Any]:
    numbers = values.dtype == np.float32
    return np.asarray(values.to_numpy(np.float32 if numbers else object)).reshape(-1, 1)


def converted(peeled: Peeled, rows: Any) -> Any:
    """Return the graph of a model that was taken apart.

    Args:
        rows: as of `single`.
    """
    from sklearn.base import is_classifier

    bare = bare_of(peeled.estimator)
    inputs, front = _inputs(rows), _without_plain(peeled.front)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converters' own: dtypes, options
        convert = _catboost if peeled.kind.name == "catboost" else _by_skl2onnx
        graph = convert(bare, front, inputs)
    # skl2onnx makes identifiers of the columns' names.
    for value, (name, _) in zip(list(graph.graph.input), inputs, strict=True):
        _rename(graph, value.name, name)
    told = hasattr(bare, "predict_proba")
    if not is_classifier(bare):
        return _finished(graph, ("value",))
    if bare is not peeled.estimator or peeled.threshold is not None or peeled.kind.name == "catboost":
        _label(graph, peeled.estimator.classes_, peeled.threshold)
    return _finished(graph, ("label", "probabilities") if told else ("label",))


def bare_of(estimator: Any) -> Any:
    """Return a library's own estimator, which may know codes in place of labels."""
    return estimator.estimator if type(estimator).__module__ == "nightshift.trainer.labelled" else estimator


def _inputs(rows: Any) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    text = hasattr(rows, "iloc") and any(rows[name].dtype != np.float32 for name in rows.columns)
    if not text:
        return [(_X, FloatTensorType([None, rows.shape[1]]))]
    for name in _ANSWERS & {str(name) for name in rows.columns}:
        raise ExportError(f"column '{name}' has the name of the graph's answer.", hint="Rename the column.")
    kinds = [FloatTensorType if rows[name].dtype == np.float32 else StringTensorType for name in rows.columns]
    return [(str(name), kind([None, 1])) for name, kind in zip(rows.columns, kinds, strict=True)]


def _without_plain(front: Any) -> Any:
    """Return the steps before an estimator, without the one that reads pandas' nullable columns."""
    if front is None:
        return None
    from sklearn.pipeline import Pipeline

    steps: list[tuple[str, Any]] = []
    for name, step in front.steps:
        inner = step.steps if type(step) is Pipeline else [("", step)]
        kept = [each for each in inner if type(each[1]).__name__ != "Plain"]
        if len(kept) == len(inner):
            steps.append((name, step))
        else:
            steps.extend((f"{name}_{inner_name}", each) for inner_name, each in kept)
    return Pipeline(steps) if steps else None


def _by_skl2onnx(bare: Any, front: Any, inputs: list[tuple[str, Any]]) -> Any:
    from skl2onnx import convert_sklearn
    from sklearn.pipeline import Pipeline

    _register()
    if type(bare).__name__.startswith("LGBM"):
        bare = _floored(bare)
    model = bare if front is None else Pipeline([*front.steps, ("estimator", bare)])
    options = {id(bare): {"zipmap": False}} if hasattr(bare, "predict_proba") else None
    if type(bare).__name__ == "LinearSVC":  # behind other steps skl2onnx asks it for what it has not
        options = {id(bare): {"raw_scores": True}}
    graph = convert_sklearn(model, initial_types=inputs, options=options, target_opset=OPSETS)
    _route_gaps(graph, bare)
    return graph


def _register() -> None:
    """Tell skl2onnx of the boosters."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator as shapes

    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    for library in ("lightgbm", "xgboost"):
        for model, convert, classifies in _boosters(library):
            shape = (
                shapes.calculate_linear_classifier_output_shapes
                if classifies
                else shapes.calculate_linear_regressor_output_shapes
            )
            told = {"options": options} if classifies else {}
            update_registered_converter(model, f"Nightshift{model.__name__}", shape, convert, **told)


def _boosters(library: str) -> list[tuple[Any, Any, bool]]:
    import importlib.util

    if importlib.util.find_spec(library) is None:
        return []
    if library == "lightgbm":
        from lightgbm import LGBMClassifier, LGBMRegressor
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

        return [(LGBMClassifier, convert_lightgbm, True), (LGBMRegressor, convert_lightgbm, False)]
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from xgboost import XGBClassifier, XGBRegressor

    return [(XGBClassifier, convert_xgboost, True), (XGBRegressor, convert_xgboost, False)]


def _floored(model: Any) -> Any:
    """Return LightGBM's estimator with thresholds that float32 rows pass as they pass its doubles.

    The converter rounds them to the nearest float32, which sends a row on a threshold the other way.
    """
    import lightgbm

    def floor(line: re.Match[str]) -> str:
        return "threshold=" + " ".join(repr(float(_floor32(float(one)))) for one in line[1].split())

    # Without the trees' sizes in bytes, which change with their thresholds, they are read one after the other.
    text = re.sub(r"^tree_sizes=.*\n", "", model.booster_.model_to_string(), flags=re.MULTILINE)
    made = copy.copy(model)
    made._Booster = lightgbm.Booster(model_str=re.sub(r"^threshold=(.*)$", floor, text, flags=re.MULTILINE))
    return made


def _floor32(value: float) -> np.float32:
    near = np.float32(value)
    return np.nextafter(near, np.float32(-np.inf)) if float(near) > value else near


def _route_gaps(graph: Any, bare: Any) -> None:
    """Send gaps where scikit-learn's trees send them; its converter sends them all to the right.

    A forest is one node of all its trees; of a bag each tree has a node of its own.
    """
    ensembles = [node for node in graph.graph.node if node.op_type.startswith("TreeEnsemble")]
    trees = [each.tree_ for each in getattr(bare, "estimators_", [bare]) if hasattr(each, "tree_")]
    if not trees or len(ensembles) not in (1, len(trees)):
        return
    for place, ensemble in enumerate(ensembles):
        _route_gaps_of(ensemble, trees if len(ensembles) == 1 else [trees[place]])


def _route_gaps_of(ensemble: Any, trees: list[Any]) -> None:
    from onnx import helper

    told = {attribute.name: attribute for attribute in ensemble.attribute}
    numbers, modes = told["nodes_treeids"].ints, told["nodes_modes"].strings
    if len(modes) != sum(tree.node_count for tree in trees):
        return
    places = zip(numbers, told["nodes_nodeids"].ints, modes, strict=True)
    left = [int(mode != b"LEAF" and trees[tree].missing_go_to_left[node]) for tree, node, mode in places]
    if "nodes_missing_value_tracks_true" in told:
        ensemble.attribute.remove(told["nodes_missing_value_tracks_true"])
    ensemble.attribute.append(helper.make_attribute("nodes_missing_value_tracks_true", left))


def _catboost(bare: Any, front: Any, inputs: list[tuple[str, Any]]) -> Any:
    """Return CatBoost's own graph, without its map of labels, behind that of the steps before it."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        bare.save_model(str(path), format="onnx")
        graph = onnx.load(path)
    _at_opset(graph)
    nodes = graph.graph.node
    for node in [each for each in nodes if each.op_type == "ZipMap"]:
        nodes.remove(node)
    trees = next(node for node in nodes if node.op_type.startswith("TreeEnsemble"))
    del graph.graph.output[:]
    number = onnx.TensorProto.FLOAT
    # The last of a tree node's outputs are the numbers: of a classifier the probabilities.
    graph.graph.output.append(onnx.helper.make_tensor_value_info(trees.output[-1], number, [None, None]))
    if front is None:
        _rename(graph, graph.graph.input[0].name, _X)
        return graph
    from skl2onnx import convert_sklearn

    before = convert_sklearn(front, initial_types=inputs, target_opset=OPSETS)
    _at_opset(before)
    graph = onnx.compose.add_prefix(graph, "catboost_")
    joint = [(before.graph.output[0].name, graph.graph.input[0].name)]
    return onnx.compose.merge_models(before, graph, io_map=joint)


def _at_opset(graph: Any) -> None:
    from onnx import helper

    del graph.opset_import[:]
    graph.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in OPSETS.items())
    graph.ir_version = _IR


def _label(graph: Any, classes: NDArray[Any], threshold: float | None) -> None:
    """Let the graph's label be the caller's, of the likeliest class or by a threshold of the second."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = graph.graph.node, graph.graph.initializer
    told = graph.graph.output[-1].name
    if threshold is None:
        nodes.append(helper.make_node("ArgMax", [told], ["nightshift_code"], axis=1, keepdims=0))
    else:
        constants.append(numpy_helper.from_array(np.array(1, np.int64), "nightshift_second"))
        constants.append(numpy_helper.from_array(np.array(threshold, np.float32), "nightshift_threshold"))
        nodes.append(helper.make_node("Gather", [told, "nightshift_second"], ["nightshift_of_second"], axis=1))
        named = ["nightshift_of_second", "nightshift_threshold"]
        nodes.append(helper.make_node("GreaterOrEqual", named, ["nightshift_found"]))
        nodes.append(helper.make_node("Cast", ["nightshift_found"], ["nightshift_code"], to=TensorProto.INT64))
    labels = np.asarray(classes)
    kind = {"b": "int64s", "i": "int64s", "u": "int64s", "f": "floats"}.get(labels.dtype.kind, "strings")
    values = labels.astype(str).tolist() if kind == "strings" else labels.astype(float if kind == "floats" else int)
    keys = {"keys_int64s": list(range(len(labels))), f"values_{kind}": list(values)}
    nodes.append(
        helper.make_node("LabelEncoder", ["nightshift_code"], ["nightshift_label"], domain="ai.onnx.ml", **keys)
    )
    types = {"int64s": TensorProto.INT64, "floats": TensorProto.FLOAT, "strings": TensorProto.STRING}
    label = helper.make_tensor_value_info("nightshift_label", types[kind], [None])
    probabilities = copy.deepcopy(graph.graph.output[-1])
    del graph.graph.output[:]
    graph.graph.output.extend([label, probabilities])


def _finished(graph: Any, names: tuple[str, ...]) -> Any:
    """Name a graph's outputs, leave out the others, and check it."""
    import onnx

    for value in list(graph.graph.output)[len(names) :]:
        graph.graph.output.remove(value)
    for value, name in zip(list(graph.graph.output), names, strict=True):
        _rename(graph, value.name, name)
    _at_opset(graph)
    graph.producer_name = "nightshift"
    onnx.checker.check_model(graph)
    return graph


def _rename(graph: Any, old: str, new: str) -> None:
    """Rename a value wherever it stands; what has the new name already makes room."""
    if old == new:
        return
    taken = {name for node in graph.graph.node for name in (*node.input, *node.output)}
    if new in taken:
        _rename(graph, new, f"{new}_inner")
    for node in graph.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    for value in (*graph.graph.input, *graph.graph.output):
        if value.name == old:
            value.name = new
