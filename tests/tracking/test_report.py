"""The report of one machine: what it says, where, and that it is one safe file."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.vehicles import small_vehicles

from nightshift.cli.look import _status_rows
from nightshift.errors import DataError
from nightshift.plan.records import write_record
from nightshift.plan.state import remember
from nightshift.problems.charts import draw, inline
from nightshift.problems.evaluation import Figure, Series
from nightshift.settings import Home
from nightshift.tracking.report import write_report
from nightshift.tracking.results import aims, read_result, standing
from tests.tracking.cells import a_cell, a_manifest, an_evaluation, land_finished, record


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        values = dict(attrs)
        self.loads += [v for k in ("src", "xlink:href") if (v := values.get(k))]
        self.ids += [v for k, v in values.items() if k == "id" and v]


def _html(home: Home) -> str:
    return write_report(home, "pump_1").html.read_text(encoding="utf-8")


def test_it_shows_model_baselines_members_parity_and_how_to_load(home: Home) -> None:
    cell = a_cell()
    land_finished(home, cell, an_evaluation(), a_manifest(cell))
    html = _html(home)
    for said in ("threshold rule", "WeightedEnsemble", "LightGBM", "version 3", "0.8100", "81 ms", "386 times slower"):
        assert said in html
    assert re.search(r"memory of a fresh process</th><td>88 MB.*start to the first answer</th><td>0.71 s", html, re.S)
    assert "rows: on a split</th><td>1,200 compared" in html
    assert "of 0, 1, 7: the same labels" in html
    assert 'Model.load("models/classification/pump_1/pi/v3")' in html.replace("&#34;", '"')
    assert "mute: [T003]" in html


def test_a_missed_figure_is_marked_in_both_forms(home: Home) -> None:
    cell = a_cell(wanted={"f1": 0.9})
    land_finished(home, cell, an_evaluation(f1=0.6), a_manifest(cell, size_bytes=80_000_000))
    report = write_report(home, "pump_1")
    html = report.html.read_text(encoding="utf-8")
    assert 'class="missed">Missed: f1 0.6, wanted ≥ 0.9' in html
    assert re.search(r'<tr class="missed"><th scope="row">model.onnx</th><td>80 MB</td>', html)
    assert "**Missed**: f1 0.6, wanted ≥ 0.9" in report.markdown.read_text(encoding="utf-8")


def test_the_page_needs_no_other_file_and_runs_nothing(home: Home) -> None:
    cell = a_cell()
    land_finished(home, cell, an_evaluation(), a_manifest(cell))
    tags = _Tags()
    tags.feed(_html(home))
    assert all(load.startswith(("data:", "#")) for load in tags.loads)
    assert "script" not in tags.open
    assert tags.open.count("figure") == 4
    assert len(tags.ids) == len(set(tags.ids)), "pictures share ids: one would clip another"


def test_names_from_data_are_text_never_markup(home: Home) -> None:
    column = "<img src=x onerror=alert(1)>$|"
    cell = a_cell()
    land_finished(home, cell, an_evaluation(column=column), a_manifest(cell, column=column))
    report = write_report(home, "pump_1")
    tags = _Tags()
    tags.feed(report.html.read_text(encoding="utf-8"))
    assert "img" not in tags.open
    assert "<img" not in report.markdown.read_text(encoding="utf-8").replace("![", "")


def test_the_markdown_has_its_pictures_beside_it(home: Home) -> None:
    cell = a_cell()
    land_finished(home, cell, an_evaluation(), a_manifest(cell))
    report = write_report(home, "pump_1")
    named = re.findall(r"\]\((figures/[^)]+)\)", report.markdown.read_text(encoding="utf-8"))
    assert len(named) == 4
    for name in named:
        picture = (report.markdown.parent / name).read_text(encoding="utf-8")
        assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in picture, "a file has no page whose colours it could take"
        assert 'fill="#ffffff"' in picture, "nor one behind it"


def test_markdown_tables_have_as_many_cells_in_every_row(home: Home) -> None:
    cell = a_cell()
    land_finished(home, cell, an_evaluation(), a_manifest(cell))
    lines = write_report(home, "pump_1").markdown.read_text(encoding="utf-8").splitlines()
    tables: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    tables = [t for t in tables if t]
    assert len(tables) >= 8
    for rows in tables:
        assert len({row.count("|") for row in rows}) == 1, rows


def test_a_second_report_keeps_drawn_pictures_and_drops_old_ones(home: Home) -> None:
    cell = a_cell()
    land_finished(home, cell, an_evaluation(), a_manifest(cell))
    folder = write_report(home, "pump_1").html.parent / "figures"
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    write_report(home, "pump_1")
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    land_finished(home, cell, an_evaluation(column="pressure_bar"), a_manifest(cell))
    write_report(home, "pump_1")
    after = {p.name for p in folder.iterdir()}
    assert len(after) == len(before)
    assert after != set(before)


def test_cells_that_stopped_say_why(home: Home) -> None:
    failed, other = a_cell("rul"), a_cell("forecast")
    for cell in (failed, other):
        remember(home, cell)
    write_record(home, record(failed, "train", status="failed", error="the disk is <full>", hint="Free space."))
    write_record(home, record(other, "load", status="not_applicable", error="no clock time"))
    html = _html(home)
    assert "the disk is &lt;full&gt;" in html
    assert "Free space." in html
    assert "not applicable" in html
    assert "no clock time" in html


def test_nothing_trained_is_one_clear_error(home: Home) -> None:
    with pytest.raises(DataError, match="Nothing has been trained for 'pump_1'"):
        write_report(home, "pump_1")


def test_wanted_figures_know_their_direction(home: Home) -> None:
    cell = a_cell(wanted={"f1": 0.8, "fpr": 0.05})
    found = an_evaluation()
    rows = [r.model_copy(update={"metrics": {**r.metrics, "fpr": 0.01}}) for r in found.rows]
    land_finished(home, cell, found.model_copy(update={"rows": rows}), a_manifest(cell))
    by_name = {a.metric: a for a in aims(read_result(home, cell))}
    assert by_name["f1"].sign == "≥"
    assert by_name["fpr"].sign == "≤"
    assert by_name["fpr"].met


def test_a_drawn_figure_is_the_same_bytes_again_and_valid_xml() -> None:
    for figure in an_evaluation().figures:
        svg = draw(figure)
        assert ET.fromstring(svg).tag.endswith("svg")
        assert svg == draw(figure)


def test_pictures_take_their_colours_from_the_page() -> None:
    svg = inline(draw(an_evaluation().figures[1]))
    assert "var(--s1)" in svg
    assert "#0072b2" not in svg
    assert "#ffffff" not in svg


def test_a_figure_without_any_point_is_still_drawn(tmp_path: Path) -> None:
    svg = draw(Figure(key="empty", title="Nothing", series=[Series(label="none", x=[], y=[])], x_is_time=True))
    assert svg.startswith("<svg")


def test_an_attempt_that_failed_does_not_hide_the_version_that_stands(home: Home) -> None:
    cell, attempt = a_cell(), a_cell(window_rows=9)
    land_finished(home, cell, an_evaluation(), a_manifest(cell))
    assert standing(home, read_result(home, cell)) is None
    remember(home, attempt)
    unfinished = write_report(home, "pump_1").markdown.read_text(encoding="utf-8")
    assert "with window_rows 9, ended: begun, no stage done. Below: version 3, challenger, which stands." in unfinished
    write_record(home, record(attempt, "train", status="failed", error="too few rows", hint="Shorten it."))
    report = write_report(home, "pump_1")
    html, text = report.html.read_text(encoding="utf-8"), report.markdown.read_text(encoding="utf-8")
    for said in (html, text):
        assert "The newest attempt, with window_rows 9, ended: failed." in said
        assert "train: too few rows" in said
        assert "version 3, challenger; a later attempt: failed" in said
        assert "0.8100" in said
    [row] = _status_rows(home, "pump_1")
    assert (row["version"], row["value"]) == (3, "0.8100")
    assert row["why"].endswith("; version 3 stands")


def test_a_vehicle_s_settings_tell_the_time_that_its_preset_gives(home: Home) -> None:
    cell = a_cell("tcn", time_limit_s=None)
    land_finished(home, cell, an_evaluation(), a_manifest(cell))
    text = write_report(home, "pump_1").markdown.read_text(encoding="utf-8")
    assert "| time_limit_s | 900 |" in text
    assert "preset" not in text
    machine = a_cell("rul", subject="pump_2", time_limit_s=None)
    land_finished(home, machine, an_evaluation(), a_manifest(machine))
    text = write_report(home, "pump_2").markdown.read_text(encoding="utf-8")
    assert "| preset | fast |" in text
    assert "None" not in text


def test_a_vehicle_s_report_counts_trips_and_no_positive_rows(home: Home) -> None:
    data = small_vehicles(home)
    with pytest.raises(DataError) as error:
        write_report(home, data.subject)
    assert error.value.hint == f"`nightshift train vehicle --subject {data.subject}` does."
    cell = a_cell("carbon", data.subject).model_copy(update={"dataset": data.fingerprint})
    land_finished(home, cell, an_evaluation(), a_manifest(cell))
    text = write_report(home, data.subject).markdown.read_text(encoding="utf-8")
    assert "| part | rows | trips | first | last |" in text
    assert "| train | 2,700 | 15 | 2026-01-05" in text
    assert "Labels:" not in text
