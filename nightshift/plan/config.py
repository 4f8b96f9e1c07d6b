"""Resolves a cell's config: code < family < target < machine < file < parameter < flag; maps merge, lists replace."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from nightshift import families
from nightshift.data.schema import check_subject
from nightshift.errors import ConfigError, UnknownNameError, nearest
from nightshift.family import FamilyConfig, Limits
from nightshift.files import parse_yaml, read_yaml
from nightshift.settings import Home, find_config, packaged_configs

__all__ = [
    "ResolvedConfig",
    "file_settings",
    "find_config",
    "merge",
    "packaged_configs",
    "parse_yaml",
    "read_yaml",
    "resolve",
    "targets",
    "validated",
]

Model = TypeVar("Model", bound=BaseModel)

_FILE_NAME = re.compile(r"\w[\w.-]*")
_SETTLED_NS = 2 * 10**9
# path -> its stamp and content. Nobody changes a content: `merge` and pydantic copy.
_READ: dict[Path, tuple[tuple[int, int, int], dict[str, Any]]] = {}


@dataclass(frozen=True)
class ResolvedConfig:
    """A family's config for one subject and target.

    Attributes:
        config: the validated config.
        limits: the target's limits for the family.
        sources: top-level key -> where its value comes from, for those that are not the code's default.
    """

    config: FamilyConfig
    limits: Limits
    sources: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """JSON values of config and limits: what the cell key is made of."""
        return {"config": self.config.model_dump(mode="json"), "limits": self.limits.model_dump(mode="json")}


def targets(home: Home) -> tuple[str, ...]:
    """Return the names of the known targets."""
    folders = (home.configs / "targets", packaged_configs() / "targets")
    return tuple(sorted({p.stem for folder in folders if folder.is_dir() for p in folder.glob("*.yaml")}))


class TargetDevice(BaseModel):
    """What the devices of a target are, and whether one of them has a say.

    Not part of a cell's config: another answer here retrains nothing.

    Attributes:
        architecture: as `platform.machine()` says, `aarch64`; "" for any.
        require_device_check: whether a challenger waits for a device to have checked it before it becomes champion.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str = ""
    require_device_check: bool = False


