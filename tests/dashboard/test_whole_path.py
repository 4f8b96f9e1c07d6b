"""The whole path in a browser, on what `nightshift up` brings up: a machine, a training, its results, its model, tried.

Its pictures are kept in `build/pages` of the checkout, beside what `make bench` leaves.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.browser import DESK, PHONE, browser, page_of
from support.homes import a_home
from support.machine import SUBJECT, land_demo
from support.servers import KeptDatabase

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build" / "pages"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, migrated_db: Path, deployed_prefect: KeptDatabase
) -> Iterator[str]:
    """Where the dashboard of a home with one machine's data is; everything was started by `nightshift up`."""
    with a_home(tmp_path_factory.mktemp("pages"), migrated_db) as home:
        deployed_prefect.into(home)
        land_demo(home)
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

        def nightshift(command: str) -> str:
            line = [sys.executable, "-m", "nightshift.cli", command]
            done = subprocess.run(line, env=variables, cwd=home.root, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-4000:]
            return done.stdout

        try:
            told = nightshift("up")
            found = re.search(r"^Dashboard:\s+(http://\S+)", told, re.MULTILINE)
            assert found, told
            yield found[1]
        finally:
            nightshift("down")


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    with browser() as opened, page_of(opened) as found:
        yield found


def test_a_machine_is_chosen_trained_and_its_model_taken_and_tried(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Train", exact=True).click()
    page.get_by_label("Whose models").select_option(SUBJECT)
    page.get_by_label("All that fit").uncheck()
    page.locator("input[name=families][value=anomaly]").check()
    expect(page.locator("input[name=families]:checked")).to_have_count(1)
    _keep(page, "training")
    page.get_by_role("button", name="Start").click()

    expect(page).to_have_url(re.compile("/jobs/[0-9a-f-]{36}"))
    job = page.url
    expect(page.locator("#now")).to_have_attribute("data-state", "running", timeout=60_000)
    expect(page.locator("#log")).to_contain_text("train", timeout=60_000)
    _keep(page, "run")
    expect(page.locator("#now")).to_have_attribute("data-state", "completed", timeout=240_000)
    page.goto(job)
    results = page.locator("#results")
    expect(results).to_contain_text("threshold rule")
    expect(results.locator("figure.plot canvas").first).to_be_visible()
    _keep(page, "results")

    with page.expect_download() as coming:
        results.get_by_role("link", name=re.compile("download", re.IGNORECASE)).first.click()
    assert re.fullmatch(rf"anomaly_{SUBJECT}_v1\.1\.0\.zip", coming.value.suggested_filename)
    with zipfile.ZipFile(io.BytesIO(coming.value.path().read_bytes())) as bundle:
        assert {"model.onnx", "bundle.json", "MODEL_CARD.md"} <= {Path(name).name for name in bundle.namelist()}

    results.get_by_role("link", name=re.compile("try it", re.IGNORECASE)).first.click()
    page.locator("form", has_text="One row").get_by_role("button", name="Predict").click()
    expect(page.locator("#answer")).to_contain_text("ersion 1")
    _keep(page, "predict")
    page.get_by_role("link", name="History", exact=True).click()
    expect(page.get_by_role("table")).to_contain_text("anomaly")


def test_a_new_model_stands_in_the_fleet_without_a_restart(page: Page, address: str) -> None:
    page.goto(address)
    row = page.get_by_role("row", name=re.compile(SUBJECT))
    expect(row).to_contain_text("fresh")
    expect(row).to_contain_text("stale")
    _keep(page, "fleet")
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    _keep(page, "fleet-phone")
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})


def _keep(page: Page, name: str) -> None:
    """Keep a picture of the page, for people."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
