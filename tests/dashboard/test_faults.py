"""Errors as people, programs and parts of pages read them; none shows what is inside."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from support.dashboards import asking

from nightshift.settings import Home


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    with asking(home) as opened:
        yield opened()


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("busy", 409, "press-1 is being trained."),
        ("unknown", 404, "unknown machine 'pres'."),
        ("service", 503, "Prefect does not answer at http://host/api."),
        ("data", 422, "the table has no rows."),
        ("columns", 422, "'temp' is missing."),
        ("corrupt", 409, "model.onnx is not what the bundle says."),
        ("unexpected", 500, "Something went wrong that should not have."),
    ],
)
def test_each_error_has_its_status_and_is_the_same_line_in_every_form(
    client: TestClient, name: str, status: int, said: str
) -> None:
    told = client.get(f"/api/asked/error/{name}")
    assert (told.status_code, told.headers["content-type"]) == (status, "application/problem+json")
    body = told.json()
    assert set(body) == {"type", "title", "status", "detail", "hint"}
    assert (body["status"], body["detail"]) == (status, said)
    page = client.get(f"/asked/error/{name}")
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert said.replace("'", "&#39;") in page.text
    part = client.get(f"/asked/error/{name}", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-retarget"], part.headers["hx-reswap"]) == (status, "#said", "innerHTML")
    assert said.replace("'", "&#39;") in part.text
    assert 'role="alert"' in part.text
    assert "<html" not in part.text
    assert "secret" not in told.text + page.text + part.text


def test_hints_come_along(client: TestClient) -> None:
    assert client.get("/api/asked/error/unknown").json()["hint"] == "Did you mean 'press'?"
    assert "Did you mean &#39;press&#39;?" in client.get("/asked/error/unknown").text


def test_what_nobody_expected_is_in_the_log_and_not_in_the_answer(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "nightshift"):
        told = client.get("/api/asked/error/unexpected?token=abc")
    assert "RuntimeError" not in told.text
    (record,) = caplog.records
    assert record.getMessage() == "GET /api/asked/error/unexpected failed"
    assert record.exc_info is not None


def test_the_log_shows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    from nightshift.dashboard.__main__ import Shown

    monkeypatch.setenv("PREFECT_API_KEY", "a-key-that-nobody-may-read")
    record = logging.LogRecord(
        "nightshift", 40, "x.py", 1, "of %s: a-key-that-nobody-may-read", ("postgresql://me:pass@host/x",), None
    )
    said = Shown().format(record)
    assert said.endswith("nightshift: of postgresql://host/x: …")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"port": 0}, "port: Input should be greater than or equal to 1."),
        ({"prot": 1}, "prot is not known."),
        ({"rates": {"actions": 5}}, "rates.actions: Input should be a valid string."),
        ({"rates": {"actions": "often"}}, "rates.actions: couldn't parse rate limit string 'often'."),
        ([], "body: Input should be a valid dictionary or object to extract fields from."),
    ],
)
def test_what_is_wrong_with_a_request_names_the_field(client: TestClient, body: object, said: str) -> None:
    told = client.post("/api/asked/json", json=body)
    assert (told.status_code, told.json()["detail"]) == (422, said)


def test_a_body_that_is_no_json_and_one_that_is_missing(client: TestClient) -> None:
    broken = client.post("/api/asked/json", content=b'{"port": ', headers={"Content-Type": "application/json"})
    assert broken.json()["detail"].startswith("The body is no JSON: Expecting value")
    assert client.post("/api/asked/json").json()["detail"] == "body is missing."
    no_file = client.post("/api/asked/upload", data={"name": "a"})
    assert no_file.json()["detail"] == "file is missing."


def test_a_wrong_method_names_the_right_one(client: TestClient) -> None:
    told = client.delete("/api/health")
    assert (told.status_code, told.headers["allow"]) == (405, "GET")
    assert told.json()["detail"] == "This address does not take that method."


def test_the_api_describes_its_errors(client: TestClient) -> None:
    found = client.get("/api/openapi.json").json()["paths"]["/api/health"]["get"]["responses"]
    assert set(found) == {"200", "4XX", "503"}
    assert list(found["4XX"]["content"]) == ["application/problem+json"]
