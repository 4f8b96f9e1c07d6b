"""The profile wizard: from a nameplate to a profile in its file, and to a synthesis."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from support.asked_app import JOB, Started, asked
from support.machines import write_machine

from nightshift.files import read_yaml
from nightshift.plan import lock
from nightshift.plan.synthesis import SynthesisOptions, plan_synthesis, remember
from nightshift.settings import Home
from nightshift.simulate.catalogue import MachineType
from nightshift.simulate.profile import find_problems, load_profile, profile_names

MOTOR = "motor_siemens_1la7_001"
Sent = dict[str, Any]


class _Form(HTMLParser):
    """Collects what a browser would send of the page's form."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self._select = self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        got = {k: v or "" for k, v in attrs}
        if tag == "input" and "name" in got:
            if got.get("type") != "checkbox" or "checked" in got:
                self.sent.setdefault(got["name"], []).append(got.get("value", "on"))
        elif tag == "select":
            self._select = got["name"]
        elif tag == "option" and self._select and ("selected" in got or self._select not in self.sent):
            self.sent[self._select] = [got.get("value", "")]
            self._option = "value" not in got
        elif tag == "textarea":
            self._area = got["name"]
            self.sent[self._area] = [""]

    def handle_endtag(self, tag: str) -> None:
        self._select = "" if tag == "select" else self._select
        self._area = "" if tag == "textarea" else self._area

    def handle_data(self, data: str) -> None:
        if self._area:
            # A browser leaves the first line break out.
            self.sent[self._area][0] += data if self.sent[self._area][0] else data.removeprefix("\n")
        elif self._select and getattr(self, "_option", False) and data.strip():
            self.sent[self._select] = [data]
            self._option = False


def sent(answer: Response) -> dict[str, list[str]]:
    """What the page's form would send as it stands; a browser ends lines of a text with CR LF."""
    form = _Form()
    form.feed(answer.text)
    form.sent["yaml"] = [form.sent["yaml"][0].replace("\n", "\r\n")]
    return form.sent


