"""A device checks a bundle: the same answers as the training library, in what time, in how much memory."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nightshift.edge import machine, probe
from nightshift.edge.agree import any_differs, worst_beside
from nightshift.edge.bench import measure
from nightshift.edge.bundle import file_of
from nightshift.edge.check_rows import read_check
from nightshift.edge.manifest import MODEL_FILE, DeviceCheck, Parity
from nightshift.edge.runtime import Model

#: Rows on which latency is measured, in turn.
_LATENCY_ROWS = 100
#: A difference of so much of the value itself is the processor's, beside the tolerance: features are float32, and
#: another processor adds them in another order and fuses multiplications with additions. Eight steps of float32; an
#: arm64 processor needs two, where a score of 34,840 is off by 0.004 and one of 33 by 8e-6.
_OF_VALUE = 2.0**-20


def check_bundle(
    folder: Path | str, *, architecture: str = "", device: str = "", runs: int = 300, variant: str = ""
) -> DeviceCheck:
    """Check a bundle on this machine.

    What does not agree or is too slow is a figure of the result, not an error: whoever asked judges.

    Args:
        folder: of the bundle.
        architecture: of the target's devices, `aarch64`; on another machine the result says that this one stands in.
        device: name of this machine; its host name when left out.
        runs: calls in a round of the latency measurement.
        variant: `optimised` or `dsp`: another graph of the bundle, whose answers are told, and need only be numbers
            where the training library's are; what it loses was judged when it was exported.

    Raises:
        BundleError: when the bundle is damaged, holds no check rows, or cannot answer.
    """
    place = Path(folder)
    model = Model.load(place, variant=variant)
    inputs, want = read_check(place, model.manifest)
    bits = machine.throttle_bits()
    own = file_of(variant, model.manifest) != MODEL_FILE
    answers = model.run(inputs)
    parity = _told(want, answers) if own else compare(want, answers, model.manifest.parity.tolerance)
    latency = measure(model, {name: values[:_LATENCY_ROWS] for name, values in inputs.items()}, runs=runs)
    after = machine.throttle_bits()
    return DeviceCheck(
        bundle_id=model.bundle_id,
        variant=variant if own else "",
        device=device or platform.node(),
        architecture=machine.architecture(),
        board=machine.board(),
        stand_in=machine.stand_in(architecture),
        onnxruntime=ort.__version__,
        parity=parity,
        latency=latency,
        footprint=probe.footprint(place, variant),
        temperature_c=machine.temperature_c(),
        throttled=machine.slowed_down(bits, after),
        checked_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


def compare(
    want: Mapping[str, NDArray[Any]], got: Mapping[str, NDArray[Any]], tolerance: Mapping[str, float]
) -> Parity:
    """Hold a device's answers against the training library's, `(rows, ...)` each by output name."""
    n_rows = len(next(iter(want.values())))
    flipped = np.zeros(n_rows, np.bool_)
    worst: dict[str, float] = {}
    accepted: dict[str, float] = {}
    for name, values in want.items():
        if _is_float(values):
            worst[name], accepted[name] = worst_beside(values, got[name], tolerance.get(name, 0.0), _OF_VALUE)
        else:
            flipped |= any_differs(got[name], values)
    flips = int(flipped.sum())
    ok = flips == 0 and all(delta <= accepted[name] for name, delta in worst.items())
    return Parity(rows=n_rows, max_abs=worst, tolerance=accepted, flips=flips, ok=ok)


def _told(want: Mapping[str, NDArray[Any]], got: Mapping[str, NDArray[Any]]) -> Parity:
    """Tell how far the answers of another form are from the training library's; they are held to no tolerance."""
    n_rows = len(next(iter(want.values())))
    flipped = np.zeros(n_rows, np.bool_)
    worst: dict[str, float] = {}
    ok = True
    for name, values in want.items():
        if values.shape == got[name].shape and _is_float(values):
            known = np.isfinite(values)
            ok = ok and bool(np.isfinite(got[name][known]).all())
            worst[name] = float(np.abs(got[name][known].astype(np.float64) - values[known]).max(initial=0.0))
        else:
            ok = ok and values.shape == got[name].shape
            flipped |= any_differs(got[name], values)
    return Parity(rows=n_rows, max_abs=worst, tolerance={}, flips=int(flipped.sum()), ok=ok)


def _is_float(values: NDArray[Any]) -> bool:
    return bool(np.issubdtype(values.dtype, np.floating))
