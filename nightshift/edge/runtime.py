"""Opens a bundle and answers rows. Base install only: numpy, onnxruntime and the standard library.

model = Model.load("models/classification/pump_1/pi/v3")
answer = model.predict({"window": window})
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nightshift.edge.bundle import file_of, read_graph, read_manifest
from nightshift.edge.faces import InputsKnown, check_columns, check_graph, check_inputs
from nightshift.edge.manifest import BundleManifest, Interface
from nightshift.edge.one_row import OneRow
from nightshift.edge.rows import Rows, check_whole
from nightshift.edge.session import open_session
from nightshift.edge.stream import Row, Stream
from nightshift.edge.window import build_windows
from nightshift.edge.wire import CONTRIB_OPS, check_self_contained
from nightshift.errors import BundleError, ColumnError, ShapeError, first_line

Inputs = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[Any]]

#: Windows of a long table are built in slices of about this many values (64 MB).
_CHUNK_VALUES = 16_000_000


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
    def load(
        cls, folder: Path | str, *, bundle_id: str = "", require_signature: bool = True, variant: str = ""
    ) -> Self:
        """Open a bundle's folder: every listed file is hashed before the graph is opened.

        Where `NIGHTSHIFT_BUNDLE_KEY` is set, the bundle must be signed with it; see `edge/signature.py`.

        Args:
            folder: of the bundle.
            bundle_id: what its id must be; any when left out.
            require_signature: False opens a bundle that is known by its id without the key.
            variant: `optimised`: the smaller or faster form that was chosen when it was exported, `model.onnx` where
                that is none; `dsp`: for one row at a time. The model itself when left out.

        Raises:
            SignatureError: when a key is set here and the bundle is not signed with it.
            CorruptFileError, SwappedFileError: when a file is altered, or another one.
            NewerFormatError, UnknownOpError: when this runtime is too old for it, or the graph is no standard one.
            BundleError: when a file is missing, the graph reaches beyond itself, or is not what `bundle.json` says.
        """
        place = Path(folder)
        manifest, found = read_manifest(place, bundle_id=bundle_id, require_signature=require_signature)
        graph = read_graph(place, manifest, file_of(variant, manifest))
        check_self_contained(graph, CONTRIB_OPS if variant else frozenset())
        model = cls(manifest, found, open_session(graph))
        check_graph(model.session, manifest.interface)
        _ = model._one_row  # a note that cannot be read is found now
        return model

    @property
    def interface(self) -> Interface:
        """What goes in and comes out."""
        return self.manifest.interface

    def predict(self, given: Inputs | Rows, *, columns: Sequence[str] = ()) -> Outputs:
        """Answer ready inputs, or consecutive rows (one answer a row, windows within each run).

        Args:
            given: inputs by name, or rows.
            columns: what the last axis of `window` or `observation` holds, as its maker names it, with units where
                known (`speed [rpm]`): an array does not tell, and is taken to be in the bundle's order without this.

        Raises:
            ColumnError, UnitError, OrderError: when `columns` are not the bundle's.
            ShapeError, DtypeError: for an array of another shape or type.
            BundleError: when the inputs or rows are otherwise not what the bundle takes.
        """
        if columns:
            check_columns(columns, self.interface.columns)
        if not isinstance(given, Rows):
            return self.run(given)
        parts = [self.run(inputs) for inputs in self.windows(given)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def predict_stream(self, rows: Iterable[Row], *, columns: Sequence[str] = ()) -> Iterator[Outputs]:
        """Answer rows that arrive one at a time, each as soon as it is there; the window is kept in between.

        The answers, put together, are those of `predict` for all the rows. For rows that are pushed, not pulled,
        there is `Stream`.

        Args:
            rows: oldest first; each a mapping of column -> value (number, category, None = missing), with `time` as a
                CSV has it where the model reads it, and `run`, whose change empties the window; or an array
                `(n_columns,)` float32 in the bundle's order.
            columns: names of the values of arrays, as in `predict`.

        Yields:
            Each output by name, with a leading axis of 1.

        Raises:
            BundleError: at the first row that is not what the bundle takes; see `Stream.push`.
        """
        if columns:
            check_columns(columns, self.interface.columns)
        stream = Stream(self.manifest)
        for row in rows:
            yield self.run(stream.push(row))

    def run(self, inputs: Inputs) -> Outputs:
        """Answer inputs by name: `window` float32 `(batch, window_rows, n_columns)`, `time_s` int64 `(batch,)`.

        A policy takes `observation` float32 `(batch, n_columns)` instead.

        Raises:
            ShapeError, DtypeError: for an array of another shape or type.
            BundleError: for a wrong name, or when the graph cannot answer.
        """
        if not self._known.fit(inputs):
            check_inputs(inputs, self.interface)
            inputs = dict(inputs)
        try:
            if self._one_row is None:
                answers = self.session.run(self._names, inputs)
            else:
                answers = self._one_row.answer(self._names, inputs)
        except Exception as error:  # onnxruntime's own exceptions share no public base
            raise BundleError(f"the graph could not answer: {first_line(error, 300)}.") from error
        return dict(zip(self._names, answers, strict=True))

    @cached_property
    def _names(self) -> list[str]:
        """Names of the outputs, in the manifest's order."""
        return [output.name for output in self.interface.outputs]

    @cached_property
    def _one_row(self) -> OneRow | None:
        return OneRow.of(self.session)

    @cached_property
    def _known(self) -> InputsKnown:
        return InputsKnown(self.interface)

    def windows(self, rows: Rows, ends: NDArray[np.intp] | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the inputs of a table, a slice at a time.

        Args:
            rows: consecutive rows, oldest first.
            ends: `(n,)` rows to answer; all when left out.
        """
        if rows.values.shape[1:] != (len(self.interface.columns),):
            raise ShapeError(
                f"rows have {rows.values.shape[1:]} values each, expected {len(self.interface.columns)} columns."
            )
        wanted = np.arange(len(rows.values)) if ends is None else ends
        if self.interface.takes == "observation":
            check_whole(rows.values, self.interface.columns)
            yield {"observation": rows.values[wanted]}
            return
        step = max(1, _CHUNK_VALUES // (self.interface.window_rows * len(self.interface.columns)))
        for start in range(0, max(1, len(wanted)), step):
            chosen = wanted[start : start + step]
            inputs: dict[str, NDArray[Any]] = {
                "window": build_windows(rows.values, rows.run, self.interface.window_rows, chosen)
            }
            if self.interface.uses_time:
                if rows.civil_s is None:
                    raise ColumnError("the rows have no time, which this model reads.", hint="Add a `time` column.")
                inputs["time_s"] = rows.civil_s[chosen]
            yield inputs