def said(answer: Response) -> str:
    """The page as text."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


@pytest.fixture
def started() -> Started:
    return Started()


@pytest.fixture
def pages(home: Home, started: Started) -> Iterator[TestClient]:
    with asked(home, started) as found:
        yield found


def begun(pages: TestClient, like: str, machine: str = "mine_7", **figures: str) -> Response:
    answer = pages.get("/machines/new", params={"like": like, "machine": machine, **figures})
    assert answer.status_code == 200, said(answer)
    return answer


def pressed(pages: TestClient, form: Sent, action: str, **changes: Any) -> Response:
    filled = {**form, **{name.replace("__", "."): value for name, value in changes.items()}, "action": action}
    return pages.post("/machines/new", data={k: v for k, v in filled.items() if v is not None})


def written(home: Home, machine: str = "mine_7") -> Any:
    return read_yaml(home.configs / "machines" / f"{machine}.yaml")


def test_the_first_page_offers_every_type_and_every_machine(pages: TestClient, home: Home) -> None:
    text = pages.get("/machines/new").text
    for word in (*(f"type:{kind}" for kind in MachineType), *profile_names(home)):
        assert f'value="{word}"' in text


@pytest.mark.parametrize("like", [*(f"type:{kind}" for kind in MachineType), MOTOR, "gearbox_sew_x3k_001"])
def test_what_is_saved_untouched_is_what_it_began_as(pages: TestClient, home: Home, like: str) -> None:
    answer = begun(pages, like)
    assert "A good profile" in said(answer)
    saved = pressed(pages, sent(answer), "save")
    assert (saved.status_code, saved.headers["location"]) == (303, "/machines/mine_7#data")
    if not like.startswith("type:"):
        # Flags that are false may be left out; all else is as it was.
        assert load_profile(home, "mine_7") == load_profile(home, like)
    assert pages.get("/machines/mine_7").status_code == 200


def test_the_nameplate_decides_ranges_and_limits(pages: TestClient, home: Home) -> None:
    small, large = (content_of_form(begun(pages, MOTOR, rated_power_kw=kw)) for kw in ("5.5", "110"))
    ends = [
        {s["measures"]: s["range"][1] for s in profile["sensors"]} | {"title": profile["title"]}
        for profile in (small, large)
    ]
    assert ends[0]["torque"] < 120 < ends[1]["torque"]
    assert ends[0]["stator_current"] < 60 < ends[1]["stator_current"]
    assert ends[1]["title"] == "Induction motor, 110 kW"


def assert_links_lead_somewhere(answer: Response) -> None:
    places = set(re.findall(r' href="#([^"]+)"', answer.text))
    assert places
    assert places <= set(re.findall(r' id="([^"]+)"', answer.text))


def content_of_form(answer: Response) -> Any:
    from nightshift.dashboard.profile_form import read_text

    return read_text(sent(answer)["yaml"][0].replace("\r\n", "\n"))


def test_the_flow_follows_the_power(pages: TestClient) -> None:
    plate = content_of_form(begun(pages, "pump_ksb_etanorm_001", rated_power_kw="44"))["nameplate"]
    assert plate["rated_flow_m3_h"] == 240


def test_a_bad_figure_is_shown_beside_its_field(pages: TestClient, home: Home) -> None:
    answer = begun(pages, "type:fan", rated_power_kw="-5")
    assert "nameplate.rated_power_kw" in answer.text
    assert "got -5; allowed: a number from 0.001 up to 100000" in said(answer)
    assert 'aria-invalid="true" aria-describedby="nameplate.rated_power_kw-wrong-1"' in answer.text
    refused = pressed(pages, sent(answer), "save")
    assert refused.status_code == 422
    assert not home.configs.exists()


def test_every_rule_of_the_command_is_shown(pages: TestClient) -> None:
    form = sent(begun(pages, MOTOR))
    changes = {
        "life.mean_h": "-1",
        "sensors.2.noise": "1,5",
        "sensors.3.range.0": "70",
        "failure_modes.0.share": "0.9",
        "usage_modes.0.load": "7",
        "schedule.shifts.1.begin": "21:00",
        "timezone": "Berlin/Europe",
        "nameplate.bearings": "",
    }
    answer = pressed(pages, {**form, **{"schedule.shifts.1.days": ["mon"]}, **changes}, "check")
    text = said(answer)
    assert_links_lead_somewhere(answer)
    from nightshift.dashboard.profile_form import filled, read_text

    content = filled(
        read_text(form["yaml"][0].replace("\r\n", "\n")),
        {
            k: v if isinstance(v, list) else [v]
            for k, v in {**form, "schedule.shifts.1.days": ["mon"], **changes}.items()
        },
    )
    problems = find_problems(content)
    assert len(problems) >= 7
    for problem in problems:
        assert " ".join(problem.text.split()) in text, problem
    # What was typed stands there still.
    assert 'value="1,5"' in answer.text


def test_a_sensor_is_taken_away_and_another_added(pages: TestClient, home: Home) -> None:
    form = sent(pressed(pages, sent(begun(pages, MOTOR)), "drop:sensors.2"))
    form = sent(pressed(pages, form, "add-sensor", new_sensor="sound_level"))
    form = sent(pressed(pages, form, "add-sensor", new_sensor="sound_level"))
    assert pressed(pages, form, "save").status_code == 303
    names = [s.name for s in load_profile(home, "mine_7").sensors]
    assert "shaft_speed_rpm" not in names
    assert names[-2:] == ["sound_level_db", "sound_level_db_2"]


def test_shares_add_up_when_a_way_to_fail_comes_or_goes(pages: TestClient, home: Home) -> None:
    form = sent(pressed(pages, sent(begun(pages, "type:centrifugal_pump")), "add-mode", new_mode="imbalance"))
    form = sent(pressed(pages, form, "drop:failure_modes.0"))
    assert pressed(pages, form, "save").status_code == 303
    modes = load_profile(home, "mine_7").failure_modes
    assert [str(m.mode) for m in modes] == ["bearing_wear", "fouling", "imbalance"]
    assert sum(m.share for m in modes) == pytest.approx(1)


def test_shifts_are_those_of_a_pattern_or_ones_own(pages: TestClient, home: Home) -> None:
    form = sent(pressed(pages, sent(begun(pages, "type:fan")), "use-shifts", working="weekdays"))
    form = sent(pressed(pages, form, "add-shift"))
    own = {"schedule.shifts.1.begin": "08:00", "schedule.shifts.1.end": "12:00", "schedule.shifts.1.days": ["sat"]}
    assert pressed(pages, {**form, **own}, "save").status_code == 303
    shifts = load_profile(home, "mine_7").schedule.shifts
    assert [(s.begin, s.end, s.days) for s in shifts] == [
        ("00:00", "24:00", ("mon", "tue", "wed", "thu", "fri")),
        ("08:00", "12:00", ("sat",)),
    ]


def test_a_shift_without_a_day_is_told_with_a_way_there(pages: TestClient) -> None:
    form = sent(begun(pages, MOTOR))
    answer = pressed(pages, {**form, "schedule.shifts.0.days": None}, "check")
    assert 'href="#schedule.shifts.0.days"' in answer.text
    assert_links_lead_somewhere(answer)


def test_yaml_that_was_edited_counts(pages: TestClient, home: Home) -> None:
    form = sent(begun(pages, MOTOR))
    text = form["yaml"][0].replace("mean_h: 720", "mean_h: 600").replace("horizon_h: 108", "horizon_h: 90")
    answer = pressed(pages, {**form, "yaml": text, "life.mean_h": "700"}, "check")
    assert 'value="600"' in answer.text
    assert pressed(pages, sent(answer), "save").status_code == 303
    assert written(home)["life"]["mean_h"] == 600


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "is not valid YAML"),
        ("- 1", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("title: x\n", "machine_type: the field is required"),
        ("sensors: 5\nschedule: [1]\nnameplate: x\nfailure_modes: [[1], {mode: [2]}]\n", "sensors"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{c}: &{c} [{', '.join(['*' + b] * 9)}]\n" for b, c in zip("abcdef", "bcdefg", strict=True)),
            "more than 20,000 values",
        ),
        ("x" * 200_001, "allowed: up to 200,000"),
        ('title: "\\ud800"', "half of a character"),
        ("[" * 5_000, "nested too deeply"),
        ("families: {anomaly: {preset: best}}\ntitle: x\n", "families: settings of trainings"),
    ],
)
def test_yaml_that_is_no_profile_is_told_and_kept_for_mending(pages: TestClient, text: str, told: str) -> None:
    form = sent(begun(pages, MOTOR))
    answer = pressed(pages, {**form, "yaml": text}, "save")
    assert answer.status_code == 422
    assert told in said(answer)


def test_nothing_is_overwritten_unless_that_is_asked_for(pages: TestClient, home: Home) -> None:
    taken = pressed(pages, sent(begun(pages, MOTOR, machine=MOTOR)), "save")
    assert taken.status_code == 422
    assert "came with Nightshift" in said(taken)
    assert 'name="replace"' not in taken.text
    form = sent(begun(pages, MOTOR))
    assert pressed(pages, form, "save").status_code == 303
    again = pressed(pages, form, "save", title="Another")
    assert again.status_code == 422
    assert "exists already" in said(again)
    assert written(home)["title"] != "Another"
    ticked = pressed(pages, sent(again), "check", replace="1")
    assert pressed(pages, sent(ticked), "save").status_code == 303
    assert written(home)["title"] == "Another"


def test_a_profile_of_ones_own_is_changed(pages: TestClient, home: Home) -> None:
    write_machine(home)
    assert "/machines/new?machine=motor_small&amp;like=own:motor_small" in pages.get("/machines/motor_small").text
    answer = begun(pages, "own:motor_small", machine="motor_small")
    assert "Profile of motor_small" in said(answer)
    answer = pressed(pages, sent(answer), "check")
    assert "Profile of motor_small" in said(answer)
    assert pressed(pages, sent(answer), "save", title="Mended").status_code == 303
    assert written(home, "motor_small")["title"] == "Mended"


@pytest.mark.parametrize("machine", ["", "Pump", "../x", "new", "a" * 65])
def test_an_id_that_cannot_be_is_told_beside_it(pages: TestClient, home: Home, machine: str) -> None:
    answer = pressed(pages, sent(begun(pages, MOTOR)), "save", machine=machine)
    assert answer.status_code == 422
    assert 'id="machine-wrong-1"' in answer.text
    assert not list(home.root.rglob("*.yaml"))


def test_a_swapped_form_goes_on_by_a_header(pages: TestClient) -> None:
    form = {**sent(begun(pages, MOTOR)), "action": "save"}
    saved = pages.post("/machines/new", data=form, headers={"HX-Request": "true"})
    assert (saved.status_code, saved.headers["hx-redirect"]) == (204, "/machines/mine_7#data")


def test_a_template_that_is_not_there_is_told(pages: TestClient) -> None:
    for like in ("type:rocket", "nobody", "../x", "own:nobody"):
        answer = pages.get("/machines/new", params={"like": like, "machine": "nobody"})
        assert answer.status_code in (404, 422)


def test_the_machines_page_starts_its_synthesis(pages: TestClient, home: Home, started: Started) -> None:
    write_machine(home)
    page = pages.get("/machines/motor_small")
    assert "There are no data of this machine yet." in said(page)
    assert "quick: one fit, about 31 s" in said(page)
    form = {"rows": "4000", "seed": "3", "how": "quick", "key": "once"}
    told = pages.post("/machines/motor_small/synthesize", data=form)
    assert (told.status_code, told.headers["location"]) == (303, f"/jobs/{JOB}")
    parameters = {"machine_id": "motor_small", "rows": 4_000, "seed": 3, "options": {"generator_seeds": 1}}
    assert started.runs == [("synthesize-machine/local", parameters, "motor_small.synthesis", "once")]


def test_a_page_that_watched_a_run_is_loaded_again_when_it_has_ended(pages: TestClient, home: Home) -> None:
    write_machine(home)
    job = plan_synthesis(home, "motor_small", 4_000, 7, SynthesisOptions())
    remember(home, job)
    with lock.held(home, job.key):
        watched = pages.get("/machines/motor_small", headers={"HX-Request": "true"})
        assert "Its newest synthesis: running" in said(watched)
        assert 'hx-trigger="every 2s"' in watched.text
        assert "hx-refresh" not in watched.headers
    ended = pages.get("/machines/motor_small", headers={"HX-Request": "true"})
    assert "It was stopped. Make the data again below" in said(ended)
    assert ended.headers["hx-refresh"] == "true"


@pytest.mark.parametrize(
    ("form", "told"),
    [({"rows": "1200"}, "needs at least"), ({"rows": "many"}, "rows is 'many'"), ({"seed": "-1"}, "seed")],
)
def test_what_cannot_be_made_is_told_on_the_machines_page(
    pages: TestClient, home: Home, started: Started, form: Sent, told: str
) -> None:
    write_machine(home)
    answer = pages.post("/machines/motor_small/synthesize", data=form)
    assert answer.status_code == 422
    assert told in said(answer)
    assert "Make its data" in said(answer)
    assert not started.runs


def test_a_damaged_profile_is_told_and_can_be_mended(pages: TestClient, home: Home) -> None:
    write_machine(home, life={"mean_h": -1})
    text = said(pages.get("/machines/motor_small"))
    assert "Its profile cannot be used" in text
    assert "Mend its profile" in text


def test_an_unknown_machine_is_told_with_the_nearest(pages: TestClient) -> None:
    answer = pages.get("/machines/motor_siemens_1la7_002")
    assert answer.status_code == 404
    assert MOTOR in said(answer)


def test_a_machine_with_models_shows_them(client: TestClient) -> None:
    text = client.get("/machines/motor_bench_001").text
    assert "/models/motor_bench_001/anomaly?target=pi" in text
    assert "/train?machine=motor_bench_001" in text
    assert "The Prefect server has not been told of this landing yet" in text
