"""Answers by HTTP and on the page: the edge runtime's own, for rows as JSON, CSV or a form."""

from __future__ import annotations

import csv
import io
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.machine import SUBJECT

from nightshift.dashboard.models import ModelId
from nightshift.dashboard.predictions import MAX_BYTES, MAX_ROWS, Predictor, PredictRequest
from nightshift.edge.rows import read_csv
from nightshift.edge.runtime import Model
from nightshift.plan.state import newest
from nightshift.settings import Home
from nightshift.stages.chain import StageContext, run_chain

ANOMALY, CLASSIFICATION = f"/api/predict/{SUBJECT}/anomaly", f"/api/predict/{SUBJECT}/classification"
PAGE = f"/predict?machine={SUBJECT}&family=anomaly"
CSV = {"content-type": "text/csv"}


@pytest.fixture
def rows(client: TestClient) -> str:
    """The last known rows of the machine, as a CSV file."""
    answer = client.get(f"{ANOMALY}/example")
    assert answer.headers["content-type"].startswith("text/csv")
    return answer.text


def test_a_csv_file_is_answered_as_the_edge_runtime_answers_it(
    client: TestClient, trained: Home, rows: str, tmp_path: Path
) -> None:
    found = client.post(ANOMALY, content=rows, headers=CSV).json()
    (tmp_path / "rows.csv").write_text(rows)
    model = Model.load(trained.models / "anomaly" / SUBJECT / "pi" / "v1")
    said = model.predict(read_csv(tmp_path / "rows.csv", model.manifest))
    outputs = {output["name"]: output for output in found["outputs"]}
    assert outputs["vote"]["values"] == said["vote"].tolist()
    np.testing.assert_allclose(np.array(outputs["score"]["values"], float), said["score"], rtol=1e-6)
    assert outputs["score"]["columns"] == list(model.interface.members)
    assert (found["version"], found["bundle_id"], found["rows"]) == (1, model.bundle_id, 48)
    assert found["latency_ms"] > 0
    assert len(found["times"]) == 48
    assert "rows odd" in found["summary"]


def test_rows_by_column_are_answered_alike(client: TestClient, rows: str) -> None:
    by_csv = client.post(CLASSIFICATION, content=rows, headers=CSV).json()
    given = [_values(row) for row in csv.DictReader(io.StringIO(rows))]
    found = client.post(CLASSIFICATION, json={"rows": given}).json()
    assert found["outputs"] == by_csv["outputs"]
    assert found["classes"] == ["well", "failing"]
    last = {name: value for name, value in given[-1].items() if name != "time"}
    one = client.post(CLASSIFICATION, json={"rows": [last], "time": "2025-05-20T04:20:00+02:00"}).json()
    assert one["times"] == ["2025-05-20T02:20:00Z"]
    assert len(one["outputs"][0]["values"]) == 1


def test_a_missing_value_is_missing_and_not_nought(client: TestClient, rows: str) -> None:
    given = [_values(row) for row in csv.DictReader(io.StringIO(rows))]
    gap = [{**row, "stator_current_a [A]": None} for row in given]
    nought = [{**row, "stator_current_a [A]": 0} for row in given]
    score = [client.post(ANOMALY, json={"rows": r}).json()["outputs"][0]["values"] for r in (gap, nought)]
    assert score[0] != score[1]


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        ("a,b\n1,2\n", "text/csv", 422, "column 'load_torque_nm' is missing"),
        ("", "text/csv", 422, "no rows"),
        ("load_torque_nm\nabc\n", "text/csv", 422, "is missing"),
        ('{"rows": []}', "application/json", 422, "rows"),
        ('{"rows": [{"x": [1]}]}', "application/json", 422, "rows"),
        ("no JSON", "application/json", 422, "JSON"),
        ('{"lines": []}', "application/json", 422, "rows"),
        (b"\xff\xfe\x00", "text/csv", 422, "UTF-8"),
    ],
)
def test_rows_that_it_cannot_take_are_refused_in_words(
    client: TestClient, body: str | bytes, kind: str, status: int, said: str
) -> None:
    answer = client.post(ANOMALY, content=body, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]


