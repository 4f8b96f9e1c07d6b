"""Holds what comes in, and the graph itself, against what `bundle.json` says of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nightshift.edge.manifest import MANIFEST_FILE, Column, Interface
from nightshift.edge.rows import find_columns
from nightshift.errors import BundleError, ColumnError, DtypeError, OrderError, ShapeError, UnitError, nearest

#: Key of the graph's own metadata under which export writes the columns, `[[name, unit], ...]`.
COLUMNS_KEY = "nightshift.columns"
_AGAIN = "Fetch the bundle again."
_FLOAT32, _INT64 = np.dtype(np.float32), np.dtype(np.int64)
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}


def columns_note(interface: Interface) -> str:
    """Return what export writes into the graph's metadata: its columns with their units, in order."""
    return json.dumps([[column.name, column.unit] for column in interface.columns], ensure_ascii=False)


def check_columns(given: Sequence[str], columns: Sequence[Column]) -> None:
    """Refuse an array whose columns, as its maker names them, are not the model's in their order.

    Args:
        given: name of each column of the array, as in a CSV header: `speed`, or with its unit `speed [rpm]`.
        columns: of the model.

    Raises:
        ColumnError, UnitError, OrderError: naming the first difference.
    """
    found = find_columns(given, columns)
    known = set(found.values())
    for name in given:
        if name not in known:
            raise ColumnError(f"the model takes no column '{name}'.", hint=nearest(name, [c.name for c in columns]))
    wanted = [found[column.name] for column in columns]
    if list(given) != wanted:
        at = next((i for i, (a, b) in enumerate(zip(given, wanted, strict=False)) if a != b), len(wanted))
        here = wanted[at] if at < len(wanted) else "none"
        raise OrderError(
            f"column {at} of the array is '{given[at]}', the model takes '{here}' there.",
            hint=f"Its order: {', '.join(column.name for column in columns[:12])}.",
        )


def check_inputs(inputs: Mapping[str, NDArray[Any]], interface: Interface) -> None:
    """Refuse inputs that are not what the model takes.

    Raises:
        ShapeError, DtypeError: for an array of another shape or type.
        BundleError: for a name too many or too few.
    """
    if not isinstance(inputs, Mapping):
        raise DtypeError(
            f"the model was given a {type(inputs).__name__}, expected arrays by name.",
            hint=f'Give {{"{interface.takes}": array}}.',
        )
    expected = interface.inputs()
    for name in sorted(str(name) for name in set(inputs) - set(expected)):
        raise BundleError(f"the model takes no input '{name}'.", hint=nearest(name, expected))
    for name in sorted(set(expected) - set(inputs)):
        raise BundleError(f"input '{name}' is missing.", hint=f"Expected: {', '.join(sorted(expected))}.")
    rows: int | None = None
    for name, (dtype, shape) in expected.items():
        check_array(name, inputs[name], np.dtype(dtype), (rows, *(int(size) for size in shape[1:])))
        rows = len(inputs[name])


class InputsKnown:
    """Tells in a microsecond that inputs are what the model takes: what does not change is laid out once.

    Whatever does not fit is left to `check_inputs`, which says what is wrong, or that nothing is.
    """

    def __init__(self, interface: Interface) -> None:
        expected = interface.inputs()
        self._name, self._n_inputs = interface.takes, len(expected)
        self._shape = expected[self._name][1][1:]
        self._ndim = 1 + len(self._shape)

    def fit(self, inputs: Mapping[str, NDArray[Any]]) -> bool:
        """Return True for a plain dict of plain arrays that `check_inputs` would pass."""
        # Exact types, and numpy's own dtype objects: a subclass, or a dtype that is only equal, takes the longer way.
        if type(inputs) is not dict or len(inputs) != self._n_inputs:
            return False
        given = inputs.get(self._name)
        if type(given) is not np.ndarray or given.dtype is not _FLOAT32 or given.ndim != self._ndim:
            return False
        if given.shape[1:] != self._shape:
            return False
        if self._n_inputs == 1:
            return True
        time = inputs.get("time_s")
        return type(time) is np.ndarray and time.dtype is _INT64 and time.shape == given.shape[:1]


