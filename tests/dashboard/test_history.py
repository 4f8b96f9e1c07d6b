"""Predictions that were made: who, when, with which bundle; bounded, and never in an answer's way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.machine import SUBJECT

from nightshift.dashboard import history
from nightshift.errors import ServiceError
from nightshift.settings import Home

ANOMALY = f"/api/predict/{SUBJECT}/anomaly"
CSV = {"content-type": "text/csv"}


def _predict(client: TestClient, family: str = "anomaly") -> dict[str, object]:
    address = f"/api/predict/{SUBJECT}/{family}"
    found: dict[str, object] = client.post(address, content=client.get(f"{address}/example").text, headers=CSV).json()
    return found


def test_each_prediction_is_kept_with_its_bundle(own_client: TestClient) -> None:
    assert own_client.get("/api/predictions").json() == {"total": 0, "predictions": []}
    answer = _predict(own_client)
    (kept,) = own_client.get("/api/predictions").json()["predictions"]
    same = ("id", "version", "bundle_id", "rows", "summary", "machine", "family", "target")
    assert {name: kept[name] for name in same} == {name: answer[name] for name in same}
    assert kept["user"]
    assert kept["at"].endswith("Z")
    details = own_client.get(f"/api/predictions/{kept['id']}").json()
    assert details["inputs"]["header"][:2] == ["time", "load_torque_nm"]
    assert len(details["inputs"]["rows"]) == 20
    assert details["inputs"]["cut"]
    assert details["outputs"]["rows"][0][-1] in ("odd", "normal")


def test_lists_are_filtered_and_come_in_pages(own_client: TestClient) -> None:
    for family in ("anomaly", "classification", "anomaly"):
        _predict(own_client, family)
    found = own_client.get("/api/predictions", params={"family": "anomaly", "limit": 1}).json()
    assert found["total"] == 2
    assert [one["id"] for one in found["predictions"]] == [3]
    after = own_client.get("/api/predictions", params={"family": "anomaly", "limit": 1, "offset": 1}).json()
    assert [one["id"] for one in after["predictions"]] == [1]
    page = own_client.get("/history", params={"machine": SUBJECT}).text
    assert page.count('href="/history/') == 3
    assert "None of this machine" in own_client.get("/history", params={"machine": "pump' OR 1=1 --"}).text
    one = own_client.get("/history/2").text
    assert "classification" in one
    assert "load_torque_nm" in one
    gone = own_client.get("/history/77")
    assert gone.status_code == 404
    assert "unknown prediction" in gone.text


def test_only_the_newest_are_kept(own_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 2)
    for _ in range(4):
        _predict(own_client)
    found = own_client.get("/api/predictions").json()
    assert [one["id"] for one in found["predictions"]] == [4, 3]


def test_what_pages_draw_is_kept_of_the_newest_alone_and_is_bounded(
    own_client: TestClient, own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_DRAWN", 2)
    page, rows = f"/predict?machine={SUBJECT}&family=anomaly", own_client.get(f"{ANOMALY}/example").text
    for _ in range(3):
        own_client.post(page, data={"how": "csv", "csv": rows})
    _predict(own_client)
    assert ['class="plot"' in own_client.get(f"/history/{n}").text for n in (1, 2, 3, 4)] == [False, True, True, False]
    assert all("48 rows in" in own_client.get(f"/history/{n}").text for n in (1, 4)), "the record itself stays"
    header, row = rows.splitlines()[:2]
    own_client.post(page, data={"how": "csv", "csv": "\n".join([header, *[row] * 5_000])})
    with closing(sqlite3.connect(own.machinery / "dashboard" / "predictions.db")) as database:
        sizes = [size for (size,) in database.execute("SELECT length(content) FROM drawn ORDER BY id DESC")]
    assert len(sizes) == 2
    assert max(sizes) < 500_000
    monkeypatch.setattr(history, "_DRAWN_BYTES", 10)
    large = own_client.post(page, data={"how": "csv", "csv": rows})
    assert large.status_code == 200
    assert 'class="plot"' not in large.text


def test_a_history_that_cannot_be_used_spoils_no_answer(own_client: TestClient, own: Home) -> None:
    place = own.machinery / "dashboard" / "predictions.db"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"no database" * 500)
    answer = _predict(own_client)
    assert answer["id"] is None
    assert answer["outputs"]
    listed = own_client.get("/api/predictions")
    assert listed.status_code == 503
    assert "move the file away" in listed.json()["hint"]
    assert own_client.get("/history").status_code == 503


def test_after_an_error_the_file_is_opened_anew(tmp_path: Path) -> None:
    kept = history.History(tmp_path / "predictions.db")
    assert kept.page() == ([], 0)
    with closing(sqlite3.connect(tmp_path / "predictions.db")) as other:
        other.execute("DROP TABLE predictions")
    with pytest.raises(ServiceError, match="no such table"):
        kept.page()
    assert kept.page() == ([], 0)
    kept.close()


def test_it_is_one_sqlite_file_that_outlives_the_process(own_client: TestClient, own: Home) -> None:
    _predict(own_client)
    with sqlite3.connect(own.machinery / "dashboard" / "predictions.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("SELECT machine FROM predictions").fetchall() == [(SUBJECT,)]
