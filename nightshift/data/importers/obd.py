"""OBD-II logs of a car's trips, one CSV per trip, as phone apps write them.

Fuel comes from the engine's air mass: a stoichiometric engine burns one kilogram of petrol with 14.7 kg of air. Air
mass itself is therefore no input. CO2 is fuel times the fuel's carbon.

Source: SAE J1979 (signals); EPA, "Greenhouse Gas Emissions from a Typical Passenger Vehicle" (CO2 per litre); Heywood,
"Internal Combustion Engine Fundamentals", table D.4 (stoichiometry, density).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.data.dataset import Dataset
from nightshift.data.importers.clock import check_timezone
from nightshift.data.importers.csv_file import MISSING_WORDS
from nightshift.data.importers.landing import Check, kinds_of_trips, land_parts, refuse_blockers
from nightshift.data.importers.text import read_text_table
from nightshift.data.importers.trips import number_stretches, to_one_hertz, with_acceleration
from nightshift.data.importers.vehicle_columns import (
    AIR_FLOW,
    BEHAVIOUR,
    CARBON,
    FUEL,
    FUEL_FLOW,
    SIGNALS,
    Units,
    conversion,
    is_mangled,
    name_and_unit,
    truth_column,
)
from nightshift.data.normalise import numbers
from nightshift.data.schema import RUN, TIME, VEHICLE, LabelSource, Metadata, Provenance, TimeKind, check_subject
from nightshift.data.splits import split_vehicles
from nightshift.errors import DataError
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

AIR = "air_mass"
Fuel = Literal["petrol", "diesel"]


@dataclass(frozen=True)
class FuelKind:
    """A fuel: kg of air per kg, density in g/L, grams of CO2 per litre."""

    air_ratio: float
    density_g_l: float
    co2_g_l: float


FUELS: dict[str, FuelKind] = {"petrol": FuelKind(14.7, 745.0, 2348.0), "diesel": FuelKind(14.5, 835.0, 2689.0)}

#: A logger's name for a signal, lower case -> column, and the unit of a header without one (SAE J1979's own).
NAMES: dict[str, tuple[str, str]] = {
    "engine coolant temperature": ("coolant_temperature", "degC"),
    "coolant temperature": ("coolant_temperature", "degC"),
    "intake manifold absolute pressure": ("manifold_pressure", "kPa"),
    "intake manifold pressure": ("manifold_pressure", "kPa"),
    "engine rpm": ("engine_rpm", "rpm"),
    "engine speed": ("engine_rpm", "rpm"),
    "vehicle speed sensor": ("velocity", "km/h"),
    "vehicle speed": ("velocity", "km/h"),
    "speed (obd)": ("velocity", "km/h"),
    "intake air temperature": ("intake_air_temperature", "degC"),
    "air flow rate from mass flow sensor": (AIR, "g/s"),
    "mass air flow rate": (AIR, "g/s"),
    "mass air flow": (AIR, "g/s"),
    "maf": (AIR, "g/s"),
    "absolute throttle position": ("throttle", "%"),
    "throttle position": ("throttle", "%"),
    "ambient air temperature": ("ambient_temperature", "degC"),
    "accelerator pedal position d": ("accelerator_pedal", "%"),
    "engine fuel rate": (FUEL, "L/h"),
}
_TIME_NAMES = ("time", "timestamp", "device time", "gps time")
#: What a file's name says of the traffic -> the kind.
TRAFFIC = {"frei": "free", "free": "free", "normal": "normal", "stau": "jam", "busy": "jam", "jam": "jam"}
_KINDS = ("free", "normal", "jam")
_DATED = re.compile(r"(\d{4}-\d{2}-\d{2})_")
_CLOCK = re.compile(r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?")
_DAY_S = 86_400.0
#: Of one trip: a day at 10 Hz and 100 bytes a row.
MAX_TRIP_BYTES = 100_000_000


@dataclass
class _Read:
    """What was met while reading: files with a mended header, columns without a use."""

    mended: list[str] = field(default_factory=list)
    unused: dict[str, None] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    rows: int = 0


def import_obd(
    home: Home,
    path: Path,
    subject: str | None = None,
    *,
    fuel: Fuel = "petrol",
    timezone: str = "UTC",
    order: Literal["kind", "time"] = "kind",
    event: bool = True,
    check: Check | None = refuse_blockers,
) -> Dataset:
    """Land a folder of trips, averaged down to one row a second; whole trips go to each part.

    A file's name may tell its day, car and traffic: `2017-07-10_Seat_Leon_KA_KA_Stau.csv`. The traffic is the kind of
    driving.

    Args:
        home: where to land.
        path: a folder of CSV files, one per trip.
        subject: id to land under; made from the car's name by default.
        fuel: that the car burns.
        timezone: of the logger's clock.
        order: of the cut of one car's trips: `kind` cuts each kind of traffic in time order, so that test holds all of
            them; `time` cuts all trips in time order.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        BlockedError: when the checks find a blocker.
        DataError: when a file cannot be read, has an unknown unit, no speed, no time or no day. Names it.
        ConfigError: for an unknown time zone.
        UsageError: for a subject that is none.
    """
    check_timezone(timezone)
    files = _files(path)
    cars = {file: _car(file) for file in files}
    machine = subject or _subject(cars[file] for file in files)
    check_subject(machine)
    read = _Read()
    trips = []
    for number, file in enumerate(files):
        trip = _trip(file, timezone, fuel, read)
        trips.append(trip.assign(**{RUN: number, VEHICLE: sorted(set(cars.values())).index(cars[file])}))
    import pandas as pd

    log = pd.concat(trips, ignore_index=True)
    whole = to_one_hertz(log, path.name, in_steps=[s.name for s in SIGNALS.values() if s.in_steps])
    frame = with_acceleration(whole.frame)
    traffic = {number: _traffic(file) for number, file in enumerate(files)}
    if any(traffic.values()):
        frame = frame.assign(**{BEHAVIOUR: frame[RUN].map(traffic).astype(object)})
    details = {"rows_read": read.rows, "seconds_held": whole.held, "seconds_left_out": whole.left_out}
    metadata = _describe(machine, path, files, frame, read, fuel, timezone, {**details, "order": order})
    kinds = kinds_of_trips(frame, metadata) if order == "kind" else None
    parts = number_stretches(split_vehicles(frame, kind_of=kinds))
    return land_parts(home, parts, metadata, event=event, check=check)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"there is no file or folder {path.name}.", hint="Check the path.")
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path.name} holds no CSV file.", hint="Give the folder with one CSV per trip.")
    return files


def _car(file: Path) -> str:
    """Return a car's name: what stands after the day in its file's name, else its folder."""
    words = _DATED.sub("", file.stem, count=1).split("_")
    return "_".join(words[:2]) if _DATED.match(file.stem) and len(words) > 2 else file.parent.name


def _subject(cars: Any) -> str:
    names = sorted(set(cars))
    plain = re.sub(r"[^a-z0-9]+", "_", names[0].lower()).strip("_")
    return f"obd_{plain}"[:64] if len(names) == 1 and plain else "obd_fleet"


def _traffic(file: Path) -> str | None:
    return next((TRAFFIC[w] for w in reversed(file.stem.lower().split("_")) if w in TRAFFIC), None)


def _trip(file: Path, timezone: str, fuel: str, read: _Read) -> pd.DataFrame:
    """Read one file: its times and known signals, in the columns' own units."""
    import pandas as pd

    table = read_text_table(file, limit=MAX_TRIP_BYTES)
    columns: dict[str, Any] = {}
    stamps = None
    for header in map(str, table.frame.columns):
        name, unit = name_and_unit(header)
        known = NAMES.get(name.lower(), NAMES.get(header.strip().lower()))
        if is_mangled(header) and file.name not in read.mended:
            read.mended.append(file.name)
        if name.lower() in _TIME_NAMES and stamps is None:
            stamps = _stamps(table.frame[header], file, timezone)
        elif known and known[0] not in columns:
            factor, offset = conversion(_units(known[0]), unit, known[1], header, file.name)
            columns[known[0]] = _numbers(table.frame[header], table.decimal) * factor + offset
            read.used[header] = known[0]
        else:
            read.unused[header] = None
    if stamps is None or "velocity" not in columns:
        lacking = "time" if stamps is None else "vehicle speed"
        raise DataError(f"D001: {file.name} has no column of {lacking}.", hint="Log it; see docs/vehicles.md.")
    read.rows += len(table.frame)
    return _with_fuel(pd.DataFrame({TIME: stamps, **columns}), fuel)


