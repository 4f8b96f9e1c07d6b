"""Profiles: what is refused, where, and with which words; the shipped ones."""

from __future__ import annotations

import copy
import typing
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightshift.errors import ConfigError, UnknownNameError
from nightshift.files import parse_yaml, read_yaml
from nightshift.plan.synthesis import ROWS
from nightshift.settings import Home, packaged_configs
from nightshift.simulate.catalogue import KINDS, QUANTITIES, MachineType
from nightshift.simulate.profile import (
    FAILURE_SHARE,
    Profile,
    find_problems,
    load_profile,
    parse_profile,
    profile_names,
    read_profile_yaml,
)
from nightshift.simulate.profile_parts import Part

MOTOR = "motor_siemens_1la7_001"
SHIPPED = profile_names(Home(Path("nowhere")))


CONTENT = read_yaml(packaged_configs() / "machines" / f"{MOTOR}.yaml")


def motor() -> dict[str, Any]:
    return copy.deepcopy(CONTENT)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The motor's profile with another value at a path; `...` takes the field away."""
    content: Any = motor()
    *way, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    here = content
    for piece in way:
        here = here[piece]
    if value is ...:
        del here[last]
    else:
        here[last] = value
    found: dict[str, Any] = content
    return found


def lines(content: dict[str, Any]) -> list[str]:
    return [str(p) for p in find_problems(content)]


