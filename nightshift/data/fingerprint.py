"""The fingerprint of a dataset: what its columns hold and what its metadata says, not how parquet packed it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import PARTS, Metadata

if TYPE_CHECKING:
    import pandas as pd

#: Left out of the hash: the same data landed twice is the same dataset.
_NOT_HASHED = {"created_at"}
#: Added to the metadata later: without a say in the hash of data that have none of it, which keep their fingerprints.
_HASHED_WHERE_SET: dict[str, object] = {"group": "machine", "truths": [], "files": {}}


def fingerprint(frames: Mapping[str, pd.DataFrame], metadata: Metadata) -> str:
    """Return 64 hex digits that change when any value, column, dtype, row order or metadata field changes.

    Args:
        frames: part -> rows, columns as stored.
        metadata: with `parts` filled in.
    """
    digest = hashlib.sha256(canonical(metadata))
    for part in PARTS:
        frame = frames[part]
        digest.update(f"\n{part} {len(frame)}\n".encode())
        for name in frame.columns:
            digest.update(json.dumps(str(name)).encode())
            digest.update(_column_bytes(frame[name]))
    return digest.hexdigest()


def canonical(metadata: Metadata) -> bytes:
    """Return the metadata's canonical JSON: sorted keys, no spaces, without `created_at`."""
    value = metadata.model_dump(mode="json", exclude=_NOT_HASHED)
    value = {k: v for k, v in value.items() if k not in _HASHED_WHERE_SET or v != _HASHED_WHERE_SET[k]}
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _column_bytes(column: pd.Series[Any]) -> bytes:
    import pandas as pd

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        stamps = np.asarray(column.dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[ns]")
        return b"time" + stamps.astype("<i8").tobytes()
    if pd.api.types.is_string_dtype(column.dtype) or column.dtype == object:
        codes, words = pd.factorize(column, sort=True)
        return b"text" + json.dumps([str(w) for w in words]).encode() + codes.astype("<i4").tobytes()
    values: NDArray[Any] = column.to_numpy()
    if values.dtype.kind == "f":
        # One bit pattern for "missing", one for zero: the hash is of values, not of representations.
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values + values.dtype.type(0))
    packed = bytes(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return values.dtype.str.encode() + packed
