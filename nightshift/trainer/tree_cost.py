"""What the trees of a graph cost a device, from their number of nodes: known before a graph is made.

Measured on forests of 50,000 to 1,200,000 nodes as this project writes them (`TreeEnsembleRegressor`, one value a
leaf), each opened by `edge.session` in a fresh process that answered 20 rows, onnxruntime 1.31 on x86-64. Nodes, most
memory and file: 50,000, 80 MB, 1.7 MB; 100,000, 104, 3.4; 400,000, 253, 13.9; 1,200,000, 661, 41.9. So 510 bytes a node
above what Python and onnxruntime take, and 35 bytes of file. onnxruntime holds a node several times while it loads: as
protobuf, as attribute lists, and as a tree of its own.
"""

from __future__ import annotations

NODE_MEMORY_BYTES = 510
NODE_FILE_BYTES = 35
#: Python, numpy, onnxruntime and the bundle's manifest, before any tree: `edge.probe` says 56.0 MB for a bundle of five
#: nodes, no tree among them, and 258.4 MB for one of 399,165 nodes of trees, where the estimate is 260.6.
BASE_MEMORY_MB = 57.0
#: A network's weight is stored in double; as nodes of the same file size, which overstates its memory a little.
WEIGHT_NODES = 8 / NODE_FILE_BYTES

_MEGABYTE = 1e6


def memory_mb(nodes: float) -> float:
    """Return the memory that a process with so many nodes holds at most, in MB."""
    return BASE_MEMORY_MB + nodes * NODE_MEMORY_BYTES / _MEGABYTE


def size_mb(nodes: float) -> float:
    """Return the size of a graph with so many nodes, in MB."""
    return nodes * NODE_FILE_BYTES / _MEGABYTE


def room_nodes(limit_size_mb: float, limit_memory_mb: float | None) -> int:
    """Return how many nodes a target has room for.

    Args:
        limit_size_mb: of the graph.
        limit_memory_mb: of the process; None for no limit.
    """
    by_size = limit_size_mb * _MEGABYTE / NODE_FILE_BYTES
    if limit_memory_mb is None:
        return int(by_size)
    return max(0, int(min(by_size, (limit_memory_mb - BASE_MEMORY_MB) * _MEGABYTE / NODE_MEMORY_BYTES)))
