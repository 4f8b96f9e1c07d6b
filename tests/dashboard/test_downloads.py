"""Bundles as files to take away: whole, checked, and never from outside of the store."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.machine import SUBJECT

from nightshift.dashboard import downloads
from nightshift.dashboard.api.models import Sent
from nightshift.dashboard.models import ModelId
from nightshift.edge.runtime import Model
from nightshift.errors import CorruptFileError, ServiceError
from nightshift.settings import Home
from nightshift.tracking import versioning

ANOMALY = f"/api/models/{SUBJECT}/anomaly/download"
LONG_NAME = f"anomaly_{SUBJECT}_v1.1.0"


def test_the_bundle_comes_whole_and_runs(client: TestClient, trained: Home, tmp_path: Path) -> None:
    answer = client.get(ANOMALY)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{LONG_NAME}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert packed.testzip() is None
        assert set(packed.namelist()) >= {"model.onnx", "bundle.json", "MODEL_CARD.md", "check.npz"}
        assert not [name for name in packed.namelist() if "/" in name], "nothing of native/ leaves"
        packed.extractall(tmp_path)
    for name in ("model.onnx", "bundle.json", "MODEL_CARD.md"):
        own = trained.models / "anomaly" / SUBJECT / "pi" / "v1" / name
        assert (tmp_path / name).read_bytes() == own.read_bytes()
    assert Model.load(tmp_path).manifest.subject == SUBJECT
    assert client.get(ANOMALY).content == answer.content, "the same version packs to the same bytes"


def test_the_graph_comes_alone(client: TestClient, trained: Home) -> None:
    answer = client.get(ANOMALY, params={"file": "onnx", "version": 1, "target": "pi"})
    assert answer.headers["content-disposition"] == f'attachment; filename="{LONG_NAME}.onnx"'
    manifest = json.loads((trained.models / "anomaly" / SUBJECT / "pi" / "v1" / "bundle.json").read_bytes())
    assert hashlib.sha256(answer.content).hexdigest() == manifest["hashes"]["model.onnx"]


def test_what_is_not_there_is_told(client: TestClient) -> None:
    assert client.get(ANOMALY, params={"version": 9}).status_code == 404
    variant = client.get(ANOMALY, params={"variant": "dsp"})
    assert variant.status_code == 422
    assert "no variant 'dsp'" in variant.json()["detail"]
    assert client.get(ANOMALY, params={"file": "../../mlflow.db"}).status_code == 422
    assert client.get(ANOMALY, params={"target": "../../../.nightshift"}).status_code == 404
    assert client.get(f"/api/models/{SUBJECT}/..%2f..%2f..%2fetc/download").status_code == 404


def test_a_bundle_that_is_gone_comes_from_dvc(
    own_client: TestClient, own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own.models / "anomaly" / SUBJECT / "pi" / "v1"
    whole = (folder / "model.onnx").read_bytes()
    name = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    versioning.version_folder(own, "models", name, folder)
    # No file of this home tells of version 1 any more, but of a version 2; the registry knows the first.
    record = own.work / json.loads((folder / "bundle.json").read_bytes())["fingerprints"]["cell_key"] / "register.json"
    record.write_text(record.read_text().replace('"version": 1,', '"version": 2,'))
    folder.rename(folder.with_name("v2"))
    answer = own_client.get(ANOMALY, params={"version": 1, "file": "onnx"})
    assert answer.status_code == 200, answer.text
    assert answer.content == whole
    assert not folder.exists(), "who looks changes nothing"
    page = own_client.get(f"/models/{SUBJECT}/anomaly", params={"registry": True}).text
    assert "Not in this home, from DVC's copy: v1 " in page
    assert f"{ANOMALY}?target=pi&amp;version=1" in page
    brought = own.machinery / "dashboard" / "bundles" / name[:12]
    (brought / "model.onnx").write_bytes(whole[:-1])
    assert own_client.get(ANOMALY, params={"version": 1, "file": "onnx"}).content == whole, "a damaged copy is replaced"
    monkeypatch.setattr(versioning, "checkout", None)
    assert own_client.get(ANOMALY, params={"version": 1}).content[:2] == b"PK", "it is kept for a while"


def test_a_bundle_that_is_nowhere_is_told(own_client: TestClient, own: Home) -> None:
    (own.models / "anomaly" / SUBJECT / "pi" / "v1" / "model.onnx").unlink()
    answer = own_client.get(ANOMALY)
    assert answer.status_code == 409, answer.text
    assert "neither here nor in DVC" in answer.json()["detail"]
    assert f"nightshift train anomaly --subject {SUBJECT} --target pi --force" in answer.json()["hint"]
    assert "DVC&#39;s copy" in own_client.get("/downloads").text


def test_a_slow_dvc_keeps_nobody_is_asked_once_and_its_failure_is_told(
    own_client: TestClient, own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own.models / "anomaly" / SUBJECT / "pi" / "v1" / "model.onnx").unlink()
    ended, asked = threading.Event(), []

    def slow(*given: object) -> None:
        asked.append(given)
        ended.wait(10)
        raise ServiceError("the remote is away.", hint="Plug it in.")

    monkeypatch.setattr(versioning, "checkout", slow)
    monkeypatch.setattr(downloads, "_PATIENCE_S", 0.2)
    try:
        with ThreadPoolExecutor(4) as many:
            answers = list(many.map(lambda _: own_client.get(ANOMALY), range(4)))
        assert {answer.status_code for answer in answers} == {503}
        assert all("Ask again" in answer.json()["hint"] for answer in answers)
        assert len(asked) == 1, "all share one fetch"
        assert not any(thread.name == "dvc" and not thread.daemon for thread in threading.enumerate())
        fetching = next(future for place, future in downloads._FETCHES.items() if own.root in place.parents)
        for _ in range(downloads._FEW):
            downloads._SEATS.acquire()
        monkeypatch.setattr(downloads, "_PATIENCE_S", 20.0)
        assert own_client.get(ANOMALY).status_code == 503, "nobody waits where enough do"
    finally:
        ended.set()
        for _ in range(downloads._FEW):
            downloads._SEATS.release()
    fetching.exception(5)
    told = own_client.get(ANOMALY)
    assert told.status_code == 503
    assert "the remote is away" in told.json()["detail"]
    assert len(asked) == 1, "what was told is of the fetch that others asked for"
    own_client.get(ANOMALY)
    assert len(asked) == 2, "and it is told once"


def test_few_are_kept_and_what_a_killed_fetch_left_goes(own: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = own.machinery / "dashboard" / "bundles"
    for number in range(3):
        for name in (f".{number}.scratch", f"b{number}"):
            (bundles / name).mkdir(parents=True)
            os.utime(bundles / name, (number, number))
    monkeypatch.setattr(versioning, "checkout", lambda *given: given[-1].mkdir())
    downloads._bring(own, "new", bundles / "new")
    assert {folder.name for folder in bundles.iterdir()} == {"b1", "b2", "new"}


@pytest.mark.parametrize("graph_alone", [True, False])
def test_a_bundle_that_is_removed_under_way_arrives_whole_and_its_files_are_closed(
    own: Home, graph_alone: bool
) -> None:
    folder = own.models / "anomaly" / SUBJECT / "pi" / "v1"
    asked = ModelId(SUBJECT, "anomaly", "pi")
    whole = b"".join(downloads.deliver(own, asked, graph_alone=graph_alone).content)

    def opened() -> list[str]:
        found = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        return [str(fd.readlink()) for fd in found if fd.is_symlink() and str(folder) in str(fd.readlink())]

    gone = downloads.deliver(own, asked, graph_alone=graph_alone)
    assert opened(), "all are open before the first byte"

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(_message: object) -> None:
        await asyncio.sleep(0)

    asyncio.run(Sent(gone)({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send))
    assert not opened(), "the client went away"
    under_way = downloads.deliver(own, asked, graph_alone=graph_alone).content
    shutil.rmtree(folder)
    assert b"".join(under_way) == whole
    assert not opened()


def test_an_altered_bundle_does_not_leave(own_client: TestClient, own: Home) -> None:
    folder = own.models / "anomaly" / SUBJECT / "pi" / "v1"
    graph = bytearray((folder / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (folder / "model.onnx").write_bytes(graph)
    for query in ({}, {"file": "onnx"}):
        answer = own_client.get(ANOMALY, params=query)
        assert answer.status_code == 409
        assert "model.onnx" in answer.json()["detail"]
    (folder / "bundle.json").write_text((folder / "bundle.json").read_text().replace("batch", "butch"))
    (folder / "bundle.sig").unlink()
    answer = own_client.get(ANOMALY)
    assert answer.status_code == 409
    assert "asked for was" in answer.json()["detail"], "the id is the one that was registered"


def test_it_is_sent_in_pieces_as_it_is_and_ends_where_a_file_changes_under_way(
    own_client: TestClient, own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_CHUNK", 4096)
    folder = own.models / "anomaly" / SUBJECT / "pi" / "v1"
    largest = folder / "model.onnx"
    assert largest.stat().st_size > 4 * 4096
    for query in ({}, {"file": "onnx"}):
        assert "content-encoding" not in own_client.get(ANOMALY, params=query).headers
    asked, whole = ModelId(SUBJECT, "anomaly", "pi"), largest.read_bytes()
    beside = sum((folder / name).stat().st_size for name in ("bundle.json", "bundle.sig"))
    for graph_alone in (True, False):
        pieces = list(downloads.deliver(own, asked, graph_alone=graph_alone).content)
        assert max(map(len, pieces)) < 4096 + 200 + beside, "a piece holds no whole file"
        delivery = downloads.deliver(own, asked, graph_alone=graph_alone)
        largest.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(CorruptFileError, match=r"model\.onnx"):
            list(delivery.content)
        largest.write_bytes(whole)


def test_the_page_lists_every_version_with_size_and_champion(client: TestClient) -> None:
    page = client.get("/downloads").text
    for family in ("anomaly", "classification"):
        assert f"/api/models/{SUBJECT}/{family}/download?target=pi&amp;version=1" in page
    assert page.count('class="state champion"') == 1
    assert " kB" in page or " MB" in page
    assert "No model is like this" in client.get("/downloads", params={"text": "pump"}).text
