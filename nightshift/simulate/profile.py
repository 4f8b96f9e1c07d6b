"""A machine's profile: nameplate, sensors, schedule, usage and ways to fail, as `configs/machines/<id>.yaml` holds it.

Everything that is refused names the field's path and the allowed values.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from nightshift.data.schema import check_subject
from nightshift.errors import ConfigError, UnknownNameError
from nightshift.files import read_yaml
from nightshift.settings import Home, find_config, packaged_configs
from nightshift.simulate.catalogue import MachineType
from nightshift.simulate.profile_parts import (
    BEARING_EXPONENT,
    USUAL_EXPONENT,
    BearingWear,
    FailureMode,
    Labels,
    Life,
    Nameplate,
    Part,
    Rates,
    Schedule,
    SensorSpec,
    UsageMode,
)
from nightshift.simulate.profile_problems import Problem, problems_of, refusal, shown
from nightshift.simulate.profile_rules import FAILURE_SHARE, MIN_RUNS, Draft, broken_rules, rows_needed

__all__ = [
    "FAILURE_SHARE",
    "MIN_RUNS",
    "Profile",
    "find_problems",
    "load_profile",
    "parse_profile",
    "profile_names",
    "read_profile_yaml",
]

#: Of `start`: stored times are nanoseconds, which end in 2262, and a million hourly rows take 114 years.
_YEARS = (1980, 2100)


class Profile(Part):
    """One machine, from which its history is simulated.

    Attributes:
        start: when the first run begins (UTC).
        sampling_s: between two rows.
        usage_modes: at least two, so that load, wear and life hang together.
    """

    machine_type: MachineType
    title: str = Field(min_length=1, max_length=200)
    timezone: str = "UTC"
    start: datetime = datetime(2022, 1, 3, tzinfo=UTC)
    nameplate: Nameplate
    sampling_s: float = Field(ge=1, le=86_400, allow_inf_nan=False)
    sensors: tuple[SensorSpec, ...] = Field(min_length=2, max_length=64)
    schedule: Schedule
    usage_modes: tuple[UsageMode, ...] = Field(min_length=2, max_length=8)
    failure_modes: tuple[FailureMode, ...] = Field(min_length=1)
    life: Life
    labels: Labels
    rates: Rates = Rates()

    @field_validator("title")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("it holds a line break or a control character; allowed: one line of text")
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            text = f"'{shown(value)}' is no IANA time zone; allowed: such as Europe/Berlin or UTC"
            near = difflib.get_close_matches(value[:64], sorted(available_timezones()), n=1, cutoff=0.6)
            raise ValueError(f"{text}. Did you mean '{near[0]}'?" if near else text) from None
        return value

    @field_validator("start")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        if not _YEARS[0] <= value.year <= _YEARS[1]:
            raise ValueError(f"got {value.isoformat()}; allowed: a date from {_YEARS[0]} to {_YEARS[1]}")
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = tuple(broken_rules(Draft(**{name: getattr(self, name) for name in _RULED})))
        if problems:
            raise refusal(problems)
        return self

    @property
    def failure_share(self) -> float:
        """Share of failing rows to expect: horizon over mean life."""
        return self.labels.horizon_h / self.life.mean_h

    @property
    def min_rows(self) -> int:
        """Rows that hold `MIN_RUNS` runs of mean life, with a tenth to spare."""
        return rows_needed(self.life.mean_h, self.sampling_s)

    def load_exponent(self, spec: FailureMode) -> float:
        """Return the power of load that a mode's wear goes with; only a default depends on the bearings (ISO 281)."""
        if spec.load_exponent is not None:
            return spec.load_exponent
        if isinstance(spec, BearingWear):
            return BEARING_EXPONENT[self.nameplate.bearings[0].kind]
        return USUAL_EXPONENT


def parse_profile(content: Mapping[str, Any], where: str) -> Profile:
    """Validate what a machine's YAML holds; its `families` block is the training's, and left out.

    Raises:
        ConfigError: names a bad field by its path, with the allowed values, and how many more there are.
    """
    try:
        return Profile.model_validate(_own(content))
    except ValidationError:
        problems = find_problems(content)
    more = f" (and {len(problems) - 1} more; `nightshift profile check` lists all)" if len(problems) > 1 else ""
    raise ConfigError(f"{where}: {problems[0]}{more}.", hint="Mend it.")


def find_problems(content: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Return everything that is wrong with what a machine's YAML holds, () for a good profile."""
    own = _own(content)
    try:
        Profile.model_validate(own)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        found = problems_of(Profile, errors)
        if all(e["loc"] for e in errors):
            # Pydantic asks the rules between fields only when every field is good; we ask them of the good ones.
            found += tuple(broken_rules(_draft(own)))
        return found
    return ()


#: The fields that the rules between fields look at, and what one item of a list is.
_RULED: dict[str, Any] = {
    "machine_type": MachineType,
    "sampling_s": float,
    "sensors": SensorSpec,
    "usage_modes": UsageMode,
    "failure_modes": FailureMode,
    "life": Life,
    "labels": Labels,
}


def _own(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != "families"}


def _draft(content: Mapping[str, Any]) -> Draft:
    parts: dict[str, Any] = {}
    for name in _RULED:
        value = content.get(name)
        if name in ("sensors", "usage_modes", "failure_modes"):
            parts[name] = tuple(_good(name, item) for item in value) if isinstance(value, list | tuple) else ()
        else:
            parts[name] = _good(name, value)
    return Draft(**parts)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_RULED[name])


def _good(name: str, value: object) -> Any:
    try:
        return _adapter(name).validate_python(value)
    except ValidationError:
        return None


def read_profile_yaml(path: Path) -> dict[str, Any]:
    """Read a machine's YAML; its keys are text.

    Raises:
        ConfigError: when it cannot be read.
    """
    content = read_yaml(path)
    odd = next((key for key in content if not isinstance(key, str)), None)
    if odd is not None:
        raise ConfigError(f"{path.name}: the key {shown(odd)} is no text.", hint="Put it in quotes, or mend it.")
    return content


def load_profile(home: Home, subject: str) -> Profile:
    """Read the profile of a machine, the user's before the shipped one.

    Raises:
        UnknownNameError: for a machine without a profile; names the nearest.
        ConfigError: for a profile that is refused.
    """
    check_subject(subject)
    path = find_config(home, "machines", subject)
    content = read_profile_yaml(path) if path else {}
    if path is None or "machine_type" not in content:
        raise UnknownNameError(
            "machine profile", subject, profile_names(home), hint="`nightshift profile new` writes one."
        )
    return parse_profile(content, f"machines/{path.name}")


def profile_names(home: Home) -> tuple[str, ...]:
    """Return the ids of the machines that have a profile, sorted; other machine files only hold settings."""
    found = set()
    for folder in (home.configs / "machines", packaged_configs() / "machines"):
        for path in folder.glob("*.yaml") if folder.is_dir() else ():
            if any(
                line.startswith("machine_type:")
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            ):
                found.add(path.stem)
    return tuple(sorted(found))
