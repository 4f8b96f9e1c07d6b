from __future__ import annotations

import re
from pathlib import Path

from nightshift.driving.importers.layout import AGENTS, EGO, FILES, MAP, ROUTE, SCENARIO

DOCS = Path(__file__).resolve().parents[3] / "docs" / "driving-data.md"


def test_every_column_stands_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    told = set(re.findall(r"`([\w+-]+)`", text))
    for first, last in re.findall(r"`([\w+-]+)` to `([\w+-]+)`", text):
        stem = first.rstrip("-+0123456789")
        low, high = int(first[len(stem) :]), int(last[len(stem) :])
        told |= {f"{stem}{k:+d}" if "+" in last else f"{stem}{k}" for k in range(low, high + 1)}
    for layout in (EGO, AGENTS, MAP, ROUTE):
        assert set(layout) - told == set()
    for name in (*FILES.values(), SCENARIO):
        assert f"`{name}`" in text
    for column, (_, what) in EGO.items():
        assert f"| `{column}` | {what} |" in text