def _units(column: str) -> Units:
    return {AIR: AIR_FLOW, FUEL: FUEL_FLOW}.get(column) or SIGNALS[column].units


def _numbers(column: pd.Series[Any], decimal: str) -> NDArray[np.float64]:
    text = column.mask(column.str.lower().isin(MISSING_WORDS), None)
    return numbers(text.str.replace(",", ".") if decimal == "," else text, np.float64)


def _stamps(column: pd.Series[Any], file: Path, timezone: str) -> Any:
    """Return UTC times of a column of clock times, with the day from the file's name, or of ISO 8601 times."""
    import pandas as pd

    text = column.str.strip()
    clocks = text.map(lambda cell: bool(_CLOCK.fullmatch(cell))).to_numpy(np.bool_)
    if not clocks.all():
        read = pd.to_datetime(text, format="ISO8601", errors="coerce")
        wrong = ~clocks if clocks[0] else read.isna().to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong)) + 1
            raise DataError(
                f"D020: '{column.name}' of {file.name} holds '{text.iloc[row - 1]}' (row {row}), expected a time such "
                "as 08:57:05.521 or 2017-07-10T08:57:05.",
                hint="Mend the row.",
            )
    elif not (dated := _DATED.match(file.stem)):
        raise DataError(
            f"{file.name} tells the time of day and no day.",
            hint=f"Name it YYYY-MM-DD_CAR_…, as 2017-07-10_{file.name}",
        )
    else:
        clock = np.asarray(pd.TimedeltaIndex(text.str.replace(",", ".")).total_seconds(), dtype=np.float64)
        past_midnight = np.cumsum(np.append(0.0, np.diff(clock)) < -_DAY_S / 2) * _DAY_S
        read = pd.Timestamp(dated[1]) + pd.to_timedelta(pd.Series(clock + past_midnight), unit="s")
    if read.dt.tz is None:
        read = read.dt.tz_localize(timezone, ambiguous=np.zeros(len(read), dtype=bool), nonexistent="shift_forward")
    return read.dt.tz_convert("UTC").dt.as_unit("ns")