def check_array(name: str, array: object, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> None:
    """Refuse an array of another type or shape; None fits any size.

    Raises:
        DtypeError: when it is no array, or of another type.
        ShapeError: when it has another shape.
    """
    if not isinstance(array, np.ndarray):
        raise DtypeError(f"input '{name}' is a {type(array).__name__}, expected a numpy array.")
    if array.dtype != dtype:
        raise DtypeError(f"input '{name}' is {array.dtype}, expected {dtype}.", hint=f"Use .astype(np.{dtype}).")
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = tuple("batch" if size is None else size for size in shape)
        raise ShapeError(f"input '{name}' has shape {array.shape}, expected {wanted}.")


def check_graph(session: ort.InferenceSession, interface: Interface) -> None:
    """Hold the graph's own inputs, outputs and columns against the manifest.

    Raises:
        ColumnError, UnitError, OrderError: when the graph was made for other columns.
        ShapeError, DtypeError: when it takes or gives arrays of another shape or type.
        BundleError: when its inputs or outputs have other names.
    """
    shapes = interface.inputs()
    if interface.takes == "observation" and (interface.window_rows != 1 or interface.uses_time):
        raise BundleError(f"{MANIFEST_FILE} says a window or a time of an observation, which has neither.", hint=_AGAIN)
    found = [value.name for value in session.get_inputs()]
    if sorted(found) != sorted(shapes):
        raise BundleError(f"the graph takes {found}, {MANIFEST_FILE} says {list(shapes)}.", hint=_AGAIN)
    for value in session.get_inputs():
        _check_value("takes", value, *shapes[value.name])
    outputs = {value.name: value for value in session.get_outputs()}
    listed = [output.name for output in interface.outputs]
    if sorted(listed) != sorted(outputs):
        raise BundleError(f"the graph gives {list(outputs)}, {MANIFEST_FILE} lists {listed}.", hint=_AGAIN)
    for output in interface.outputs:
        _check_value("gives", outputs[output.name], output.dtype, output.shape)
        _check_labels(output.name, output.shape, interface)
    _check_own_columns(session, interface.columns)


def _check_value(verb: str, value: Any, dtype: str, shape: Sequence[int | str]) -> None:
    """Hold one input or output of the graph against the manifest; a named or unknown size fits any."""
    own = _DTYPES.get(value.type, value.type)
    if own != dtype:
        raise DtypeError(f"the graph {verb} '{value.name}' as {own}, {MANIFEST_FILE} says {dtype}.", hint=_AGAIN)
    sizes = list(value.shape)
    clash = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(sizes, shape, strict=False))
    if len(sizes) != len(shape) or clash:
        raise ShapeError(
            f"the graph {verb} '{value.name}' of shape {sizes}, {MANIFEST_FILE} says {list(shape)}.", hint=_AGAIN
        )


def _check_labels(name: str, shape: Sequence[int | str], interface: Interface) -> None:
    """Names that the answers' columns are given must be as many as there are columns."""
    spread = {"probability": interface.classes, "score": interface.members, "action": interface.actions}
    labels = spread.get(name, ())
    sizes: Iterable[tuple[object, int]] = [(shape[-1], len(labels))] if labels and shape else []
    if interface.steps is not None and interface.sensors:
        if len(shape) != 3:
            raise ShapeError(f"{MANIFEST_FILE} says shape {list(shape)} of the forecast '{name}'.", hint=_AGAIN)
        sizes = [(shape[1], interface.steps), (shape[2], len(interface.sensors))]
    if any(isinstance(size, int) and size != count for size, count in sizes):
        raise ShapeError(f"{MANIFEST_FILE} names other columns of '{name}' than it has.", hint=_AGAIN)


def _check_own_columns(session: ort.InferenceSession, columns: Sequence[Column]) -> None:
    """Compare the columns that the graph was made for, which older graphs do not tell, with the manifest's."""
    note = session.get_modelmeta().custom_metadata_map.get(COLUMNS_KEY)
    if note is None:
        return
    try:
        own = [(str(name), str(unit)) for name, unit in json.loads(note)]
    except (ValueError, TypeError, RecursionError) as error:
        raise BundleError("the graph's own note of its columns cannot be read.", hint=_AGAIN) from error
    said = [(column.name, column.unit) for column in columns]
    if own == said:
        return
    names, listed = [name for name, _ in own], [name for name, _ in said]
    if sorted(names) != sorted(listed):
        odd = sorted(set(names) ^ set(listed)) or names
        raise ColumnError(f"the graph and {MANIFEST_FILE} do not agree on column '{odd[0]}'.", hint=_AGAIN)
    if names != listed:
        raise OrderError(f"the graph takes columns {names}, {MANIFEST_FILE} says {listed}.", hint=_AGAIN)
    name, unit, other = next((n, u, o) for (n, u), (_, o) in zip(own, said, strict=True) if u != o)
    raise UnitError(f"the graph takes '{name}' in '{unit}', {MANIFEST_FILE} says '{other}'.", hint=_AGAIN)
