"""A machine's page over real syntheses: what landed, what was refused; and the whole way there in a browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import expect
from support.asked_app import asked
from support.browser import browser, page_of
from support.homes import a_home
from support.machines import QUICK, SMALL, SMALL_ROWS, write_machine
from support.servers import KeptDatabase
from support.tables import small_table
from support.vehicles import small_vehicles

from nightshift.data.store import current
from nightshift.plan.synthesis import SynthesisOptions, plan_synthesis
from nightshift.problems.evaluation import Figure
from nightshift.settings import Home
from nightshift.simulate.profile import load_profile
from nightshift.stages.recorded import StageContext
from nightshift.stages.synthesis.chain import run_chain

ROOT = Path(__file__).resolve().parents[2]
REFUSED = "motor_refused"


def _synthesise(home: Home, machine: str, **limits: Any) -> None:
    options = SynthesisOptions.model_validate({**QUICK, "limits": {**QUICK["limits"], **limits}, "event": False})
    run_chain(plan_synthesis(home, machine, SMALL_ROWS, 7, options), StageContext(home, threads=1))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with a machine whose data have landed, and one whose data were refused."""
    with a_home(tmp_path_factory.mktemp("made")) as home:
        _synthesise(home, write_machine(home))
        _synthesise(home, write_machine(home, REFUSED), column_shapes=1, failure_share=[0.3, 0.4])
        yield home


@pytest.fixture
def pages(made: Home) -> Iterator[TestClient]:
    with asked(made) as found:
        yield found


def _text(pages: TestClient, machine: str) -> str:
    answer = pages.get(f"/machines/{machine}")
    assert answer.status_code == 200
    return answer.text


def test_what_landed_is_shown_with_its_criteria_and_parts(pages: TestClient, made: Home) -> None:
    text = _text(pages, SMALL)
    told = (current(made, SMALL)[:12], "column shapes", "wanted", "holds", "4,000 rows", f"/train?machine={SMALL}")
    for word in (*told, "what is new by itself: every family that fits", "even when they are up to date"):
        assert word in text, word
    assert "What to change" not in text
    rows = re.findall(r"<td>([\d,]+)</td>", text[text.index("Parts") :])
    assert int(rows[0].replace(",", "")) > 1_000


def test_its_pictures_are_figures(pages: TestClient) -> None:
    islands = re.findall(r'<script type="application/json">(.*?)</script>', _text(pages, SMALL), re.DOTALL)
    figures = [Figure.model_validate(json.loads(island)) for island in islands]
    assert len(figures) >= 6
    assert any(figure.x_is_time for figure in figures)


def test_what_was_refused_says_why_and_what_to_change(pages: TestClient) -> None:
    text = _text(pages, REFUSED)
    for word in (
        "refused",
        "column shapes is 0.",
        "Nothing has landed.",
        "What to change",
        "10 to 20 % of the mean life",
        "standard five fits instead of quick",
        "There are no data of this machine yet.",
        "missed",
    ):
        assert word in text, word
    assert "/train?machine" not in text


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, migrated_db: Path, deployed_prefect: KeptDatabase
) -> Iterator[str]:
    """Where the dashboard of an empty home is; everything was started by `nightshift up`."""
    with a_home(tmp_path_factory.mktemp("wizard"), migrated_db) as home:
        deployed_prefect.into(home)
        # What lands is looked at here, not trained.
        home.configs.mkdir(parents=True)
        (home.configs / "fleet.yaml").write_text("machines: [nobody]\n", encoding="utf-8")
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

        def nightshift(*command: str) -> str:
            line = [sys.executable, "-m", "nightshift.cli", *command]
            done = subprocess.run(line, env=variables, cwd=home.root, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-4000:]
            return done.stdout

        try:
            found = re.search(r"^Dashboard:\s+(http://\S+)", told := nightshift("up", "--no-mlflow"), re.MULTILINE)
            assert found, told
            yield found[1]
        finally:
            nightshift("down")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_a_nameplate_to_data_without_a_terminal(address: str) -> None:
    with browser() as opened, page_of(opened) as page:
        page.goto(f"{address}/machines/new")
        page.get_by_label("Machine id").fill("pump_7")
        page.get_by_label("It is", exact=True).select_option("type:centrifugal_pump")
        page.get_by_label("Rated power, kW").fill("30")
        page.get_by_role("button", name="Next").click()
        ahead = page.get_by_label("A failure is to be seen ahead by, h")
        ahead.fill("400")
        page.get_by_role("button", name="take away: suction pressure").click()
        expect(page.get_by_role("alert")).to_contain_text("makes 67% of the rows failing")
        expect(page.get_by_role("button", name="take away: suction pressure")).to_have_count(0)
        # The page stays where it was: nothing is loaded anew.
        assert page.evaluate("window.scrollY") > 100
        ahead.fill("90")
        page.get_by_role("button", name="Save, and go on to its data").click()
        page.wait_for_url("**/machines/pump_7#data")
        page.get_by_label("quick").check()
        page.get_by_role("button", name="Make the data").click()
        page.wait_for_url("**/jobs/*")
        page.goto(f"{address}/machines/pump_7")
        # It is shown from the moment that it was asked for, and all of the page is new when it has ended.
        expect(page.locator("#now")).to_contain_text("pump_7.synthesis")
        expect(page.get_by_text("nothing trains it by itself")).to_be_visible(timeout=400_000)
        expect(page.locator("#made")).to_contain_text("landed")
        expect(page.get_by_role("table", name="Criteria of")).to_contain_text("physics violations")
        expect(page.locator("figure.plot canvas").first).to_be_visible()


@pytest.fixture
def kept(home: Home) -> Home:
    write_machine(home)
    return home


def test_a_shipped_machine_is_begun_from_and_not_changed(kept: Home) -> None:
    with asked(kept) as pages:
        text = pages.get("/machines/motor_siemens_1la7_001").text
    assert "A shipped machine stays as it is" in text
    assert load_profile(kept, "motor_siemens_1la7_001").title in text


def test_parts_are_told_as_their_group_counts_them(home: Home) -> None:
    vehicles, table = small_vehicles(home).metadata.subject, small_table(home).metadata.subject
    with asked(home) as pages:
        heads = [
            re.findall(r'<th scope="col">([^<]*)</th>', _text(pages, one).partition("Parts</caption>")[2])
            for one in (vehicles, table)
        ]
    assert heads[0][:5] == ["part", "rows", "trips", "first", "last"]
    assert "positive rows" not in heads[0]
    assert heads[1][:2] == ["part", "rows"]
    assert "runs" not in heads[1]
