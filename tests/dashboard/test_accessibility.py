"""Whether the pages keep anybody out: by axe's rules, in light and dark, at a desk and on a phone; without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect
from support import tables
from support.browser import DESK, PHONE, browser, page_of
from support.machine import SUBJECT
from support.served_app import serve

from nightshift.settings import Home

pytestmark = pytest.mark.slow

PAGES = (
    "/",
    "/train",
    f"/train?machine={SUBJECT}",
    *(f"/train?of={group}" for group in ("vehicle", "driving", "estimator")),
    "/jobs",
    f"/models/{SUBJECT}/anomaly",
    "/predict",
    f"/predict?machine={SUBJECT}&family=classification",
    "/history",
    "/downloads",
    "/driving",
    "/machines/new",
    "/machines/new?machine=a1&like=type:fan",
    f"/machines/{SUBJECT}",
    "/settings",
    "/nowhere",
)


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def address(own: Home) -> Iterator[str]:
    tables.named_scenarios(own)
    (own.data / "tables").mkdir()
    tables.write(own.data / "tables")
    with serve(own) as found:
        yield found


def test_axe_finds_nothing_serious(opened: Browser, address: str) -> None:
    wrong = []
    for size, dark in ((DESK, False), (DESK, True), (PHONE, False)):
        with page_of(opened, size, dark=dark) as page:
            for path in PAGES:
                page.goto(f"{address}{path}", wait_until="load")
                width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                if width > 0:
                    wrong.append(f"{path} at {size}: {width} px wider than the screen")
                for fault in Axe().run(page).response["violations"]:
                    places = "; ".join(node["html"][:120] for node in fault["nodes"][:3])
                    wrong.append(
                        f"{path} {'dark' if dark else 'light'} {size}: {fault['id']} ({fault['impact']}) {places}"
                    )
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_without_scripts_models_are_found_tried_and_read(opened: Browser, address: str) -> None:
    with page_of(opened, scripts=False) as page:
        page.goto(address)
        expect(page.get_by_role("row", name=re.compile(SUBJECT))).to_contain_text("fresh")
        page.get_by_role("navigation", name="Pages").get_by_role("link", name="Train", exact=True).click()
        page.get_by_label("Whose models").select_option(SUBJECT)
        page.get_by_role("button", name="Show what fits it").click()
        expect(page.locator("input[name=families][value=anomaly]")).to_be_visible()
        expect(page.get_by_role("button", name="Start")).to_be_enabled()

        page.get_by_role("link", name="Predict", exact=True).click()
        page.get_by_label("Machine").fill(SUBJECT)
        page.get_by_role("button", name="Choose").click()
        page.get_by_label("Model").select_option("anomaly")
        page.get_by_role("button", name="Choose").click()
        page.locator("form", has_text="One row").get_by_role("button", name="Predict").click()
        expect(page).to_have_url(re.compile(r"/history/\d+$"))
        answer = page.get_by_role("heading", level=1).inner_text()
        page.get_by_text("All answers").click()
        expect(page.get_by_role("table").first).to_contain_text("vote")
        kept = page.url.rpartition("/")[2]
        page.reload()
        page.get_by_role("link", name="History", exact=True).click()
        newest = page.get_by_role("row").nth(1)
        expect(newest).to_contain_text(answer)
        expect(newest.get_by_role("link").first).to_have_attribute("href", f"/history/{kept}")

        page.goto(f"{address}/models/{SUBJECT}/anomaly?registry=true")
        expect(page.get_by_text("threshold rule").first).to_be_visible()
        expect(page.get_by_role("heading", name="Where version 1 comes from")).to_be_visible()
