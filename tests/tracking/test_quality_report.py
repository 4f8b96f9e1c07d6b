"""The synthesis report: verdict, gate, table and pictures on one safe page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from nightshift.problems.evaluation import Figure, Series
from nightshift.settings import Home
from nightshift.simulate.quality.choose import decide
from nightshift.simulate.quality.limits import QualityLimits
from nightshift.simulate.quality.report import QualityReport
from nightshift.tracking.quality_report import write_quality_report
from tests.simulate.quality.made import motor, problems, scores

PICTURE = Figure(key="life", title="A <b>life</b>", series=[Series(label="x", x=[0.0, 1.0], y=[1.0, 2.0])])


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [v for k, v in attrs if k in {"src", "href", "xlink:href"} and v]


def _report(**changes: object) -> QualityReport:
    every = [scores("tvae", **changes), scores("copula", shift=-0.1), scores("resample", dcr_protection=0.5)]
    return decide("motor_1", motor(), every, (problems(),) * 3, QualityLimits())


def _page(home: Home, report: QualityReport) -> str:
    page = write_quality_report(home, "motor_1", report, (PICTURE,))
    assert page == home.reports / "motor_1" / ("synthesis_report.html" if report.passed else "synthesis_refused.html")
    return page.read_text(encoding="utf-8")


def test_the_page_says_what_landed_and_why_beside_the_baselines(home: Home) -> None:
    report = _report()
    html = _page(home, report)
    assert "Passed: tvae" in html
    assert report.why in html
    for said in ("tvae (chosen)", "copula", "resample", "real units", "0.810 ± 0.010", "≥ 0.9", "DCR protection"):
        assert said in html
    assert 'class="missed"' not in html


def test_a_refusal_and_every_missed_line_are_red(home: Home) -> None:
    alone = decide(
        "motor_1", motor(), [scores("tvae", pair_trends=0.5, daily_pattern=0.6)], (problems(),), QualityLimits()
    )
    html = _page(home, alone)
    assert '<h2 class="missed">Refused: tvae' in html
    red = re.findall(r'<tr class="missed"><th scope="row">([^<]*)</th><td>([^<]*)</td>', html)
    assert red == [("pair trends", "0.500"), ("daily-pattern match", "0.600"), ("seeds whose own units pass", "0")]


def test_a_refusal_leaves_the_page_of_what_has_landed_as_it_is(home: Home) -> None:
    landed = _page(home, _report())
    assert "Refused" in _page(home, decide("motor_1", motor(), [scores("tvae", pair_trends=0.5)], (), QualityLimits()))
    assert (home.reports / "motor_1" / "synthesis_report.html").read_text(encoding="utf-8") == landed


def test_broken_laws_are_listed_by_generator_and_seed(home: Home) -> None:
    html = _page(home, _report(violations={"damage only grows": 1234}))
    assert "tvae, seed 0" in html
    assert "damage only grows" in html
    assert "1,234" in html
    assert "Laws of physics that were broken" not in _page(home, _report())


def test_the_page_loads_nothing_and_escapes_titles(home: Home) -> None:
    html = _page(home, _report())
    seen = _Loads()
    seen.feed(html)
    assert all(link.startswith("#") for link in seen.found)
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert "svg" in seen.tags
    assert "<b>life</b>" not in html
    assert "A &lt;b&gt;life&lt;/b&gt;" in html
