"""Reads `prefect.yaml`, the one list of deployments and schedules; refuses what Prefect would ignore in silence.

When the nights begin, and in which zone, `configs/fleet.yaml` says: a schedule may name it, `{{ fleet.nightly }}`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from deployments.changes import TAG
from nightshift.errors import ConfigError, ServiceError
from nightshift.files import read_yaml
from nightshift.plan.fleet_config import FleetConfig
from nightshift.settings import checkout
from nightshift.validation import validated

#: A schedule whose slug begins so is ours; those that a person adds in the UI stay.
SLUG = "nightshift-"
DEFAULT_QUEUE = "default"
_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}")

Name = Annotated[str, Field(pattern=r"^[^/%&<>]+$")]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(_Declared):
    """When a deployment runs by itself.

    Attributes:
        cron: when, five fields, in `timezone`; or instead
        interval: seconds from one run to the next.
        timezone: IANA name; needed with `cron`.
        active: what a person has chosen in the UI where it is left out.
    """

    slug: Annotated[str, Field(pattern=rf"^{SLUG}[a-z0-9-]+$")]
    cron: str | None = None
    interval: PositiveFloat | None = None
    timezone: str | None = None
    day_or: bool = True
    active: bool | None = None
    parameters: dict[str, Any] = {}

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        try:
            ZoneInfo(value or "UTC")
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("an IANA time zone such as Europe/Berlin is expected") from error
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Schedule:
        if (self.cron is None) == (self.interval is None):
            raise ValueError("exactly one of 'cron' and 'interval' is expected")
        if self.cron is not None and self.timezone is None:
            raise ValueError("'timezone' is expected with 'cron'")
        return self

    def body(self) -> dict[str, Any]:
        """Return it as the server takes and keeps it."""
        when: dict[str, Any] = {"cron": self.cron, "day_or": self.day_or}
        if self.interval is not None:
            when = {"interval": self.interval}
        if self.timezone is not None:
            when["timezone"] = self.timezone
        active = {} if self.active is None else {"active": self.active}
        return {"slug": self.slug, "schedule": when, "parameters": self.parameters, **active}

    def __str__(self) -> str:
        when = self.cron if self.interval is None else f"every {self.interval:g} s"
        return " ".join(filter(None, (when, self.timezone, "paused" if self.active is False else "")))


class PoolOf(_Declared):
    """Where a deployment's runs go."""

    name: Name
    work_queue_name: Name = DEFAULT_QUEUE
    job_variables: dict[str, Any] = {}


class RunLimit(_Declared):
    """How many runs of a deployment at once, and what becomes of one too many."""

    limit: PositiveInt
    collision_strategy: str
    grace_period_seconds: int | None = None


class Deployment(_Declared):
    """One deployment of `prefect.yaml`.

    Attributes:
        entrypoint: module and function, dotted: whatever has a colon in it Prefect takes for a file.
        paused: what a person has chosen in the UI where it is left out.
    """

    name: Name
    entrypoint: Annotated[str, Field(pattern=r"^\w+(\.\w+)+$")]
    description: str
    tags: tuple[str, ...]
    work_pool: PoolOf
    parameters: dict[str, Any] = {}
    concurrency_limit: PositiveInt | RunLimit | None = None
    enforce_parameter_schema: bool | None = None
    paused: bool | None = None
    schedules: tuple[Schedule, ...] = ()

    @field_validator("tags")
    @classmethod
    def _tagged(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if TAG not in value:
            raise ValueError(f"the tag '{TAG}' is expected among them: without it nobody knows that it is ours")
        return value

    @property
    def flow_name(self) -> str:
        """The flow's name: Prefect makes it of the function's, and a test holds ours to that."""
        return self.entrypoint.rpartition(".")[2].replace("_", "-")

    @property
    def full_name(self) -> str:
        """What `prefect deployment run` takes."""
        return f"{self.flow_name}/{self.name}"


class PrefectFile(_Declared):
    """What we use of `prefect.yaml`; `pull` stays empty, since our packages are installed where they run."""

    name: str = "nightshift"
    pull: Annotated[tuple[str, ...], Field(max_length=0)] = ()
    deployments: tuple[Deployment, ...]


def prefect_yaml() -> Path:
    """Return `prefect.yaml`: the checkout's, else the installed wheel's.

    Raises:
        ServiceError: when neither has one.
    """
    root = checkout()
    path = (root or Path(sys.prefix) / "share" / "nightshift") / "prefect.yaml"
    if not path.is_file():
        raise ServiceError(f"{path} is missing.", hint="Install Nightshift again, or run it from its checkout.")
    return path


def read(path: Path, fleet: FleetConfig) -> PrefectFile:
    """Read a `prefect.yaml`.

    Args:
        path: of the file.
        fleet: gives the values that its schedules name.

    Raises:
        ConfigError: for a key that is not known here (names the nearest), a bad value, or a name that stands twice.
    """
    content = read_yaml(path)
    entries = content.get("deployments") or []
    if not isinstance(entries, list):
        raise ConfigError(f"{path.name}: 'deployments' must be a list, got {type(entries).__name__}.")
    # Part by part, so that an error names its deployment, and the nearest key of the same part.
    deployments = tuple(_deployment(path.name, i, entry, fleet) for i, entry in enumerate(entries, 1))
    _once(path.name, "deployment", [d.full_name for d in deployments])
    return validated(PrefectFile, {**content, "deployments": deployments}, path.name)


def _deployment(file: str, number: int, entry: object, fleet: FleetConfig) -> Deployment:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{file}: deployment {number} must be a mapping, got {type(entry).__name__}.")
    where = f"{file}: {entry.get('entrypoint', f'deployment {number}')}"
    parts: dict[str, Any] = dict(entry)
    if isinstance(entry.get("schedules"), list):
        schedules = [s if isinstance(s, Mapping) else {"slug": s} for s in entry["schedules"]]
        within = f"{where}: schedules"
        parts["schedules"] = tuple(validated(Schedule, _filled(s, within, fleet), within) for s in schedules)
        _once(where, "schedule", [s.slug for s in parts["schedules"]])
    if isinstance(entry.get("work_pool"), Mapping):
        parts["work_pool"] = validated(PoolOf, entry["work_pool"], f"{where}: work_pool")
    return validated(Deployment, parts, where)


def _filled(schedule: Mapping[str, Any], where: str, fleet: FleetConfig) -> dict[str, Any]:
    """Return a schedule with the fleet's values where it names them.

    Elsewhere in the file braces are Prefect's own, and stay.
    """
    values = {"fleet.nightly": fleet.nightly, "fleet.timezone": fleet.timezone}

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            known = " and ".join(f"{{{{ {name} }}}}" for name in values)
            raise ConfigError(f"{where}: {found[0]} is not known.", hint=f"A schedule may name {known}.")
        return values[found[1]]

    return {key: _PLACEHOLDER.sub(value, v) if isinstance(v, str) else v for key, v in schedule.items()}


def _once(where: str, kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where}: the {kind} '{name}' stands twice.", hint="Name each another.")
