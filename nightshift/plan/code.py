"""The code fingerprint: the family's file, every nightshift module that it imports, and its libraries' versions."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nightshift import families
from nightshift.plan.cell import sha256_json

_PACKAGE = Path(__file__).resolve().parent.parent
# What decides and shows, but does not make a model.
_LEFT_OUT = ("nightshift.plan", "nightshift.dashboard", "nightshift.cli")


@lru_cache(maxsize=64)
def code_fingerprint(family: str) -> str:
    """Return the hash of what makes this family's models: a README edit changes nothing, a changed helper does."""
    own = families.canonical(family)
    return fingerprint_of(closure(f"nightshift.families.{own}"), families.get(own).libraries)


def fingerprint_of(modules: Iterable[str], libraries: Iterable[str]) -> str:
    """Return the hash of some modules' sources and some distributions' versions."""
    versions = {name: installed_version(name) for name in libraries}
    return sha256_json([{name: _hash(name) for name in modules}, versions])


def closure(module: str) -> tuple[str, ...]:
    """Return a module and all nightshift modules it imports, directly or not, sorted."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name.startswith(_LEFT_OUT):
            continue
        seen.add(name)
        waiting.extend(_imports(name))
    return tuple(sorted(seen))


def installed_version(distribution: str) -> str:
    """Return a distribution's version, "absent" when it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"


def module_file(name: str) -> Path | None:
    """Return the source file of a nightshift module, None when there is no such module."""
    base = _PACKAGE.joinpath(*name.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@lru_cache(maxsize=512)
def _imports(name: str) -> tuple[str, ...]:
    path = module_file(name)
    if path is None:
        return ()
    found: set[str] = set()
    for node in ast.walk(_parsed(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(m for m in found if m.split(".")[0] == "nightshift" and module_file(m)))


def _parsed(text: str) -> ast.Module:
    """Parse source; Python 3.11 counts the depth for all threads together, and fails when two parse at once."""
    for _ in range(4):
        with suppress(SystemError):
            return ast.parse(text)
    return ast.parse(text)


@lru_cache(maxsize=512)
def _hash(name: str) -> str:
    path = module_file(name)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
