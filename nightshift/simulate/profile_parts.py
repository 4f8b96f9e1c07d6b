"""The parts of a profile: nameplate, sensors, schedule, usage, ways to fail, labels and rates."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from nightshift.data.schema import RESERVED, ColumnName
from nightshift.simulate.catalogue import QUANTITIES, Mode, Quantity
from nightshift.simulate.profile_problems import Problem, refusal, shown, unknown

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
#: Of standstills and faults; a year at most.
Hours = Annotated[float, Field(gt=0, le=8_760)]
#: What a failure adds; more than this no instrument would live to show.
Rise = Annotated[float, Field(ge=0, le=150)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
#: Of wear with load. Source of the bearings': ISO 281, point and line contact.
USUAL_EXPONENT = 2.0
BEARING_EXPONENT = {"ball": 3.0, "roller": 10.0 / 3.0}


class Part(BaseModel):
    """Frozen, and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bearing(Part):
    """A rolling bearing: its designation (`6309`), and the kind, which sets the load-life exponent of ISO 281."""

    designation: str = Field(min_length=1, max_length=40)
    kind: Literal["ball", "roller"] = "ball"


class Nameplate(Part):
    """What the plate on the machine says.

    Attributes:
        rated_speed_rpm: at rated load; the synchronous speed is the next above it.
        efficiency: at rated load, of the driving motor.
        vibration_class: of ISO 10816-1, Annex B: I small, II medium, III large on rigid, IV large on soft foundations.
        insulation_class: of IEC 60085; it sets the winding's limit temperature.
    """

    rated_power_kw: float = Field(ge=0.001, le=100_000)
    rated_speed_rpm: float = Field(ge=1, le=60_000)
    rated_voltage_v: float = Field(default=400.0, ge=1, le=50_000)
    efficiency: float = Field(default=0.9, ge=0.3, le=0.99)
    power_factor: float = Field(default=0.85, ge=0.3, le=1)
    vibration_class: Literal["I", "II", "III", "IV"] = "II"
    insulation_class: Literal["B", "F", "H"] = "F"
    rated_flow_m3_h: Annotated[float, Field(ge=0.0001, le=1_000_000)] | None = None
    rated_pressure_bar: Annotated[float, Field(ge=0.0001, le=1_000)] | None = None
    bearings: tuple[Bearing, ...] = Field(min_length=1, max_length=20)


class SensorSpec(Part):
    """One instrument.

    Attributes:
        name: the column.
        measures: the quantity, a key of `catalogue.QUANTITIES`.
        unit: the quantity's unit; it may be left out.
        range: what the instrument can show; readings are clipped to it.
        noise: standard deviation of a reading, in `unit`.
        bias: standard deviation of the mounting's offset from unit to unit, in `unit`.
        sampling_s: where slower than the machine's; readings between are held.
        critical: a model is blocked without it, and it is forecast.
        alarm_below, alarm_above: limits of the threshold rule.
    """

    name: ColumnName
    measures: str
    unit: str = Field(default="", validate_default=True)
    range: tuple[Finite, Finite]
    noise: NotNegative
    bias: NotNegative = 0.0
    sampling_s: Annotated[float, Field(gt=0, le=604_800)] | None = None
    critical: bool = False
    alarm_below: Finite | None = None
    alarm_above: Finite | None = None

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in RESERVED:
            raise ValueError(f"'{value}' is a column of every dataset; allowed: any name but {', '.join(RESERVED)}")
        return value

    @field_validator("measures")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in QUANTITIES:
            raise ValueError(unknown("known quantity", value, list(QUANTITIES)))
        return value

    @field_validator("unit")
    @classmethod
    def _of_the_quantity(cls, value: str, info: ValidationInfo) -> str:
        measures = info.data.get("measures")
        if measures is None:
            return value
        unit = QUANTITIES[measures].unit
        if value and value != unit:
            raise ValueError(f"'{shown(value)}' is not the unit of {measures}; allowed: {unit}")
        return unit

    @field_validator("range")
    @classmethod
    def _possible(cls, value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        low, high = value
        if low >= high:
            raise ValueError(f"the range is reversed: {low:g} is not below {high:g}; allowed: [low, high]")
        measures = info.data.get("measures")
        quantity = QUANTITIES[measures] if measures is not None else None
        if quantity and (low < quantity.low or high > quantity.high):
            raise ValueError(
                f"[{low:g}, {high:g}] {quantity.unit} is not possible for {measures}; "
                f"allowed: within [{quantity.low:g}, {quantity.high:g}]"
            )
        return value

    @field_validator("noise", "bias")
    @classmethod
    def _smaller_than_the_range(cls, value: float, info: ValidationInfo) -> float:
        limits = info.data.get("range")
        if limits is not None and value > (limits[1] - limits[0]) / 4:
            raise ValueError(f"{value:g} drowns the range; allowed: up to {(limits[1] - limits[0]) / 4:g}")
        return value

    @field_validator("alarm_below", "alarm_above")
    @classmethod
    def _within_the_range(cls, value: float | None, info: ValidationInfo) -> float | None:
        limits = info.data.get("range")
        if value is not None and limits is not None and not limits[0] < value < limits[1]:
            raise ValueError(f"{value:g} is outside of the range; allowed: between {limits[0]:g} and {limits[1]:g}")
        below = info.data.get("alarm_below") if info.field_name == "alarm_above" else None
        if value is not None and below is not None and value <= below:
            raise ValueError(f"{value:g} is not above alarm_below; allowed: above {below:g}")
        return value

    @property
    def quantity(self) -> Quantity:
        """What is measured."""
        return QUANTITIES[self.measures]


def _written_as_text(value: object) -> object:
    """YAML 1.1 reads an unquoted 22:00 as base-60 digits; say so instead of complaining about 1320."""
    if isinstance(value, int) and not isinstance(value, bool) and 60 <= value <= 1440:
        raise ValueError(f'got {value}; allowed: a clock time in quotes, "{value // 60:02d}:{value % 60:02d}"')
    return value


Clock = Annotated[str, BeforeValidator(_written_as_text)]


class Shift(Part):
    """A stretch of the day at a load, on some days; one that ends before it begins goes past midnight.

    Attributes:
        begin, end: local clock time, `06:00`; `24:00` ends the day.
        load: factor on the unit's load level.
    """

    begin: Clock
    end: Clock
    days: tuple[Day, ...] = Field(default=DAYS, min_length=1)
    load: float = Field(default=1.0, gt=0, le=2)

    @field_validator("begin", "end")
    @classmethod
    def _on_the_clock(cls, value: str, info: ValidationInfo) -> str:
        last = "24:00" if info.field_name == "end" else "23:59"
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value, re.ASCII) and value != last:
            raise ValueError(f'\'{shown(value)}\' is no clock time; allowed: "00:00" to "{last}"')
        if info.field_name == "end" and value == info.data.get("begin"):
            raise ValueError(
                f"'{value}' is where the shift begins; allowed: another time (a whole day: 00:00 to 24:00)"
            )
        return value

    @property
    def hours(self) -> tuple[float, float]:
        """Begin and end as hours of the day."""
        begin, end = (int(t[:2]) + int(t[3:]) / 60 for t in (self.begin, self.end))
        return begin, end


