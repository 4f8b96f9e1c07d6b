"""How onnxruntime is opened, everywhere: parity is measured with what the device runs."""

from __future__ import annotations

import onnxruntime as ort

from nightshift.errors import BundleError, first_line


def open_session(model: bytes) -> ort.InferenceSession:
    """Open a graph on one thread of the CPU.

    One row at a time leaves nothing to share between threads, and spinning threads take a small board's cores.

    Raises:
        BundleError: when onnxruntime cannot load it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; below are remarks on its own optimisations
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise BundleError(
            f"onnxruntime {ort.__version__} cannot load the graph: {first_line(error, 300)}.",
            hint="The oldest version a bundle was made for stands in bundle.json, `oldest_onnxruntime`.",
        ) from error
