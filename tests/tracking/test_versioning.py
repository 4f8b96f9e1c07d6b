"""DVC: versions come back by fingerprint, a history is never made over another, originals are not touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.machine import land_demo

from nightshift.data.store import current, open_dataset
from nightshift.errors import DataError, ServiceError, TransientError, UnknownNameError, UsageError
from nightshift.files import sha256_file
from nightshift.settings import Home
from nightshift.tracking import versioning
from nightshift.tracking.unversioned import failure_of, outstanding

pytestmark = [
    # DVC's tries ask pygtrie for a value in a way that pygtrie wants spelled otherwise.
]

FP1, FP2 = "1" * 64, "2" * 64


def a_folder(root: Path, text: str) -> Path:
    (root / "native").mkdir(parents=True)
    (root / "model.onnx").write_text(text, encoding="utf-8")
    (root / "native" / "trees.txt").write_text(text * 100, encoding="utf-8")
    return root


def content(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in folder.rglob("*") if p.is_file()}


def test_versions_come_back_as_they_were_and_the_originals_are_not_touched(home: Home, tmp_path: Path) -> None:
    one, two = a_folder(tmp_path / "one", "first"), a_folder(tmp_path / "two", "second")
    before = {p: p.stat() for p in one.rglob("*")}
    file = versioning.version_folder(home, "models", FP1, one)
    assert file == home.dvc / "models" / f"{FP1}.dvc"
    versioning.version_folder(home, "models", FP2, two)
    assert versioning.versions(home, "models") == (FP1, FP2)
    for path, stat in before.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_mode) == (
            stat.st_ino,
            stat.st_mtime_ns,
            stat.st_mode,
        )
    expected = content(one)
    shutil.rmtree(one)
    back = versioning.checkout(home, "models", FP1[:12] + "1111", tmp_path / "back")
    assert content(back) == expected
    (back / "model.onnx").write_text("mine to change", encoding="utf-8")
    assert content(versioning.checkout(home, "models", FP1, tmp_path / "again")) == expected


def test_one_copy_is_kept_and_it_lies_in_the_remote(home: Home, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "one", "first")
    versioning.version_folder(home, "models", FP1, folder)
    left = [p for p in home.dvc.rglob("*") if p.is_file() and (p.read_bytes() == b"first" or p.suffix == ".tmp")]
    remote = [p for p in (home.machinery / "dvc-remote").rglob("*") if p.is_file() and p.read_bytes() == b"first"]
    assert not left
    assert len(remote) == 1


def test_many_versions_that_share_files_are_added_at_once(home: Home, tmp_path: Path) -> None:
    """DVC remembers the folders of its cache: emptying it between two versions loses the files that they share."""
    data = land_demo(home, seed=5, runs=12)
    for version in ("v1", "v2", "v3"):
        folder = a_folder(home.models / "rul" / data.subject / "pi" / version, "the same in all")
        (folder / "bundle.json").write_text(version, encoding="utf-8")
    done = versioning.version_subject(home, data.subject)
    assert done.findings == ()
    assert len(done.added) == 4
    for i, kept in enumerate(versioning.versions(home, "models")):
        back = versioning.checkout(home, "models", kept, tmp_path / str(i))
        assert (back / "model.onnx").read_text(encoding="utf-8") == "the same in all"
    assert versioning.version_subject(home, data.subject).added == ()


def test_an_unknown_version_names_what_is_kept(home: Home, tmp_path: Path) -> None:
    versioning.version_folder(home, "models", FP1, a_folder(tmp_path / "one", "first"))
    with pytest.raises(UnknownNameError, match="111111"):
        versioning.checkout(home, "models", FP2, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_landed_dataset_comes_back_with_its_fingerprint(home: Home) -> None:
    old = land_demo(home, seed=5)
    assert versioning.version_subject(home, old.subject).added == (f".nightshift/dvc/datasets/{old.fingerprint}.dvc",)
    assert versioning.version_subject(home, old.subject) == versioning.Versioned()
    newer = land_demo(home, seed=6)
    versioning.version_subject(home, old.subject)
    assert current(home, old.subject) == newer.fingerprint
    shutil.rmtree(old.folder)
    assert versioning.restore_dataset(home, old.fingerprint[:12]) == old.fingerprint
    assert open_dataset(home, old.subject).fingerprint == old.fingerprint


def test_a_damaged_remote_is_an_error_and_not_a_dataset(home: Home, tmp_path: Path) -> None:
    versioning.version_folder(home, "models", FP1, a_folder(tmp_path / "one", "first"))
    for path in (home.machinery / "dvc-remote").rglob("*"):
        if path.is_file() and path.read_bytes() == b"first":
            path.chmod(0o644)
            path.write_bytes(b"oops!")
    with pytest.raises((ServiceError, DataError)):
        versioning.checkout(home, "models", FP1, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def damage(root: Path, how: str) -> None:
    if how == "missing":
        shutil.rmtree(root / ".dvc")
    elif how == "foreign":
        (root / "nightshift.json").unlink()
    elif how == "broken":
        (root / ".dvc" / "config").write_text("[core\nno_scm = True", encoding="utf-8")
    elif how == "empty":
        (root / ".dvc" / "config").unlink()


@pytest.mark.parametrize(
    ("how", "command"), [("missing", "dvc init"), ("foreign", "mv "), ("broken", "dvc init"), ("empty", "dvc init")]
)
def test_a_repository_that_is_not_right_is_one_error_and_is_left_alone(
    home: Home, tmp_path: Path, how: str, command: str
) -> None:
    folder = a_folder(tmp_path / "one", "first")
    versioning.version_folder(home, "models", FP1, folder)
    damage(home.dvc, how)
    before = content(home.dvc)
    with pytest.raises(ServiceError) as raised:
        versioning.version_folder(home, "models", FP2, a_folder(tmp_path / "two", "second"))
    assert command in raised.value.hint
    after = {k: v for k, v in content(home.dvc).items() if not k.startswith(".dvc/tmp")}
    assert after == {k: v for k, v in before.items() if not k.startswith(".dvc/tmp")}


@pytest.mark.parametrize("how", ["missing", "broken"])
def test_the_named_command_mends_it(home: Home, tmp_path: Path, how: str) -> None:
    folder = a_folder(tmp_path / "one", "first")
    versioning.version_folder(home, "models", FP1, folder)
    damage(home.dvc, how)
    with pytest.raises(ServiceError) as raised:
        versioning.checkout(home, "models", FP1, tmp_path / "back")
    command = raised.value.hint.split("`")[1]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert content(versioning.checkout(home, "models", FP1, tmp_path / "back")) == content(folder)


def test_a_push_that_did_not_end_is_made_up_for(home: Home, tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "one", "first")
    remote = home.machinery / "dvc-remote"
    remote.write_text("a file where the remote's folder should be", encoding="utf-8")
    with pytest.raises((ServiceError, OSError)):
        versioning.version_folder(home, "models", FP1, folder)
    remote.unlink()
    versioning.version_folder(home, "models", FP1, folder)
    assert content(versioning.checkout(home, "models", FP1, tmp_path / "back")) == content(folder)


def test_a_failure_of_versioning_is_a_warning(home: Home) -> None:
    data = land_demo(home, seed=5)
    home.dvc.mkdir(parents=True)
    (home.dvc / "notes.txt").write_text("somebody else's folder", encoding="utf-8")
    done = versioning.version_subject(home, data.subject)
    assert [f.code for f in done.findings] == ["R002"]
    assert "mv " in done.findings[0].remedy
    assert done.added == ()
    assert failure_of(home, data.subject) == done.findings[0]
    assert done.news
    assert not versioning.version_subject(home, data.subject).news
    shutil.move(home.dvc, home.dvc.with_name("dvc.old"))
    mended = versioning.version_subject(home, data.subject)
    assert mended.news
    assert len(mended.added) == 1
    assert failure_of(home, data.subject) is None


def test_what_dvc_does_not_hold_is_outstanding(home: Home) -> None:
    data = land_demo(home, seed=5, runs=12)
    assert [w.fingerprint for w in outstanding(home, data.subject)] == [data.fingerprint]
    versioning.version_subject(home, data.subject)
    assert outstanding(home, data.subject) == []
    folder = a_folder(home.models / "rul" / data.subject / "pi" / "v1", "new")
    (folder / "bundle.json").write_text("v1", encoding="utf-8")
    assert [w.folder for w in outstanding(home, data.subject)] == [folder]


def test_trouble_of_the_moment_is_tried_again_and_a_warning_at_last(home: Home) -> None:
    data = land_demo(home, seed=5, runs=12)
    versioning.version_subject(home, data.subject)
    land_demo(home, seed=6, runs=12)
    # Another process's DVC holds the repository: what a `dvc` of the user's own does.
    code = (
        "import sys, zc.lockfile; lock = zc.lockfile.LockFile(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(home.dvc / ".dvc" / "tmp" / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(TransientError, match="in use by another process"):
            versioning.version_subject(home, data.subject, last_try=False)
        assert [f.code for f in versioning.version_subject(home, data.subject).findings] == ["R002"]
        other.communicate("")
    assert len(versioning.version_subject(home, data.subject).added) == 1


def test_an_old_version_comes_back_by_the_beginning_of_its_fingerprint(home: Home) -> None:
    old = land_demo(home, seed=5, runs=12)
    versioning.version_subject(home, old.subject)
    newer = land_demo(home, seed=6, runs=12)
    # From the store, though DVC has never seen it, then from DVC, as the store has lost it.
    assert versioning.restore_version(home, old.subject, newer.fingerprint[:5]) == newer.fingerprint
    shutil.rmtree(old.folder)
    assert versioning.restore_version(home, old.subject, old.fingerprint[:5]) == old.fingerprint
    assert current(home, old.subject) == old.fingerprint
    with pytest.raises(UsageError, match="fits 2 versions"):
        versioning._one_of("pump", "ab", ["ab1", "ab2"])
