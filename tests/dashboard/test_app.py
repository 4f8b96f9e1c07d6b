"""The app as a whole: errors, docs, files."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient
from support.machine import SUBJECT


def test_unknown_addresses_are_told_apart(client: TestClient) -> None:
    told = client.get("/api/nothing")
    assert (told.status_code, told.headers["content-type"]) == (404, "application/problem+json")
    page = client.get("/nothing")
    assert page.status_code == 404
    assert "To the fleet" in page.text


def test_the_docs_fetch_nothing_from_elsewhere(client: TestClient) -> None:
    assert client.get("/api/openapi.json").json()["info"]["title"] == "Nightshift"
    docs = client.get("/api/docs")
    assert docs.status_code == 200
    assert "https://" not in docs.text


def test_a_reasons_moment_is_one_for_the_viewers_zone(client: TestClient) -> None:
    html = client.get(f"/models/{SUBJECT}/anomaly").text
    assert re.search(r'version 1, trained <time datetime="20\d\d-\d\d-\d\dT\d\d:\d\dZ">', html)
