"""A graph for one row at a time, as a DSP's converter takes it: rows are answered in turn, gaps are filled before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nightshift.errors import BundleError

#: Key of such a graph's own metadata: what takes the place of missing readings, a number a column.
FILL_KEY = "nightshift.fill"


class OneRow:
    """Answers any number of rows with a graph whose batch is 1."""

    def __init__(self, session: ort.InferenceSession, name: str, fill: NDArray[np.float32] | None) -> None:
        self._session, self._name, self._fill = session, name, fill

    @classmethod
    def of(cls, session: ort.InferenceSession) -> Self | None:
        """Return what answers with a graph; None where that takes any number of rows itself.

        Raises:
            BundleError: when the graph's note of what fills gaps does not fit it.
        """
        given = next(value for value in session.get_inputs() if value.name in ("window", "observation"))
        if not isinstance(given.shape[0], int):
            return None
        note = session.get_modelmeta().custom_metadata_map.get(FILL_KEY)
        try:
            fill = None if note is None else np.asarray(json.loads(note), np.float32)
        except (ValueError, TypeError, RecursionError):
            fill = np.empty(0, np.float32)
        if fill is not None and fill.shape != (given.shape[-1],):
            raise BundleError("the graph's own note of what fills gaps cannot be read.", hint="Fetch the bundle again.")
        return cls(session, given.name, fill)

    def answer(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs of some names, each with as many rows as the inputs have."""
        given = dict(inputs)
        if self._fill is not None:
            values = given[self._name]
            given[self._name] = np.where(np.isfinite(values), values, self._fill)
        rows = [self._session.run(names, row) for row in _rows(given)]
        n_rows = len(given[self._name])
        return [np.concatenate([row[i] for row in rows])[:n_rows] for i in range(len(names))]


def _rows(inputs: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield them one by one; a row of zeros where there are none, so that answers have their shapes."""
    n_rows = len(next(iter(inputs.values())))
    for i in range(n_rows):
        yield {name: values[i : i + 1] for name, values in inputs.items()}
    if not n_rows:
        yield {name: np.zeros((1, *values.shape[1:]), values.dtype) for name, values in inputs.items()}
