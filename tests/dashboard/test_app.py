"""The app as a whole: errors, docs, files."""

from __future__ import annotations

from fastapi.testclient import TestClient


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
