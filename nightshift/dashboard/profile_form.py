"""A profile as a form: its fields with what they allow, and what was filled in laid over what was there.

Fields are named by the path that a profile's problems have (`sensors.3.noise`), so each problem finds its field.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from nightshift.errors import ConfigError
from nightshift.files import parse_yaml
from nightshift.simulate.catalogue import KINDS, QUANTITIES, MachineType
from nightshift.simulate.edit import Content
from nightshift.simulate.profile import Profile
from nightshift.simulate.profile_parts import DAYS, Nameplate
from nightshift.simulate.profile_problems import Problem, allowed
from nightshift.simulate.wizard import bearing_kind

Kind = Literal["number", "text", "choice", "flag", "days", "bearings"]
#: Of a profile's YAML.
MAX_TEXT = 200_000
_MAX_VALUES = 20_000
_NUMBER = re.compile(r"[-+]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})([eE][-+]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[-+]?\d{1,20}", re.ASCII)


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        path: in the profile, with dots.
        value: as the form shows it: text, whether a flag is set, or the days that are ticked.
        hint: what is allowed, in words.
        options: of a choice.
        usual: what counts where it is left empty.
    """

    path: str
    label: str
    kind: Kind = "number"
    value: Any = ""
    unit: str = ""
    hint: str = ""
    options: tuple[str, ...] = ()
    usual: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table: what it is about, and its fields; `number` is its place in the profile's list."""

    number: int
    title: str
    about: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Form:
    """A profile's fields as the page lays them out.

    Attributes:
        machine: what it is, and its clock.
        nameplate, life, schedule: fields by themselves.
        sensors, shifts, usage, failures: tables.
        quantities, modes: that may still be added.
    """

    machine: tuple[Field, ...]
    nameplate: tuple[Field, ...]
    life: tuple[Field, ...]
    schedule: tuple[Field, ...]
    sensors: tuple[Row, ...]
    shifts: tuple[Row, ...]
    usage: tuple[Row, ...]
    failures: tuple[Row, ...]
    quantities: tuple[tuple[str, str], ...]
    modes: tuple[str, ...]

    def fields(self) -> Iterator[Field]:
        """Yield every field."""
        yield from (*self.machine, *self.nameplate, *self.life, *self.schedule)
        for row in (*self.sensors, *self.shifts, *self.usage, *self.failures):
            yield from row.fields


#: (path, label, unit) of what stands by itself.
_MACHINE = (("title", "Title for people", ""), ("timezone", "Time zone of its clock", ""))
_NAMEPLATE = (
    ("rated_power_kw", "Rated power", "kW"),
    ("rated_speed_rpm", "Rated speed", "rpm"),
    ("rated_voltage_v", "Rated voltage", "V"),
    ("efficiency", "Efficiency at rated load", ""),
    ("power_factor", "Power factor", ""),
    ("vibration_class", "Vibration class (ISO 10816-1)", ""),
    ("insulation_class", "Insulation class (IEC 60085)", ""),
)
_MOVES = (("rated_flow_m3_h", "Rated flow", "m³/h"), ("rated_pressure_bar", "Rated pressure", "bar"))
_LIFE = (
    ("life.mean_h", "Mean life from overhaul to failure", "h"),
    ("labels.horizon_h", "A failure is to be seen ahead by", "h"),
    ("sampling_s", "Time between two readings", "s"),
    ("rates.censored", "Share of runs ended by preventive replacement", ""),
    ("rates.maintenance_interval_h", "Time between small services, empty for none", "h"),
)
_SCHEDULE = (
    ("schedule.idle_load", "Load outside of the shifts, share of a shift's", ""),
    ("schedule.season.mean_c", "Air around it, mean of the year", "°C"),
)
_USAGE = (
    ("share", "share of the units"),
    ("load", "load, share of rated"),
    ("swing", "follows the shifts, 0 to 1"),
    ("wear_rate", "wear rate, 1 is nominal"),
)


def form_of(content: Content) -> Form:
    """Return a profile's form; a part that has not its shape has no fields, and its problem says so."""
    kind = _kind(content)
    measured = KINDS[kind].quantities if kind else tuple(QUANTITIES)
    failing = [m.get("mode") for _, m in _items(content, "failure_modes")]
    modes = tuple(str(m) for m in KINDS[kind].modes if m not in failing) if kind else ()
    return Form(
        machine=tuple(_plain(content, *row) for row in _MACHINE),
        nameplate=tuple(_nameplate(content, kind)),
        life=tuple(_plain(content, *row) for row in _LIFE),
        schedule=tuple(_plain(content, *row) for row in _SCHEDULE),
        sensors=tuple(_sensor(i, s) for i, s in _items(content, "sensors")),
        shifts=tuple(_shift(i, s) for i, s in _items(content, "schedule.shifts")),
        usage=tuple(_usage(i, m) for i, m in _items(content, "usage_modes")),
        failures=tuple(_failure(i, m) for i, m in _items(content, "failure_modes")),
        quantities=tuple((q, f"{q.replace('_', ' ')}, {QUANTITIES[q].unit}") for q in measured),
        modes=modes,
    )


