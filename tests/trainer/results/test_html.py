"""What a notebook shows of a result."""

from __future__ import annotations

from html.parser import HTMLParser

from nightshift.trainer import CVResult, TrainResult
from nightshift.trainer.results.summary import sections

_VOID = {"path", "use", "rect", "br", "meta", "image"}


class Balanced(HTMLParser):
    """Fails where an element is not closed in its turn; keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> Balanced:
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return parser


def test_it_is_whole_and_tells_what_the_summary_tells(folds: CVResult) -> None:
    page = read(folds._repr_html_())
    text = " ".join(page.text)
    for section in sections(folds):
        if section.title == "Findings":
            continue
        assert section.title in text
        for row in section.rows:
            assert all(cell in text for cell in row)
    for one in folds.findings:
        assert all(part in text for part in (one.code, one.what, one.why, one.remedy, f"mute=('{one.code}',)"))
    assert {"svg", "table"} <= page.seen
    assert folds.provenance.data[:12] in text


def test_names_of_columns_and_classes_are_text(smote: TrainResult) -> None:
    html = smote._repr_html_()
    page = read(html)
    assert "<i>bad</i>" in "".join(page.text)
    assert "<i>bad" not in html
    assert "script" not in page.seen
