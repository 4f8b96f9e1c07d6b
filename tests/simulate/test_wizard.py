"""The wizard: usual answers for every type, bad ones asked again, and YAML that reads back the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from nightshift.errors import ConfigError
from nightshift.files import parse_yaml
from nightshift.simulate.answers import Answers, parse_answers
from nightshift.simulate.catalogue import KINDS, MachineType
from nightshift.simulate.physics.laws import violations
from nightshift.simulate.physics.roll import roll
from nightshift.simulate.profile import find_problems, parse_profile
from nightshift.simulate.templates import TEMPLATES
from nightshift.simulate.units import draw_units
from nightshift.simulate.wizard import QUESTIONS, ask, profile_content, read_json, to_yaml


class Person:
    """Answers by what is asked for; everything else with Enter."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Iterator[str]] = {
            name: iter([lines] if isinstance(lines, str) else lines) for name, lines in answers.items()
        }
        self.asked: list[str] = []
        self.heard: list[str] = []

    def read(self, prompt: str) -> str:
        name = next(q.name for q in QUESTIONS if prompt.startswith(q.text))
        self.asked.append(name)
        return next(self.answers[name]) if name in self.answers else ""

    def ask(self, **known: Any) -> Answers:
        return ask(self.read, self.heard.append, known)


def test_every_field_has_its_question() -> None:
    assert sorted(q.name for q in QUESTIONS) == sorted(Answers.model_fields)


@pytest.mark.parametrize("kind", list(MachineType))
def test_enter_at_every_question_gives_a_good_profile(kind: MachineType) -> None:
    answers = Person(machine="m_1", machine_type=str(kind)).ask()
    content = profile_content(answers)
    assert not find_problems(content)
    profile = parse_profile(content, "m")
    assert {s.measures for s in profile.sensors} == set(TEMPLATES[kind].sensors)
    assert profile.nameplate.rated_power_kw == TEMPLATES[kind].power_kw
    # A profile is worth simulating: it names limits, and what a model cannot do without.
    assert any(s.critical for s in profile.sensors)
    assert any(s.alarm_above for s in profile.sensors)


@pytest.mark.parametrize("kind", list(MachineType))
def test_a_usual_machine_can_be_simulated_and_no_sensor_tells_all(kind: MachineType) -> None:
    profile = parse_profile(profile_content(parse_answers({"machine": "m", "machine_type": kind})), "m")
    units = draw_units(profile, 40, 3)
    rolled = roll(profile, units, seed=1)
    assert not {rule: n for rule, n in violations(profile, rolled, units).items() if n}
    for sensor in profile.sensors:
        known = rolled.frame[["failure_status", sensor.name]].dropna()
        found = float(roc_auc_score(known["failure_status"], known[sensor.name]))
        assert max(found, 1 - found) < 0.95, sensor.name


@pytest.mark.parametrize("kind", list(MachineType))
def test_every_quantity_and_mode_of_a_type_has_a_template(kind: MachineType) -> None:
    about = KINDS[kind]
    answers = parse_answers(
        {"machine": "m", "machine_type": kind, "sensors": about.quantities, "failure_modes": about.modes}
    )
    content = profile_content(answers)
    assert not find_problems(content)
    assert sum(m["share"] for m in content["failure_modes"]) == pytest.approx(1)


def test_only_what_moves_a_medium_is_asked_for_its_flow() -> None:
    pump, motor = (
        Person(machine="p", machine_type="centrifugal_pump"),
        Person(machine="m", machine_type="induction_motor"),
    )
    pump.ask()
    motor.ask()
    assert {"rated_flow_m3_h", "rated_pressure_bar"} <= set(pump.asked)
    assert not {"rated_flow_m3_h", "rated_pressure_bar"} & set(motor.asked)


def test_a_bad_answer_is_asked_again_with_what_is_allowed() -> None:
    person = Person(
        machine=["../x", "", "pump_7"],
        machine_type=["centrifugal_pmp", "centrifugal_pump"],
        rated_power_kw=["0", "many", "30"],
        timezone=["Europe/Berlim", "Europe/Berlin"],
        mean_life_h="500",
        horizon_h=["300", "80"],
        sampling_s=["40000", "2", "600"],
        sensors=["flow, flw", "load, ambient_temperature", "flow, load"],
        failure_modes=["rust", "cavitation, cavitation", "cavitation, fouling"],
    )
    answers = person.ask()
    heard = "\n".join(person.heard)
    for said in (
        "'../x' is no machine id",
        "'' is no machine id",
        "Did you mean 'centrifugal_pump'?",
        "got '0'; allowed: a number from 0.05 up to 50000",
        "got 'many'; allowed: a number from 0.05 up to 50000",
        "Did you mean 'Europe/Berlin'?",
        "makes 60% of the rows failing; allowed: 50 to 100",
        "40000 gives a life too few rows; allowed: up to 36000",
        "2 makes 29,700,000 rows of 30 runs of 500 h, and a dataset holds up to 5,000,000; allowed: from 11.9",
        "'flw' is no quantity of the type centrifugal pump; allowed: load",
        "none shows the machine's state",
        "got 'rust'; allowed: bearing_wear",
        "one stands twice",
    ):
        assert said in heard
    profile = parse_profile(profile_content(answers), "m")
    assert (profile.nameplate.rated_power_kw, profile.life.mean_h, profile.labels.horizon_h) == (30, 500, 80)
    assert profile.timezone == "Europe/Berlin"
    assert [s.name for s in profile.sensors] == ["flow_m3_h", "load_pct"]
    assert [(str(m.mode), m.share) for m in profile.failure_modes] == [("cavitation", 0.615), ("fouling", 0.385)]


