"""The parts of a profile: nameplate, sensors, schedule, usage, ways to fail, labels and rates."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nightshift.data.schema import ColumnName
from nightshift.simulate.catalogue import QUANTITIES, Mode, Quantity

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


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
        efficiency: at rated load, of the driving motor.
        poles: of the driving motor; with `frequency_hz` it gives the synchronous speed.
        vibration_class: of ISO 10816-1, Annex B: I small, II medium, III large on rigid, IV large on soft foundations.
        insulation_class: of IEC 60085; it sets the winding's limit temperature.
    """

    rated_power_kw: Positive
    rated_speed_rpm: Positive
    rated_voltage_v: Positive = 400.0
    efficiency: float = Field(default=0.9, ge=0.3, le=0.99)
    power_factor: float = Field(default=0.85, ge=0.3, le=1)
    vibration_class: Literal["I", "II", "III", "IV"] = "II"
    insulation_class: Literal["B", "F", "H"] = "F"
    rated_flow_m3_h: Positive | None = None
    rated_pressure_bar: Positive | None = None
    bearings: tuple[Bearing, ...] = Field(min_length=1)


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
    unit: str = ""
    range: tuple[Finite, Finite]
    noise: NotNegative
    bias: NotNegative = 0.0
    sampling_s: Positive | None = None
    critical: bool = False
    alarm_below: Finite | None = None
    alarm_above: Finite | None = None

    @field_validator("measures")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in QUANTITIES:
            raise ValueError(f"'{value}' is no known quantity; allowed: {', '.join(QUANTITIES)}")
        return value

    @field_validator("range")
    @classmethod
    def _forward(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"the range is reversed: {value[0]:g} is not below {value[1]:g}; allowed: [low, high]")
        return value

    @model_validator(mode="after")
    def _fits_the_quantity(self) -> Self:
        quantity = self.quantity
        if self.unit and self.unit != quantity.unit:
            raise ValueError(f"unit: '{self.unit}' is not the unit of {self.measures}; allowed: {quantity.unit}")
        low, high = self.range
        if low < quantity.low or high > quantity.high:
            raise ValueError(
                f"range: [{low:g}, {high:g}] {quantity.unit} is not possible for {self.measures}; "
                f"allowed: within [{quantity.low:g}, {quantity.high:g}]"
            )
        return self

    @property
    def quantity(self) -> Quantity:
        """What is measured."""
        return QUANTITIES[self.measures]


class Shift(Part):
    """A stretch of the day at a load, on some days; one that ends before it begins goes past midnight.

    Attributes:
        begin, end: local clock time, `06:00`; `24:00` ends the day.
        load: factor on the unit's load level.
    """

    begin: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    end: Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
    days: tuple[Day, ...] = Field(default=DAYS, min_length=1)
    load: Positive = 1.0

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

    shifts: tuple[Shift, ...] = Field(min_length=1)
    idle_load: Share = 0.3
    load_noise: float = Field(default=0.05, ge=0, le=0.5)
    season: Season = Season()


class UsageMode(Part):
    """A way that a unit is used for its whole life.

    Attributes:
        share: of the units.
        load, load_spread: mean and standard deviation of the units' load level, share of rated.
        swing: how strongly the unit follows the schedule's shifts, 0 not at all, 1 fully.
        wear_rate, wear_spread: median and log standard deviation of the wear rate, 1 is nominal.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    share: Annotated[float, Field(gt=0, le=1)]
    load: float = Field(gt=0.1, le=1.2)
    load_spread: float = Field(default=0.05, gt=0, le=0.3)
    swing: Share = 0.8
    wear_rate: Positive = 1.0
    wear_spread: float = Field(default=0.15, gt=0, le=1)


class FailureModeSpec(Part):
    """What every way to fail has.

    Attributes:
        share: of the failures at the machine's mean load.
        load_exponent: wear goes with (load / mean load) to this power.
        onset: share of life after which the defect shows, mean over units (the P of the P-F curve).
    """

    share: Annotated[float, Field(gt=0, le=1)]
    load_exponent: float = Field(default=2.0, ge=0, le=10)
    onset: float = Field(default=0.55, gt=0.05, lt=0.95)


class BearingWear(FailureModeSpec):
    """Rolling-contact fatigue: vibration velocity and high-frequency acceleration, friction heat."""

    mode: Literal[Mode.BEARING_WEAR]
    load_exponent: float = Field(default=3.0, ge=0, le=10)
    vibration_rise_mm_s: NotNegative = 4.0
    acceleration_factor: float = Field(default=4.0, ge=1, le=50)
    friction_rise_k: NotNegative = 25.0


class InsulationAgeing(FailureModeSpec):
    """Thermal ageing of the winding: life halves with every `halving_k` kelvin; losses and current rise."""

    mode: Literal[Mode.INSULATION_AGEING]
    halving_k: Positive = 10.0
    temperature_rise_k: NotNegative = 30.0
    current_rise: Share = 0.12


class Cavitation(FailureModeSpec):
    """Vapour bubbles that erode the impeller: head and flow fall, high-frequency noise rises."""

    mode: Literal[Mode.CAVITATION]
    head_loss: Share = 0.18
    flow_loss: Share = 0.12
    acceleration_factor: float = Field(default=3.5, ge=1, le=50)
    vibration_rise_mm_s: NotNegative = 2.5
    sound_rise_db: NotNegative = 8.0


class Imbalance(FailureModeSpec):
    """Mass off the axis: vibration velocity at running speed, at both ends."""

    mode: Literal[Mode.IMBALANCE]
    vibration_rise_mm_s: NotNegative = 5.0
    friction_rise_k: NotNegative = 8.0


class Fouling(FailureModeSpec):
    """Deposits: flow falls, pressure drop and temperature rise, more power for the same work."""

    mode: Literal[Mode.FOULING]
    flow_loss: Share = 0.2
    power_rise: Share = 0.1
    temperature_rise_k: NotNegative = 15.0
    filter_factor: float = Field(default=3.0, ge=1, le=20)
    vibration_rise_mm_s: NotNegative = 1.0


class LubricationLoss(FailureModeSpec):
    """Thin or dirty oil: friction heat, falling oil pressure, particles, high-frequency acceleration."""

    mode: Literal[Mode.LUBRICATION_LOSS]
    friction_rise_k: NotNegative = 30.0
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

    mean_h: Positive
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
    maintenance_interval_h: Positive | None = None
    maintenance_restores: Share = 0.8
    overhaul_h: tuple[Positive, Positive] = (8.0, 48.0)
    missing: float = Field(default=0.005, ge=0, le=0.3)
    sensor_faults_per_1000_h: float = Field(default=0.1, ge=0, le=100)
    sensor_fault_h: Positive = 6.0

    @field_validator("overhaul_h")
    @classmethod
    def _forward(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"the range is reversed: {value[0]:g} is above {value[1]:g}; allowed: [low, high]")
        return value
