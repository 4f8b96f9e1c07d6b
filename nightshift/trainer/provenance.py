"""How a result came to be: fingerprints, versions, commit, time and memory."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from nightshift.settings import git_state
from nightshift.trainer.contract import Table
from nightshift.trainer.options import Settings
from nightshift.trainer.records import Provenance

_ALWAYS = ("nightshift", "numpy", "scikit-learn")
#: How deep parameters are looked into: estimators within estimators.
_DEEPEST = 6


@dataclass(frozen=True)
class Begun:
    """A training that has begun: when, and the fingerprint of its table, reckoned beside the fit."""

    data: Future[str]
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
    clock: float = field(default_factory=time.perf_counter)


def begin(table: Table) -> Begun:
    """Start the table's fingerprint in a thread: hashing leaves the interpreter free for the fit."""
    from nightshift.trainer.inputs.fingerprint import fingerprint

    pool = ThreadPoolExecutor(1, thread_name_prefix="fingerprint")
    began = Begun(pool.submit(fingerprint, table))
    pool.shutdown(wait=False)
    return began


def provenance(
    begun: Begun, config: str, settings: Settings, model: Any, libraries: tuple[str, ...], seeds: tuple[int, ...]
) -> Provenance:
    """Return all of it, at the end of a training.

    Args:
        begun: what `begin` gave.
        config: fingerprint of the settings and the model.
        libraries: distributions of the estimator's kind.
        seeds: of all fits.
    """
    from nightshift.trainer.resources import gpu_mb, peak_mb

    commit, uncommitted = git_state()
    return Provenance(
        seed=settings.seed,
        seeds=seeds,
        data=begun.data.result(),
        config=config,
        versions=versions(libraries),
        commit=commit,
        uncommitted=uncommitted,
        started_at=begun.at,
        wall_s=time.perf_counter() - begun.clock,
        peak_mb=peak_mb(),
        gpu_mb=gpu_mb() if settings.limits.device != "cpu" else None,
        machine=platform.machine(),
        estimator=name_of(model),
    )


def versions(libraries: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of Python and of libraries that take part."""
    found = {name: told for name in dict.fromkeys((*_ALWAYS, *libraries)) if (told := _version(name))}
    return {"python": platform.python_version(), **found}


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def name_of(model: Any) -> str:
    """Return the name of an estimator's class; of a Pipeline, of what stands last in it."""
    if isinstance(model, type):
        return model.__name__
    if hasattr(model, "steps"):
        return name_of(model.steps[-1][1])
    return type(model).__name__


def facts(settings: Settings, model: Any, beside: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what decides a training beside its data, JSON-able: a run that is gone on with must have the same.

    Args:
        beside: what no setting holds: splitters and functions of the caller.
    """
    told = settings.model_dump(
        mode="json", exclude={"n_jobs", "save_model", "save_path", "format", "verbose", "checks", "limits"}
    )
    told["limits"] = {"device": settings.limits.device, "retries": settings.limits.retries}
    given = {name: _plain(value, 0) for name, value in (beside or {}).items() if value is not None}
    return {"settings": told, "model": _plain(model, 0), **given}


def config_fingerprint(told: Mapping[str, Any]) -> str:
    """Return the sha256 of `facts`."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _plain(value: Any, depth: int) -> Any:
    """Return a parameter as JSON: numbers and text as they are, objects by their class and parameters."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > _DEEPEST:
        return type(value).__name__
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, range) or hasattr(value, "to_numpy"):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        return {"array": hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest(), "shape": list(value.shape)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, depth + 1) for one in value]
    return _object(value, depth)


def _code(function: Any) -> str:
    """Return what tells one nameless function from another: what it does and by which constants and names."""
    told = function.__code__
    plain = [one for one in told.co_consts if isinstance(one, bool | int | float | str | bytes | None)]
    return hashlib.sha256(repr((told.co_code, told.co_names, plain)).encode()).hexdigest()[:12]


def _object(value: Any, depth: int) -> Any:
    if isinstance(value, type) or hasattr(value, "__qualname__"):
        place = f"{value.__module__}.{value.__qualname__}"
        return f"{place} {_code(value)}" if "<lambda>" in place else place
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if hasattr(value, "get_params"):
        return {"class": name, **{key: _plain(one, depth + 1) for key, one in value.get_params(deep=False).items()}}
    if hasattr(value, "extra_repr"):  # a torch module: its form, as it prints it
        return {"class": name, "form": str(value)}
    held = (
        {key: one for key, one in vars(value).items() if not key.startswith("__")} if hasattr(value, "__dict__") else {}
    )
    return {"class": name, **{key: _plain(one, depth + 1) for key, one in held.items()}}