class Season(Part):
    """Air around the machine: yearly mean, half the yearly and daily swing, slow weather noise, all in kelvin."""

    mean_c: float = Field(default=18.0, ge=-40, le=60)
    yearly_swing_k: float = Field(default=6.0, ge=0, le=40)
    daily_swing_k: float = Field(default=3.0, ge=0, le=25)
    weather_k: float = Field(default=1.5, ge=0, le=15)
    hottest_day: int = Field(default=200, ge=1, le=366)


class Schedule(Part):
    """When the machine works: shifts, what it carries outside of them, and how load drifts with orders."""

    shifts: tuple[Shift, ...] = Field(min_length=1, max_length=50)
    idle_load: Share = 0.3
    load_noise: float = Field(default=0.05, ge=0, le=0.5)
    season: Season = Season()

    @field_validator("shifts")
    @classmethod
    def _apart(cls, value: tuple[Shift, ...]) -> tuple[Shift, ...]:
        taken: dict[int, int] = {}
        problems = {}
        for i, shift in enumerate(value):
            for minute in _minutes_of_week(shift):
                if taken.setdefault(minute, i) != i:
                    text = f"overlaps shift {taken[minute]}; allowed: shifts that follow each other"
                    problems[i] = Problem(str(i), text)
        if problems:
            raise refusal(list(problems.values()))
        return value


def _minutes_of_week(shift: Shift) -> set[int]:
    begin, end = (round(h * 60) for h in shift.hours)
    end += 1440 if end < begin else 0
    starts = {DAYS.index(day) * 1440 for day in shift.days}
    return {(start + minute) % 10_080 for start in starts for minute in range(begin, end)}


class UsageMode(Part):
    """A way that a unit is used for its whole life.

    Attributes:
        share: of the units.
        load, load_spread: mean and standard deviation of the units' load level, share of rated.
        swing: how strongly the unit follows the schedule's shifts, 0 not at all, 1 fully.
        wear_rate, wear_spread: median and log standard deviation of the wear rate, 1 is nominal.
    """

    name: str
    share: Annotated[float, Field(gt=0, le=1)]
    load: float = Field(ge=0.15, le=1.15)
    load_spread: float = Field(default=0.05, gt=0, le=0.15)
    swing: Share = 0.8
    wear_rate: float = Field(default=1.0, ge=0.25, le=4)
    wear_spread: float = Field(default=0.15, gt=0, le=0.5)

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", value, re.ASCII):
            raise ValueError(f"'{shown(value)}' is no name; allowed: up to 32 of a-z, 0-9 and _, a letter first")
        return value


