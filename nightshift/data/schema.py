"""What a dataset is: its metadata, as stored in `metadata.json`."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from nightshift.errors import UsageError

PARTS = ("train", "val", "test")
TIME, RUN, LABEL, RUL, VEHICLE = "time", "run", "failure_status", "rul", "vehicle"
RESERVED = (TIME, RUN, LABEL, RUL)

#: What a column of truth tells: fuel rate, CO2 rate, kind of driving, or what is odd about a row; of a table the class
#: or the value of its target.
TruthRole = Literal["fuel", "carbon", "behaviour", "odd", "class", "value"]

_SUBJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
#: A file beside the rows: a path below the dataset's folder, of plain names.
FileName = Annotated[
    str, StringConstraints(max_length=255, pattern=r"^[A-Za-z0-9_][\w.+-]*(/[A-Za-z0-9_][\w.+-]*){1,3}$")
]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f/\\]+$")]


class TimeKind(StrEnum):
    """How rows lie in time: on a calendar, in cycles, or independently."""

    CALENDAR = "calendar"
    CYCLES = "cycles"
    NONE = "none"


class LabelSource(StrEnum):
    """Where `failure_status` comes from; ABSENT when there is none."""

    GIVEN = "given"
    FROM_RUL = "from_rul"
    THRESHOLDS = "thresholds"
    ABSENT = "absent"


class Strict(BaseModel):
    """Frozen, and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sensor(Strict):
    """One input column.

    Attributes:
        name: its column.
        unit: SI or field unit, "" for none.
        role: `sensor` (measured state), `setting` (operating point), `category` (text with a fitted mapping), `age`
            (time or cycles since the run began: it helps to tell when and whether, and is no odd behaviour).
        critical: a cell is blocked when it is missing; forecasts are made for critical sensors.
        minimum, maximum: physical range in `unit`.
        alarm_below, alarm_above: limits for the threshold rule (baseline, and labels of last resort).
        categories: for `category`, the values seen in train, in code order; unseen values get code -1.
    """

    name: ColumnName
    unit: str = ""
    role: Literal["sensor", "setting", "category", "age"] = "sensor"
    critical: bool = False
    minimum: float | None = None
    maximum: float | None = None
    alarm_below: float | None = None
    alarm_above: float | None = None
    categories: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _range_is_forward(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"sensor '{self.name}': minimum {self.minimum} is not below maximum {self.maximum}")
        if self.name in RESERVED:
            raise ValueError(f"sensor '{self.name}': the name is reserved")
        return self


class Derived(Strict):
    """A column computed from two others, in the feature graph: left - right, left * right, left / right."""

    name: ColumnName
    kind: Literal["difference", "product", "ratio"]
    left: str
    right: str


class TruthColumn(Strict):
    """One column that a model answers and is never given; a vehicle's data have them, and a table has one.

    Attributes:
        name: its column.
        role: what it tells; a dataset has at most one of each.
        unit: of a number, `L/h`, `g/s`.
        classes: names of a kind, in code order; of `odd` the first is what is normal. Empty for a number.
    """

    name: ColumnName
    role: TruthRole
    unit: str = ""
    classes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _kinds_are_named(self) -> Self:
        if (self.role in ("behaviour", "odd", "class")) != bool(self.classes):
            raise ValueError(f"column '{self.name}': a kind has classes, a number has none")
        if self.name in (*RESERVED, VEHICLE):
            raise ValueError(f"column '{self.name}': the name is reserved")
        return self


class Provenance(Strict):
    """Where a dataset comes from.

    Attributes:
        kind: `import` or `synthetic`.
        source: what was read or made (file names, never absolute paths), and its licence if known.
        mapping: source column -> dataset column.
        details: importer options, seeds, generator settings.
    """

    kind: Literal["import", "synthetic"]
    source: str
    mapping: dict[str, str] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)


class PartSummary(Strict):
    """Figures of one part; times as ISO 8601 (calendar), or cycles as text."""

    rows: int
    runs: int
    first: str | None = None
    last: str | None = None
    positives: int | None = None


