"""How to train: the one pydantic parameter of the flows, so that the run form of the UI is usable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nightshift import families
from nightshift.errors import ConfigError, nearest
from nightshift.plan.config import merge

# Fields that are config keys under the same name.
_CONFIG_KEYS = {"preset", "time_limit_s", "contamination", "forecast_h", "seed"}


class TrainOptions(BaseModel):
    """How to train. What is left empty comes from the configs of family, target and machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str | None = Field(
        default=None,
        title="Preset",
        description="fast (15 minutes), standard (30), high (60), or one of the training library's own.",
        examples=["fast"],
    )
    time_limit_s: float | None = Field(
        default=None, gt=0, title="Time limit (s)", description="Ceiling of the training time of one model, in seconds."
    )
    contamination: float | None = Field(
        default=None,
        gt=0,
        lt=0.5,
        title="Contamination (anomaly)",
        description="Expected share of anomalous rows, 0.05 to 0.1 as a rule.",
    )
    forecast_h: int | None = Field(
        default=None, gt=0, title="Forecast horizon (h)", description="Hours that the forecast looks ahead."
    )
    seed: int | None = Field(default=None, title="Seed", description="Of everything random.")
    settings: dict[str, Any] = Field(
        default_factory=dict,
        title="Other settings",
        description="Any other key of the family's config. With several families, each takes the keys that it knows.",
    )
    families: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        title="Settings per family",
        description='Keys of one family\'s config, such as {"rul": {"cap": 125}}; they win over the fields above.',
    )
    config_file: str | None = Field(
        default=None,
        title="Config file",
        description="A YAML file on the machine that trains, of the shape `families: {<family>: {...}}`.",
    )
    threads: int | None = Field(
        default=None, gt=0, title="Threads", description="Processor threads to use; empty = all of the machine."
    )


def settings_of(options: TrainOptions, family: str, chosen: Sequence[str] = ()) -> dict[str, Any]:
    """Return the config values that the options hold for a family.

    Args:
        chosen: all families of the run; a key of the general fields that this family does not know is left out when
            another of them knows it.

    Raises:
        UnknownNameError: for an unknown family.
        ConfigError: for a key that none of the families knows; names the nearest.
    """
    own = families.canonical(family)
    known = {name: set(families.get(name).config.model_fields) for name in {own, *map(families.canonical, chosen)}}
    named = options.model_dump(exclude_none=True, include=_CONFIG_KEYS)
    general: Mapping[str, Any] = merge(named, options.settings)
    for key in general:
        if not any(key in fields for fields in known.values()):
            every = set().union(*known.values())
            raise ConfigError(f"unknown setting '{key}' for {', '.join(sorted(known))}.", hint=nearest(key, every))
    per_family = {families.canonical(name): dict(values) for name, values in options.families.items()}
    return merge({k: v for k, v in general.items() if k in known[own]}, per_family.get(own, {}))
