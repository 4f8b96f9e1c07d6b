"""Plots in a real browser: what is drawn, read, zoomed, fetched again and coloured."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from playwright.sync_api import Browser, Locator, Page, expect
from starlette.staticfiles import StaticFiles
from support.browser import PHONE, browser, page_of
from support.bundles import interface, manifest, sum_graph
from support.served_app import listening

import nightshift.dashboard
from nightshift.dashboard.answer_figures import figures_of
from nightshift.dashboard.pages.render import environment
from nightshift.dashboard.predictions import Answer, OutputAnswer
from nightshift.edge.rows import Rows
from nightshift.problems.evaluation import Figure, Series

pytestmark = pytest.mark.slow

#: 2026-01-01T00:00:00Z
NEW_YEAR = 1_767_225_600.0
_PAGE = """{% extends "base.html.j2" %}{% from "_parts.html.j2" import plot %}
{% block main %}<h1>Plots</h1>
{% if figure %}{{ plot(figure) }}{% else %}{{ plot(source="/figure", every_s=0.3, title=title) }}{% endif %}
{% endblock %}"""
#: How often each colour stands in the canvas.
_COUNT = """() => {
  const c = document.querySelector("canvas"), n = {};
  const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  for (let i = 0; i < d.length; i += 4) {
    const colour = `${d[i]},${d[i + 1]},${d[i + 2]}`;
    if (d[i + 3] > 200) n[colour] = (n[colour] ?? 0) + 1;
  }
  return n;
}"""


@dataclass
class Shop:
    """A server of one page with one figure.

    Attributes:
        figure: that the page holds; None: it is fetched.
        title: that the page gives one that is fetched.
        fetched: what is answered then.
    """

    figure: Figure | None = None
    title: str = ""
    fetched: Response | Figure | None = None
    address: str = ""
    asked: list[float] = field(default_factory=list)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    found = Shop()
    app = FastAPI()
    static = f"{nightshift.dashboard.__path__[0]}/static"
    app.mount("/static", StaticFiles(directory=static))

    @app.get("/", response_class=HTMLResponse)
    def index(request: Request) -> HTMLResponse:
        html = (
            environment()
            .from_string(_PAGE)
            .render(request=request, path="/", user=None, figure=found.figure, title=found.title)
        )
        return HTMLResponse(html, headers={"Content-Security-Policy": "default-src 'self'"})

    @app.get("/figure", response_model=None)
    def figure() -> Response | Figure | None:
        found.asked.append(time.monotonic())
        return found.fetched

    with listening(app) as found.address:
        yield found


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def page(opened: Browser) -> Iterator[Page]:
    with page_of(opened) as found:
        yield found


def shown(page: Page, shop: Shop, figure: Figure) -> Locator:
    """Show a figure and return its element."""
    shop.figure = figure
    page.goto(shop.address)
    return page.locator("figure.plot")


def line(**changes: Any) -> Figure:
    x: list[float | str] = [0.0, 1.0, 2.0, 3.0]
    first = Series(label="first", x=x, y=[0.0, 1.0, None, 3.0])
    second = Series(label="second", x=[0.5, 2.5], y=[5.0, 6.0])
    values: dict[str, Any] = {"key": "k", "title": "Two lines", "x_label": "hours", "y_label": "mm/s"}
    return Figure(**values, series=[first, second]).model_copy(update=changes)


def point_at(figure: Locator, x: float) -> None:
    """Put the mouse at a share of the plot's width."""
    over = figure.locator(".u-over")
    box = over.bounding_box()
    assert box is not None
    over.hover(position={"x": x * box["width"], "y": 20})


def colours(page: Page) -> dict[str, int]:
    """Return how often each colour stands in the canvas."""
    found: dict[str, int] = page.evaluate(_COUNT)
    return found


def table_of(figure: Locator) -> list[list[str]]:
    """Open the table below a plot and return its rows."""
    figure.get_by_text("As a table").click()
    rows = figure.locator("details tbody tr")
    expect(rows.first).to_be_visible()
    return [row.locator("th, td").all_inner_texts() for row in rows.all()]


def test_lines_of_different_grids_have_their_own_values_under_the_cursor(page: Page, shop: Shop) -> None:
    figure = shown(page, shop, line())
    legend = figure.locator(".legend")
    point_at(figure, 0.999)
    expect(legend).to_contain_text("at 3")
    expect(legend).to_contain_text("first3")
    # It has no point there: the nearest is told.
    expect(legend).to_contain_text("second6")
    point_at(figure, 0.667)
    # A gap is no value.
    expect(legend).to_contain_text("first–")
    expect(figure.locator(".canvas")).to_have_attribute("role", "img")


