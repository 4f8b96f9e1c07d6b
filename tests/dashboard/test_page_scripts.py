"""What pages do by themselves, in a real browser: what went wrong is said once and until it is over, nobody polls
unseen, and Start comes back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from playwright.sync_api import Browser, Page, expect
from starlette.staticfiles import StaticFiles
from support.browser import browser
from support.served_app import listening

import nightshift.dashboard
from nightshift.dashboard import faults
from nightshift.dashboard.pages.render import environment
from nightshift.settings import Home

pytestmark = pytest.mark.slow

_PAGE = """{% extends "base.html.j2" %}
{% block scripts %}<script src="/static/training.js" defer></script>{% endblock %}
{% block main %}<h1>Page</h1>
<div id="now" hx-get="/now" hx-trigger="every 100ms" hx-select="#now" hx-swap="outerHTML">well</div>
<form action="/nowhere"><button id="start">Start</button></form>
{% endblock %}"""

_RUN_PAGE = """{% extends "base.html.j2" %}
{% block scripts %}<script src="/static/running.js" defer></script>{% endblock %}
{% block main %}<h1>Run</h1><pre id="log" data-source="/log"></pre>
<p id="log-said"></p><button id="log-newest" hidden>Newest</button>
{% endblock %}"""
#: As they come: a run's own lines reach Prefect after what is read from its files.
_SAID = [("2026-01-01T12:00:05Z", "later"), ("2026-01-01T12:00:01Z", "earlier"), ("2026-01-01T12:00:06Z", "last")]


@dataclass
class Shop:
    """A server of one page that polls.

    Attributes:
        wrong: what is answered to it, "": the page.
        asked: how often it has polled.
    """

    wrong: str = ""
    asked: int = 0
    address: str = ""


@pytest.fixture
def shop() -> Iterator[Shop]:
    found = Shop()
    app = FastAPI()
    # An error's words leave out where the home is.
    app.state.service = SimpleNamespace(home=Home(Path("/nowhere")))
    app.mount("/static", StaticFiles(directory=f"{nightshift.dashboard.__path__[0]}/static"))

    @app.get("/")
    @app.get("/now")
    def index(request: Request) -> Response:
        found.asked += request.url.path == "/now"
        if found.wrong:
            return faults.answer(request, HTTPStatus.SERVICE_UNAVAILABLE, found.wrong, "Wait.")
        return HTMLResponse(environment().from_string(_PAGE).render(request=request, path="/", user=None))

    @app.get("/run")
    def run(request: Request) -> Response:
        return HTMLResponse(environment().from_string(_RUN_PAGE).render(request=request, path="/", user=None))

    @app.get("/log", response_class=EventSourceResponse)
    def log() -> Iterator[ServerSentEvent]:
        for at, text in _SAID:
            yield ServerSentEvent(event="log", data={"at": at, "level": "INFO", "text": text})
        yield ServerSentEvent(event="end", data={"status": "completed"})

    @app.get("/nowhere", status_code=204)
    def nowhere() -> None:
        """Leaves the browser where it is, as a load that is stopped does."""

    with listening(app) as found.address:
        yield found


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def page(opened: Browser, shop: Shop) -> Iterator[Page]:
    found = opened.new_page()  # htmx tells the console of every fault, which is none of the page's here
    found.goto(shop.address)
    yield found
    found.close()


def test_what_a_poll_is_refused_is_said_once_and_until_it_is_over(page: Page, shop: Shop) -> None:
    said = page.locator("#said [role=alert]")
    shop.wrong = "Prefect does not answer."
    expect(said).to_contain_text("Prefect does not answer. Wait.")
    said.evaluate("element => (element.marked = true)")
    _polls(page, shop)
    assert said.evaluate("element => element.marked"), "the same is not said again"
    said.get_by_role("button", name="Dismiss").click()
    _polls(page, shop)
    expect(said).to_have_count(0)
    shop.wrong = "Something else."
    expect(said).to_contain_text("Something else.")
    shop.wrong = ""
    expect(said).to_have_count(0)


def test_silence_is_said_until_the_dashboard_is_back(page: Page, shop: Shop) -> None:
    said = page.locator("#said [role=alert]")
    page.route("**/now", lambda route: route.abort("connectionrefused"))
    expect(said).to_contain_text("nightshift up")
    expect(said.get_by_role("button", name="Dismiss")).to_be_visible()
    page.unroute("**/now")
    expect(said).to_have_count(0)


def test_a_hidden_page_asks_nothing(page: Page, shop: Shop) -> None:
    _polls(page, shop)
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
    page.wait_for_timeout(200)
    before = shop.asked
    page.wait_for_timeout(500)
    assert shop.asked == before


def test_start_comes_back_where_the_load_is_stopped(page: Page) -> None:
    # Ten seconds are a tenth of one.
    page.evaluate("window.setTimeout = ((own) => (does, ms) => own(does, ms / 100))(window.setTimeout)")
    begun = page.evaluate("document.getElementById('start').click(); document.getElementById('start').textContent")
    assert begun == "Starting …"
    start = page.locator("#start")
    expect(start).to_have_text("Start")
    expect(start).not_to_have_attribute("aria-disabled", "true")


def _polls(page: Page, shop: Shop) -> None:
    """Wait until it has polled a few times more."""
    enough, until = shop.asked + 3, time.monotonic() + 10
    while shop.asked < enough:
        assert time.monotonic() < until, "it polls no more"
        page.wait_for_timeout(50)


def test_a_log_stands_in_the_order_in_which_it_was_said(page: Page, shop: Shop) -> None:
    page.goto(f"{shop.address}/run")
    expect(page.locator("#log-said")).to_have_text("The run has ended.")
    expect(page.locator("#log .line")).to_have_text([re.compile(word) for word in ("earlier", "later", "last")])
