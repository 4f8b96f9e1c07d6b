"""The fleet's matrix: what it says, how it stays up to date, what the page and the API make of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.homes import a_home
from support.machine import SUBJECT, land_demo, metadata, simulate

from nightshift.dashboard import matrix as matrix_module
from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import load_config
from nightshift.dashboard.matrix import Asked, FleetMatrix
from nightshift.data.importers.landing import split_and_land
from nightshift.plan.past import note_champion
from nightshift.settings import Home

ANOMALY = f"{SUBJECT}.anomaly.pi"


@pytest.fixture
def fleet(own: Home) -> Iterator[FleetMatrix]:
    """Its matrix."""
    found = FleetMatrix(own)
    yield found
    found.stop()


def test_says_where_each_model_of_a_machine_stands_and_what_its_champion_reaches(client: TestClient) -> None:
    found = client.get("/api/matrix").json()
    cells = {cell["family"]: cell for cell in found["cells"]}
    assert set(cells) == {"anomaly", "classification", "rul", "forecast"}
    assert (cells["anomaly"]["state"], cells["rul"]["state"]) == ("fresh", "stale")
    assert cells["rul"]["reasons"] == ["never trained"]
    champion = cells["anomaly"]["champion"]
    assert champion["version"] == cells["anomaly"]["newest"] == 1
    assert champion["metric"] == "f1"
    assert 0 < champion["baseline"] < champion["value"] < 1
    assert (found["counts"]["fresh"], found["counts"]["stale"]) == (2, 2)
    assert found["as_of"].endswith("Z")


def test_lists_machines_with_what_their_data_say(client: TestClient) -> None:
    (machine,) = client.get("/api/machines").json()["machines"]
    assert machine["id"] == SUBJECT
    assert machine["group"] == "machine"
    assert machine["rows"] > 10_000
    assert len(machine["fingerprint"]) == 64
    assert machine["landed_at"].endswith("Z")
    assert machine["families"] == ["classification", "rul", "anomaly", "forecast"]


def test_filters_by_text_state_and_tag(client: TestClient) -> None:
    assert client.get("/api/machines", params={"text": "wear bench"}).json()["machines"], "part of the title"
    assert not client.get("/api/machines", params={"text": "pump"}).json()["machines"]
    stale = client.get("/api/matrix", params={"state": "stale"}).json()
    assert {cell["family"] for cell in stale["cells"]} == {"rul", "forecast"}
    assert stale["counts"]["fresh"] == 2, "counts are of all states"
    assert not client.get("/api/matrix", params={"tag": "hall_1"}).json()["cells"]
    refused = client.get("/api/matrix", params={"state": "ripe"})
    assert refused.status_code == 422
    assert "fresh" in refused.json()["detail"]


def test_the_page_shows_states_as_words_with_reasons_and_links(client: TestClient) -> None:
    page = client.get("/").text
    assert f'href="/models/{SUBJECT}/anomaly"' in page
    assert "fresh 2" in page
    assert "never trained" in page, "a reason that concerns somebody is there to be read, not only on hovering"
    nobody = client.get("/", params={"text": "<script>"}).text
    assert "No machine is like this" in nobody
    assert "<script>" not in nobody.replace("<script src", "").replace("<script>alert", "<script>")


def test_an_empty_fleet_is_told_how_to_begin(tmp_path: Path) -> None:
    with a_home(tmp_path) as home, TestClient(create_app(home, load_config(home), "http://127.0.0.1:9/api")) as client:
        page = client.get("/", headers={"host": "127.0.0.1"}).text
    assert "/machines/new" in page
    assert "nightshift demo" in page


def test_only_machines_whose_files_have_changed_are_read_again(
    fleet: FleetMatrix, own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_and_land(own, simulate(8, runs=12), metadata("motor_b", seed=8, runs=12))
    _settle(own)
    fleet.get(now=True)
    read: list[tuple[str, ...]] = []
    real = matrix_module.make_plan

    def counted(home: Home, config: object, asked: object) -> object:
        read.append(asked.machines)  # type: ignore[attr-defined]
        return real(home, config, asked)  # type: ignore[arg-type]

    monkeypatch.setattr(matrix_module, "make_plan", counted)
    fleet.get(now=True)
    assert read == [], "nothing has changed"
    land_demo(own, seed=9, runs=12)
    assert _states(fleet) == {"stale"}
    assert read == [(SUBJECT,)]


def test_a_change_of_champion_is_seen(fleet: FleetMatrix, own: Home) -> None:
    _settle(own)
    assert _cell(fleet, "classification").champion is None
    note_champion(own, f"{SUBJECT}.classification.pi", 1)
    champion = _cell(fleet, "classification").champion
    assert champion is not None
    assert champion.version == 1


def test_who_comes_after_a_long_time_sees_what_stands_now(fleet: FleetMatrix, monkeypatch: pytest.MonkeyPatch) -> None:
    read = fleet._machines
    monkeypatch.setattr(fleet, "_machines", lambda: (time.sleep(0.1), read())[1])
    before = fleet.get(now=True)
    fleet._read_at = time.monotonic() - 5
    assert fleet.get() is before, "who asks all the time waits for nobody"
    fleet.get(now=True)
    fleet._read_at, asked_at = time.monotonic() - 60, datetime.now(UTC)
    assert fleet.get().as_of >= asked_at


def test_a_bundle_that_is_gone_is_seen(fleet: FleetMatrix, own: Home) -> None:
    _settle(own)
    assert _cell(fleet, "anomaly").state == "fresh"
    (own.models / "anomaly" / SUBJECT / "pi" / "v1" / "model.onnx").unlink()
    assert _cell(fleet, "anomaly").state == "stale"


def test_a_training_that_runs_is_seen_and_its_end_too(fleet: FleetMatrix, own: Home) -> None:
    from nightshift.plan import lock
    from nightshift.plan.state import newest, remember

    cell = newest(own, ANOMALY)
    assert cell is not None
    with lock.held(own, cell.key):
        remember(own, cell)
        assert _cell(fleet, "anomaly").state == "training"
        _settle(own)
    assert _cell(fleet, "anomaly").state == "fresh"


def test_a_config_that_cannot_be_read_leaves_what_was_known_and_says_so(fleet: FleetMatrix, own: Home) -> None:
    known = fleet.get(now=True)
    own.configs.mkdir(exist_ok=True)
    (own.configs / "fleet.yaml").write_text("machinse: all\n")
    found = fleet.get(now=True)
    assert found.machines == known.machines
    assert "machinse" in found.problem
    assert found.as_of == known.as_of


def test_models_outside_of_the_fleet_are_shown_too(fleet: FleetMatrix, own: Home) -> None:
    own.configs.mkdir(exist_ok=True)
    (own.configs / "fleet.yaml").write_text("machines: [pump_7]\n")
    found = fleet.get(now=True)
    assert found.by_id["pump_7"].trouble == "no data has landed"
    assert Asked(state="blocked").machines(found) == (found.by_id["pump_7"],)
    assert Asked().counts(found)["blocked"] == 1
    states = {cell.family: cell.state for cell in found.by_id[SUBJECT].cells}
    assert states == {"anomaly": "fresh", "classification": "fresh"}
    assert Asked(state="fresh").machines(found) == (found.by_id[SUBJECT],)


def _cell(fleet: FleetMatrix, family: str) -> matrix_module.MatrixCell:
    cells = fleet.get(now=True).by_id[SUBJECT].cells
    return next(cell for cell in cells if cell.family == family)


def _states(fleet: FleetMatrix) -> set[str]:
    return {cell.state for cell in fleet.get(now=True).by_id[SUBJECT].cells}


def _settle(home: Home) -> None:
    """Let all files be older than what counts as just changed."""
    long_ago = time.time() - 60
    for folder, folders, files in os.walk(home.root):
        for name in (*folders, *files):
            os.utime(Path(folder, name), (long_ago, long_ago), follow_symlinks=False)


def test_a_reading_that_fails_unexpectedly_leaves_what_was_read_before(
    fleet: FleetMatrix, own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fleet.get(now=True)

    def broken(_home: Home) -> object:
        raise RuntimeError("a disk that lies")

    monkeypatch.setattr("nightshift.dashboard.matrix.load_fleet", broken)
    found = fleet.get(now=True)
    assert (found.machines, found.problem) == (before.machines, "a disk that lies")


def test_a_machines_page_says_what_the_fleets_says(own_client: TestClient, own: Home) -> None:
    land_demo(own, seed=9, runs=12)
    own_client.app.state.service.matrix.get(now=True)  # type: ignore[attr-defined]
    text = own_client.get(f"/machines/{SUBJECT}").text
    models = text[text.index("<h2>Models</h2>") :]
    assert '<span class="state fresh">' not in models
    assert models.count('<span class="state stale">') == 4
    assert "new data" in models
