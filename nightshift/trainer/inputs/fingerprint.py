"""The fingerprint of a table: any other value, row order, column, name or type gives another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.trainer.contract import Table
from nightshift.trainer.inputs.refuse import rows_together
from nightshift.trainer.inputs.table import is_frame, is_sparse

#: Bytes that one digest is made of; the digests are made side by side, and one is made of all of them.
_BLOCK = 8 << 20
#: Digests that are made at once: hashing frees the interpreter, so that a fit beside it goes on.
_THREADS = 2

_Piece = Callable[[], bytes]


def fingerprint(table: Table) -> str:
    """Return 64 hex digits; how a frame lies in memory makes no difference, nor does its index."""
    X = table.X
    told = {
        "format": 1,
        "rows": table.n_rows,
        "columns": table.columns,
        "dtypes": [str(one) for one in X.dtypes] if is_frame(X) else str(X.dtype),
        "y": str(table.y.dtype),
        "given": [table.groups is not None, table.times is not None],
    }
    whole = hashlib.sha256(json.dumps(told).encode())
    with ThreadPoolExecutor(_THREADS) as threads:
        for digest in threads.map(lambda piece: piece(), list(_pieces(table))):
            whole.update(digest)
    return whole.hexdigest()


def _pieces(table: Table) -> Iterator[_Piece]:
    """Yield what makes a digest each, in an order that is the same for the same table."""
    X = table.X
    if is_frame(X):
        yield from _of_frame(X)
    elif is_sparse(X):
        for values in (X.data, X.indices, X.indptr):
            yield from _of_rows(values)
    else:
        yield from _of_rows(X)
    for values in (table.y, table.groups, table.times):
        if values is not None:
            yield from _of_rows(values)


def _of_rows(values: NDArray[Any]) -> Iterator[_Piece]:
    """Yield a piece for each block of rows of an array."""
    if values.dtype == object:
        yield partial(_words, values)
        return
    step = max(1, _BLOCK // max(1, values.dtype.itemsize * (values.size // max(1, len(values)))))
    for start in range(0, len(values), step):
        yield partial(_digest, values, slice(start, start + step))


def _of_frame(X: Any) -> Iterator[_Piece]:
    """Yield a piece for each block of rows of the plain columns, then one for each other column."""
    plain = [i for i, dtype in enumerate(X.dtypes) if isinstance(dtype, np.dtype) and dtype.kind in "biufmM"]
    width = sum(X.dtypes.iloc[i].itemsize for i in plain)
    together = rows_together(X)
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, len(X) if plain else 0, step):
        rows = slice(start, start + step)
        if together:
            yield partial(_of_block, X, rows)
        else:
            yield partial(_of_columns, X, plain, rows)
    for i in sorted(set(range(X.shape[1])) - set(plain)):
        yield partial(_words, X.iloc[:, i])


def _digest(values: NDArray[Any], rows: slice) -> bytes:
    return hashlib.sha256(_bytes(values[rows])).digest()


def _of_block(X: Any, rows: slice) -> bytes:
    return hashlib.sha256(_bytes(X.iloc[rows].to_numpy().T)).digest()


def _of_columns(X: Any, positions: list[int], rows: slice) -> bytes:
    digest = hashlib.sha256()
    for i in positions:
        digest.update(_bytes(X.iloc[:, i].to_numpy()[rows]))
    return digest.digest()


def _bytes(values: NDArray[Any]) -> memoryview:
    """Return an array's bytes, row by row; without a copy where they lie so."""
    return memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def _words(values: Any) -> bytes:
    """Return a digest of values that are no plain numbers: text, categories, nullable columns."""
    import pandas as pd

    hashes = pd.util.hash_pandas_object(pd.Series(values), index=False)
    return hashlib.sha256(_bytes(hashes.to_numpy())).digest()
