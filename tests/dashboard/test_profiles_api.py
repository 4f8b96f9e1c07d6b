"""`/api/profiles`: templates, a machine's profile, and the synthesis that is started from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from support.asked_app import JOB, Started, asked
from support.machines import write_machine

from nightshift.dashboard.audit import Audit
from nightshift.files import read_yaml
from nightshift.settings import Home
from nightshift.simulate.catalogue import MachineType
from nightshift.simulate.profile import load_profile, profile_names

SHIPPED = "motor_siemens_1la7_001"


@pytest.fixture
def started() -> Started:
    return Started()


@pytest.fixture
def api(home: Home, started: Started) -> Iterator[TestClient]:
    with asked(home, started) as found:
        yield found


def _pump(api: TestClient) -> dict[str, Any]:
    found = api.get("/api/profiles/templates").json()
    return dict(next(t["profile"] for t in found["types"] if t["machine_type"] == "centrifugal_pump"))


def _file(home: Home, machine: str) -> Any:
    return home.configs / "machines" / f"{machine}.yaml"


def test_templates_are_every_type_and_every_profile(api: TestClient, home: Home) -> None:
    found = api.get("/api/profiles/templates").json()
    assert [t["machine_type"] for t in found["types"]] == [str(t) for t in MachineType]
    assert [m["machine"] for m in found["machines"]] == list(profile_names(home))
    assert all(m["shipped"] for m in found["machines"])


@pytest.mark.parametrize("kind", list(MachineType))
def test_a_template_is_kept_as_it_is(api: TestClient, home: Home, kind: MachineType) -> None:
    found = api.get("/api/profiles/templates").json()
    profile = next(t["profile"] for t in found["types"] if t["machine_type"] == kind)
    kept = api.put("/api/profiles/mine_7", json=profile)
    assert kept.status_code == 200, kept.text
    assert kept.json()["min_rows"] == load_profile(home, "mine_7").min_rows
    assert api.get("/api/profiles/mine_7").json() == read_yaml(_file(home, "mine_7"))


def test_a_bad_profile_is_refused_with_every_finding(api: TestClient, home: Home) -> None:
    profile = _pump(api)
    profile["nameplate"]["rated_power_kw"] = -3
    profile["labels"]["horizon_h"] = 500
    profile["sensors"][3]["noise"] = "much"
    refused = api.put("/api/profiles/pump_7", json=profile)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    told = {f["path"]: f["text"] for f in refused.json()["findings"]}
    assert set(told) == {"nameplate.rated_power_kw", "labels.horizon_h", "sensors.3.noise"}
    assert "allowed: a number from 0.001 up to 100000" in told["nameplate.rated_power_kw"]
    assert not _file(home, "pump_7").exists()


def test_a_shipped_machine_stays_as_it_is(api: TestClient, home: Home) -> None:
    for query in ("", "?replace=true"):
        refused = api.put(f"/api/profiles/{SHIPPED}{query}", json=_pump(api))
        assert refused.status_code == 409
    assert not _file(home, SHIPPED).exists()


def test_a_profile_that_exists_is_replaced_only_when_that_is_asked_for(api: TestClient, home: Home) -> None:
    first = _pump(api)
    assert api.put("/api/profiles/pump_7", json=first).status_code == 200
    # Settings of trainings that a person has written beside it are kept.
    file = _file(home, "pump_7")
    file.write_text(file.read_text() + "families: {anomaly: {preset: fast}}\n")
    second = {**first, "title": "Another"}
    refused = api.put("/api/profiles/pump_7", json=second)
    assert refused.status_code == 409
    assert "replace=true" in refused.json()["hint"]
    assert load_profile(home, "pump_7").title == first["title"]
    assert api.put("/api/profiles/pump_7?replace=true", json=second).status_code == 200
    assert load_profile(home, "pump_7").title == "Another"
    assert read_yaml(file)["families"] == {"anomaly": {"preset": "fast"}}


@pytest.mark.parametrize("machine", ["new", "templates", "Pump", "..%2Fpump", "a" * 65, "ö"])
def test_an_id_that_no_machine_can_have_is_refused(api: TestClient, home: Home, machine: str) -> None:
    refused = api.put(f"/api/profiles/{machine}", json=_pump(api))
    assert refused.status_code in (404, 422)
    assert refused.headers["content-type"] == "application/problem+json"
    assert not list(home.root.rglob("*.yaml"))


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"a": 1, "a": 2}', "[" * 100_000, '{"families": {}}', "\ufeff{}", '{"title": "\\ud800"}']
)
def test_a_body_that_is_no_profile_is_refused(api: TestClient, body: str) -> None:
    refused = api.put("/api/profiles/pump_7", content=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["detail"]
    assert api.put("/api/profiles/pump_7", content=b"\xff{}").status_code == 422


def test_a_profile_that_is_not_there_is_told_with_the_nearest(api: TestClient) -> None:
    refused = api.get("/api/profiles/motor_siemens_1la7_002")
    assert refused.status_code == 404
    assert SHIPPED in refused.json()["hint"]


def test_who_kept_what_is_noted(api: TestClient, home: Home) -> None:
    api.put("/api/profiles/pump_7", json=_pump(api))
    line = yaml.safe_load((home.logs / "audit.jsonl").read_text().splitlines()[-1])
    assert (line["did"], line["what"]) == ("saved profile", "pump_7")


def test_a_synthesis_is_started_as_asked(api: TestClient, home: Home, started: Started) -> None:
    write_machine(home)
    body = {"rows": 4_000, "seed": 3, "options": {"generator_seeds": 1}}
    for _ in range(2):
        told = api.post("/api/profiles/motor_small/synthesize", json=body, headers={"Idempotency-Key": "once"})
        assert told.status_code == 202, told.text
        assert told.json()["job_id"] == JOB
    assert 10 < told.json()["estimated_time"] < 100
    parameters = {"machine_id": "motor_small", "rows": 4_000, "seed": 3, "options": {"generator_seeds": 1}}
    assert started.runs == [("synthesize-machine/local", parameters, "motor_small.synthesis", "once")]
    assert [(note.did, note.what) for note in Audit(home).newest()] == [("started", JOB)]


def test_rows_follow_the_profile_where_none_are_asked_for(api: TestClient, started: Started) -> None:
    assert api.post("/api/profiles/gearbox_sew_x3k_001/synthesize").status_code == 202
    assert started.runs[0][1]["rows"] >= 50_000


@pytest.mark.parametrize(
    ("machine", "body", "status"),
    [
        (SHIPPED, {"rows": 1_500}, 422),
        (SHIPPED, {"seed": -1}, 422),
        (SHIPPED, {"options": {"generator_seeds": 99}}, 422),
        (SHIPPED, {"rowz": 5}, 422),
        ("nobody", {}, 404),
        ("No", {}, 422),
    ],
)
def test_what_cannot_be_made_is_refused_before_a_run_starts(
    api: TestClient, started: Started, machine: str, body: dict[str, Any], status: int
) -> None:
    refused = api.post(f"/api/profiles/{machine}/synthesize", json=body)
    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/problem+json"
    assert not started.runs
