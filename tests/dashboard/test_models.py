"""A model's versions, its champion and where it comes from; who is champion is changed here too."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.machine import SUBJECT

from nightshift.settings import Home
from nightshift.tracking import lineage

ANOMALY, CLASSIFICATION = f"/api/models/{SUBJECT}/anomaly", f"/api/models/{SUBJECT}/classification"
PAGE = f"/models/{SUBJECT}/anomaly"
DOWN = "http://127.0.0.1:9"


def test_tells_versions_champion_and_lineage(client: TestClient) -> None:
    found = client.get(ANOMALY).json()
    assert (found["name"], found["state"], found["champion"]) == (f"{SUBJECT}.anomaly.pi", "fresh", 1)
    (version,) = found["versions"]
    assert version["champion"]
    assert version["score"]["metric"] == "f1"
    assert "beats baseline" in version["gate"]
    lineage = found["lineage"]
    assert lineage["data"]["rows"]["train"] > 0
    assert lineage["bundle"]["family"] == "anomaly"
    assert len(lineage["bundle_id"]) == 64


def test_the_figures_are_those_of_the_evaluation(client: TestClient) -> None:
    figures = client.get(f"{ANOMALY}/figures").json()
    assert figures
    assert all(figure["title"] and figure["series"] is not None for figure in figures)
    assert client.get(f"{ANOMALY}/figures", params={"version": 7}).status_code == 404


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        (f"/api/models/{SUBJECT}/anomly", 404, "Did you mean 'anomaly'?"),
        ("/api/models/motor_bench_0001/anomaly", 404, f"Did you mean '{SUBJECT}'?"),
        (f"/api/models/{SUBJECT}/anomaly?target=pie", 404, "Did you mean 'pi'?"),
        (f"/api/models/{SUBJECT}/rul", 404, "nightshift train rul"),
        ("/api/models/Motor/anomaly", 422, "lower-case"),
        ("/api/models/..%2F..%2Fetc/anomaly", 404, ""),
        ("/api/models/%2e%2e/anomaly", 422, "is not a machine id"),
        (f"/api/models/{SUBJECT}/..%2f..%2fanomaly/download", 404, ""),
        (f"/api/models/{SUBJECT}/anomaly?target=..%2F..", 404, "unknown target"),
        (f"/api/models/{SUBJECT}/anomaly/figures?version=99999999999999999999", 422, "version"),
    ],
)
def test_what_is_not_there_is_told_with_the_nearest_name(
    client: TestClient, address: str, status: int, said: str
) -> None:
    answer = client.get(address)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert said in f"{told['detail']} {told['hint']}"


def test_the_page_shows_results_beside_baselines_and_ways_to_go_on(client: TestClient) -> None:
    page = client.get(PAGE).text
    assert "threshold rule" in page, "the best baseline"
    assert f"/predict?machine={SUBJECT}&amp;family=anomaly&amp;target=pi&amp;version=1" in page
    assert f"{ANOMALY}/download?target=pi&amp;version=1" in page
    assert 'class="plot"' in page
    whole = client.get(PAGE, params={"registry": True}).text
    assert "Where version 1 comes from" in whole
    assert "all defaults" in whole or "default" in whole


def test_a_model_that_was_never_trained_has_a_page_that_says_so(client: TestClient) -> None:
    page = client.get(f"/models/{SUBJECT}/rul")
    assert page.status_code == 200
    assert "never trained" in page.text
    assert f"/train?machine={SUBJECT}" in page.text


def test_a_model_that_the_registry_alone_knows_is_told_of(own_client: TestClient, own: Home) -> None:
    shutil.rmtree(own.models / "anomaly")
    page = own_client.get(PAGE).text
    assert "None in this home." in page
    assert f'hx-get="{PAGE}?target=pi&amp;start=0&amp;registry=true"' in page
    whole = own_client.get(PAGE, params={"registry": True})
    assert whole.status_code == 200
    assert "Where version 1 comes from" in whole.text
    assert f"{ANOMALY}/download?target=pi&amp;version=1" in whole.text
    none = own_client.get(f"/models/{SUBJECT}/rul", params={"registry": True})
    assert (none.status_code, "the registry knows none" in none.text) == (200, True)


def test_without_the_registry_the_api_says_so_and_the_page_shows_what_files_tell(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DOWN)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    answer = client.get(ANOMALY)
    assert answer.status_code == 503, answer.text
    assert "nightshift up" in answer.json()["hint"]
    page = client.get(PAGE, params={"registry": True})
    assert page.status_code == 200
    assert "The registry does not answer" in page.text
    assert "v1</a>" in page.text
    assert client.post(f"{ANOMALY}/promote", json={"version": 1}).status_code == 503


def test_a_person_makes_a_version_champion_and_everybody_can_see_who(own_client: TestClient, own: Home) -> None:
    asked = {"version": 1, "note": "tested in hall 1"}
    done = own_client.post(f"{CLASSIFICATION}/promote", json=asked)
    assert done.json() == {"name": f"{SUBJECT}.classification.pi", "version": 1, "before": None}
    found = own_client.get(CLASSIFICATION).json()
    assert found["champion"] == 1
    assert found["versions"][0]["promoted"]["note"] == "tested in hall 1"
    (noted,) = [json.loads(line) for line in (own.logs / "audit.jsonl").read_text().splitlines()]
    assert (noted["did"], noted["what"]) == ("promoted", f"{SUBJECT}.classification.pi")
    assert noted["details"] == {"version": 1, "before": None, "note": "tested in hall 1"}
    back = own_client.post(f"{CLASSIFICATION}/rollback", json={})
    assert back.status_code == 422
    assert "no champion before version 1" in back.json()["detail"]
    # Whoever presses the button twice has seen the champion of before.
    late = own_client.post(f"{CLASSIFICATION}/rollback", json={"champion": 2})
    assert late.status_code == 409
    assert "version 1 is champion by now" in late.json()["detail"]


def test_the_page_s_form_promotes_and_shows_the_model_again(own_client: TestClient) -> None:
    form = {"version": "1", "note": ""}
    page = own_client.post(f"/models/{SUBJECT}/classification/promote?target=pi", data=form)
    assert page.status_code == 200
    assert page.url.path == f"/models/{SUBJECT}/classification"
    assert "Version 1 is champion." in page.text
    refused = own_client.post(f"/models/{SUBJECT}/classification/promote?target=pi", data={"version": "5"})
    assert refused.status_code == 404
    assert "unknown version" in refused.text


def test_a_champion_behind_many_that_were_not_better_is_found_and_old_versions_can_be_had(
    own_client: TestClient, own: Home
) -> None:
    folder = own.models / "anomaly" / SUBJECT / "pi"
    (work,) = (own.work / json.loads((folder / "v1" / "bundle.json").read_bytes())["fingerprints"]["cell_key"],)
    for number in range(2, 31):
        key = f"{number:064x}"
        shutil.copytree(folder / "v1", folder / f"v{number}")
        shutil.copytree(work, own.work / key)
        for path, old, new in (
            (folder / f"v{number}" / "bundle.json", work.name, key),
            (own.work / key / "register.json", '"version": 1,', f'"version": {number},'),
            (own.work / key / "register.json", '"champion": true', '"champion": false'),
        ):
            text = path.read_text()
            assert old in text, path
            path.write_text(text.replace(old, new))
    own_client.app.state.service.matrix.get(now=True)  # type: ignore[attr-defined]
    (cell,) = [c for c in own_client.get("/api/matrix").json()["cells"] if c["family"] == "anomaly"]
    assert (cell["champion"]["version"], cell["newest"]) == (1, 30)
    answer = own_client.post(f"/api/predict/{SUBJECT}/anomaly", json={"rows": [{}]})
    assert "is missing" in answer.json()["detail"], "the champion was asked, which is what was registered"
    assert own_client.get(f"{ANOMALY}/figures", params={"version": 12}).json()
    first, second = own_client.get(PAGE).text, own_client.get(PAGE, params={"start": 25}).text
    assert "1–25 of 30 versions" in first
    assert [f"v{n}</a>" in first for n in (30, 6, 5)] == [True, True, False]
    assert [f"v{n}</a>" in second for n in (6, 5, 1)] == [False, True, True]
    assert 'v1</a> <span class="state champion">' in second
    assert own_client.get(PAGE, params={"start": 50}).text == second
    assert "19 older versions of anomaly" in own_client.get("/downloads").text


def test_where_the_registry_has_pages_the_lineage_links_to_them(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "in MLflow</a>" not in client.get(PAGE, params={"registry": True}).text
    real = lineage.lineage

    def served(*given: Any) -> Any:
        return real(*given).model_copy(update={"tracking_uri": "http://mlflow.example:5000"})

    monkeypatch.setattr(lineage, "lineage", served)
    page = client.get(PAGE, params={"registry": True}).text
    address = f"http://mlflow.example:5000/#/models/{SUBJECT}.anomaly.pi/versions/1"
    assert f'<a href="{address}">Version 1 in MLflow</a>' in page


def test_a_link_that_fails_is_answered_with_a_page(client: TestClient) -> None:
    address = f"{CLASSIFICATION}/download?version=77"
    assert client.get(address).headers["content-type"] == "application/problem+json"
    page = client.get(address, headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.status_code == 404
    assert "To the fleet" in page.text