def test_a_cell_that_is_no_number_is_told_by_line_and_column(client: TestClient, rows: str) -> None:
    lines = rows.splitlines()
    cells = lines[3].split(",")
    lines[3] = ",".join([cells[0], "broken", *cells[2:]])
    answer = client.post(ANOMALY, content="\n".join(lines), headers=CSV)
    assert answer.json()["detail"].startswith("line 4, column 'load_torque_nm': 'broken' is no number")


def test_more_rows_than_one_request_may_bring_are_refused(client: TestClient, rows: str) -> None:
    header, row = rows.splitlines()[:2]
    many = client.post(ANOMALY, content="\n".join([header, *[row] * (MAX_ROWS + 1)]), headers=CSV)
    assert many.status_code == 422
    assert "5,000" in many.json()["detail"]
    assert "nightshift predict" in many.json()["hint"]
    as_json = client.post(ANOMALY, json={"rows": [{"a": 1}] * (MAX_ROWS + 1)})
    assert as_json.status_code == 422
    large = client.post(ANOMALY, content=b"x" * (MAX_BYTES + 1), headers=CSV)
    assert large.status_code == 413
    whole = client.post(ANOMALY, content="\n".join([header, *[row] * MAX_ROWS]), headers=CSV)
    assert whole.status_code == 200
    assert len(whole.json()["outputs"][0]["values"]) == MAX_ROWS


def test_rows_that_each_name_columns_of_their_own_take_no_table_of_all_of_them(trained: Home) -> None:
    predictor = Predictor(trained)
    ready = predictor.ready(ModelId(SUBJECT, "anomaly", "pi"))
    values = {column.name: 1.0 for column in ready.model.interface.columns}
    rows: list[dict[str, Any]] = [{**values, f"own {k}": 1.0} for k in range(MAX_ROWS)]
    tracemalloc.start()
    try:
        answer, _ = predictor.answer_rows(ready, PredictRequest(rows=rows))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.rows == MAX_ROWS
    assert peak < 64e6, "a table of all would take 200 MB"


def test_an_unknown_model_is_told(client: TestClient) -> None:
    assert client.post(f"/api/predict/{SUBJECT}/rul", json={"rows": [{"a": 1}]}).status_code == 404
    assert client.post("/api/predict/..%2f..%2fetc/anomaly", json={"rows": [{"a": 1}]}).status_code == 404
    assert client.post(ANOMALY, params={"version": 3}, json={"rows": [{"a": 1}]}).status_code == 404


def test_a_bundle_that_was_altered_answers_nothing(own_client: TestClient, own: Home) -> None:
    graph = own.models / "anomaly" / SUBJECT / "pi" / "v1" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    answer = own_client.post(ANOMALY, json={"rows": [{"a": 1}]})
    assert answer.status_code == 409
    assert "model.onnx" in answer.json()["detail"]


def test_a_newly_registered_model_answers_without_a_restart(own_client: TestClient, own: Home, rows: str) -> None:
    assert own_client.post(ANOMALY, content=rows, headers=CSV).json()["version"] == 1
    cell = newest(own, f"{SUBJECT}.anomaly.pi")
    assert cell is not None
    run_chain(cell.model_copy(update={"forced": "for a test"}), StageContext(own))
    second = own_client.post(ANOMALY, params={"version": 2}, content=rows, headers=CSV)
    assert second.status_code == 200, second.text
    assert second.json()["version"] == 2


def test_the_page_makes_a_form_of_the_model_s_columns(client: TestClient) -> None:
    assert f'value="{SUBJECT}"' in client.get("/predict").text
    page = client.get(PAGE).text
    assert 'name="column.stator_current_a"' in page
    assert "0 to 60" in page, "the range"
    assert "/example?" in page
    assert "has a model" in client.get("/predict?machine=pump").text


def test_a_machine_without_the_model_shows_its_own(client: TestClient) -> None:
    page = client.get(f"/predict?machine={SUBJECT}&family=rul")
    assert page.status_code == 200
    assert "has no model “rul”" in page.text
    assert '<option value="anomaly">anomaly</option>' in page.text
    assert client.get(f"{PAGE}&version=9").status_code == 404