def test_ten_machines_of_all_six_types_are_shipped() -> None:
    profiles = [load_profile(Home(Path("nowhere")), name) for name in SHIPPED]
    assert len(profiles) == 10
    assert MOTOR in SHIPPED
    assert {p.machine_type for p in profiles} == set(MachineType)
    assert len({p.timezone for p in profiles}) >= 6
    assert len({p.sampling_s for p in profiles}) >= 4


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_machine_can_be_learned_from(name: str) -> None:
    profile = load_profile(Home(Path("nowhere")), name)
    assert FAILURE_SHARE[0] <= profile.failure_share <= FAILURE_SHARE[1]
    # The default of 50,000 rows holds the runs that a dataset needs.
    assert profile.min_rows <= 50_000
    assert 6 <= len(profile.sensors) <= 12
    assert 2 <= len(profile.failure_modes) <= 3
    assert any(s.critical for s in profile.sensors)
    assert any(s.alarm_above or s.alarm_below for s in profile.sensors)
    zone_d = {"I": 4.5, "II": 7.1, "III": 11.2, "IV": 18.0}[profile.nameplate.vibration_class]
    assert all(s.alarm_above == zone_d for s in profile.sensors if s.measures == "vibration_drive_end")
    hottest = {"B": 130, "F": 155, "H": 180}[profile.nameplate.insulation_class]
    windings = [s for s in profile.sensors if s.measures == "winding_temperature"]
    assert all(hottest - 30 <= (s.alarm_above or 0) < hottest for s in windings)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("sampling_s", 0, "sampling_s: got 0; allowed: a number from 1 up to 86400"),
        ("sampling_s", float("nan"), "sampling_s: got nan; allowed: a number from 1 up to 86400"),
        (
            "sampling_s",
            10,
            "sampling_s: 10 makes 8,553,600 rows of 30 runs of 720 h, and a dataset holds up to "
            "5,000,000; allowed: from 17.2",
        ),
        ("sampling_s", 86_400, "sampling_s: 86400 gives a life too few rows; allowed: up to 51840"),
        ("sensors.0.range", [120, 0], "sensors.0.range: the range is reversed: 120 is not below 0"),
        ("sensors.0.range", [0, float("inf")], "sensors.0.range.1: got inf; allowed: a number"),
        ("sensors.0.range", [-5, 10], "sensors.0.range: [-5, 10] Nm is not possible for torque; allowed: within [0,"),
        ("sensors.0.range", [1, 2, 3], "sensors.0.range: got 3 entries; allowed: at most 2"),
        ("sensors.0.noise", -1, "sensors.0.noise: got -1; allowed: a number from 0"),
        ("sensors.0.noise", 100, "sensors.0.noise: 100 drowns the range; allowed: up to 30"),
        ("sensors.0.unit", "kNm", "sensors.0.unit: 'kNm' is not the unit of torque; allowed: Nm"),
        ("sensors.0.name", "rul", "sensors.0.name: 'rul' is a column of every dataset"),
        ("sensors.0.name", "shaft_speed_rpm", "sensors: 'shaft_speed_rpm' stands twice; allowed: each once"),
        ("sensors.0.sampling_s", 1800, "sensors.0.sampling_s: got 1800; allowed: a multiple of the machine's 3600"),
        ("sensors.3.alarm_above", 60, "sensors.3.alarm_above: 60 is outside of the range; allowed: between 0 and 60"),
        ("sensors.3.alarm_below", 30, "sensors.3.alarm_above: 24 is not above alarm_below; allowed: above 30"),
        ("sensors.3.measures", "curent", "Did you mean 'stator_current'?"),
        ("sensors.3.measures", "oil_particles", "sensors.3.measures: 'oil_particles' is no quantity of the type in"),
        ("sensors.3.nois", 1, "sensors.3.nois: 'nois' is no field here; allowed: name, measures, unit, range, noise"),
        ("machine_type", "induction_moter", "Did you mean 'induction_motor'?"),
        ("failure_modes.0.mode", "baring_wear", "failure_modes.0.mode: 'baring_wear' is no failure mode; allowed: b"),
        ("failure_modes.0.mode", "cavitation", "failure_modes.0.mode: 'cavitation' is no failure mode of the type ind"),
        ("failure_modes.0.mode", ..., "failure_modes.0.mode: the field is required; allowed: bearing_wear"),
        ("failure_modes.0.share", 0.7, "failure_modes: the shares add up to 1.1; allowed: 1"),
        ("failure_modes.0.onset", 1, "failure_modes.0.onset: got 1; allowed: a number from 0.15 up to 0.85"),
        ("usage_modes.1.load", 0.62, "usage_modes: all have a load near 0.62; allowed: at least two that differ"),
        ("usage_modes.1", ..., "usage_modes: got 1 entries; allowed: at least 2"),
        ("labels.rul", False, "labels.rul: failure_status is made from rul, which is disabled; allowed: true"),
        ("labels.horizon_h", 400, "labels.horizon_h: 400 h of a mean life of 720 h makes 56% of the rows failing; al"),
        ("life.mean_h", ..., "life.mean_h: the field is required; allowed: a number above 0 up to 100000"),
        ("life", None, "life: got None; allowed: a mapping with mean_h, spread"),
        ("timezone", "Europe/Berlim", "Did you mean 'Europe/Berlin'?"),
        ("start", "2022-40-40", "start: got '2022-40-40'; allowed: a date, such as 2022-01-03"),
        ("start", "2300-01-01", "start: got 2300-01-01T00:00:00; allowed: a date from 1980 to 2100"),
        (
            "schedule.shifts.0.begin",
            1320,
            'schedule.shifts.0.begin: got 1320; allowed: a clock time in quotes, "22:00"',
        ),
        ("schedule.shifts.0.begin", "25:00", "schedule.shifts.0.begin: '25:00' is no clock time"),
        ("schedule.shifts.0.end", "06:00", "schedule.shifts.0.end: '06:00' is where the shift begins"),
        ("schedule.shifts.1.days", ["mon"], "schedule.shifts.1: overlaps shift 0; allowed: shifts that follow each"),
        ("schedule.shifts.1.days", ["mo"], "schedule.shifts.1.days.0: got 'mo'; allowed: mon, tue, wed, thu, fri, sat"),
        ("nameplate.vibration_class", "V", "nameplate.vibration_class: got 'V'; allowed: I, II, III, IV"),
        ("nameplate.bearings.0.kind", "bal", "nameplate.bearings.0.kind: got 'bal'; allowed: ball, roller"),
        (
            "nameplate.rated_flow_m3_h",
            -1,
            "nameplate.rated_flow_m3_h: got -1; allowed: a number from 0.0001 up to 1000000",
        ),
        ("rates.overhaul_h", [5, 1], "rates.overhaul_h: the range is reversed: 5 is above 1; allowed: [low, high]"),
        ("title", "a\x1b[31m", "title: it holds a line break or a control character; allowed: one line of text"),
        ("life.mean_h", 10**400, "life.mean_h: "),
        ("titl", "x", "titl: 'titl' is no field here; allowed: machine_type, title"),
    ],
)
def test_what_cannot_be_is_refused_by_path_and_allowed_values(path: str, value: Any, said: str) -> None:
    found = lines(changed(path, value))
    assert any(said in line for line in found), found
    with pytest.raises(ConfigError) as refused:
        parse_profile(changed(path, value), "machines/m.yaml")
    assert str(refused.value).startswith("machines/m.yaml: ")


