"""The code that something follows from: a module with all of ours that it imports, directly or not, as one hash."""

from __future__ import annotations

import ast
import hashlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

#: The folder of the package `nightshift`.
PACKAGE = Path(__file__).resolve().parents[1]


@lru_cache(maxsize=8)
def code_of(module: str, package: Path = PACKAGE) -> str:
    """Return the hash of a module's sources, and of all that it imports of its package.

    Args:
        module: dotted name, the package's first.
        package: folder of the package.
    """
    found: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, package)
        if name in found or path is None:
            continue
        found[name] = path.read_bytes()
        waiting.extend(_imported(found[name]))
    told = hashlib.sha256()
    for name in sorted(found):
        told.update(f"{name} {hashlib.sha256(found[name]).hexdigest()}\n".encode())
    return told.hexdigest()


def _file(name: str, package: Path) -> Path | None:
    """Return the source of a module of the package, None of all others."""
    top, *below = name.split(".")
    if top != package.name:
        return None
    base = package.joinpath(*below)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imported(source: bytes) -> set[str]:
    """Return what a source imports; of `from a import b` both `a` and `a.b`, which may be a module."""
    names: set[str] = set()
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return names


def _parsed(source: bytes) -> ast.Module:
    """Parse source; Python 3.11 counts the depth for all threads together, and fails when two parse at once."""
    for _ in range(4):
        with suppress(SystemError):
            return ast.parse(source)
    return ast.parse(source)