class Metadata(Strict):
    """Describes a dataset; its canonical JSON (without `created_at`) is part of the fingerprint.

    Attributes:
        subject: id of the machine or vehicle.
        time_kind: calendar, cycles or none.
        time_unit: unit of `rul` and of `horizon`.
        sampling_s: sampling interval in seconds (calendar), else None.
        timezone: IANA zone of the machine's local clock; stored times are UTC.
        horizon: a row is positive when failure comes within this time, in `time_unit`.
        sensors: input columns in order.
        derived: columns added in the feature graph.
        label_source: where `failure_status` comes from.
        has_rul: whether `rul` is present.
        official_test: the test part is a published one (C-MAPSS): headline figures use the last row of each run.
        parts: figures per part.
        group: which families the data are for. A vehicle's rows name their vehicle in a column `vehicle`, and each
            run is one trip. A row of `driving` is a scenario. Rows of `estimator`, a table, are independent: a run is
            what holds some of them together, else one row.
        truths: columns that models answer, in order.
        files: what lies beside the rows, name -> SHA-256.
    """

    format: Literal[1] = 1
    subject: str
    group: Literal["machine", "vehicle", "driving", "estimator"] = "machine"
    truths: tuple[TruthColumn, ...] = ()
    files: dict[FileName, str] = Field(default_factory=dict)
    title: str = ""
    time_kind: TimeKind
    time_unit: Literal["hours", "cycles", "none"]
    sampling_s: float | None = Field(default=None, gt=0)
    timezone: str = "UTC"
    horizon: float | None = Field(default=None, gt=0)
    embargo: float = Field(default=0, ge=0)
    sensors: tuple[Sensor, ...]
    derived: tuple[Derived, ...] = ()
    label_source: LabelSource
    has_rul: bool
    official_test: bool = False
    parts: dict[str, PartSummary] = Field(default_factory=dict)
    provenance: Provenance
    created_at: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_subject(self.subject)
        names = [s.name for s in self.sensors]
        if len(set(names)) != len(names):
            raise ValueError("sensor names repeat")
        answered = [t.name for t in self.truths]
        if len({*answered, *names}) != len(answered) + len(names) or len({t.role for t in self.truths}) != len(
            answered
        ):
            raise ValueError("a column or role of truth repeats, or is an input too")
        for d in self.derived:
            if d.left not in names or d.right not in names:
                raise ValueError(f"derived column '{d.name}': '{d.left}' or '{d.right}' is no sensor")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Input columns in window order."""
        return tuple(s.name for s in self.sensors)

    @property
    def critical(self) -> tuple[str, ...]:
        """Critical sensors; all plain sensors when none is marked."""
        marked = tuple(s.name for s in self.sensors if s.critical)
        return marked or tuple(s.name for s in self.sensors if s.role == "sensor")

    def truth(self, role: TruthRole) -> TruthColumn | None:
        """Return the column of truth of a role, None where there is none."""
        return next((t for t in self.truths if t.role == role), None)

    @property
    def offers(self) -> frozenset[str]:
        """What families may need: of `labels`, `rul`, `runs`, `clock`, `scenarios`, and the roles of the truths."""
        offered: set[str] = {t.role for t in self.truths}
        if self.group == "driving":
            offered.add("scenarios")
        if self.label_source is not LabelSource.ABSENT:
            offered.add("labels")
        if self.has_rul:
            offered.add("rul")
        if self.time_kind is not TimeKind.NONE:
            offered.add("runs")
        if self.time_kind is TimeKind.CALENDAR:
            offered.add("clock")
        return frozenset(offered)


def check_subject(subject: str) -> str:
    """Return a subject id that is safe as a file name.

    Raises:
        UsageError: for anything but lower-case letters, digits, `_` and `-`, at most 64.
    """
    if not _SUBJECT.fullmatch(subject):
        raise UsageError(
            f"'{subject[:80]}' is not a machine id.",
            hint="Use 1-64 lower-case letters, digits, '_' or '-', starting with a letter or digit.",
        )
    return subject
