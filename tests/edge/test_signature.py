"""What a device with a key takes, and what one without it still finds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.bundles import clock_graph, write_bundle

from nightshift.edge.manifest import MANIFEST_FILE, MODEL_FILE, SIGNATURE_FILE
from nightshift.edge.runtime import Model
from nightshift.edge.signature import KEY_VARIABLE, sign
from nightshift.errors import ConfigError, CorruptFileError, SignatureError, SwappedFileError
from nightshift.settings import SECRETS_VARIABLE

KEY, OTHER = "a key of sixteen bytes and more", "another key of sixteen bytes"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv(SECRETS_VARIABLE, raising=False)
    return write_bundle(tmp_path / "v1")


def signed(folder: Path, key: str | None = KEY) -> Path:
    raw = (folder / MANIFEST_FILE).read_bytes()
    (folder / SIGNATURE_FILE).write_bytes(sign(raw, key.encode() if key else None))
    return folder


def test_with_a_key_only_its_own_bundles_are_opened(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with pytest.raises(SignatureError, match="not signed"):
        Model.load(folder)
    with pytest.raises(SignatureError, match="not signed"):
        Model.load(signed(folder, None))
    with pytest.raises(SignatureError, match="another key"):
        Model.load(signed(folder, OTHER))
    assert Model.load(signed(folder)).manifest.subject == "pump_1"
    monkeypatch.delenv(KEY_VARIABLE)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / KEY_VARIABLE).write_text(f"{OTHER}\n")
    monkeypatch.setenv(SECRETS_VARIABLE, str(secrets))
    with pytest.raises(SignatureError, match="another key"):
        Model.load(folder)


def test_whoever_rewrites_hashes_as_well_is_found_by_the_key_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    signed(folder)
    note = (folder / SIGNATURE_FILE).read_text()
    write_bundle(folder, subject="pump_2")
    plain = sign((folder / MANIFEST_FILE).read_bytes(), None).decode()
    (folder / SIGNATURE_FILE).write_text(plain + note.splitlines()[1] + "\n")
    with pytest.raises(SignatureError, match="has changed since"):
        Model.load(folder)
    monkeypatch.delenv(KEY_VARIABLE)
    assert Model.load(folder).manifest.subject == "pump_2"


def test_without_a_key_an_altered_manifest_is_found_where_it_has_digests(folder: Path) -> None:
    assert Model.load(folder).manifest.subject == "pump_1", "older bundles carry no digests"
    signed(folder)
    path = folder / MANIFEST_FILE
    path.write_text(path.read_text().replace("pump_1", "pump_2"))
    with pytest.raises(CorruptFileError, match=r"bundle\.json of the bundle is not what bundle\.sig says"):
        Model.load(folder)


@pytest.mark.parametrize("content", [b"", b"sha256\n", b"\xff\xfe", b"md5 00\n", b"hmac-sha256 00\n"])
def test_a_damaged_signature_is_refused(folder: Path, content: bytes) -> None:
    (folder / SIGNATURE_FILE).write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"bundle\.sig"):
        Model.load(folder)


def test_a_short_key_is_refused_and_not_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "hunter2")
    with pytest.raises(ConfigError, match="has 7 bytes, expected 16 or more") as caught:
        Model.load(folder)
    assert "hunter2" not in str(caught.value)


def test_a_bundle_that_was_not_asked_for_is_refused(folder: Path) -> None:
    own = Model.load(folder).bundle_id
    assert Model.load(folder, bundle_id=own).bundle_id == own
    with pytest.raises(SwappedFileError, match="asked for was 000000000000"):
        Model.load(folder, bundle_id="0" * 64)


def test_a_damaged_file_is_told_from_another_one(folder: Path) -> None:
    graph = folder / MODEL_FILE
    raw = graph.read_bytes()
    graph.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(CorruptFileError) as caught:
        Model.load(folder)
    assert not isinstance(caught.value, SwappedFileError)
    graph.write_bytes(clock_graph())
    with pytest.raises(SwappedFileError, match="another graph"):
        Model.load(folder)


def test_a_key_that_cannot_be_read_opens_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / KEY_VARIABLE).mkdir()
    monkeypatch.setenv(SECRETS_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be read"):
        Model.load(folder)


def test_a_key_of_any_bytes_is_a_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = b"\xff" * 20
    monkeypatch.setenv(KEY_VARIABLE, os.fsdecode(key))
    (folder / SIGNATURE_FILE).write_bytes(sign((folder / MANIFEST_FILE).read_bytes(), key))
    assert Model.load(folder).manifest.subject == "pump_1"