def _with_fuel(trip: pd.DataFrame, fuel: str) -> pd.DataFrame:
    """Add fuel in L/h, from the car's own figure or from air mass, and CO2 in g/s; air mass goes."""
    kind = FUELS[fuel]
    made = trip
    if FUEL not in made and AIR in made:
        made = made.assign(**{FUEL: made[AIR] * 3600.0 / (kind.air_ratio * kind.density_g_l)})
    if FUEL in made:
        made = made.assign(**{CARBON: made[FUEL] * kind.co2_g_l / 3600.0})
    return made.drop(columns=AIR, errors="ignore")


def _describe(
    machine: str,
    path: Path,
    files: list[Path],
    frame: pd.DataFrame,
    read: _Read,
    fuel: str,
    timezone: str,
    details: dict[str, Any],
) -> Metadata:
    truths = [truth_column(name) for name in (FUEL, CARBON) if name in frame]
    if BEHAVIOUR in frame:
        there = set(frame[BEHAVIOUR].dropna())
        truths.append(truth_column(BEHAVIOUR, tuple(kind for kind in _KINDS if kind in there)))
    if FUEL in frame:
        from_air = AIR in read.used.values()
        details = {**details, "fuel": fuel, "fuel_from": "air mass" if from_air else "engine fuel rate"}
    return Metadata(
        subject=machine,
        group="vehicle",
        title=f"{len(files)} OBD-II trips",
        time_kind=TimeKind.CALENDAR,
        time_unit="hours",
        sampling_s=1.0,
        timezone=timezone,
        sensors=tuple(s.sensor() for s in SIGNALS.values() if s.name in frame and frame[s.name].notna().any()),
        truths=tuple(truths),
        label_source=LabelSource.ABSENT,
        has_rul=False,
        provenance=Provenance(
            kind="import",
            source=f"{path.name} ({len(files)} files)",
            mapping=read.used,
            details={
                "importer": "obd",
                **details,
                "mended_headers": read.mended,
                "unused_columns": list(read.unused),
            },
        ),
    )