def test_the_finest_sampling_that_is_named_as_allowed_is_good_and_makes_rows_that_synthesize_takes() -> None:
    finest = {**motor(), "sampling_s": 17.2, "sensors": [{**s, "sampling_s": None} for s in motor()["sensors"]]}
    assert find_problems(finest) == ()
    assert 4_900_000 < parse_profile(finest, "finest.yaml").min_rows <= ROWS[1]


def test_every_problem_is_named_and_none_twice() -> None:
    content = motor()
    content["sampling_s"] = 0
    content["sensors"][0]["range"] = [120, 0]
    content["sensors"][1]["unit"] = "K"
    content["nameplate"]["foo"] = 1
    content["failure_modes"][0]["mode"] = "cavitation"
    content["labels"] = {"horizon_h": 400, "rul": False}
    paths = [p.path for p in find_problems(content)]
    wanted = {"sampling_s", "sensors.0.range", "sensors.1.unit", "nameplate.foo", "failure_modes.0.mode"}
    assert set(paths) == wanted | {"labels.rul", "labels.horizon_h"}
    assert len(paths) == len(set(paths))
    with pytest.raises(ConfigError, match=r"\(and 6 more; `nightshift profile check` lists all\)"):
        parse_profile(content, "machines/m.yaml")


def test_labels_without_failures_need_no_rul() -> None:
    assert not lines(changed("labels", {"horizon_h": 108, "rul": False, "failure_status": False}))


def test_the_families_block_is_the_training_s_and_unread() -> None:
    assert parse_profile({**motor(), "families": {"rul": {"cap": 125}}}, "m") == parse_profile(motor(), "m")


def test_a_profile_survives_its_own_dump() -> None:
    profile = parse_profile(motor(), "m")
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


def test_a_unit_that_is_left_out_is_the_quantity_s() -> None:
    assert [s.unit for s in parse_profile(motor(), "m").sensors] == [
        QUANTITIES[s["measures"]].unit for s in motor()["sensors"]
    ]


def test_an_unknown_machine_names_the_nearest_and_broken_files_are_no_profiles(home: Home) -> None:
    folder = home.configs / "machines"
    folder.mkdir(parents=True)
    (folder / "odd.yaml").write_bytes(b"\xff\xfe\x00 no text")
    (folder / "settings.yaml").write_text("families: {rul: {cap: 100}}\n")
    assert not {"odd", "settings"} & set(profile_names(home))
    with pytest.raises(UnknownNameError, match=f"Did you mean '{MOTOR}'"):
        load_profile(home, "motor_siemens_1la7_01")
    with pytest.raises(UnknownNameError):
        load_profile(home, "settings")


def test_the_user_s_profile_stands_before_the_shipped_one(home: Home) -> None:
    folder = home.configs / "machines"
    folder.mkdir(parents=True)
    text = (packaged_configs() / "machines" / f"{MOTOR}.yaml").read_text()
    (folder / f"{MOTOR}.yaml").write_text(text.replace("mean_h: 720", "mean_h: 730"))
    assert load_profile(home, MOTOR).life.mean_h == 730
    assert Counter(profile_names(home))[MOTOR] == 1


def test_keys_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("1: 2\n")
    with pytest.raises(ConfigError, match="the key 1 is no text"):
        read_profile_yaml(path)


def _paths(content: Any, way: tuple[int | str, ...] = ()) -> Iterator[tuple[int | str, ...]]:
    pairs: Any = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in pairs:
        yield (*way, key)
        if isinstance(value, dict | list):
            yield from _paths(value, (*way, key))