def filled(content: Content, given: Mapping[str, Sequence[str]]) -> Content:
    """Return a profile with what its form's fields were filled with; fields that the form did not send stay.

    Args:
        content: that the form was made from.
        given: by name, all values that were sent; a flag and a day that are not ticked are not sent.
    """
    found = deepcopy(content)
    for field in form_of(content).fields():
        if field.kind == "flag":
            _put(found, field.path, True if field.path in given else None)
        elif field.kind == "days":
            _put(found, field.path, [d for d in DAYS if d in given.get(field.path, ())])
        elif field.path in given:
            _put(found, field.path, _read(field, given[field.path][-1].strip(), _at(content, field.path)))
    return found


def read_text(text: str) -> Content:
    """Read a profile's YAML as a person has written it.

    Raises:
        ConfigError: when it is no YAML mapping, or holds far more than a profile does.
    """
    if len(text) > MAX_TEXT:
        raise ConfigError(f"the YAML has {len(text):,} characters; allowed: up to {MAX_TEXT:,}.")
    content = parse_yaml(text, "the YAML")
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError("the YAML must hold a mapping of names to values.", hint="It begins with machine_type: …")
    _bounded(content)
    return content


def _bounded(content: Content) -> None:
    """Refuse what no profile holds: an anchor that is named within others makes millions of values of a few lines.

    Raises:
        ConfigError: for too many values, and for half of a character.
    """
    waiting: list[Any] = [content]
    for _ in range(_MAX_VALUES):
        if not waiting:
            return
        here = waiting.pop()
        if isinstance(here, dict):
            waiting += (*here, *here.values())
        elif isinstance(here, list):
            waiting += here
        elif isinstance(here, str) and any("\ud800" <= c <= "\udfff" for c in here):
            raise ConfigError("the YAML holds half of a character.", hint="Take away the escape that makes it.")
    raise ConfigError(f"the YAML holds more than {_MAX_VALUES:,} values.", hint="A profile has a few hundred.")


def by_field(form: Form, problems: Sequence[Problem]) -> dict[str, list[str]]:
    """Return what is wrong by the path of the field that shows it; what no field shows stands under ""."""
    paths = sorted((field.path for field in form.fields()), key=len, reverse=True)
    found: dict[str, list[str]] = {}
    for problem in problems:
        at = next((p for p in paths if problem.path == p or problem.path.startswith(f"{p}.")), None)
        # A range is two fields; what is wrong with it stands at its lower end.
        at = at or next((p for p in paths if p == f"{problem.path}.0"), "")
        found.setdefault(at, []).append(problem.text if at else str(problem))
    return found


def _kind(content: Content) -> MachineType | None:
    try:
        return MachineType(content.get("machine_type", ""))
    except ValueError:
        return None


def _plain(content: Content, path: str, label: str, unit: str) -> Field:
    hint = allowed(Profile, path.split("."))
    kind: Kind = "number" if hint.startswith(("a number", "a whole")) else "text"
    value = _shown(_at(content, path))
    return Field(path, label, kind, value, unit, hint if kind == "number" else "", usual=_usual(path))


def _nameplate(content: Content, kind: MachineType | None) -> Iterator[Field]:
    moves = kind in (MachineType.CENTRIFUGAL_PUMP, MachineType.SCREW_COMPRESSOR, MachineType.FAN)
    for name, label, unit in (*_NAMEPLATE, *(_MOVES if moves else ())):
        path = f"nameplate.{name}"
        choices = typing.get_args(Nameplate.model_fields[name].annotation) if name.endswith("_class") else ()
        value = _at(content, path)
        if choices:
            default = Nameplate.model_fields[name].default
            yield Field(path, label, "choice", _shown(value) or str(default), options=choices)
        else:
            yield Field(
                path, label, "number", _shown(value), unit, allowed(Profile, path.split(".")), usual=_usual(path)
            )
    bearings = _at(content, "nameplate.bearings")
    named = [str(b.get("designation", "")) for b in bearings if isinstance(b, dict)] if _is_list(bearings) else []
    hint = "designations with commas between them, such as 6309, NU311; the first one counts for its life"
    yield Field("nameplate.bearings", "Bearings", "bearings", ", ".join(named), hint=hint)


