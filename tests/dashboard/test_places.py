"""No page and no answer says where this machine keeps its files, to whoever may only look."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.dashboards import NO_SERVER, VIEWER, with_tokens
from support.machine import SUBJECT

from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import load_config
from nightshift.plan.records import StageRecord, write_record
from nightshift.plan.state import make_cell, remember
from nightshift.settings import Home, packaged_configs

#: What stands for the parts of an address.
KNOWN = {"machine": SUBJECT, "family": "anomaly", "number": "1", "job_id": "0a1b2c3d-0000-4000-8000-000000000001"}
PAGES = (
    *("/", "/train", f"/train?machine={SUBJECT}", "/jobs", "/predict", "/history", "/downloads", "/driving"),
    *("/machines/new", f"/machines/{SUBJECT}", "/settings", "/nowhere", "/history/1"),
    *(f"/predict?machine={SUBJECT}&family=anomaly", f"/models/{SUBJECT}/anomaly?registry=true"),
    f"/models/{SUBJECT}/anomaly?version=9",
)


def test_a_viewer_is_told_no_place_of_this_machine(own: Home, for_all: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    app = create_app(own, load_config(own), NO_SERVER)
    gets = [path for path, ways in app.openapi()["paths"].items() if "get" in ways]
    assert len(gets) > 12
    addresses = [*PAGES, *(re.sub(r"{(\w+)}", lambda part: KNOWN.get(part[1], "1"), path) for path in gets)]
    # What was trained was trained in the second one.
    places = (str(own.root), str(for_all), str(packaged_configs()), "sqlite:", "file:/")
    own.configs.mkdir(exist_ok=True)
    refused = make_cell(own, SUBJECT, "rul")
    remember(own, refused)
    record = StageRecord(
        stage="load",
        cell_key=refused.key,
        status="blocked",
        started_at="2026-01-01T00:00:00Z",
        seconds=1,
        error=f"no labels in {own.root}/data.",
        hint=f"See {own.root}/data.",
    )
    write_record(own, record)
    addresses += [f"/models/{SUBJECT}/rul", f"/runs/{refused.key[:12]}"]
    with TestClient(app, base_url="http://127.0.0.1:8700", headers={"Authorization": f"Bearer {VIEWER}"}) as client:
        rows = client.get(f"/api/predict/{SUBJECT}/anomaly/example").text
        client.post(f"/predict?machine={SUBJECT}&family=anomaly", data={"how": "csv", "csv": rows})
        told = {address: client.get(address).text for address in addresses}
        (own.configs / "fleet.yaml").write_text("machinse: all\n")
        manifest = own.models / "classification" / SUBJECT / "pi" / "v1" / "bundle.json"
        manifest.write_text(f"{manifest.read_text()} ")
        manifest.with_name("bundle.sig").unlink()
        bad = ("/", "/settings", f"/predict?machine={SUBJECT}&family=classification")
        told |= {f"bad {address}": client.get(address).text for address in bad}
    assert "no labels in $NIGHTSHIFT_HOME/data." in told[f"/models/{SUBJECT}/rul"]
    assert "no labels in $NIGHTSHIFT_HOME/data." in told[f"/runs/{refused.key[:12]}"]
    assert "machinse" in told["bad /settings"]
    assert "$NIGHTSHIFT_HOME/models/classification" in told[f"bad {bad[-1]}"]
    wrong = [(address, place) for address, text in told.items() for place in places if place in text]
    assert not wrong
