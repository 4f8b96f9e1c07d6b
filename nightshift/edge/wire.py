"""Reads just enough of an ONNX file's bytes to refuse one that reaches beyond itself.

A device has onnxruntime but not the onnx package. A bundle's graph must be one file of standard operators: data in
other files would escape the hashes, and foreign operators would need code that is not in the bundle.

Source:
    https://protobuf.dev/programming-guides/encoding and the field numbers of onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nightshift.errors import BundleError, UnknownOpError

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
#: onnxruntime's own operators that a variant of a model may have: ONNX has no standard one for a quantised LSTM.
CONTRIB_DOMAIN = "com.microsoft"
CONTRIB_OPS = frozenset({"DynamicQuantizeLSTM"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# ModelProto
_IR_VERSION, _GRAPH, _OPSET_IMPORT, _FUNCTIONS = 1, 7, 8, 25
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
#: Fields that hold a message which may hold a tensor: path of ModelProto -> GraphProto -> NodeProto -> AttributeProto.
_MODEL, _GRAPH_KIND, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE = range(6)
_CHILDREN: dict[int, dict[int, int]] = {
    _MODEL: {_GRAPH: _GRAPH_KIND},
    _GRAPH_KIND: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH_KIND, 10: _TENSOR, 11: _GRAPH_KIND, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
}
_NODE_OP, _NODE_DOMAIN = 4, 7
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_EXTERNAL = 1


@dataclass(frozen=True)
class Stamp:
    """Versions that a graph was written for.

    Attributes:
        ir_version: of the format.
        opsets: operator domain -> version.
    """

    ir_version: int
    opsets: dict[str, int]

    def beyond(self, newest: Stamp) -> list[str]:
        """Return what of it is newer than `newest`, in words."""
        found = [f"IR version {self.ir_version} (at most {newest.ir_version})"]
        told = found if self.ir_version > newest.ir_version else []
        above = {d: v for d, v in self.opsets.items() if v > newest.opsets.get(d or "ai.onnx", 0)}
        return told + [
            f"opset {version} of '{domain or 'ai.onnx'}' (at most {newest.opsets.get(domain or 'ai.onnx', 0)})"
            for domain, version in above.items()
        ]


#: What onnxruntime 1.22 loads, the oldest that bundles are made for: found by asking 1.22.1 version by version.
OLDEST_RUNTIME = Stamp(ir_version=10, opsets={"ai.onnx": 22, "ai.onnx.ml": 5})


def check_self_contained(model: bytes, contrib: frozenset[str] = frozenset()) -> Stamp:
    """Refuse a graph that needs other files, foreign operators or functions of its own.

    Args:
        model: the file's bytes.
        contrib: names of operators of `com.microsoft` that it may have.

    Returns:
        The versions of standard operators that it was written for.

    Raises:
        UnknownOpError: for operators that are not standard, or functions of its own.
        BundleError: for data in other files, or bytes that are no ONNX model.
    """
    opsets: dict[str, int] = {}
    functions, graphs, ir_version = 0, 0, 0
    try:
        view = memoryview(model)
        for number, value in _fields(view):
            if number == _OPSET_IMPORT and isinstance(value, memoryview):
                opsets[_text(value, _OPSET_DOMAIN)] = _number(value, _OPSET_VERSION)
            elif number == _IR_VERSION and isinstance(value, int):
                ir_version = value
            functions += number == _FUNCTIONS
            graphs += number == _GRAPH
        # An external tensor names its file under the key "location": without these bytes there is none, and the walk,
        # slow on large trees, is spared.
        external = b"location" in model and _has_external(view, _MODEL)
        foreign = _contrib(view, opsets, contrib) - contrib
    except (IndexError, ValueError, RecursionError) as error:
        raise BundleError("the graph is no ONNX model.", hint="Fetch the bundle again.") from error
    if graphs != 1:
        raise BundleError("the graph is no ONNX model.", hint="Fetch the bundle again.")
    strange = sorted(opsets.keys() - STANDARD_DOMAINS)
    if strange:
        raise UnknownOpError(f"the graph needs operators of '{strange[0]}', which are not standard ONNX.")
    if foreign:
        raise UnknownOpError(f"the graph needs '{min(foreign)}' of '{CONTRIB_DOMAIN}', which a bundle may not.")
    if functions:
        raise UnknownOpError("the graph holds functions of its own, which a bundle may not.")
    if external:
        raise BundleError("the graph keeps data in other files, which a bundle may not.")
    return Stamp(ir_version, opsets)


def _has_external(message: memoryview, kind: int) -> bool:
    children = _CHILDREN.get(kind, {})
    for number, value in _fields(message):
        if kind == _TENSOR:
            if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value == _EXTERNAL):
                return True
        elif number in children and isinstance(value, memoryview) and _has_external(value, children[number]):
            return True
    return False


def _contrib(model: memoryview, opsets: dict[str, int], allowed: frozenset[str]) -> frozenset[str]:
    """Return the operators of onnxruntime's own where some are allowed; its domain is then none of the strange."""
    if not allowed or opsets.pop(CONTRIB_DOMAIN, None) is None:
        return frozenset()
    return frozenset(op for op, domain in _operators(model, _MODEL) if domain == CONTRIB_DOMAIN)


def _operators(message: memoryview, kind: int) -> Iterator[tuple[str, str]]:
    """Yield (operator, domain) of every node, those of graphs within nodes too."""
    if kind == _NODE:
        yield _text(message, _NODE_OP), _text(message, _NODE_DOMAIN)
    children = {n: c for n, c in _CHILDREN.get(kind, {}).items() if c in (_GRAPH_KIND, _NODE, _ATTRIBUTE)}
    for number, value in _fields(message):
        if number in children and isinstance(value, memoryview):
            yield from _operators(value, children[number])


def _text(message: memoryview, wanted: int) -> str:
    for number, value in _fields(message):
        if number == wanted and isinstance(value, memoryview):
            return bytes(value).decode("utf-8")
    return ""


def _number(message: memoryview, wanted: int) -> int:
    for number, value in _fields(message):
        if number == wanted and isinstance(value, int):
            return value
    return 0


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
