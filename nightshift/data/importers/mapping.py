"""The YAML that says what a file's columns mean."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from nightshift.data.schema import RUN, TIME, Derived, Sensor, Strict, TimeKind
from nightshift.errors import ConfigError, UnknownNameError, nearest
from nightshift.files import read_yaml
from nightshift.settings import Home, find_config, packaged_configs


def _bare(key: str) -> BeforeValidator:
    """Let plain text stand for the one field that matters: `time: Timestamp`."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class TimeColumn(Strict):
    """When a row was measured.

    Attributes:
        column: of the file; None for independent rows.
        kind: `calendar`, `cycles` (a counter), or `none`.
        format: `strptime` pattern, needed where day and month could be confused; ISO 8601 needs none.
        epoch: the column counts since 1970 in this unit.
        timezone: IANA zone of times without an offset, and of the machine's daily rhythm.
        sampling_s: the interval; measured when left out.
    """

    column: str | None = None
    kind: TimeKind = TimeKind.CALENDAR
    format: str | None = None
    epoch: Literal["s", "ms", "us", "ns"] | None = None
    timezone: str = "UTC"
    sampling_s: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _column_fits_kind(self) -> Self:
        if (self.column is None) != (self.kind is TimeKind.NONE):
            raise ValueError("give `column`, or `kind: none` for independent rows")
        return self


class RunColumn(Strict):
    """What separates runs: a column, or a pause. With neither, all rows are one run.

    Attributes:
        column: of the file; any values.
        gap_s: a longer pause begins a new run.
    """

    column: str | None = None
    gap_s: float | None = Field(default=None, gt=0)


class SensorColumn(Strict):
    """What one input column holds; see `Sensor`. `name` is the column's name in the dataset (the file's by default)."""

    name: str | None = None
    unit: str = ""
    role: Literal["sensor", "setting", "category", "age"] = "sensor"
    critical: bool = False
    minimum: float | None = None
    maximum: float | None = None
    alarm_below: float | None = None
    alarm_above: float | None = None

    def sensor(self, column: str) -> Sensor:
        """Return the dataset's description of the column."""
        return Sensor(name=self.name or column, **self.model_dump(exclude={"name"}))


class LabelColumn(Strict):
    """Where `failure_status` comes from: a column; else `rul` and `horizon`; else the sensors' alarm limits.

    Attributes:
        column: of the file.
        positive: the values that mean failing, compared as text; by default 1, true, yes, and the like.
        noise: share of labels flipped when they are made from alarm limits.
        absent: make none.
    """

    column: str | None = None
    positive: tuple[str | int | float | bool, ...] = ()
    noise: float = Field(default=0.02, ge=0, lt=0.5)
    absent: bool = False


class RulColumn(Strict):
    """Where `rul` comes from: a column, or the end of each run.

    Attributes:
        column: of the file, in the time unit (hours or cycles).
        run_end_is_failure: every run ends with its failure; `rul` is the time until then.
    """

    column: str | None = None
    run_end_is_failure: bool = False


class Mapping(Strict):
    """A file's columns and what they mean.

    Attributes:
        machine: id to land under, unless the command gives one.
        sensors: file column -> description.
        derived: columns computed in the feature graph, by dataset column name.
        horizon: a row is positive when failure comes within this time (hours or cycles).
        embargo_h: hours dropped between parts; by default 24 rows and the horizon.
        sentinels: values that mean "missing".
        duplicates: what to do with a second row of the same run and time: `keep` (validate reports it), `first`,
            `last`, `mean`.
        sort: bring rows into time order within each run.
        source: where the file comes from, and its licence.
        seed: of draws (split, label noise).
    """

    machine: str | None = None
    title: str = ""
    time: Annotated[TimeColumn, _bare("column")]
    run: Annotated[RunColumn, _bare("column")] = RunColumn()
    sensors: dict[str, Annotated[SensorColumn, BeforeValidator(lambda v: {} if v is None else v)]] = Field(min_length=1)
    derived: tuple[Derived, ...] = ()
    label: Annotated[LabelColumn, _bare("column")] = LabelColumn()
    rul: Annotated[RulColumn, _bare("column")] = RulColumn()
    horizon: float | None = Field(default=None, gt=0)
    embargo_h: float | None = Field(default=None, ge=0)
    sentinels: tuple[str | float, ...] = ()
    decimal: Literal[".", ","] | None = None
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    encoding: str | None = None
    duplicates: Literal["keep", "first", "last", "mean"] = "keep"
    sort: bool = False
    source: str = ""
    seed: int = 0

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        names = [spec.name or column for column, spec in self.sensors.items()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sensors are called '{name}'")
        return self

    def used(self) -> dict[str, str]:
        """Return file column -> dataset column, of all columns that are read."""
        named = {
            self.time.column: TIME,
            self.run.column: RUN,
            self.label.column: "failure_status",
            self.rul.column: "rul",
        }
        return {column: name for column, name in named.items() if column} | {
            column: spec.name or column for column, spec in self.sensors.items()
        }


def load_mapping(home: Home, name: str | Path) -> Mapping:
    """Read a mapping: a YAML file, or the name of a shipped or own one (`configs/mappings/<name>.yaml`).

    Raises:
        UnknownNameError: for a name that is neither; names the nearest.
        ConfigError: for a key or value that cannot be used; names the nearest key.
    """
    path = Path(name)
    if path.suffix.lower() not in (".yaml", ".yml"):
        found = find_config(home, "mappings", str(name)) if str(name) in mappings(home) else None
        if found is None:
            raise UnknownNameError("mapping", str(name), mappings(home), hint="A file's name ends in .yaml.")
        path = found
    return parse_mapping(read_yaml(path), path.name)


def mappings(home: Home) -> tuple[str, ...]:
    """Return the names of the shipped and own mappings."""
    folders = (home.configs / "mappings", packaged_configs() / "mappings")
    return tuple(sorted({p.stem for folder in folders if folder.is_dir() for p in folder.glob("*.yaml")}))


def parse_mapping(values: MappingABC[str, Any], name: str) -> Mapping:
    """Validate a mapping's values.

    Raises:
        ConfigError: as `load_mapping`.
    """
    try:
        return Mapping.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _model_at(first["loc"][:-1]).model_fields
            raise ConfigError(f"{name}: unknown key '{place}'.", hint=nearest(str(first["loc"][-1]), known)) from None
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{name}: {place + ': ' if place else ''}{reason}.") from None


def _model_at(place: tuple[int | str, ...]) -> type[BaseModel]:
    kinds: dict[str, type[BaseModel]] = {
        "time": TimeColumn,
        "run": RunColumn,
        "sensors": SensorColumn,
        "label": LabelColumn,
        "rul": RulColumn,
        "derived": Derived,
    }
    return kinds.get(str(place[0]), Mapping) if place else Mapping
