"""What the settings page shows: values, where each comes from, and what runs. No secret: only whether one is set."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from nightshift import families
from nightshift.dashboard.config import sources, token_variables
from nightshift.dashboard.prefect_api import PrefectApi
from nightshift.dashboard.service import Service
from nightshift.errors import NightshiftError, without_credentials
from nightshift.family import Limits, time_limit_s
from nightshift.plan.config import find_config, read_yaml, targets
from nightshift.plan.fleet_config import load_fleet
from nightshift.settings import (
    NO_TELEMETRY,
    SECRETS,
    Home,
    git_state,
    is_own_file,
    packaged_configs,
    secret,
    without_places,
)
from nightshift.tracking.report import Table
from nightshift.validation import validated

_LIBRARIES = (
    *("nightshift", "autogluon.tabular", "fastapi", "gymnasium", "lightgbm", "mlflow", "numpy", "onnx", "onnxruntime"),
    *("pandas", "prefect", "prophet", "pyod", "scikit-learn", "stable-baselines3", "torch", "uvicorn"),
)


#: The presets that a page compares; AutoGluon has thirty more names.
_PRESETS = 3


def places(home: Home, prefect_url: str, *, whole: bool) -> Table:
    """Return where everything is kept, and which servers are asked; where files lie on this machine only if `whole`."""
    commit, changed = git_state()
    rows = [
        ("Home", str(home.root)),
        ("Shared store", home.store_url or "none: this home stands alone"),
        ("Prefect", prefect_url),
        ("MLflow", home.mlflow_uri),
        ("MLflow artifacts", home.mlflow_artifacts),
        ("Commit", f"{commit}{', with changes' if changed else ''}" if commit else "installed"),
        ("Machine", f"{platform.node()}, {platform.machine()}, {os.cpu_count()} cores"),
    ]
    if not whole:
        rows = [(name, "on this machine" if is_own_file(where) else where) for name, where in rows]
    return _table(("what", "where"), rows)


def dashboard(home: Home, config: BaseModel) -> Table:
    """Return how the dashboard is served."""
    told = sources(home)
    origins = {key: without_places(home, origin) for key, origin in told.items()}
    rows = [(key, _shown(value), origins.get(key.partition(".")[0], "default")) for key, value in _flat(config)]
    rows += [(name, "set" if is_set else "not set", "secret") for name, is_set in token_variables().items()]
    return _table(("setting", "value", "from"), rows)


def fleet(home: Home) -> Table:
    """Return which models are kept up to date, and how.

    Raises:
        ConfigError: when its file cannot be used.
    """
    path = find_config(home, "", "fleet")
    said = read_yaml(path) if path else {}
    rows = [
        (key, _shown(value), without_places(home, str(path)) if key.partition(".")[0] in said else "default")
        for key, value in _flat(load_fleet(home))
    ]
    return _table(("setting", "value", "from"), rows)


def limits(home: Home) -> list[tuple[str, Table]]:
    """Return what each class of devices allows, by family.

    Raises:
        ConfigError: when a file cannot be used.
    """
    found = []
    for target in targets(home):
        path = find_config(home, "targets", target)
        assert path is not None
        said = read_yaml(path).get("limits") or {}
        rows = [_limits_row(f, validated(Limits, limits, f"{path} {f}")) for f, limits in sorted(said.items())]
        header = ("family", "size, MB", "at most, MB", "latency, ms", "memory, MB", "model types", "ceilings")
        found.append((f"{target} ({_whose(home, path)})", _table(header, rows)))
    return found


def _limits_row(family: str, limits: Any) -> tuple[str, ...]:
    ceilings = ", ".join(f"{key} ≤ {value:,g}" for key, value in limits.ceilings.items())
    sizes = (limits.size_mb, limits.size_hard_mb, limits.latency_ms, limits.memory_mb)
    return (family, *(_shown(v) for v in sizes), ", ".join(limits.model_types) or "any", ceilings or "none")


@dataclass(frozen=True)
class FamilySettings:
    """What a family is trained with where neither machine nor target nor request says otherwise.

    Attributes:
        file: that its settings are from, "" where all are the code's own.
        table: setting, value, where it is from; of one that presets differ in, the value of each.
        trouble: what is wrong with its file, "" where nothing is.
    """

    family: str
    file: str
    table: Table
    trouble: str = ""


def family_settings(home: Home, family: str) -> FamilySettings:
    """Return a family's settings, or why its file cannot be used: that keeps no other's back."""
    path = find_config(home, "families", family)
    file = without_places(home, str(path)) if path else ""
    header = ("setting", "value", "from")
    try:
        return FamilySettings(family, file, _table(header, _family_rows(family, path, file)))
    except NightshiftError as error:
        return FamilySettings(family, file, _table(header, ()), without_places(home, without_credentials(str(error))))


def _family_rows(family: str, path: Path | None, file: str) -> list[tuple[str, ...]]:
    said = read_yaml(path) if path else {}
    kind = families.get(family).config
    usual = validated(kind, said, file)
    each = {p: validated(kind, {**said, "preset": p}, file) for p in kind.presets[:_PRESETS]}
    # How long a training may take is the preset's, where nobody says it.
    values = {p: dict(_flat(one)) | {"time_limit_s": time_limit_s(one)} for p, one in each.items()}
    rows: list[tuple[str, ...]] = []
    for key, value in _flat(usual):
        by_preset = {p: _shown(own[key]) for p, own in values.items() if key in own}
        differs = key != "preset" and len(set(by_preset.values())) > 1
        told = "; ".join(f"{p}: {own}" for p, own in by_preset.items()) if differs else _shown(value)
        rows.append((key, told, "file" if key.partition(".")[0] in said else "preset" if differs else "default"))
    return rows


def secrets() -> Table:
    """Return which secrets are set."""
    return _table(("secret", "is it set"), [(name, "set" if secret(name) else "not set") for name in SECRETS])


def libraries() -> Table:
    """Return the versions of what matters most."""
    rows = [("python", platform.python_version()), *((name, _version(name)) for name in _LIBRARIES)]
    telemetry = "off" if all(os.environ.get(key) == value for key, value in NO_TELEMETRY.items()) else "not known"
    return _table(("library", "version"), [*rows, ("telemetry", telemetry)])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


async def pools(prefect: PrefectApi) -> Table:
    """Return the work pools and who works for each.

    Raises:
        ServiceError: when Prefect does not answer.
    """
    found = await prefect.ask("work_pools/filter", {"limit": 100})
    workers = await asyncio.gather(*(_workers(prefect, pool["name"]) for pool in found))
    rows = [
        (
            pool["name"],
            pool["type"],
            "paused" if pool["is_paused"] else "none" if pool["concurrency_limit"] is None else _limit(pool),
            ", ".join(online) or "nobody: `nightshift up` starts one",
        )
        for pool, online in sorted(zip(found, workers, strict=True), key=lambda both: both[0]["name"])
    ]
    return _table(("pool", "type", "limit", "workers online"), rows)


def _limit(pool: Mapping[str, Any]) -> str:
    return f"{pool['concurrency_limit']} at once"


async def _workers(prefect: PrefectApi, pool: str) -> list[str]:
    wanted = {"workers": {"status": {"any_": ["ONLINE"]}}}
    return sorted(w["name"] for w in await prefect.ask(f"work_pools/{quote(pool)}/workers/filter", wanted))


def of_files(service: Service, *, whole: bool) -> dict[str, Any]:
    """Return everything that files and the environment tell.

    Args:
        service: whose.
        whole: whether it may say where this machine keeps its files.

    Raises:
        ConfigError: when a file cannot be used.
    """
    home = service.home
    return {
        "places": places(home, service.prefect.url, whole=whole),
        "dashboard": dashboard(home, service.config),
        "fleet": fleet(home),
        "limits": limits(home),
        "families": [family_settings(home, name) for name in families.names()],
        "secrets": secrets(),
        "libraries": libraries(),
        "notes": service.audit.newest(),
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return Table(header, [[without_credentials(value) for value in row] for row in rows], [""] * len(rows))


def _flat(model: BaseModel) -> list[tuple[str, Any]]:
    """Return a config's values; those of a block are called `block.key`."""
    found: list[tuple[str, Any]] = []
    for key, value in model.model_dump(mode="json").items():
        inner = getattr(model, key)
        found += [(f"{key}.{k}", v) for k, v in _flat(inner)] if isinstance(inner, BaseModel) else [(key, value)]
    return found


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_shown(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:,g}"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return "none" if value is None or value == "" else str(value)


def _whose(home: Home, path: Path) -> str:
    return "shipped" if path.is_relative_to(packaged_configs()) and home.configs != packaged_configs() else "yours"