def _usual(path: str) -> str:
    """Return what a field is where it is left empty, "" for one that must be given, or may be nothing."""
    model: Any = Profile
    *way, last = path.split(".")
    for piece in way:
        model = model.model_fields[piece].annotation
    default = model.model_fields[last].get_default()
    return "" if default is None or not isinstance(default, str | float | int) else _shown(default)


def _sensor(i: int, sensor: Mapping[str, Any]) -> Row:
    about = QUANTITIES.get(str(sensor.get("measures")))
    unit = about.unit if about else ""
    told = f"{about.meaning}; possible: {about.low:,.0f} to {about.high:,.0f} {unit}" if about else ""
    low, high = sensor["range"] if _is_list(sensor.get("range")) and len(sensor["range"]) == 2 else ("", "")
    path = f"sensors.{i}"
    numbers = (("noise", "noise"), ("bias", "offset"), ("alarm_below", "alarm below"), ("alarm_above", "alarm above"))
    return Row(
        i,
        str(sensor.get("measures", "")).replace("_", " "),
        told,
        (
            Field(f"{path}.name", "column", "text", _shown(sensor.get("name"))),
            Field(f"{path}.range.0", "from", "number", _shown(low), unit),
            Field(f"{path}.range.1", "to", "number", _shown(high), unit),
            *(Field(f"{path}.{key}", label, "number", _shown(sensor.get(key)), unit) for key, label in numbers),
            Field(f"{path}.critical", "needed", "flag", sensor.get("critical") is True),
        ),
    )


def _shift(i: int, shift: Mapping[str, Any]) -> Row:
    path = f"schedule.shifts.{i}"
    days = shift.get("days", DAYS)
    return Row(
        i,
        f"shift {i + 1}",
        "",
        (
            Field(f"{path}.begin", "begins", "text", _shown(shift.get("begin")), hint="06:00"),
            Field(f"{path}.end", "ends", "text", _shown(shift.get("end")), hint="24:00 ends the day"),
            Field(f"{path}.days", "days", "days", tuple(d for d in DAYS if _has(days, d)), options=DAYS),
            Field(f"{path}.load", "load factor", "number", _shown(shift.get("load", 1))),
        ),
    )


def _usage(i: int, mode: Mapping[str, Any]) -> Row:
    defaults = {"swing": 0.8, "wear_rate": 1}
    fields = (
        Field(f"usage_modes.{i}.{key}", label, "number", _shown(mode.get(key, defaults.get(key))))
        for key, label in _USAGE
    )
    return Row(i, str(mode.get("name", "")), "", tuple(fields))


def _failure(i: int, mode: Mapping[str, Any]) -> Row:
    path, name = f"failure_modes.{i}", str(mode.get("mode", ""))
    return Row(
        i,
        name.replace("_", " "),
        "",
        (
            Field(f"{path}.share", "share of the failures", "number", _shown(mode.get("share"))),
            Field(f"{path}.onset", "shows after, share of life", "number", _shown(mode.get("onset", 0.55))),
        ),
    )


def _items(content: Content, path: str) -> Iterator[tuple[int, Content]]:
    found = _at(content, path)
    if _is_list(found):
        yield from ((i, item) for i, item in enumerate(found) if isinstance(item, dict))


def _read(field: Field, text: str, before: Any) -> Any:
    """Return the value of a field's text; None empties it. What is no number stays text, and is refused as such."""
    if field.kind == "bearings":
        kinds = {str(b.get("designation")): b.get("kind") for b in before or () if isinstance(b, dict)}
        names = [word.strip() for word in text.split(",") if word.strip()]
        return [{"designation": name, "kind": kinds.get(name) or bearing_kind(name)} for name in names]
    if not text:
        return None
    if field.kind != "number":
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _at(content: Any, path: str) -> Any:
    """Return what stands at a path, None where nothing does."""
    here = content
    for piece in path.split("."):
        if isinstance(here, dict):
            here = here.get(piece)
        elif _is_list(here) and piece.isdigit() and int(piece) < len(here):
            here = here[int(piece)]
        else:
            return None
    return here


def _put(content: Any, path: str, value: Any) -> None:
    """Lay a value at a path; None takes a key away. Mappings on the way are made."""
    *way, last = path.split(".")
    here = content
    for piece in way:
        here = here[int(piece)] if _is_list(here) else here.setdefault(piece, {})
        if not isinstance(here, dict | list):
            return
    if _is_list(here):
        here[int(last)] = "" if value is None else value
    elif value is None:
        here.pop(last, None)
    else:
        here[last] = value


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _has(days: Any, day: str) -> bool:
    return isinstance(days, list | tuple) and day in days