def target_device(home: Home, target: str) -> TargetDevice:
    """Return the block `device` of a target's file.

    Raises:
        UnknownNameError: for an unknown target.
        ConfigError: for a block that cannot be used.
    """
    block = _target(home, target).get("device") or {}
    if not isinstance(block, Mapping):
        raise ConfigError(f"targets/{target}.yaml: 'device' must be a mapping of settings.")
    return validated(TargetDevice, block, f"targets/{target}.yaml device")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings: maps merge, everything else (lists too) is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def resolve(
    home: Home,
    subject: str,
    family: str,
    target: str,
    *,
    file: Path | None = None,
    params: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> ResolvedConfig:
    """Resolve the config of one family for a subject and target.

    Args:
        file: a YAML of the shape `families: {<family>: {...}}`.
        params: flow parameters; `flags`: command-line flags; both by config key.

    Raises:
        UnknownNameError: for an unknown family or target.
        ConfigError: for an unknown key or preset (names the nearest), a bad value, or one above the target's ceiling.
    """
    own = families.canonical(family)
    check_subject(subject)
    target_yaml = _target(home, target)
    layers = [
        (f"families/{own}.yaml", _optional(find_config(home, "families", own))),
        (f"targets/{target}.yaml", _family_block(target_yaml, own, f"targets/{target}.yaml")),
        (f"machines/{subject}.yaml", file_settings(find_config(home, "machines", subject), own)),
        (file.name if file else "", file_settings(file, own)),
        ("parameter", dict(params or {})),
        ("flag", dict(flags or {})),
    ]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, layer in layers:
        values = merge(values, layer)
        sources |= dict.fromkeys(layer, source)
    kind = families.get(own).config
    config = validated(kind, values, f"{own} config", sources)
    if config.preset not in config.presets:
        raise ConfigError(
            f"{own} config (from {sources.get('preset', 'default')}): unknown preset '{config.preset}'.",
            hint=nearest(config.preset, config.presets),
        )
    limits = validated(Limits, (target_yaml.get("limits") or {}).get(own) or {}, f"targets/{target}.yaml limits.{own}")
    _hold_ceilings(config, limits, target, sources)
    return ResolvedConfig(config, limits, sources)


def validated(
    kind: type[Model], values: Mapping[str, Any], where: str, sources: Mapping[str, str] | None = None
) -> Model:
    """Validate values into a model.

    Raises:
        ConfigError: names the key, the nearest valid one, the expected and the found value.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        source = (sources or {}).get(str(first["loc"][0]) if first["loc"] else "", "")
        place = f"{where}{f' (from {source})' if source else ''}"
        if first["type"] == "extra_forbidden":
            hint = nearest(key, _keys_beside(kind, first["loc"]))
            raise ConfigError(f"{place}: unknown key '{key}'.", hint=hint) from None
        got = first.get("input")
        raise ConfigError(f"{place}: '{key}': {first['msg']}, got {got!r}.") from None


def _keys_beside(kind: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Return the keys that are known where an unknown one stands, dotted like it."""
    outer = ""
    for part in place[:-1]:
        inner = kind.model_fields[str(part)].annotation if part in kind.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        kind, outer = inner, f"{outer}{part}."
    return [f"{outer}{name}" for name in kind.model_fields]


def _target(home: Home, target: str) -> dict[str, Any]:
    path = find_config(home, "targets", target) if _FILE_NAME.fullmatch(target) else None
    if path is None:
        raise UnknownNameError("target", target, targets(home))
    return _read(path)


def _optional(path: Path | None) -> dict[str, Any]:
    return _read(path) if path else {}


def file_settings(path: Path | None, family: str) -> dict[str, Any]:
    """Return what a file `families: {<family>: {...}}` says of a family, by its own name.

    Raises:
        ConfigError: for a file that cannot be used.
    """
    return _family_block(_read(path), family, path.name) if path else {}


def _read(path: Path) -> dict[str, Any]:
    """Read a YAML, or return what was read of it before when its stamp is the same: a plan asks for thousands.

    A file that was written this moment is not kept: a second write within the clock's grain would have its stamp.
    """
    try:
        found = path.stat()
    except OSError:
        return read_yaml(path)
    stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
    kept = _READ.get(path)
    if kept is not None and kept[0] == stamp:
        return kept[1]
    content = read_yaml(path)
    if time.time_ns() - found.st_mtime_ns > _SETTLED_NS:
        _READ[path] = (stamp, content)
    return content


def _family_block(content: Mapping[str, Any], family: str, name: str) -> dict[str, Any]:
    blocks = content.get("families") or {}
    if not isinstance(blocks, Mapping):
        raise ConfigError(f"{name}: 'families' must be a mapping of family to settings.")
    for known in blocks:
        families.canonical(str(known))
    block = {families.canonical(str(k)): v for k, v in blocks.items()}.get(family) or {}
    if not isinstance(block, Mapping):
        raise ConfigError(f"{name}: families.{family} must be a mapping of settings.")
    return dict(block)


def _hold_ceilings(config: FamilyConfig, limits: Limits, target: str, sources: Mapping[str, str]) -> None:
    for key, ceiling in limits.ceilings.items():
        if key not in type(config).model_fields:
            raise ConfigError(
                f"targets/{target}.yaml: ceiling for unknown key '{key}'.", hint=nearest(key, type(config).model_fields)
            )
        value = getattr(config, key)
        if value is not None and float(value) > ceiling:
            source = sources.get(key, "default")
            raise ConfigError(
                f"'{key}' is {value} (from {source}), above the limit of target '{target}': {ceiling:g}.",
                hint=f"Lower it to {ceiling:g} or choose another target.",
            )