class FailureModeSpec(Part):
    """What every way to fail has.

    Attributes:
        share: of the failures at the machine's mean load.
        load_exponent: wear goes with (load / mean load) to this power; of bearing wear, None is that of ISO 281 for
            the kind of the first bearing. `Profile.load_exponent` is the number that counts.
        onset: share of life after which the defect shows, mean over units (the P of the P-F curve).
    """

    share: Annotated[float, Field(gt=0, le=1)]
    load_exponent: Annotated[float, Field(ge=0, le=10)] | None = USUAL_EXPONENT
    onset: float = Field(default=0.55, ge=0.15, le=0.85)


class BearingWear(FailureModeSpec):
    """Rolling-contact fatigue: vibration velocity and high-frequency acceleration, friction heat."""

    mode: Literal[Mode.BEARING_WEAR]
    load_exponent: Annotated[float, Field(ge=0, le=10)] | None = None
    vibration_rise_mm_s: Rise = 4.0
    acceleration_factor: float = Field(default=4.0, ge=1, le=50)
    friction_rise_k: Rise = 25.0


class InsulationAgeing(FailureModeSpec):
    """Thermal ageing of the winding: life halves with every `halving_k` kelvin; losses and current rise."""

    mode: Literal[Mode.INSULATION_AGEING]
    halving_k: float = Field(default=10.0, ge=2, le=100)
    temperature_rise_k: Rise = 30.0
    current_rise: Share = 0.12


class Cavitation(FailureModeSpec):
    """Vapour bubbles that erode the impeller: head and flow fall, high-frequency noise rises."""

    mode: Literal[Mode.CAVITATION]
    head_loss: Share = 0.18
    flow_loss: Share = 0.12
    acceleration_factor: float = Field(default=3.5, ge=1, le=50)
    vibration_rise_mm_s: Rise = 2.5
    sound_rise_db: Rise = 8.0


class Imbalance(FailureModeSpec):
    """Mass off the axis: vibration velocity at running speed, at both ends."""

    mode: Literal[Mode.IMBALANCE]
    vibration_rise_mm_s: Rise = 5.0
    friction_rise_k: Rise = 8.0


class Fouling(FailureModeSpec):
    """Deposits: flow falls, pressure drop and temperature rise, more power for the same work."""

    mode: Literal[Mode.FOULING]
    flow_loss: Share = 0.2
    power_rise: Share = 0.1
    temperature_rise_k: Rise = 15.0
    filter_factor: float = Field(default=3.0, ge=1, le=20)
    vibration_rise_mm_s: Rise = 1.0


class LubricationLoss(FailureModeSpec):
    """Thin or dirty oil: friction heat, falling oil pressure, particles, high-frequency acceleration."""

    mode: Literal[Mode.LUBRICATION_LOSS]
    friction_rise_k: Rise = 30.0
    pressure_loss: Share = 0.3
    particle_factor: float = Field(default=6.0, ge=1, le=100)
    acceleration_factor: float = Field(default=2.5, ge=1, le=50)


FailureMode = Annotated[
    BearingWear | InsulationAgeing | Cavitation | Imbalance | Fouling | LubricationLoss, Field(discriminator="mode")
]


class Life(Part):
    """How long units live.

    Attributes:
        mean_h: mean over all units, from overhaul to failure.
        spread: log standard deviation of what load and wear rate do not explain.
    """

    mean_h: float = Field(gt=0, le=100_000)
    spread: float = Field(default=0.12, ge=0.02, le=0.6)


class Labels(Part):
    """What is labelled: `rul` in hours, and `failure_status`, failure within `horizon_h`."""

    horizon_h: Positive
    rul: bool = True
    failure_status: bool = True


class Rates(Part):
    """How often things happen that are not wear.

    Attributes:
        censored: share of the runs that are ended by preventive replacement before failure.
        maintenance_interval_h: between small services, which take wear away from all modes but the one that kills.
        maintenance_restores: share of that wear which a service takes away.
        overhaul_h: least and greatest standstill between two runs.
        missing: share of the readings lost one by one.
        sensor_faults_per_1000_h: of one sensor: stuck, drop-out or spike.
        sensor_fault_h: mean length of one.
    """

    censored: float = Field(default=0.08, ge=0, le=0.5)
    maintenance_interval_h: Annotated[float, Field(ge=1, le=100_000)] | None = None
    maintenance_restores: Share = 0.8
    overhaul_h: tuple[Hours, Hours] = (8.0, 48.0)
    missing: float = Field(default=0.005, ge=0, le=0.3)
    sensor_faults_per_1000_h: float = Field(default=0.1, ge=0, le=100)
    sensor_fault_h: Hours = 6.0

    @field_validator("overhaul_h")
    @classmethod
    def _forward(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"the range is reversed: {value[0]:g} is above {value[1]:g}; allowed: [low, high]")
        return value
