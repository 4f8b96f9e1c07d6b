"""What the pages of a machine show: what it can begin as, its profile, its data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from nightshift.dashboard.syntheses import Synthesised, advice, estimate_s, standing
from nightshift.data import store
from nightshift.data.outbox import pending
from nightshift.data.schema import check_subject
from nightshift.errors import ConfigError, NightshiftError, UnknownNameError
from nightshift.plan.fleet_config import load_fleet
from nightshift.settings import Home, find_config
from nightshift.simulate import edit
from nightshift.simulate.answers import parse_answers
from nightshift.simulate.catalogue import KINDS, MachineType
from nightshift.simulate.keep import is_shipped
from nightshift.simulate.profile import Profile, load_profile, profile_names
from nightshift.simulate.wizard import profile_content
from nightshift.tracking.dataset_parts import parts_of
from nightshift.tracking.quality_report import figures_table, gate_table, laws_table
from nightshift.tracking.report import Table

_TYPE = "type:"
#: Of a machine that nobody has named yet.
_NAMELESS = "machine"


@dataclass(frozen=True)
class Beginning:
    """A machine that a new one can begin as; `word` is what the form sends."""

    word: str
    title: str


@dataclass(frozen=True)
class Quality:
    """What was judged, as tables; `advice` says what to change where something was missed."""

    gate: Table
    figures: Table
    laws: Table | None
    advice: tuple[str, ...]


@dataclass(frozen=True)
class MachineView:
    """A machine's profile, synthesis and data.

    Attributes:
        profile: None where it has none, or a bad one; `bad_profile` says then what is wrong with it.
        own: whether its profile can be changed here.
        synthesis: its newest one.
        data: of its present dataset, (name, value); () without one.
        parts: of that dataset.
        follows: what becomes of a landing by itself.
        seconds: that a synthesis takes, quick and standard.
    """

    machine: str
    title: str
    profile: Profile | None
    bad_profile: str
    own: bool
    sensors: Table | None
    synthesis: Synthesised | None
    quality: Quality | None
    data: tuple[tuple[str, str], ...]
    parts: Table | None
    follows: str
    seconds: tuple[float, float]


def beginnings(home: Home) -> tuple[tuple[str, tuple[Beginning, ...]], ...]:
    """Return what a new machine can begin as: a usual one of each type, or one that has a profile."""
    types = tuple(Beginning(f"{_TYPE}{kind}", about.title) for kind, about in KINDS.items())
    known = []
    for name in profile_names(home):
        with suppress(ConfigError):
            known.append(Beginning(name, f"{name}: {load_profile(home, name).title}"))
    return (("A usual machine of its type", types), ("Like a machine that has a profile", tuple(known)))


def begin(home: Home, like: str, figures: Mapping[str, str]) -> edit.Content:
    """Return the profile that a new machine begins with.

    Args:
        home: whose profiles there are.
        like: `type:<machine type>`, or a machine.
        figures: of the nameplate, as text; those that are left out stay as they are there.

    Raises:
        UnknownNameError: for a type or a machine that is not there.
    """
    if like.startswith(_TYPE):
        return _of_type(like.removeprefix(_TYPE), figures)
    content = edit.content_of(home, like)
    return _plated(content, figures) if figures else content


def _of_type(name: str, figures: Mapping[str, str]) -> edit.Content:
    if name not in list(MachineType):
        raise UnknownNameError("machine type", name, list(MachineType))
    answers = {"machine": _NAMELESS, "machine_type": name}
    try:
        return profile_content(parse_answers({**answers, **figures}))
    except ConfigError:
        # What cannot be is shown beside its field, in a profile that is good but for that.
        return _plated(profile_content(parse_answers(answers)), figures)


def _plated(content: edit.Content, figures: Mapping[str, str]) -> edit.Content:
    """Return a profile with another nameplate, fitted to it where that is good."""
    before = content.get("nameplate", {})
    plate = {**before, **{name: _number(text) for name, text in figures.items()}}
    power, flow = plate.get("rated_power_kw"), before.get("rated_flow_m3_h")
    if flow and "rated_flow_m3_h" not in figures and isinstance(power, int | float) and before.get("rated_power_kw"):
        plate["rated_flow_m3_h"] = float(f"{flow * power / before['rated_power_kw']:.3g}")
    title = KINDS[MachineType(content["machine_type"])].title
    titled = f"{title[0].upper()}{title[1:]}, {plate.get('rated_power_kw')} kW"
    return edit.fitted({**content, "title": titled, "nameplate": plate})


def _number(text: str) -> float | str:
    """Return a figure that was typed, a whole one without its point; what is no number stays text."""
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() else value


def check_known(home: Home, machine: str) -> None:
    """See that a machine has a profile, or data.

    Raises:
        UnknownNameError: when it has neither; names the nearest.
    """
    if not _has_profile(home, check_subject(machine)) and machine not in store.subjects(home):
        known = {*profile_names(home), *store.subjects(home)}
        raise UnknownNameError("machine", machine, known, hint="The page “New machine” makes one.")


def machine_view(home: Home, machine: str) -> MachineView:
    """Gather what there is of a machine.

    Raises:
        UnknownNameError: for a machine that has neither profile nor data.
    """
    check_known(home, machine)
    profile, bad = _profile(home, machine)
    made = standing(home, machine)
    title, data, parts = _dataset(home, machine)
    report = made.report if made else None
    return MachineView(
        machine=machine,
        title=profile.title if profile else title,
        profile=profile,
        bad_profile=bad,
        own=_has_profile(home, machine) and not is_shipped(machine),
        sensors=_sensors(profile) if profile else None,
        synthesis=made,
        quality=Quality(gate_table(report), figures_table(report), laws_table(report), advice(report))
        if report
        else None,
        data=data,
        parts=parts,
        follows=_follows(home, machine),
        seconds=(estimate_s(1, made), estimate_s(5, made)),
    )


def _has_profile(home: Home, machine: str) -> bool:
    return machine in profile_names(home) and find_config(home, "machines", machine) is not None


def _profile(home: Home, machine: str) -> tuple[Profile | None, str]:
    if not _has_profile(home, machine):
        return None, ""
    try:
        return load_profile(home, machine), ""
    except ConfigError as error:
        return None, str(error)


def _sensors(profile: Profile) -> Table:
    rows = [
        (
            s.name,
            s.measures.replace("_", " "),
            s.quantity.unit,
            f"{s.range[0]:g} to {s.range[1]:g}",
            f"{s.noise:g}",
            ", ".join(f"{sign} {v:g}" for sign, v in (("<", s.alarm_below), (">", s.alarm_above)) if v is not None),
            "yes" if s.critical else "",
        )
        for s in profile.sensors
    ]
    header = ("sensor", "measures", "unit", "range", "noise", "alarm", "needed")
    return Table(header, rows, [""] * len(rows))


def _dataset(home: Home, machine: str) -> tuple[str, tuple[tuple[str, str], ...], Table | None]:
    """Return title, facts and parts of the present dataset; nothing where there is none."""
    if machine not in store.subjects(home):
        return machine, (), None
    try:
        found = store.open_dataset(home, machine)
    except NightshiftError as error:
        return machine, (("data", str(error)),), None
    about = found.metadata
    facts = [
        ("fingerprint", found.fingerprint[:12]),
        ("landed", about.created_at or ""),
        ("made by", about.provenance.source),
        ("columns", ", ".join(about.columns)),
    ]
    header, rows = parts_of(about, days=True)
    return about.title or machine, tuple(facts), Table(header, rows, [""] * len(rows))


def _follows(home: Home, machine: str) -> str:
    """Return what becomes of a landing by itself."""
    try:
        fleet = load_fleet(home)
    except NightshiftError as error:
        return f"Nothing trains by itself: {error}"
    if not fleet.includes(machine):
        return f"{machine} is not among the machines of configs/fleet.yaml: nothing trains it by itself."
    if any(note.subject == machine for note in pending(home)):
        return "The Prefect server has not been told of this landing yet; it will be, and then trains by itself."
    which = "every family that fits" if fleet.families == "all" else ", ".join(fleet.families)
    return f"{fleet.landing.after_s:g} s after a landing the fleet trains what is new by itself: {which}."
