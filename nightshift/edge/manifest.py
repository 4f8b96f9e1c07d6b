"""The schema of `bundle.json`, for those who write it and those who read it.

Base install only: numpy, onnxruntime and the standard library.
"""

from __future__ import annotations

from typing import Annotated, Literal

from nightshift.edge.record import AtLeast, Record

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "bundle.json"
CARD_FILE = "MODEL_CARD.md"
#: Rows with the training library's own answers, as arrays: what a device checks itself against.
CHECK_FILE = "check.npz"
#: Digests of `bundle.json`, which lists those of the other files.
SIGNATURE_FILE = "bundle.sig"
#: The variant that a device is best served with where that is not `model.onnx`, and the one for a DSP, for one row.
OPTIMISED_FILE, DSP_FILE, DLC_FILE = "optimised.onnx", "dsp.onnx", "dsp.dlc"
#: Name of a variant -> its file in the bundle.
VARIANT_FILES = {"optimised": OPTIMISED_FILE, "dsp": DSP_FILE}
#: Key of the artifact by which a board tells what it has found.
CHECK_ARTIFACT = "device-check"

#: From so many bytes on OpenSSL, seven times as fast, has hashed them sooner though it must be loaded first.
_LOADS_OPENSSL = 2_000_000
#: A figure that was measured: no bundle may claim what would pass every limit, or none.
_Count = Annotated[int, AtLeast(0)]
_Figure = Annotated[float, AtLeast(0)]
_Difference = Annotated[float, AtLeast(0, endless=True)]


class Column(Record):
    """One column of the window, in order.

    Attributes:
        unit: as measured; the runtime refuses rows that declare another.
        categories: values by code, for text columns; an unseen value gets `unseen_code`.
    """

    name: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    unseen_code: int = -1


