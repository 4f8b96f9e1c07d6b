"""A machine's profile: nameplate, sensors, schedule, usage and ways to fail, as `configs/machines/<id>.yaml` holds it.

Everything that is refused names the field's path and the allowed values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator, model_validator

from nightshift.data.schema import check_subject
from nightshift.errors import ConfigError, UnknownNameError
from nightshift.files import read_yaml
from nightshift.settings import Home, find_config, packaged_configs
from nightshift.simulate.catalogue import KINDS, MachineType
from nightshift.simulate.profile_parts import (
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

#: Share of failing rows that data is worth learning from, horizon over mean life.
FAILURE_SHARE = (0.10, 0.20)
#: A dataset holds at least this many consecutive runs.
MIN_RUNS = 30
_SHARES_ADD_UP = 1e-6
_MIN_ROWS_PER_LIFE = 50


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

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"'{value}' is no IANA time zone; allowed: such as Europe/Berlin or UTC") from None
        return value

    @field_validator("start")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = list(_inconsistencies(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def failure_share(self) -> float:
        """Share of failing rows to expect: horizon over mean life."""
        return self.labels.horizon_h / self.life.mean_h

    @property
    def min_rows(self) -> int:
        """Rows that hold `MIN_RUNS` runs of mean life, with a tenth to spare."""
        return int(1.1 * MIN_RUNS * self.life.mean_h * 3600 / self.sampling_s)


def parse_profile(content: Mapping[str, Any], where: str) -> Profile:
    """Validate what a machine's YAML holds; its `families` block is the training's, and left out.

    Raises:
        ConfigError: names every bad field by its path, with the allowed values.
    """
    try:
        return Profile.model_validate({k: v for k, v in content.items() if k != "families"})
    except ValidationError as error:
        lines = [problem_line(e) for e in error.errors()]
        more = f" (and {len(lines) - 1} more; `nightshift profile check` lists all)" if len(lines) > 1 else ""
        raise ConfigError(f"{where}: {lines[0]}{more}.") from None


def problem_line(error: Mapping[str, Any]) -> str:
    """Return one pydantic error as `path: what, got …`; pydantic's own text names the allowed values."""
    path = ".".join(str(piece) for piece in error["loc"])
    text = str(error["msg"]).removeprefix("Value error, ")
    kind = error["type"]
    if kind == "missing":
        return f"{path}: the field is required"
    if kind == "extra_forbidden":
        return f"{path}: unknown field"
    given = "" if kind == "value_error" else f", got {error.get('input')!r}"
    return f"{path}: {text}{given}" if path else text


def load_profile(home: Home, subject: str) -> Profile:
    """Read the profile of a machine, the user's before the shipped one.

    Raises:
        UnknownNameError: for a machine without a profile; names the nearest.
        ConfigError: for a profile that is refused.
    """
    check_subject(subject)
    path = find_config(home, "machines", subject)
    content = read_yaml(path) if path else {}
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
            if any(line.startswith("machine_type:") for line in path.read_text(encoding="utf-8").splitlines()):
                found.add(path.stem)
    return tuple(sorted(found))


def _inconsistencies(profile: Profile) -> Iterable[str]:
    kind = KINDS[profile.machine_type]
    yield from _repeated("sensors", [s.name for s in profile.sensors])
    yield from _repeated("usage_modes", [m.name for m in profile.usage_modes])
    yield from _repeated("failure_modes", [str(m.mode) for m in profile.failure_modes])
    for i, sensor in enumerate(profile.sensors):
        if sensor.measures not in kind.quantities:
            yield (
                f"sensors.{i}.measures: '{sensor.measures}' is not measured on a {kind.title}; "
                f"allowed: {', '.join(kind.quantities)}"
            )
        if sensor.sampling_s is not None and sensor.sampling_s < profile.sampling_s:
            yield f"sensors.{i}.sampling_s: {sensor.sampling_s:g} is below the machine's {profile.sampling_s:g}"
    if all(s.quantity.role != "sensor" for s in profile.sensors):
        yield "sensors: none shows the machine's state; allowed: at least one that is no setting and no hour meter"
    for i, mode in enumerate(profile.failure_modes):
        if mode.mode not in kind.modes:
            allowed = ", ".join(kind.modes)
            yield f"failure_modes.{i}.mode: a {kind.title} does not fail by {mode.mode}; allowed: {allowed}"
    for name, shares in (
        ("usage_modes", [m.share for m in profile.usage_modes]),
        ("failure_modes", [m.share for m in profile.failure_modes]),
    ):
        if abs(sum(shares) - 1) > _SHARES_ADD_UP:
            yield f"{name}: the shares add up to {sum(shares):g}; allowed: 1"
    yield from _label_problems(profile)


def _label_problems(profile: Profile) -> Iterable[str]:
    if profile.labels.failure_status and not profile.labels.rul:
        yield "labels.rul: failure_status is made from rul, which is disabled; allowed: true"
    low, high = FAILURE_SHARE
    if not low <= profile.failure_share <= high:
        mean = profile.life.mean_h
        yield (
            f"labels.horizon_h: {profile.labels.horizon_h:g} h of a mean life of {mean:g} h makes "
            f"{profile.failure_share:.0%} of the rows failing; allowed: {low * mean:g} to {high * mean:g}"
        )
    longest_s = profile.life.mean_h * 3600 / _MIN_ROWS_PER_LIFE
    if profile.sampling_s > longest_s:
        yield f"sampling_s: {profile.sampling_s:g} gives a life too few rows; allowed: up to {longest_s:g}"


def _repeated(where: str, names: list[str]) -> Iterable[str]:
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"{where}: '{name}' stands twice; allowed: each once"
