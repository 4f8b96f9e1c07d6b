"""The morning report: what it says first, what mends each failure, and that it is one safe page."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser

import pytest

from nightshift.plan.fleet import Filters, FleetPlan
from nightshift.plan.fleet_run import FleetCell, FleetOptions, FleetOutcome, FleetStart, keep_start
from nightshift.plan.records import work_folder
from nightshift.plan.state import State
from nightshift.settings import Home
from nightshift.tracking.fleet_cells import as_markdown, matrix_of
from nightshift.tracking.fleet_facts import causes, changes, drifted, restarts
from nightshift.tracking.fleet_report import LATEST, folder_of, page_of, write_failed_report, write_fleet_report
from nightshift.tracking.fleet_words import message, night_of, sentences, verdict
from tests.plan.test_fleet import land
from tests.plan.trained import leave_trained
from tests.tracking.nights import BEGAN, a_night, drift, ended, failed, fresh, no_data, planned, trained


class _Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href") or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def page(home: Home, outcome: FleetOutcome, *remarks: str) -> str:
    path = write_fleet_report(home, night_of(home, outcome), "Europe/Berlin", remarks)
    return unescape(path.read_text(encoding="utf-8").replace("<wbr>", ""))


def said(home: Home, outcome: FleetOutcome) -> str:
    return " ".join(sentences(night_of(home, outcome)))


def test_it_says_first_what_was_retrained_why_and_what_got_better(home: Home) -> None:
    better = trained(home, "pump_7", "rul", old=14.1)
    worse = trained(home, "pump_7", "classification", old=0.815)
    first = trained(home, "pump_8", "rul")
    kept = trained(home, "pump_8", "anomaly", old=0.7, promoted=False)
    text = said(home, a_night(better, worse, first, kept, fresh("pump_9")))
    assert "4 of 5 models were retrained (new data 4); 1 was up to date." in text
    assert "2 champions changed, 1 for a better one, 1 within the gate's margin" in text
    assert "1 model got its first champion; the gate kept 1 new version as challenger." in text
    assert "Largest gain: pump_7.rul.pi, rmse 14.10 → 11.90." in text
    assert "It took 42 min 00 s: 16 min 44 s of work (0.78 CPU-hours), 16 min 00 s were expected." in text


def test_a_night_without_anything_to_do_says_so_and_is_well(home: Home) -> None:
    night = night_of(home, a_night(fresh("pump_7"), fresh("pump_8")))
    assert sentences(night) == ["Nothing had to be retrained: all 2 models are up to date."]
    assert (verdict(night), night.is_well) == ("all well", True)
    html = page(home, a_night(fresh("pump_7")))
    assert "What to do" not in html
    assert "pump_7" in html


def test_less_error_is_better_and_less_of_a_score_is_worse(home: Home) -> None:
    cells = [trained(home, "pump_7", "rul", old=14.1), trained(home, "pump_7", "classification", old=0.9)]
    by_name = {c.name: c for c in changes(home, a_night(*cells))}
    rul, status = by_name["pump_7.rul.pi"], by_name["pump_7.classification.pi"]
    assert rul.gain == pytest.approx(2.2)
    assert status.gain == pytest.approx(-0.09)
    assert (rul.old_version, rul.version, rul.promoted) == (1, 2, True)
    assert "-2.2 better" in page(home, a_night(*cells))
    assert "-0.09 worse" in page(home, a_night(*cells))


def test_a_bundle_that_lies_elsewhere_leaves_the_change_open(home: Home) -> None:
    plan = planned("pump_7", cell_key="f" * 64)
    outcome = ended(plan, metric="rmse", value=11.9, version=4)
    [change] = changes(home, a_night(FleetCell(planned=plan, outcome=outcome)))
    assert (change.now, change.before, change.gain) == (11.9, None, None)


def test_the_same_cause_is_told_once_with_what_mends_it(home: Home) -> None:
    hint = "Raise batch.cell_memory_gb in configs/fleet.yaml."
    big = [
        failed(f"fan_{i}", reason=f"fan_{i}.rul.pi needed {4 + i}.2 GB of /data/fan_{i}", hint=hint) for i in range(6)
    ]
    found = causes(home, a_night(*big, failed("pump_7", reason="the disk is full"), no_data("valve_1")))
    assert [(c.ending, len(c.names)) for c in found] == [("failed", 6), ("failed", 1), ("blocked", 1)]
    assert found[0].commands == ("nightshift resume",)
    assert found[0].hint == hint
    assert found[1].commands == ("nightshift resume --machine pump_7",)
    assert found[2].commands == ("nightshift land FOLDER --machine valve_1",)
    html = page(home, a_night(*big, no_data("valve_1")))
    assert hint in html
    assert "nightshift land FOLDER --machine valve_1" in html


def test_what_does_not_apply_is_no_failure(home: Home) -> None:
    cell = FleetCell(planned=planned("pump_7", "forecast", State.BLOCKED, reasons=("does not apply: no clock",)))
    assert causes(home, a_night(cell)) == ()
    assert "no clock" in page(home, a_night(cell))


def test_drift_is_told_per_sensor_against_the_model_in_use(home: Home) -> None:
    from nightshift.plan.state import make_cell

    land(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), 1)
    land(home, hotter_k=25.0)
    new = make_cell(home, "pump_1", "anomaly")
    leave_trained(home, new, 2)
    plan = planned("pump_1", "anomaly", cell_key=new.key, findings=(drift("heat_c"),))
    other = plan.model_copy(update={"family": "rul", "name": "pump_1.rul.pi"})
    cells = [FleetCell(planned=plan, outcome=ended(plan, version=2)), FleetCell(planned=other)]
    [found] = drifted(home, a_night(*cells))
    assert (found.sensor, found.families) == ("heat_c", ("anomaly", "rul"))
    assert found.psi is not None
    assert found.psi > 0.25
    assert "Sensors of 1 machine have drifted: pump_1." in said(home, a_night(*cells))


def test_drift_without_sketches_still_names_its_sensors(home: Home) -> None:
    cell = trained(home, "pump_7", planned={"findings": (drift("heat_c", "shake"),)})
    found = drifted(home, a_night(cell))
    assert [(d.sensor, d.psi) for d in found] == [("heat_c", None), ("shake", None)]


def test_cells_that_were_cut_off_and_went_on_are_named(home: Home) -> None:
    anew = trained(home, "pump_7", reason="cut off in train; begun anew")
    given_again = trained(home, "pump_8").model_copy(update={"attempts": 2})
    outcome = a_night(anew, given_again, trained(home, "pump_9"))
    assert [(r.name, r.attempts) for r in restarts(home, outcome)] == [("pump_7.rul.pi", 1), ("pump_8.rul.pi", 2)]
    assert "cut off in train; begun anew" in page(home, outcome)
    assert "2 models went on after being cut off." in said(home, outcome)


def test_a_run_that_crashed_itself_says_how_often(home: Home) -> None:
    outcome = a_night(fresh("pump_7"))
    plan = FleetPlan(made_at=BEGAN, cells=tuple(c.planned for c in outcome.cells))
    values = {
        "run_id": outcome.run_id,
        "started_at": BEGAN,
        "filters": Filters(),
        "options": FleetOptions(),
        "plan": plan,
    }
    keep_start(home, FleetStart.model_validate(values | {"tries": 3}))
    assert "The run itself crashed 2 times and was gone on with." in said(home, outcome)


def test_the_slowest_come_first_with_hours_of_processor_and_gpu(home: Home) -> None:
    quick = trained(home, "pump_7", seconds=60.0, cpu_s=90.0)
    slow = trained(home, "pump_8", seconds=7200.0, cpu_s=18_000.0, gpu_s=3600.0)
    html = page(home, a_night(quick, slow))
    times = html[html.index("The slowest models") :]
    assert times.index("pump_8.rul.pi") < times.index("pump_7.rul.pi")
    for figure in ("2 h 00 min", "5.000", "1.000", "GPU-hours", "4 min 00 s"):
        assert figure in times


def test_a_big_fleet_is_folded_to_what_has_something_to_say(home: Home) -> None:
    cells = [
        fresh(f"m_{i:04}", family) for i in range(1000) for family in ("rul", "anomaly", "forecast", "classification")
    ]
    cells += [failed("pump_7"), trained(home, "pump_8")]
    outcome = a_night(*cells)
    html = page(home, outcome)
    assert "1,000 more machines: all their models are up to date." in html
    assert "m_0001" not in html
    assert html.index("pump_7</th>") < html.index("pump_8</th>")
    assert len(html) < 100_000
    assert len("\n".join(as_markdown(matrix_of(cells)))) < 2_000


def test_the_matrix_has_as_many_cells_in_every_line(home: Home) -> None:
    cells = [failed("pump|7", reason="a | b"), no_data("valve_1"), trained(home, "pump_8", "anomaly")]
    lines = [line for line in as_markdown(matrix_of(cells)) if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1, lines


def test_the_page_needs_no_other_file_runs_nothing_and_escapes_everything(home: Home) -> None:
    evil = "<img src=x onerror=alert(1)>"
    cells = [failed("pump_7", reason=evil, hint=evil), trained(home, "pump_8", reason=evil)]
    path = write_fleet_report(home, night_of(home, a_night(*cells, remarks=(evil,))), "UTC", [evil])
    html = path.read_text(encoding="utf-8")
    seen = _Page(html)
    assert "img" not in seen.tags
    assert "script" not in seen.tags
    assert "link" not in seen.tags
    assert seen.loads == []
    assert seen.text.count(evil) >= 4
    assert "prefers-color-scheme: dark" in html


def test_each_run_of_a_day_has_its_page_and_the_newest_is_latest(home: Home) -> None:
    night = night_of(home, a_night(fresh("pump_7"), run_id="one"))
    first = write_fleet_report(home, night, "Europe/Berlin")
    second = write_fleet_report(home, night_of(home, a_night(failed("pump_7"), run_id="two")), "Europe/Berlin")
    assert (first.name, second.name) == ("2026-11-21.html", "2026-11-21-2.html")
    assert (folder_of(home) / LATEST).read_bytes() == second.read_bytes()
    assert 'href="2026-11-21.html"' in second.read_text(encoding="utf-8")
    assert write_fleet_report(home, night, "Europe/Berlin", ["said later"]) == first
    assert "said later" in first.read_text(encoding="utf-8")
    assert [page_of(home, run) for run in ("one", "two", "three")] == [first, second, None]


def test_a_landing_by_day_does_not_hide_the_night(home: Home) -> None:
    latest, landed = folder_of(home) / LATEST, Filters(only="landed")
    page(home, a_night(fresh("pump_7"), run_id="early", filters=landed))
    assert 'content="early"' in latest.read_text(encoding="utf-8")
    page(home, a_night(failed("pump_7"), run_id="night"))
    page(home, a_night(fresh("pump_8"), run_id="noon", filters=landed))
    assert 'content="night"' in latest.read_text(encoding="utf-8")
    write_failed_report(home, "broken", BEGAN, "Europe/Berlin", "the disk is full", "")
    assert 'content="broken"' in latest.read_text(encoding="utf-8")
    tomorrow = a_night(fresh("pump_8"), run_id="next", filters=landed, started_at=BEGAN + timedelta(days=1))
    page(home, tomorrow)
    assert 'content="next"' in latest.read_text(encoding="utf-8")


def test_a_model_that_the_gate_refused_is_told_with_its_champion_or_that_there_is_none(home: Home) -> None:
    first = page(home, a_night(trained(home, "pump_7", promoted=False), run_id="one"))
    assert "Trained, not promoted" in first
    assert "no champion yet" in first
    assert "no champion yet" not in page(home, a_night(trained(home, "pump_8", old=14.1, promoted=False), run_id="two"))


def test_the_day_is_the_fleet_s(home: Home) -> None:
    late = a_night(fresh("pump_7"), started_at=BEGAN - timedelta(hours=2, minutes=30))
    assert write_fleet_report(home, night_of(home, late), "Europe/Berlin").name == "2026-11-21.html"
    early = late.model_copy(update={"run_id": "other"})
    assert write_fleet_report(home, night_of(home, early), "UTC").name == "2026-11-20.html"


def test_a_run_without_an_outcome_has_a_page_too(home: Home) -> None:
    path = write_failed_report(
        home, "one", BEGAN, "UTC", "fleet.yaml: unknown key 'machnes'.", "Did you mean 'machines'?"
    )
    text = _Page(path.read_text(encoding="utf-8")).text
    for words in ("the night failed", "unknown key 'machnes'", "Did you mean 'machines'?"):
        assert words in text


def test_the_message_is_one_line_and_a_few_more(home: Home) -> None:
    bad = [failed(f"pump_{i}", reason=f"{'x' * (i + 1)} {'long ' * 80}", hint="Free some.") for i in range(7)]
    told = message(night_of(home, a_night(*bad, remarks=("pi-pool has no worker",))), "2026-11-21", "/reports/a.html")
    assert told.subject == "Nightshift 2026-11-21: 7 failed, of 7 models"
    assert "pi-pool has no worker" in told.body
    assert "- 1 failed: x long" in told.body
    assert "… Free some. -> nightshift resume --machine pump_0" in told.body
    assert "- and 3 more causes" in told.body
    assert told.body.endswith("Report: /reports/a.html")
    assert len(told.body) < 2_000
    assert all(len(line) < 300 for line in told.body.splitlines())


def test_a_stopped_run_says_what_is_left(home: Home) -> None:
    left = FleetCell(planned=planned("pump_7"))
    night = night_of(home, a_night(trained(home, "pump_8"), left, ended="cancelled"))
    assert verdict(night) == "stopped on request"
    assert "1 model was not tried: the next run goes on." in " ".join(sentences(night))


def test_records_that_are_gone_leave_a_page_without_them(home: Home) -> None:
    import shutil

    cell = trained(home, "pump_7", old=14.1)
    shutil.rmtree(home.models)
    shutil.rmtree(work_folder(home, cell.planned.cell_key))
    html = page(home, a_night(cell))
    assert re.search(r"rmse 11\.90", html)