class Output(Record):
    """One output; `shape` uses names for free dimensions."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    unit: str = ""
    meaning: str = ""


class Interface(Record):
    """What goes into a model and comes out of it.

    Attributes:
        columns: of the window, in order; of an observation its entries.
        window_rows: rows of the window, oldest first; 1 for independent rows and observations.
        uses_time: whether `time_s` (int64 civil seconds of the last row) is an input.
        outputs: in order.
        classes: names of the columns of `probability`.
        members: names of the columns of `score`.
        sensors: names of the last axis of a forecast.
        steps, step_s: of a forecast.
        thresholds: name -> value, already applied in the graph.
        takes: name of the input that holds the columns: `window` float32 `(batch, window_rows, columns)`, or, of a
            policy, `observation` float32 `(batch, columns)`, in which nothing is missing.
        actions: names of the columns of `action`.
    """

    columns: tuple[Column, ...]
    window_rows: Annotated[int, AtLeast(1)]
    uses_time: bool = False
    outputs: tuple[Output, ...]
    classes: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()
    steps: _Count | None = None
    step_s: _Figure | None = None
    thresholds: dict[str, float] = {}
    takes: Literal["window", "observation"] = "window"
    actions: tuple[str, ...] = ()

    def inputs(self) -> dict[str, tuple[str, tuple[int | str, ...]]]:
        """Return input name -> (dtype, shape), the one with the columns first."""
        row = (self.window_rows, len(self.columns)) if self.takes == "window" else (len(self.columns),)
        named: dict[str, tuple[str, tuple[int | str, ...]]] = {self.takes: ("float32", ("batch", *row))}
        if self.uses_time:
            named["time_s"] = ("int64", ("batch",))
        return named


class Parity(Record):
    """Graph against training library.

    Attributes:
        rows: rows compared, real and adversarial.
        max_abs: output -> largest |graph - library|; infinite where one is NaN or of another shape.
        tolerance: output -> largest accepted.
        flips: rows whose integer output differs.
        ok: all within tolerance and no flip.
        cases: what the rows are, with how many of each (`real`, `on a split`, `infinite`); empty = not told.
        batches: sizes of batches whose answers were compared with those of the same rows one by one.
        between_batches: output -> largest difference between those; features are float32, and a runtime sums one
            row's window in another order than that of many.
    """

    rows: _Count
    max_abs: dict[str, _Difference]
    tolerance: dict[str, _Figure]
    flips: _Count
    ok: bool
    cases: dict[str, int] = {}
    batches: tuple[int, ...] = ()
    between_batches: dict[str, _Difference] = {}


class Latency(Record):
    """One row, one thread, warm, on the machine that exported."""

    p50_ms: _Figure
    p99_ms: _Figure
    runs: _Count
    library_p50_ms: _Figure | None = None


class Footprint(Record):
    """A fresh process that has loaded the bundle and answered one row, on the machine that exported.

    Attributes:
        memory_mb: resident at most, Python included.
        start_s: from the start of the process to the first answer.
    """

    memory_mb: _Figure
    start_s: _Figure


class DeviceCheck(Record):
    """What a device has found of a bundle: registry tag `nightshift.device_check`, never written into the bundle.

    Attributes:
        bundle_id: of the bundle.
        device: name of the machine.
        architecture: as `platform.machine()` says, `aarch64`.
        board: model of the board where the machine tells (`Raspberry Pi 5 Model B`), "" elsewhere.
        stand_in: why this was not the target's own device, "" where it was.
        variant: that was checked, where that is another graph than `model.onnx`; its answers have no tolerance.
        onnxruntime: its version.
        parity: against the answers that the bundle was shipped with.
        latency: of one row on one thread.
        footprint: of a fresh process.
        temperature_c: of the processor afterwards, None where the machine does not tell.
        throttled: whether it slowed down meanwhile, None where the machine does not tell.
        checked_at: ISO 8601, UTC.
    """

    bundle_id: str
    device: str
    architecture: str
    board: str = ""
    stand_in: str = ""
    variant: str = ""
    onnxruntime: str
    parity: Parity
    latency: Latency
    footprint: Footprint
    temperature_c: float | None = None
    throttled: bool | None = None
    checked_at: str


class Variant(Record):
    """A form of the model that was tried when it was exported, beside `model.onnx` itself (`fp32`).

    Attributes:
        name: `fp32`, `int8_static`, `int8_dynamic`, `pruned`, `pruned_int8` or `a16w8`.
        how: it was made, or why it was not.
        file: in the bundle; "" of one that was only measured, or not made.
        metric: that quality is told in.
        quality: part -> the metric on rows of val, by which was chosen, and of test.
        loss: of quality on val as a share of that of `fp32`; below 0 where it is better.
        loss_on_test: the same on test, which chose nothing.
        size_bytes: of the graph.
        latency: of one row, one thread, on the machine that exported: a stand-in for the target's device.
        dlc: what the DSP's converter would say of the graph.
        chosen: whether it is the one to serve.
    """

    name: str
    how: str
    file: str = ""
    metric: str = ""
    quality: dict[str, float | None] = {}
    loss: float | None = None
    loss_on_test: float | None = None
    size_bytes: _Count | None = None
    latency: Latency | None = None
    dlc: str = ""
    chosen: bool = False


class Fingerprints(Record):
    """What the bundle was made from."""

    dataset: str
    config: str
    code: str
    cell_key: str


class BundleManifest(Record):
    """The content of `bundle.json`; the SHA-256 of its bytes is the bundle's id."""

    format: Literal[1] = 1
    subject: str
    family: str
    target: str
    problem: str
    interface: Interface
    time_kind: str
    time_unit: str
    sampling_s: float | None = None
    timezone: str = "UTC"
    trained_until: str | None = None
    label_source: str = "absent"
    metrics: dict[str, dict[str, float | None]]
    baselines: dict[str, dict[str, float | None]] = {}
    primary: str
    higher_is_better: bool
    fingerprints: Fingerprints
    hashes: dict[str, str]
    size_bytes: _Count
    parity: Parity
    latency: Latency
    footprint: Footprint | None = None
    libraries: dict[str, str] = {}
    opset: int
    oldest_onnxruntime: str = "1.22"
    created_at: str = ""
    notes: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()


def sha256_bytes(data: bytes) -> str:
    """Return the hex SHA-256 of bytes."""
    if len(data) < _LOADS_OPENSSL:
        try:
            # Python's own, as its `random` takes it: `hashlib` loads OpenSSL, which is 4 MB.
            from _sha256 import sha256  # type: ignore[import-not-found]
        except ImportError:  # another release of Python names it otherwise
            from hashlib import sha256
    else:
        from hashlib import sha256
    digest: str = sha256(data).hexdigest()
    return digest