def test_a_model_for_several_devices_is_chosen_with_its_own(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = client.app.state.service.matrix  # type: ignore[attr-defined]
    known = board.get()
    machine = known.by_id[SUBJECT]
    twin = next(c for c in machine.cells if c.family == "anomaly").model_copy(update={"target": "jetson"})
    both = machine.model_copy(update={"cells": (*machine.cells, twin)})
    monkeypatch.setattr(board, "get", lambda: replace(known, machines=(both,)))
    page = client.get(f"/predict?machine={SUBJECT}&family=anomaly.pi").text
    assert '<option value="anomaly.pi" selected>anomaly for pi</option>' in page
    assert '<option value="anomaly.jetson">anomaly for jetson</option>' in page
    assert '<option value="classification">classification</option>' in page


def test_the_form_s_row_is_answered_after_the_rows_before_it(client: TestClient, rows: str) -> None:
    last = list(csv.DictReader(io.StringIO(rows)))[-1]
    form = {f"column.{name.split(' [')[0]}": value for name, value in last.items() if name != "time"}
    asked = {"how": "form", "time": last["time"], "before": "on", **form, "column.stator_current_a": "7.125"}
    page = client.post(PAGE, data=asked)
    assert page.status_code == 200, page.text
    assert "48 rows in" in page.text
    assert 'class="plot"' in page.text
    assert 'name="column.stator_current_a" value="7.125"' in page.text, "the form is there to be asked again"
    assert 'class="plot"' not in client.get(PAGE).text
    alone = client.post(PAGE, data={"how": "form", "time": last["time"], **form})
    assert "1 row in" in alone.text


def test_an_answer_has_an_address_and_loading_it_again_asks_nothing(own_client: TestClient, rows: str) -> None:
    sent = own_client.post(PAGE, data={"how": "csv", "csv": rows}, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/history/1")
    first = own_client.get("/history/1").text
    assert own_client.get("/history/1").text == first
    assert own_client.get("/api/predictions").json()["total"] == 1
    assert 'href="/history/1"' in own_client.get("/history").text
    wrong = own_client.post(PAGE, data={"how": "csv", "csv": "a,b"}, follow_redirects=False)
    assert wrong.status_code == 422
    assert own_client.get("/api/predictions").json()["total"] == 1, "what was refused leaves nothing"
    for address in ("/history/2", "/history/0", "/history/x", f"/history/{2**70}"):
        assert own_client.get(address).status_code in (404, 422)


def test_an_answer_that_cannot_be_kept_is_shown_at_once(own_client: TestClient, own: Home, rows: str) -> None:
    place = own.machinery / "dashboard" / "predictions.db"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"no database" * 500)
    page = own_client.post(PAGE, data={"how": "csv", "csv": rows}, follow_redirects=False)
    assert page.status_code == 200
    assert "48 rows in" in page.text
    assert "could not be kept" in page.text


def test_an_answer_outlives_its_model(own_client: TestClient, own: Home, rows: str) -> None:
    own_client.post(PAGE, data={"how": "csv", "csv": rows})
    shutil.rmtree(own.models / "anomaly")
    page = own_client.get("/history/1")
    assert page.status_code == 200
    assert "cannot be asked any more" in page.text
    assert 'class="plot"' in page.text


def test_pasted_and_uploaded_rows_are_answered_and_errors_stand_in_the_page(client: TestClient, rows: str) -> None:
    assert "48 rows in" in client.post(PAGE, data={"how": "csv", "csv": rows}).text
    files = {"file": ("mine.csv", rows.encode(), "text/csv")}
    assert "48 rows in" in client.post(PAGE, data={"how": "csv"}, files=files).text
    wrong = client.post(PAGE, data={"how": "csv", "csv": "a,b\n1,2\n"})
    assert wrong.status_code == 422
    assert "column &#39;load_torque_nm&#39; is missing" in wrong.text
    assert "a,b" in wrong.text, "what was pasted is still there"
    empty = client.post(PAGE, data={"how": "csv", "csv": ""})
    assert "There are no rows." in empty.text
    odd = client.post(PAGE, data={"how": "form", "column.stator_current_a": "<b>many</b>"})
    assert odd.status_code == 422
    assert "<b>many" not in odd.text


def _values(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value if name == "time" else float(value) if value else None for name, value in row.items()}
