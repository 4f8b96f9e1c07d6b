"""Forms of pages, as tests read them."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Fields(HTMLParser):
    """Reads a form: its fields by name, with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, list[dict[str, str | None]]] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        name = values.get("name")
        if tag in ("input", "select") and name:
            self.found.setdefault(name, []).append(values)

    def __getitem__(self, name: str) -> dict[str, str | None]:
        return self.found[name][0]

    def ticked(self, name: str) -> set[str | None]:
        return {one.get("value") for one in self.found.get(name, []) if "checked" in one}


def error_of(html: str, name: str) -> str:
    """What is said beside a field."""
    found = re.search(rf'id="{name}-error">([^<]*)<', html)
    return found[1] if found else ""
