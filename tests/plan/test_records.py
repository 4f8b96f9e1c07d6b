"""Stage records: whole or absent, and void when what they speak of has changed."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nightshift.errors import NightshiftError, TransientError
from nightshift.files import disk_full, write_atomic
from nightshift.plan import lock
from nightshift.plan.records import StageRecord, read_record, record_files, work_folder, write_record
from nightshift.settings import Home
from nightshift.stages.chain import disk_errors

KEY = "a" * 64


def record(home: Home, *files: Path) -> StageRecord:
    return StageRecord(
        stage="train",
        cell_key=KEY,
        status="done",
        started_at="2026-11-21T02:00:00Z",
        seconds=1.5,
        files=record_files(home, files),
    )


def test_a_record_comes_back_as_written(home: Home) -> None:
    model = work_folder(home, KEY) / "native" / "model.bin"
    write_atomic(model, b"weights")
    written = record(home, model.parent)
    write_record(home, written)
    assert read_record(home, KEY, "train") == written
    assert read_record(home, KEY, "evaluate") is None


def test_an_altered_or_missing_file_voids_the_record(home: Home) -> None:
    model = work_folder(home, KEY) / "model.bin"
    write_atomic(model, b"weights")
    write_record(home, record(home, model))
    model.write_bytes(b"WEIGHTS")
    assert read_record(home, KEY, "train") is None
    model.write_bytes(b"weights")
    assert read_record(home, KEY, "train") is not None, "the same bytes with another stamp are the same file"
    model.unlink()
    assert read_record(home, KEY, "train") is None


def test_a_torn_record_counts_as_not_done(home: Home) -> None:
    path = write_record(home, record(home))
    path.write_bytes(path.read_bytes()[:20])
    assert read_record(home, KEY, "train") is None


def test_an_atomic_write_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    """A file-size limit stands for a full disk: the old content stays, no temporary file is left."""
    target = tmp_path / "record.json"
    write_atomic(target, b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path; from nightshift.files import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_atomic(Path(sys.argv[1]), b'x' * 5000)"
    )
    child = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False)
    assert child.returncode != 0
    assert "File too large" in child.stderr
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_lock_is_held_by_one_process_and_ends_with_it(home: Home) -> None:
    code = (
        "import sys, time; from nightshift.plan import lock; from nightshift.settings import home\n"
        "with lock.held(home(), 'cell'):\n    print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert lock.is_held(home, "cell")
        with pytest.raises(TransientError, match="busy now"), lock.held(home, "cell", busy="busy now"):
            pass
    finally:
        child.kill()
        child.communicate()
    assert not lock.is_held(home, "cell")
    with lock.held(home, "cell"):
        pass


def test_a_lock_whose_file_was_removed_meanwhile_keeps_nobody_out(home: Home) -> None:
    """Who waits for a lock has opened its file; after it is removed, only the file of that name counts."""
    code = (
        "from nightshift.plan import lock; from nightshift.settings import home\n"
        "print('waits', flush=True)\n"
        "with lock.held(home(), 'cell', wait=True):\n"
        "    print(lock.lock_path(home(), 'cell').is_file(), lock.is_held(home(), 'cell'), flush=True)"
    )
    with lock.held(home, "cell"):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "waits\n"
        time.sleep(0.2)
        lock.forget(home, "cell")
    assert child.communicate(timeout=30)[0] == "True True\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_to_run_out_of_space_is_known(number: int) -> None:
    assert disk_full(OSError(number, "no more"))
    with pytest.raises(NightshiftError, match=r"disk|size limit"), disk_errors():
        raise OSError(number, "no more")


def test_other_errors_are_no_fulldisk_errors() -> None:
    assert not disk_full(OSError(errno.EIO, "I/O error"))
    assert not disk_full(ValueError("no more"))
