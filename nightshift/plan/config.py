"""Resolves a cell's config: code < family < target < machine < file < parameter < flag; maps merge, lists replace."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from nightshift import families
from nightshift.data.groups import DRIVING
from nightshift.data.schema import check_subject
from nightshift.errors import ConfigError, UnknownNameError, nearest
from nightshift.family import PRESET_TIME_S, FamilyConfig, Limits
from nightshift.files import parse_yaml, read_yaml
from nightshift.plan.driving_layout import GROUP, is_layout, settings_from
from nightshift.settings import Home, find_config, packaged_configs
from nightshift.validation import validated

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
    "with_start",
]

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
        ConfigError: for an unknown key or preset (names the nearest), a bad value, one above the target's ceiling, or
            a start that is not there.
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
    config = with_start(home, validated(kind, values, f"{own} config", sources))
    if config.preset not in config.presets:
        raise ConfigError(
            f"{own} config (from {sources.get('preset', 'default')}): unknown preset '{config.preset}'.",
            hint=nearest(config.preset, config.presets),
        )
    if config.time_limit_s == PRESET_TIME_S.get(config.preset) and families.get(own).group != DRIVING:
        # The preset's own limit, spelt out, is no other config; those of driving policies have limits of their own.
        config = config.model_copy(update={"time_limit_s": None})
    limits = validated(Limits, (target_yaml.get("limits") or {}).get(own) or {}, f"targets/{target}.yaml limits.{own}")
    _hold_ceilings(config, limits, target, sources)
    return ResolvedConfig(config, limits, sources)


def with_start(home: Home, config: FamilyConfig) -> FamilyConfig:
    """Return a config whose start, where it names one, is named by its content: a path says nothing of what is there.

    Raises:
        ConfigError: when there is neither such a file nor such a run.
    """
    named = getattr(config, "init_from", "")
    if not named:
        return config
    from nightshift.driving.learn.beginnings import settled

    return config.model_copy(update={"init_from": settled(home, named)})


def _target(home: Home, target: str) -> dict[str, Any]:
    path = find_config(home, "targets", target) if _FILE_NAME.fullmatch(target) else None
    if path is None:
        raise UnknownNameError("target", target, targets(home))
    return _read(path)


def _optional(path: Path | None) -> dict[str, Any]:
    return _read(path) if path else {}


def file_settings(path: Path | None, family: str) -> dict[str, Any]:
    """Return what a file `families: {<family>: {...}}` says of a family, by its own name.

    Of a driving policy it may be in the layout of `plan.driving_layout`, too.

    Raises:
        ConfigError: for a file that cannot be used.
    """
    if path is None:
        return {}
    content = _read(path)
    if is_layout(content) and families.get(family).group == GROUP:
        return settings_from(content, family, path.name)
    return _family_block(content, family, path.name)


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
