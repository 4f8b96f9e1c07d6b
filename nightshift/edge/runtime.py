"""Opens a bundle and answers rows. Base install only: numpy, onnxruntime, pydantic and the standard library.

model = Model.load("models/classification/pump_1/pi/v3")
answer = model.predict({"window": window})
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import ValidationError

from nightshift.edge.manifest import MANIFEST_FILE, MODEL_FILE, BundleManifest, Interface, sha256_bytes
from nightshift.edge.rows import Rows
from nightshift.edge.session import open_session
from nightshift.edge.window import build_windows
from nightshift.edge.wire import check_self_contained
from nightshift.errors import BundleError, first_line, nearest

Inputs = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[Any]]

FORMAT = 1
#: Windows of a long table are built in slices of about this many values (64 MB).
_CHUNK_VALUES = 16_000_000
_AGAIN = "Fetch the bundle again."


@dataclass(frozen=True)
class Model:
    """A bundle, verified and ready to answer.

    Attributes:
        manifest: its `bundle.json`.
        bundle_id: SHA-256 of that file.
        session: the graph, on one thread.
    """

    manifest: BundleManifest
    bundle_id: str
    session: ort.InferenceSession

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Open a bundle's folder: every listed file is hashed before the graph is opened.

        Raises:
            BundleError: when a file is missing or altered, the format is another, the graph reaches beyond itself,
                or its inputs and outputs are not what `bundle.json` says.
        """
        place = Path(folder)
        manifest, bundle_id = read_manifest(place)
        graph = _verified_graph(place, manifest)
        check_self_contained(graph)
        model = cls(manifest, bundle_id, open_session(graph))
        model._check_graph()
        return model

    @property
    def interface(self) -> Interface:
        """What goes in and comes out."""
        return self.manifest.interface

    def predict(self, given: Inputs | Rows) -> Outputs:
        """Answer ready inputs, or consecutive rows (one answer a row, windows within each run).

        Raises:
            BundleError: when the inputs or rows are not what the bundle takes.
        """
        if not isinstance(given, Rows):
            return self.run(given)
        parts = [self.run(inputs) for inputs in self.windows(given)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def run(self, inputs: Inputs) -> Outputs:
        """Answer inputs by name: `window` float32 `(batch, window_rows, n_columns)`, `time_s` int64 `(batch,)`.

        Raises:
            BundleError: for a wrong name, shape or dtype.
        """
        self._check_inputs(inputs)
        names = [output.name for output in self.interface.outputs]
        try:
            answers = self.session.run(names, dict(inputs))
        except Exception as error:  # onnxruntime's own exceptions share no public base
            raise BundleError(f"the graph could not answer: {first_line(error, 300)}.") from error
        return dict(zip(names, answers, strict=True))

    def windows(self, rows: Rows, ends: NDArray[np.intp] | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the inputs of a table, a slice at a time.

        Args:
            rows: consecutive rows, oldest first.
            ends: `(n,)` rows to answer; all when left out.
        """
        if rows.values.shape[1:] != (len(self.interface.columns),):
            raise BundleError(
                f"rows have {rows.values.shape[1:]} values each, expected {len(self.interface.columns)} columns."
            )
        wanted = np.arange(len(rows.values)) if ends is None else ends
        step = max(1, _CHUNK_VALUES // (self.interface.window_rows * len(self.interface.columns)))
        for start in range(0, max(1, len(wanted)), step):
            chosen = wanted[start : start + step]
            inputs: dict[str, NDArray[Any]] = {
                "window": build_windows(rows.values, rows.run, self.interface.window_rows, chosen)
            }
            if self.interface.uses_time:
                if rows.civil_s is None:
                    raise BundleError("the rows have no time, which this model reads.", hint="Add a `time` column.")
                inputs["time_s"] = rows.civil_s[chosen]
            yield inputs

    def _check_inputs(self, inputs: Inputs) -> None:
        expected = {"window", "time_s"} if self.interface.uses_time else {"window"}
        for name in sorted(set(inputs) - expected):
            raise BundleError(f"the model takes no input '{name}'.", hint=nearest(name, expected))
        for name in sorted(expected - set(inputs)):
            raise BundleError(f"input '{name}' is missing.", hint=f"Expected: {', '.join(sorted(expected))}.")
        window = inputs["window"]
        rows, columns = self.interface.window_rows, len(self.interface.columns)
        _check_array("window", window, np.dtype(np.float32), (None, rows, columns))
        if self.interface.uses_time:
            _check_array("time_s", inputs["time_s"], np.dtype(np.int64), (len(window),))

    def _check_graph(self) -> None:
        """Hold the graph's own inputs and outputs against the manifest."""
        expected = ["window", "time_s"] if self.interface.uses_time else ["window"]
        found = [value.name for value in self.session.get_inputs()]
        if sorted(found) != sorted(expected):
            raise BundleError(f"the graph takes {found}, {MANIFEST_FILE} says {expected}.", hint=_AGAIN)
        outputs = [value.name for value in self.session.get_outputs()]
        missing = [output.name for output in self.interface.outputs if output.name not in outputs]
        if missing:
            raise BundleError(f"the graph does not give '{missing[0]}', which {MANIFEST_FILE} lists.", hint=_AGAIN)


def read_manifest(folder: Path) -> tuple[BundleManifest, str]:
    """Read a bundle's `bundle.json` and return it with its id.

    Raises:
        BundleError: when it is missing, damaged, or of a format that this runtime does not read.
    """
    path = folder / MANIFEST_FILE
    try:
        raw = path.read_bytes()
        version = json.loads(raw).get("format")
    except FileNotFoundError as error:
        raise BundleError(
            f"'{folder}' is no bundle: it has no {MANIFEST_FILE}.", hint="Give the folder that holds it."
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise BundleError(f"{path} cannot be read.", hint=_AGAIN) from error
    if version != FORMAT:
        raise BundleError(
            f"the bundle has format {version}, this runtime reads format {FORMAT}.",
            hint="Install a matching nightshift.",
        )
    try:
        return BundleManifest.model_validate_json(raw), sha256_bytes(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: {where}: {first['msg']}.", hint=_AGAIN) from error


def _verified_graph(folder: Path, manifest: BundleManifest) -> bytes:
    """Return the graph's bytes: those that were hashed are those that are opened.

    Raises:
        BundleError: when a listed file is missing, altered or outside the folder, or the graph is not listed.
    """
    if MODEL_FILE not in manifest.hashes:
        raise BundleError(f"{MANIFEST_FILE} lists no hash of {MODEL_FILE}.", hint=_AGAIN)
    graph = b""
    for name, expected in manifest.hashes.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(f"{MANIFEST_FILE} lists '{name}', which is outside the bundle.", hint=_AGAIN)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BundleError(f"{name} of the bundle cannot be read.", hint=_AGAIN) from error
        if sha256_bytes(data) != expected:
            raise BundleError(f"{name} of the bundle is not what {MANIFEST_FILE} says.", hint=_AGAIN)
        if name == MODEL_FILE:
            graph = data
    return graph


def _check_array(name: str, array: object, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> None:
    if not isinstance(array, np.ndarray):
        raise BundleError(f"input '{name}' is a {type(array).__name__}, expected a numpy array.")
    if array.dtype != dtype:
        raise BundleError(f"input '{name}' is {array.dtype}, expected {dtype}.", hint=f"Use .astype(np.{dtype}).")
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = tuple("batch" if size is None else size for size in shape)
        raise BundleError(f"input '{name}' has shape {array.shape}, expected {wanted}.")
