"""Logging in, the settings and the API's description in a real browser, which holds the pages to their policy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from support.browser import DESK, PHONE, browser, page_of
from support.dashboards import VIEWER, with_tokens
from support.served_app import serve

from nightshift.settings import Home

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


def test_a_viewer_logs_in_by_keyboard_reads_and_logs_out(
    opened: Browser, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tokens(monkeypatch)
    with serve(home) as address, page_of(opened) as page:
        page.goto(f"{address}/settings")
        assert page.url == f"{address}/login?next=/settings"
        page.keyboard.type("not the right one")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        assert "not one of this dashboard" in page.get_by_role("alert").inner_text()
        page.get_by_label("Token").fill(VIEWER)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/settings")
        assert "viewer · viewer" in page.locator("header").inner_text()
        assert page.evaluate("document.cookie") == ""
        assert told_who(page) == 200
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(f"{address}/login")
        assert told_who(page) == 401


def told_who(page: Page) -> int:
    return int(page.evaluate("fetch('/api/openapi.json').then((told) => told.status)"))


def test_the_description_of_the_api_can_be_read_and_tried(opened: Browser, home: Home) -> None:
    with serve(home) as address, page_of(opened) as page:
        page.goto(f"{address}/api/docs")
        page.get_by_role("button", name="GET /api/health Health").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.get_by_text('"service": "nightshift-dashboard"').first.wait_for()


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_on_the_way_in(
    opened: Browser, home: Home, monkeypatch: pytest.MonkeyPatch, dark: bool
) -> None:
    with_tokens(monkeypatch)
    with serve(home) as address:
        for size in (DESK, PHONE):
            with page_of(opened, size, dark=dark) as page:
                page.goto(f"{address}/login")
                page.get_by_label("Token").fill("wrong")
                page.keyboard.press("Enter")
                page.get_by_role("alert").wait_for()
                assert not Axe().run(page).response["violations"]
                assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
                page.get_by_label("Token").fill(VIEWER)
                page.keyboard.press("Enter")
                page.wait_for_url(f"{address}/")
                page.goto(f"{address}/settings")
                found = Axe().run(page).response["violations"]
                assert not found, [(v["id"], [n["html"][:160] for n in v["nodes"][:3]]) for v in found]
                assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