def test_what_is_known_is_not_asked() -> None:
    person = Person(machine_type="fan")
    assert person.ask(machine="fan_3").machine == "fan_3"
    assert "machine" not in person.asked


def test_ranges_and_limits_follow_the_nameplate() -> None:
    small, large = (
        profile_content(parse_answers({"machine": "m", "machine_type": "induction_motor", "rated_power_kw": kw}))
        for kw in (5.5, 200)
    )
    tops = [{s["measures"]: s["range"][1] for s in c["sensors"]} for c in (small, large)]
    assert tops[1]["torque"] > 20 * tops[0]["torque"]
    assert tops[1]["stator_current"] > 20 * tops[0]["stator_current"]
    assert (small["nameplate"]["vibration_class"], large["nameplate"]["vibration_class"]) == ("I", "III")
    alarms = [{s["measures"]: s.get("alarm_above") for s in c["sensors"]} for c in (small, large)]
    assert [a["vibration_drive_end"] for a in alarms] == [4.5, 11.2]


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(list(MachineType)),
    power=st.floats(0.05, 2_000),
    speed=st.floats(400, 40_000),
    voltage=st.floats(400, 20_000),
    mean=st.floats(20, 20_000),
    load=st.floats(0.15, 1.1),
    insulation=st.sampled_from("BFH"),
)
def test_whatever_is_answered_within_limits_gives_a_profile_that_reads_back_the_same(
    kind: MachineType, power: float, speed: float, voltage: float, mean: float, load: float, insulation: str
) -> None:
    answers = {
        "machine": "m",
        "machine_type": kind,
        "rated_power_kw": power,
        "rated_speed_rpm": speed,
        "rated_voltage_v": voltage,
        "mean_life_h": mean,
        "usual_load": load,
        "insulation_class": insulation,
    }
    content = profile_content(parse_answers(answers))
    assert not find_problems(content)
    assert parse_profile(parse_yaml(to_yaml(content), "m"), "m") == parse_profile(content, "m")


def test_a_nameplate_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_answers(
            {
                "machine": "m",
                "machine_type": "fan",
                "rated_power_kw": 5_000,
                "rated_speed_rpm": 10,
                "rated_voltage_v": 24,
            }
        )
    assert "rated_speed_rpm: 10 rpm at 5000 kW is too much torque; allowed: from 954.9" in str(refused.value)
    assert "rated_voltage_v: 24 V at 5000 kW is too much current; allowed: from 925" in str(refused.value)


def test_the_yaml_is_for_people() -> None:
    text = to_yaml(profile_content(parse_answers({"machine": "m", "machine_type": "fan", "title": 'Lüfter: 5 "x"'})))
    assert "- {name: load_pct, measures: load, range: [0, 150], noise: 1.5}" in text
    assert "rated_power_kw: 37\n" in text
    assert "begin: 06:00" in text or "begin: '06:00'" in text
    assert "Lüfter" in text
    assert max(map(len, text.splitlines())) < 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[1]", "must be an object, got list"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "1" * 1_000_001 + "}", "allowed: up to 1,000,000"),
        ('{"a": ' + "1" * 5_000 + "}", "cannot be read"),
    ],
)
def test_json_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_json(text)


@pytest.mark.parametrize(
    ("designation", "kind"),
    [
        *[(name, "ball") for name in ("6209", "7014C", "2205", "2310-2RS", "3205", "3310 A", "1210", "QJ210", "51108")],
        *[(name, "roller") for name in ("NU310", "nn3012", "22216", "23120 CC", "30206", "32222", "230/500", "NA4905")],
    ],
)
def test_a_bearing_s_kind_is_told_by_its_designation(designation: str, kind: str) -> None:
    answers = parse_answers({"machine": "m_1", "machine_type": "induction_motor", "bearings": [designation]})
    assert profile_content(answers)["nameplate"]["bearings"] == [{"designation": designation, "kind": kind}]


def test_every_bad_answer_is_named() -> None:
    answers = json.loads('{"machine": "x", "machine_type": "fann", "rated_power_kw": NaN, "foo": 1, "bearings": []}')
    with pytest.raises(ConfigError) as refused:
        parse_answers(answers)
    for said in ("machine_type: got 'fann'", "rated_power_kw: got nan", "foo: 'foo' is no field", "bearings: got 0"):
        assert said in str(refused.value)