def test_a_part_of_a_plot_is_hidden_by_its_name(page: Page, shop: Shop) -> None:
    figure = shown(page, shop, line())
    button = figure.get_by_role("button", name="second")
    before = colours(page)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert colours(page) != before


def test_a_drag_zooms_and_a_double_click_shows_the_whole_again(page: Page, shop: Shop) -> None:
    figure = shown(
        page, shop, line(series=[Series(label="a", x=[float(i) for i in range(101)], y=[float(i) for i in range(101)])])
    )
    box = figure.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 50, steps=5)
    page.mouse.up()
    point_at(figure, 0.01)
    expect(figure.locator(".at")).to_have_text("at 50")
    figure.locator(".u-over").dblclick()
    point_at(figure, 0.01)
    expect(figure.locator(".at")).to_have_text("at 1")


def test_a_curve_that_climbs_at_one_x_keeps_all_its_points(page: Page, shop: Shop) -> None:
    x: list[float | str] = [0.0, 0.0, 0.0, 0.5, 0.5, 1.0]
    figure = shown(page, shop, line(series=[Series(label="roc", x=x, y=[0.0, 0.3, 0.6, 0.6, 0.9, 1.0])]))
    assert [row[1] for row in table_of(figure)] == ["0", "0.3", "0.6", "0.6", "0.9", "1"]


def test_a_curve_that_runs_leftwards_keeps_the_order_of_its_climbs(page: Page, shop: Shop) -> None:
    figure = shown(page, shop, line(series=[Series(label="pr", x=[1.0, 1.0, 0.0], y=[0.1, 0.4, 0.9])]))
    assert [row[1] for row in table_of(figure)] == ["0.9", "0.4", "0.1"]


def test_moments_are_the_viewers_and_a_machines_wall_clock_its_own(page: Page, shop: Shop) -> None:
    series = [Series(label="a", x=["2026-01-01T00:00:00Z", "2026-01-01T06:00:00Z"], y=[1.0, 2.0])]
    figure = shown(page, shop, line(series=series, x_is_time=True, x_label="time (UTC)"))
    assert "01:00:00" in table_of(figure)[0][0]  # Berlin, in winter
    assert figure.locator("details th").first.inner_text() == "time"
    wall = [Series(label="a", x=[NEW_YEAR, NEW_YEAR + 3600], y=[1.0, 2.0])]
    figure = shown(page, shop, line(series=wall, x_is_time=True, x_label="local time"))
    assert "00:00:00" in table_of(figure)[0][0]


@pytest.mark.parametrize("output", ["value", "yhat"])
def test_an_answer_stands_at_the_machine_s_own_hour(page: Page, shop: Shop, output: str) -> None:
    graph = sum_graph()
    face = interface(sensors=("speed",), steps=2, step_s=3600.0)
    values: list[Any] = [[[3.0], [4.0]]] if output == "yhat" else [1.0, 2.0]
    about: dict[str, Any] = {
        **{"machine": "pump_1", "family": "rul", "target": "pi", "version": 1, "bundle_id": "", "rows": 2},
        **{"first_answered": 0, "window_rows": 2, "classes": (), "thresholds": {}, "summary": "", "latency_ms": 1.0},
    }
    said = Answer(
        **about,
        outputs=(OutputAnswer(name=output, unit="", meaning="", columns=(), values=values),),
        times=("2026-01-01T00:00:00", "2026-01-01T01:00:00"),
    )
    civil_s = np.array([NEW_YEAR, NEW_YEAR + 3600]).astype(np.int64)
    rows = Rows(np.zeros((2, 3), np.float32), np.zeros(2, np.intp), civil_s)
    figure = shown(page, shop, figures_of(said, rows, manifest(graph, interface=face))[0])
    assert "00:00:00" in table_of(figure)[0][0]


def test_bands_bars_names_and_stretches_are_drawn(page: Page, shop: Shop) -> None:
    names: list[float | str] = ["load", "speed"]
    bars = line(series=[Series(label="gain", x=names, y=[0.7, 0.3], style="bars")])
    figure = shown(page, shop, bars)
    point_at(figure, 0.2)
    expect(figure.locator(".legend")).to_contain_text("at load")
    assert max(colours(page).values()) > 5000
    band = [
        Series(label="90 %", x=[0.0, 1.0], y=[1.0, 2.0], y2=[3.0, 4.0], style="band"),
        Series(label="odd", x=[0.25], y=[0.5], style="spans"),
        Series(label="seen", x=[0.0, 1.0], y=[2.0, 3.0], style="points"),
    ]
    figure = shown(page, shop, line(series=band))
    point_at(figure, 0.99)
    expect(figure.locator(".legend")).to_contain_text("90 %2 to 4")
    rows = table_of(figure)
    assert rows[0][1:] == ["1", "3", "2"]
    assert rows[-1] == ["0.25", "0.5"]


