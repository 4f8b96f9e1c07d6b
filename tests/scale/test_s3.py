"""Data, artifacts and versions in S3, served by a real server that speaks its protocol."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.datasets import calendar_rows, describe
from support.homes import a_home

from nightshift.data.remote import open_remote
from nightshift.data.shared import sync_pointers
from nightshift.data.splits import split
from nightshift.data.store import current, folder_of, land, open_dataset, subjects, verify
from nightshift.errors import DataError, ServiceError, TransientError
from nightshift.settings import Home
from nightshift.tracking.mlflow_store import open_store
from nightshift.tracking.versioning import checkout, version_folder

pytestmark = [
    pytest.mark.scale,
]


def landed(home: Home, seed: int = 0) -> str:
    metadata = describe("pump_1")
    return land(home, split(calendar_rows(seed=seed), metadata), metadata).fingerprint


def test_what_lands_on_one_machine_is_opened_on_another(s3: str, home: Home, tmp_path: Path) -> None:
    before = landed(home)
    with a_home(tmp_path / "other") as other:
        assert current(other, "pump_1") == before
        verify(open_dataset(other, "pump_1"))
        now = landed(home, seed=1)
        remote = open_remote(other)
        assert remote is not None
        assert sync_pointers(other, remote) == ("pump_1",)
        assert open_dataset(other, "pump_1").fingerprint == now
        assert sync_pointers(other, remote) == ()


def test_an_altered_object_is_refused_and_nothing_appears(s3: str, home: Home, tmp_path: Path) -> None:
    import boto3

    landed(home)
    client, bucket = boto3.client("s3"), s3.split("/")[2]
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]
    (key,) = [name for name in keys if name.endswith("/test.parquet")]
    client.put_object(Bucket=bucket, Key=key, Body=b"PAR1 something else PAR1")
    with a_home(tmp_path / "other") as other:
        with pytest.raises(DataError, match=r"test\.parquet .* was altered"):
            open_dataset(other, "pump_1")
        assert list((other.data / "store" / "pump_1").iterdir()) == []


def test_a_store_that_cannot_be_used_says_why_and_nothing_lands(
    s3: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_STORE_URL", "s3://no-such-bucket-here/x")
    with pytest.raises(ServiceError, match="the store s3://no-such-bucket-here/x refused") as refused:
        landed(home)
    assert "AWS_ACCESS_KEY_ID" in refused.value.hint
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(TransientError, match="cannot be reached"):
        landed(home)
    assert subjects(home) == ()


def test_mlflow_keeps_artifacts_there(s3: str, home: Home, tmp_path: Path) -> None:
    store = open_store(home)
    run = store.client.create_run(store.experiment("pump_1"))
    assert str(run.info.artifact_uri).startswith(f"{s3}/mlflow/")
    store.client.log_text(run.info.run_id, "words", "note.txt")
    found = store.client.download_artifacts(run.info.run_id, "note.txt", str(tmp_path))
    assert Path(found).read_text() == "words"
    assert not home.artifacts.exists()


def test_dvc_keeps_versions_there(s3: str, home: Home, tmp_path: Path) -> None:
    import shutil

    fingerprint = landed(home)
    place = folder_of(home, "pump_1", fingerprint)
    version_folder(home, "datasets", fingerprint, place)
    assert not (home.machinery / "dvc-remote").exists()
    shutil.rmtree(home.dvc / ".dvc" / "cache", ignore_errors=True)
    back = checkout(home, "datasets", fingerprint, tmp_path / "back")
    assert (back / "train.parquet").read_bytes() == (place / "train.parquet").read_bytes()
