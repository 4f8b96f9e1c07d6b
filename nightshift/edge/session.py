"""How onnxruntime is opened, everywhere: parity is measured with what the device runs."""

from __future__ import annotations

import onnxruntime as ort

from nightshift.errors import BundleError, NewerFormatError, UnknownOpError, first_line

#: What onnxruntime says of a graph that it is too old for, and of one that no version knows.
_TOO_NEW = ("under development", "Unsupported model IR version")
_UNKNOWN = ("No Op registered", "is not a registered function/op", "Could not find an implementation")


def open_session(model: bytes) -> ort.InferenceSession:
    """Open a graph on one thread of the CPU.

    One row at a time leaves nothing to share between threads, and spinning threads take a small board's cores.

    Raises:
        UnknownOpError: when it has an operator that this onnxruntime does not know.
        NewerFormatError: when it was written for a newer onnxruntime.
        BundleError: when onnxruntime cannot load it for another reason.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; below are remarks on its own optimisations
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        # Names that are no UTF-8 are found only when they are asked for.
        for value in (*session.get_inputs(), *session.get_outputs()):
            _ = value.name, value.type, value.shape
        _ = session.get_modelmeta().custom_metadata_map
        return session
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise _kind(str(error))(
            f"onnxruntime {ort.__version__} cannot load the graph: {first_line(error, 300)}.",
            hint="The oldest version a bundle was made for stands in bundle.json, `oldest_onnxruntime`.",
        ) from error


def _kind(said: str) -> type[BundleError]:
    if any(words in said for words in _UNKNOWN):
        return UnknownOpError
    return NewerFormatError if any(words in said for words in _TOO_NEW) else BundleError
