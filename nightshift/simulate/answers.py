"""What the wizard asks: the answers, what is allowed, and what is usual for each type of machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from nightshift.data.schema import check_subject
from nightshift.errors import ConfigError, UsageError
from nightshift.simulate.catalogue import KINDS, QUANTITIES, MachineType, Mode
from nightshift.simulate.profile import FAILURE_SHARE, Profile
from nightshift.simulate.profile_parts import Part
from nightshift.simulate.profile_problems import problems_of, shown, unknown
from nightshift.simulate.profile_rules import too_many_rows
from nightshift.simulate.templates import TEMPLATES, Working, usual_class

_USUAL_SHARE = 0.15
_MOST_FLOW = 400_000.0
_LOAD = Annotated[float, Field(ge=0.15, le=1.15)]


class Answers(Part):
    """What the wizard asks, in its order; None stands for the machine type's usual value."""

    machine: str
    machine_type: MachineType
    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    rated_power_kw: Annotated[float, Field(ge=0.05, le=50_000)] | None = None
    rated_speed_rpm: Annotated[float, Field(ge=10, le=40_000)] | None = None
    rated_voltage_v: Annotated[float, Field(ge=24, le=20_000)] | None = None
    insulation_class: Literal["B", "F", "H"] | None = None
    vibration_class: Literal["I", "II", "III", "IV"] | None = None
    bearings: Annotated[tuple[Annotated[str, Field(max_length=40)], ...], Field(min_length=1, max_length=20)] | None = (
        None
    )
    rated_flow_m3_h: Annotated[float, Field(ge=0.01, le=_MOST_FLOW)] | None = None
    rated_pressure_bar: Annotated[float, Field(ge=0.0005, le=300)] | None = None
    timezone: str | None = None
    working: Working | None = None
    usual_load: _LOAD | None = None
    hard_load: _LOAD | None = None
    mean_life_h: Annotated[float, Field(ge=20, le=20_000)] | None = None
    horizon_h: Annotated[float, Field(gt=0)] | None = None
    sampling_s: Annotated[float, Field(ge=1, le=86_400)] | None = None
    sensors: Annotated[tuple[str, ...], Field(min_length=2, max_length=64)] | None = None
    failure_modes: Annotated[tuple[Mode, ...], Field(min_length=1)] | None = None

    @field_validator("machine")
    @classmethod
    def _id(cls, value: str) -> str:
        try:
            check_subject(value)
        except UsageError:
            text = "allowed: up to 64 of a-z, 0-9, _ and -, a letter or digit first"
            raise ValueError(f"'{shown(value)}' is no machine id; {text}") from None
        return value

    @field_validator("rated_speed_rpm")
    @classmethod
    def _torque_is_possible(cls, value: float | None, info: ValidationInfo) -> float | None:
        power_kw = _given(info, "rated_power_kw")
        if value is not None and power_kw is not None:
            least = 2 * 9549.3 * power_kw / QUANTITIES["torque"].high
            if value < least:
                raise ValueError(f"{value:g} rpm at {power_kw:g} kW is too much torque; allowed: from {least:.4g}")
        return value

    @field_validator("rated_voltage_v")
    @classmethod
    def _current_is_possible(cls, value: float | None, info: ValidationInfo) -> float | None:
        power_kw = _given(info, "rated_power_kw")
        if value is not None and power_kw is not None:
            least = 2.5 * 740 * power_kw / QUANTITIES["stator_current"].high
            if value < least:
                raise ValueError(f"{value:g} V at {power_kw:g} kW is too much current; allowed: from {least:.4g}")
        return value

    @field_validator("title")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        return value if value is None else Profile._printable(value)

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        return value if value is None else Profile._zone(value)

    @field_validator("hard_load")
    @classmethod
    def _harder(cls, value: float | None, info: ValidationInfo) -> float | None:
        usual = info.data.get("usual_load") or _DEFAULTS["usual_load"]
        if value is not None and value < usual + 0.05:
            raise ValueError(f"{value:g} is not above the usual load; allowed: from {usual + 0.05:g} to 1.15")
        return value

    @field_validator("horizon_h")
    @classmethod
    def _some_failing(cls, value: float | None, info: ValidationInfo) -> float | None:
        mean = _given(info, "mean_life_h")
        low, high = FAILURE_SHARE
        if value is not None and mean is not None and not low * mean <= value <= high * mean:
            raise ValueError(
                f"{value:g} h of a mean life of {mean:g} h makes {value / mean:.0%} of the rows failing; "
                f"allowed: {low * mean:g} to {high * mean:g}"
            )
        return value

    @field_validator("sampling_s")
    @classmethod
    def _often(cls, value: float | None, info: ValidationInfo) -> float | None:
        mean = _given(info, "mean_life_h")
        if value is not None and mean is not None and value > mean * 72:
            raise ValueError(f"{value:g} gives a life too few rows; allowed: up to {mean * 72:g}")
        many = too_many_rows(mean, value) if value is not None and mean is not None else None
        if many:
            raise ValueError(many)
        return value

    @field_validator("sensors")
    @classmethod
    def _measured(cls, value: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        kind = info.data.get("machine_type")
        if value is None or kind is None:
            return value
        allowed = KINDS[kind].quantities
        for name in value:
            if name not in allowed:
                raise ValueError(unknown(f"quantity of the type {KINDS[kind].title}", name, allowed))
        if len(set(value)) < len(value):
            raise ValueError("one stands twice; allowed: each once")
        if all(QUANTITIES[name].role != "sensor" for name in value):
            raise ValueError("none shows the machine's state; allowed: at least one more, such as vibration_drive_end")
        return value

    @field_validator("failure_modes")
    @classmethod
    def _possible(cls, value: tuple[Mode, ...] | None, info: ValidationInfo) -> tuple[Mode, ...] | None:
        kind = info.data.get("machine_type")
        if value is None or kind is None:
            return value
        for mode in value:
            if mode not in KINDS[kind].modes:
                raise ValueError(unknown(f"failure mode of the type {KINDS[kind].title}", mode, KINDS[kind].modes))
        if len(set(value)) < len(value):
            raise ValueError("one stands twice; allowed: each once")
        return value


def _given(info: ValidationInfo, name: str) -> float | None:
    """Return an answer that stands before, else what is usual; None when neither is known."""
    value: float | None = info.data.get(name)
    known = info.data.get("machine_type") is not None
    return value if value is not None or not known else usual(name, info.data)


_DEFAULTS: dict[str, Any] = {
    "rated_voltage_v": 400.0,
    "insulation_class": "F",
    "timezone": "UTC",
    "usual_load": 0.65,
    "hard_load": 0.85,
}


def usual(name: str, answers: Mapping[str, Any]) -> Any:
    """Return the default of a question, given the answers before it; None for a question that has none.

    Args:
        name: a field of `Answers`.
        answers: at least `machine_type`, and what is known so far.
    """
    if name in ("machine", "machine_type"):
        return None
    template = TEMPLATES[MachineType(answers["machine_type"])]

    def known(other: str) -> Any:
        value = answers.get(other)
        return usual(other, answers) if value is None else value

    per_type: dict[str, Callable[[], Any]] = {
        "title": lambda: f"{template.title}, {known('rated_power_kw'):g} kW",
        "rated_power_kw": lambda: template.power_kw,
        "rated_speed_rpm": lambda: template.speed_rpm,
        "vibration_class": lambda: usual_class(known("rated_power_kw")),
        "bearings": lambda: template.bearings,
        "rated_flow_m3_h": lambda: (
            min(_MOST_FLOW, float(f"{template.flow_per_kw * known('rated_power_kw'):.3g}")) or None
        ),
        "rated_pressure_bar": lambda: template.pressure_bar or None,
        "working": lambda: template.working,
        "hard_load": lambda: min(1.15, max(_DEFAULTS["hard_load"], round(known("usual_load") + 0.15, 2))),
        "mean_life_h": lambda: template.mean_life_h,
        "horizon_h": lambda: float(f"{_USUAL_SHARE * known('mean_life_h'):.4g}"),
        "sampling_s": lambda: min(template.sampling_s, float(int(known("mean_life_h") * 72))),
        "sensors": lambda: template.sensors,
        "failure_modes": lambda: tuple(mode for mode, _, _ in template.modes),
    }
    return per_type[name]() if name in per_type else _DEFAULTS[name]


def parse_answers(content: Mapping[str, Any]) -> Answers:
    """Validate answers.

    Raises:
        ConfigError: names every bad answer.
    """
    try:
        return Answers.model_validate(dict(content))
    except ValidationError as error:
        found = problems_of(Answers, error.errors(include_url=False))
        raise ConfigError("; ".join(str(p) for p in found) + ".", hint="Mend the answers.") from None
