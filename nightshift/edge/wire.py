"""Reads just enough of an ONNX file's bytes to refuse one that reaches beyond itself.

A device has onnxruntime but not the onnx package. A bundle's graph must be one file of standard operators: data in
other files would escape the hashes, and foreign operators would need code that is not in the bundle.

Source:
    https://protobuf.dev/programming-guides/encoding and the field numbers of onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.errors import BundleError

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# ModelProto
_GRAPH, _OPSET_IMPORT, _FUNCTIONS = 7, 8, 25
_OPSET_DOMAIN = 1
#: Fields that hold a message which may hold a tensor: path of ModelProto -> GraphProto -> NodeProto -> AttributeProto.
_MODEL, _GRAPH_KIND, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE = range(6)
_CHILDREN: dict[int, dict[int, int]] = {
    _MODEL: {_GRAPH: _GRAPH_KIND},
    _GRAPH_KIND: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH_KIND, 10: _TENSOR, 11: _GRAPH_KIND, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
}
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_EXTERNAL = 1


def check_self_contained(model: bytes) -> None:
    """Refuse a graph that needs other files, foreign operators or functions of its own.

    Raises:
        BundleError: saying which, or that the bytes are no ONNX model.
    """
    try:
        view = memoryview(model)
        domains, functions, graphs = set(), 0, 0
        for number, value in _fields(view):
            if number == _OPSET_IMPORT and isinstance(value, memoryview):
                domains.add(_text(value, _OPSET_DOMAIN))
            functions += number == _FUNCTIONS
            graphs += number == _GRAPH
        # An external tensor names its file under the key "location": without these bytes there is none, and the walk,
        # slow on large trees, is spared.
        external = b"location" in model and _has_external(view, _MODEL)
    except (IndexError, ValueError) as error:
        raise BundleError("the graph is no ONNX model.", hint="Fetch the bundle again.") from error
    if graphs != 1:
        raise BundleError("the graph is no ONNX model.", hint="Fetch the bundle again.")
    strange = sorted(domains - STANDARD_DOMAINS)
    if strange:
        raise BundleError(f"the graph needs operators of '{strange[0]}', which are not standard ONNX.")
    if functions:
        raise BundleError("the graph holds functions of its own, which a bundle may not.")
    if external:
        raise BundleError("the graph keeps data in other files, which a bundle may not.")


def _has_external(message: memoryview, kind: int) -> bool:
    children = _CHILDREN.get(kind, {})
    for number, value in _fields(message):
        if kind == _TENSOR:
            if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value == _EXTERNAL):
                return True
        elif number in children and isinstance(value, memoryview) and _has_external(value, children[number]):
            return True
    return False


def _text(message: memoryview, wanted: int) -> str:
    for number, value in _fields(message):
        if number == wanted and isinstance(value, memoryview):
            return bytes(value).decode("utf-8")
    return ""


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value); bytes are not copied.

    Raises:
        ValueError, IndexError: for bytes that are no protobuf message.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > end:
            raise ValueError("cut short")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")