PATHS = sorted(_paths(motor()), key=str)
_TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from([*QUANTITIES, *KINDS, "bearing_wear", "UTC", "06:00", "-", "\ud800", "x" * 500]),
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    _TEXTS,
    st.binary(max_size=3),
)
BROKEN = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.lists(st.tuples(st.sampled_from(PATHS), BROKEN), min_size=1, max_size=4))
def test_a_broken_profile_is_a_sentence_with_a_path_never_a_traceback(
    changes: list[tuple[tuple[int | str, ...], Any]],
) -> None:
    content: Any = motor()
    for path, value in changes:
        here = content
        for piece in path[:-1]:
            try:
                here = here[piece]
            except (LookupError, TypeError):
                break
        else:
            if isinstance(here, dict) or (
                isinstance(here, list) and isinstance(path[-1], int) and path[-1] < len(here)
            ):
                here[path[-1]] = value  # type: ignore[index]
    problems = find_problems(content)
    fields = set(Profile.model_fields) | set(map(str, content))
    for problem in problems:
        assert problem.path.split(".")[0] in fields
        assert problem.text
        assert len(str(problem)) < 2_000
    if problems:
        with pytest.raises(ConfigError):
            parse_profile(content, "m")
    else:
        assert parse_profile(content, "m").sensors


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="ab:{}[]&*!,'\"#-|>?%@ \n\t01.e<~", max_size=60))
def test_any_text_is_yaml_or_refused_as_such(text: str) -> None:
    try:
        content = parse_yaml(text, "x.yaml")
    except ConfigError:
        return
    if isinstance(content, dict):
        assert find_problems(content)


def test_a_yaml_that_grows_without_end_is_refused_at_once() -> None:
    levels = "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(12))
    content = parse_yaml(f"a0: &a0 [x]\n{levels}title: *a12\nsensors: *a12\nnameplate: {{bearings: *a12}}\n", "x.yaml")
    problems = find_problems(content)
    assert {"title", "sensors.0", "nameplate.bearings.0"} <= {p.path for p in problems}
    assert all(len(str(p)) < 2_000 for p in problems)


def test_a_yaml_that_holds_itself_is_refused() -> None:
    content = parse_yaml("sensors: &s [*s, *s]\nlife: &l {mean_h: *l}\n", "x.yaml")
    assert "life.mean_h" in {p.path for p in find_problems(content)}


DOCS = (Path(__file__).resolve().parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8")


def _models(model: Any, seen: set[Any]) -> set[Any]:
    if model in seen:
        return seen
    seen.add(model)
    for field in model.model_fields.values():
        waiting = [field.annotation]
        while waiting:
            kind = waiting.pop()
            waiting.extend(typing.get_args(kind))
            if isinstance(kind, type) and issubclass(kind, Part):
                _models(kind, seen)
    return seen


def test_the_docs_name_every_field_with_what_the_refusal_says_is_allowed() -> None:
    models = _models(Profile, set())
    assert len(models) == 17
    for model in models:
        for name, field in model.model_fields.items():
            rows = [line for line in DOCS.splitlines() if line.startswith(f"| `{name}` |")]
            assert rows, f"{model.__name__}.{name}"
            if field.annotation is float and field.metadata and name not in ("noise", "bias", "horizon_h"):
                low = next(str(getattr(m, "ge", getattr(m, "gt", ""))) for m in field.metadata)
                assert any(f"{float(low):.10g}" in row for row in rows), f"{model.__name__}.{name}"


def test_the_docs_name_every_quantity_and_mode_and_their_example_is_good() -> None:
    for name, quantity in QUANTITIES.items():
        assert f"| `{name}` | {quantity.unit} | {quantity.role} | {quantity.low:.10g} to {quantity.high:.10g} |" in DOCS
    for kind, about in KINDS.items():
        assert f"| `{kind}` | {', '.join(f'`{m}`' for m in about.modes)} |" in DOCS
    example = DOCS.split("```yaml\n")[1].split("```")[0]
    assert parse_profile(parse_yaml(example, "docs"), "docs") == parse_profile(motor(), "m")
