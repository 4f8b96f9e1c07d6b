"""`check.npz`: rows that are shipped with a bundle, and what the training library itself answers to them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.edge.bundle import read_listed
from nightshift.edge.faces import check_inputs
from nightshift.edge.manifest import CHECK_FILE, BundleManifest, Output
from nightshift.errors import BundleError

Arrays = Mapping[str, NDArray[Any]]

#: A bundle carries at most so many rows, and fewer where windows are large.
CHECK_ROWS, CHECK_BYTES = 256, 2_000_000
_IN, _OUT = "in_", "out_"
_AGAIN = "Fetch the bundle again."


def choose(n_rows: int, bytes_a_row: int, cases: NDArray[np.str_] | None = None, *, seed: int = 0) -> NDArray[np.intp]:
    """Return which rows to ship, `(n,)` ascending: drawn, so that no rhythm in which they were made is followed.

    Args:
        n_rows: to choose from.
        bytes_a_row: of its inputs and answers.
        cases: `(n_rows,)` what each row is there for; of each case some are taken, half of the rows in all.
        seed: of the draw.
    """
    wanted = min(n_rows, CHECK_ROWS, max(2, CHECK_BYTES // max(1, bytes_a_row)))
    order = np.random.default_rng(seed).permutation(n_rows)
    first: list[NDArray[np.intp]] = []
    if cases is not None:
        kinds = np.unique(cases)
        share = max(1, wanted // (2 * len(kinds)))
        first = [order[cases[order] == kind][:share] for kind in kinds]
    taken = np.concatenate([*first, order])
    _, at = np.unique(taken, return_index=True)
    return np.sort(taken[np.sort(at)][:wanted]).astype(np.intp)


def make_check(inputs: Arrays, answers: Arrays, *, cases: NDArray[np.str_] | None = None, seed: int = 0) -> bytes:
    """Return the bytes of a `check.npz`.

    Args:
        inputs: rows to choose from, by input name, all with the same first dimension.
        answers: the training library's to all of them, by output name.
        cases: `(rows,)` what each row is there for, where it is known.
        seed: of the choice.
    """
    arrays = {_IN + name: values for name, values in inputs.items()}
    arrays |= {_OUT + name: values for name, values in answers.items()}
    n_rows = len(next(iter(inputs.values())))
    bytes_a_row = sum(values.nbytes for values in arrays.values()) // max(1, n_rows)
    rows = choose(n_rows, bytes_a_row, cases, seed=seed)
    file = io.BytesIO()
    np.savez_compressed(file, **{name: values[rows] for name, values in arrays.items()})  # type: ignore[arg-type]
    return file.getvalue()


def read_check(folder: Path, manifest: BundleManifest) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return (inputs, the training library's answers) that a bundle was shipped with.

    Raises:
        CorruptFileError: when they are altered.
        BundleError: when the bundle has none, or they are not for this model.
    """
    if CHECK_FILE not in manifest.hashes:
        raise BundleError(
            f"the bundle holds no rows to check itself with: it lists no {CHECK_FILE}, as bundles made since do.",
            hint="Train it again.",
        )
    raw = read_listed(folder, CHECK_FILE, manifest)
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except Exception as error:  # numpy's and zipfile's own share no base, and whoever made the bytes chooses among them
        raise BundleError(f"{CHECK_FILE} of the bundle holds no arrays.", hint=_AGAIN) from error
    inputs = {name.removeprefix(_IN): values for name, values in arrays.items() if name.startswith(_IN)}
    answers = {name.removeprefix(_OUT): values for name, values in arrays.items() if name.startswith(_OUT)}
    listed = {output.name for output in manifest.interface.outputs}
    if not inputs or set(answers) != listed:
        raise BundleError(f"{CHECK_FILE} of the bundle answers {sorted(answers)}, expected {sorted(listed)}.")
    try:
        check_inputs(inputs, manifest.interface)
    except BundleError as error:
        raise BundleError(f"{CHECK_FILE} of the bundle: {error.what}", hint=_AGAIN) from error
    n_rows = len(inputs[manifest.interface.takes])
    if not n_rows:
        raise BundleError(f"{CHECK_FILE} of the bundle holds no rows.", hint=_AGAIN)
    for output in manifest.interface.outputs:
        _check_answer(output, answers[output.name], n_rows)
    return inputs, answers


def _check_answer(output: Output, values: NDArray[Any], n_rows: int) -> None:
    """Refuse answers that an output could not give to so many rows.

    Only a label that is stored as one is held against the graph's without any tolerance.
    """
    kinds = "f" if output.dtype.startswith("float") else "iub"
    want = (n_rows, *output.shape[1:])
    fits = values.ndim == len(output.shape) and all(
        not isinstance(size, int) or size == found for size, found in zip(want, values.shape, strict=True)
    )
    if not fits or values.dtype.kind not in kinds:
        raise BundleError(
            f"{CHECK_FILE} of the bundle holds {values.dtype} {values.shape} for '{output.name}', expected "
            f"{output.dtype} {want}.",
            hint=_AGAIN,
        )