def test_a_matrix_is_a_shaded_table(page: Page, shop: Shop) -> None:
    figure = shown(
        page,
        shop,
        Figure(
            key="c", title="Confusion", x_label="said", y_label="true", cells=[[90, 2], [1, 7]], ticks=["well", "ill"]
        ),
    )
    expect(figure.locator("tbody tr").nth(1).locator("th, td")).to_have_text(["ill", "1", "7"])
    expect(figure.locator("caption")).to_have_text("rows: true; columns: said")
    shades = figure.locator("tbody td").evaluate_all("cells => cells.map((c) => getComputedStyle(c).backgroundColor)")
    assert len(set(shades)) == 3  # 1 and 2 of 90 are next to nothing alike
    expect(figure.locator("details")).to_be_hidden()


def test_a_long_table_has_its_last_rows_and_says_so(page: Page, shop: Shop) -> None:
    x: list[float | str] = [float(i) for i in range(1000)]
    figure = shown(page, shop, line(series=[Series(label="a", x=x, y=[1.0] * 1000)]))
    rows = table_of(figure)
    assert (len(rows), rows[-1][0]) == (200, "999")
    expect(figure.locator("details caption")).to_contain_text("the last 200 of 1000 rows")
    expect(figure.locator("details thead th").first).to_have_attribute("scope", "col")


def test_nothing_to_draw_is_said(page: Page, shop: Shop) -> None:
    figure = shown(page, shop, Figure(key="n", title="None"))
    expect(figure).to_contain_text("Nothing to show yet.")
    expect(figure.locator("details")).to_be_hidden()


def test_text_of_a_figure_is_no_html(page: Page, shop: Shop) -> None:
    evil = '</script><img src=x onerror="window.hit=1">'
    figure = shown(page, shop, line(title=evil, series=[Series(label=evil, x=[0.0, 1.0], y=[0.0, 1.0])]))
    expect(figure.locator(".legend")).to_contain_text("<img")
    assert page.evaluate("window.hit") is None


def test_colours_follow_the_theme_and_the_width_the_window(page: Page, shop: Shop) -> None:
    figure = shown(page, shop, line())
    page.emulate_media(color_scheme="light")
    light = colours(page)
    page.locator("#theme").click()
    page.wait_for_timeout(100)
    assert set(colours(page)) != set(light)
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.wait_for_timeout(200)
    box, outer = figure.locator("canvas").bounding_box(), figure.bounding_box()
    assert box is not None
    assert outer is not None
    assert box["width"] <= outer["width"]


def test_a_figure_is_fetched_again_and_its_errors_are_said(page: Page, shop: Shop) -> None:
    shop.figure = None
    shop.fetched = JSONResponse({"detail": "The cell has not begun."}, 404)
    page.goto(shop.address)
    figure = page.locator("figure.plot")
    expect(figure).to_contain_text("This plot cannot be brought up to date: The cell has not begun.")
    shop.fetched = Figure(
        key="l", title="Loss", x_label="epoch", series=[Series(label="train", x=[1.0, 2.0], y=[3.0, 2.0])]
    )
    expect(figure.locator("figcaption")).to_have_text("Loss")
    expect(figure.locator(".plot-said")).to_be_hidden()
    page.evaluate("document.querySelector('canvas').marked = true")
    shop.fetched = shop.fetched.model_copy(
        update={"series": [Series(label="train", x=[1.0, 2.0, 3.0], y=[3.0, 2.0, 1.5])]}
    )
    figure.get_by_text("As a table").click()
    expect(figure.locator("details tbody tr")).to_have_count(3)
    point_at(figure, 0.999)
    expect(figure.locator(".at")).to_have_text("at 3")
    # The same canvas: nothing flickers.
    assert page.evaluate("document.querySelector('canvas').marked")
    asked = len(shop.asked)
    page.evaluate("document.querySelector('figure').remove()")
    page.wait_for_timeout(800)
    assert len(shop.asked) <= asked + 1


def test_a_figure_keeps_the_name_that_the_page_gives_it(
    page: Page, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop, "title", "tcn: loss")
    shop.figure, shop.fetched = None, line(title="loss")
    page.goto(shop.address)
    figure = page.locator("figure.plot")
    expect(figure.locator("canvas")).to_be_visible()
    expect(figure.locator("figcaption")).to_have_text("tcn: loss")
    expect(figure.locator(".canvas")).to_have_attribute("aria-label", re.compile("^tcn: loss"))
