"""From a few answers to a whole profile: what `nightshift profile new` asks, and what it writes."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nightshift.errors import ConfigError
from nightshift.simulate.answers import Answers, parse_answers, usual
from nightshift.simulate.catalogue import KINDS, MachineType, Mode
from nightshift.simulate.profile_parts import Nameplate
from nightshift.simulate.profile_problems import Problem, problems_of, shown
from nightshift.simulate.templates import SHIFTS, TEMPLATES, Plate, Working, failure_block, sensor_block

MAX_JSON = 1_000_000


@dataclass(frozen=True)
class Question:
    """One question of the wizard: the field it fills, and its words."""

    name: str
    text: str


QUESTIONS: tuple[Question, ...] = (
    Question("machine", "Machine id (the file's name)"),
    Question("machine_type", "Type of machine"),
    Question("rated_power_kw", "Rated power, kW"),
    Question("title", "Title for people"),
    Question("rated_speed_rpm", "Rated speed, rpm"),
    Question("rated_voltage_v", "Rated voltage, V"),
    Question("insulation_class", "Insulation class of the winding (IEC 60085)"),
    Question("vibration_class", "Vibration class (ISO 10816-1)"),
    Question("bearings", "Bearings, by designation, separated by commas"),
    Question("rated_flow_m3_h", "Rated flow, m3/h"),
    Question("rated_pressure_bar", "Rated pressure, bar"),
    Question("timezone", "Time zone of its clock"),
    Question("working", "When it works"),
    Question("usual_load", "Usual load, share of rated"),
    Question("hard_load", "Load of the units that are used hard, share of rated"),
    Question("mean_life_h", "Mean life from overhaul to failure, hours"),
    Question("horizon_h", "How long ahead a failure is to be seen, hours"),
    Question("sampling_s", "Seconds between two readings"),
    Question("sensors", "What is measured, separated by commas"),
    Question("failure_modes", "How it fails, separated by commas"),
)


def ask(read: Callable[[str], str], say: Callable[[str], None], known: Mapping[str, Any]) -> Answers:
    """Ask every question that `known` does not answer; a bad answer is asked again.

    Args:
        read: shows a prompt and returns a line; raises EOFError or KeyboardInterrupt to leave.
        say: shows a line.
        known: answers that need no question.
    """
    answers: dict[str, Any] = dict(known)
    for question in QUESTIONS:
        if question.name in answers:
            continue
        default = usual(question.name, answers)
        if default is None and question.name not in ("machine", "machine_type"):
            continue  # Only machines that move a medium have a rated flow.
        answers[question.name] = _asked(question, default, answers, read, say)
    return parse_answers(answers)


def _asked(
    question: Question,
    default: Any,
    answers: Mapping[str, Any],
    read: Callable[[str], str],
    say: Callable[[str], None],
) -> Any:
    choices = _options(question.name, answers)
    if choices:
        say(f"  one of: {', '.join(choices)}" if not _many(question.name) else f"  some of: {', '.join(choices)}")
    bracket = f" [{_as_text(default)}]" if default is not None else ""
    while True:
        line = read(f"{question.text}{bracket}: ").strip()
        value: Any = default if not line and default is not None else _value(question.name, line)
        problem = _refused(question.name, {**answers, question.name: value})
        if problem is None:
            kind: Any = Answers.model_fields[question.name].annotation
            return TypeAdapter(kind).validate_python(value)
        say(f"  {problem.text}")


def _options(name: str, answers: Mapping[str, Any]) -> tuple[str, ...]:
    if name == "machine_type":
        return tuple(str(t) for t in MachineType)
    if name == "working":
        return typing.get_args(Working)
    if name not in ("sensors", "failure_modes"):
        return ()
    kind = KINDS[MachineType(answers["machine_type"])]
    return kind.quantities if name == "sensors" else tuple(str(m) for m in kind.modes)


def _many(name: str) -> bool:
    return name in ("bearings", "sensors", "failure_modes")


def _value(name: str, line: str) -> Any:
    return [word.strip() for word in line.split(",") if word.strip()] if _many(name) else line


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _refused(name: str, answers: Mapping[str, Any]) -> Problem | None:
    """Return what is wrong with the last answer; the first has no machine type yet, which is not its fault."""
    try:
        Answers.model_validate(dict(answers))
    except ValidationError as error:
        found = problems_of(Answers, error.errors(include_url=False))
        return next((p for p in found if p.path.split(".")[0] == name), None)
    return None


def profile_content(answers: Answers) -> dict[str, Any]:
    """Return the profile that answers describe, as its YAML holds it."""
    given = {name: getattr(answers, name) for name in Answers.model_fields}
    full = {name: usual(name, given) if value is None else value for name, value in given.items()}
    kind = MachineType(full["machine_type"])
    plate = _plate(kind, full)
    nameplate = {name: full[name] for name in Nameplate.model_fields if full.get(name) is not None}
    nameplate["bearings"] = [{"designation": name, "kind": bearing_kind(name)} for name in full["bearings"]]
    usual_load, hard_load = full["usual_load"], full["hard_load"]
    return {
        "machine_type": str(kind),
        "title": full["title"],
        "timezone": full["timezone"],
        "nameplate": nameplate,
        "sampling_s": full["sampling_s"],
        "sensors": [sensor_block(name, plate) for name in full["sensors"]],
        "schedule": {"shifts": [dict(s) for s in SHIFTS[full["working"]]], "idle_load": 0.3, "load_noise": 0.05},
        "usage_modes": [
            {"name": "usual", "share": 0.6, "load": usual_load, "wear_rate": 0.9},
            {"name": "hard", "share": 0.4, "load": hard_load, "swing": 0.6, "wear_rate": 1.2},
        ],
        "failure_modes": failures(kind, full["failure_modes"], plate),
        "life": {"mean_h": full["mean_life_h"]},
        "labels": {"horizon_h": full["horizon_h"]},
        "rates": {"censored": 0.08, "maintenance_interval_h": float(f"{0.6 * full['mean_life_h']:.3g}")},
    }


def _plate(kind: MachineType, full: Mapping[str, Any]) -> Plate:
    return Plate(
        machine_type=kind,
        power_kw=full["rated_power_kw"],
        speed_rpm=full["rated_speed_rpm"],
        voltage_v=full["rated_voltage_v"],
        vibration_class=full["vibration_class"],
        insulation_class=full["insulation_class"],
        flow_m3_h=full["rated_flow_m3_h"] or 0.0,
        pressure_bar=full["rated_pressure_bar"] or 0.0,
        mean_life_h=full["mean_life_h"],
    )


def failures(kind: MachineType, modes: tuple[Mode, ...], plate: Plate) -> list[dict[str, Any]]:
    """Return these ways to fail as a profile has them, their shares and onsets as usual for the type."""
    usual_ones = {mode: (share, onset) for mode, share, onset in TEMPLATES[kind].modes}
    weights = [usual_ones.get(mode, (0.25, 0.5))[0] for mode in modes]
    shares = [round(w / sum(weights), 3) for w in weights]
    shares[0] = round(1 - sum(shares[1:]), 3)
    onsets = [usual_ones.get(mode, (0.25, 0.5))[1] for mode in modes]
    return [failure_block(Mode(m), s, o, plate) for m, s, o in zip(modes, shares, onsets, strict=True)]


def bearing_kind(designation: str) -> str:
    """Return the kind by the designation.

    N… are cylindrical or needle rollers; 2 and 3 begin spherical and tapered rollers where five figures follow each
    other or a bore stands after a stroke (22216, 32222, 230/500), and self-aligning and angular contact ball bearings
    where four do (2205, 3205).

    Source: basic designations after DIN 623-1.
    """
    roller = re.match(r"N|[23]\d\d(\d\d(?!\d)|/\d)", designation.strip().upper(), re.ASCII)
    return "roller" if roller else "ball"


def read_json(text: str) -> dict[str, Any]:
    """Parse the JSON of `--from-json`: a whole profile, or the wizard's answers.

    Raises:
        ConfigError: when it is no JSON object, names a key twice, or is huge.
    """
    if len(text) > MAX_JSON:
        raise ConfigError(f"the JSON has {len(text):,} characters; allowed: up to {MAX_JSON:,}.")
    try:
        content = json.loads(text, object_pairs_hook=_once)
        # Half of a pair that makes a character is no text; JSON's escapes let it pass.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"the JSON cannot be read: {what}.", hint="Mend the place named.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"the JSON must be an object, got {type(content).__name__}.")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the key '{shown(twice)}' stands twice")
    return dict(pairs)


def to_yaml(content: Mapping[str, Any]) -> str:
    """Return a profile as YAML for people: one line per sensor, shift and mode.

    Raises:
        ConfigError: when it is nested beyond what YAML can hold.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes a mapping within a list, and lists of plain values, on one line; indents lists."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

        def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
            node = super().represent_sequence(tag, sequence, flow_style)
            for item in node.value:
                _flatten(item)
            if all(isinstance(item, yaml.ScalarNode) for item in node.value):
                node.flow_style = True
            return node

    def _flatten(node: yaml.Node) -> None:
        if isinstance(node, yaml.CollectionNode):
            node.flow_style = True

    try:
        text: str = yaml.dump(_plain(content), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=200)
    except RecursionError:
        raise ConfigError("the profile is nested too deeply.", hint="A profile has a few levels.") from None
    return text


def _plain(value: Any) -> Any:
    """Return 22 for 22.0: nobody writes the point."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
