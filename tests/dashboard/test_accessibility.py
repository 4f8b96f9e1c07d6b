"""Whether the pages keep anybody out: axe's rules in a browser, in light and dark, at a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
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
