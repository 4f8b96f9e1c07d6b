"""Logs are found in files, folders and archives; what is none, or would burst, is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from nightshift.data.importers.can.sources import read_traces
from nightshift.errors import DataError

LOG = b"(1.0) can0 044#2A\n(1.1) can0 044#2B\n"
TABLE = b"1.0,0316,1,05,R\n1.1,0316,1,06,T\n"


def test_a_folder_is_searched_and_what_is_no_log_is_noted(tmp_path: Path) -> None:
    (tmp_path / "fuzzy").mkdir()
    (tmp_path / "fuzzy" / "a.csv").write_bytes(b"\xef\xbb\xbf" + TABLE)
    (tmp_path / "drive.log").write_bytes(LOG)
    (tmp_path / "notes.txt").write_text("who drove, and where\n")
    with zipfile.ZipFile(tmp_path / "more.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rpm/b.csv", TABLE)
    traces, notes = read_traces([tmp_path])
    assert [(t.name, t.kind) for t in traces] == [("drive.log", "other"), ("a.csv", "fuzzy"), ("b.csv", "spoof")]
    assert notes == ["notes.txt is no log of CAN frames and was left out"]


def test_a_named_file_must_be_a_log_of_the_named_layout(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("who drove, and where\n")
    (tmp_path / "drive.log").write_bytes(LOG)
    with pytest.raises(DataError, match=r"notes.txt is not a log of CAN frames; it begins with 'who drove, and where'"):
        read_traces([tmp_path / "notes.txt"])
    with pytest.raises(DataError, match=r"drive.log is not in the layout 'daga'"):
        read_traces([tmp_path / "drive.log"], "daga")
    with pytest.raises(DataError, match=r"there is no file gone.log"):
        read_traces([tmp_path / "gone.log"])
    (tmp_path / "empty.log").touch()
    with pytest.raises(DataError, match=r"empty.log is not a log"):
        read_traces([tmp_path / "empty.log"])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="there is no log in nothing/"):
        read_traces([tmp_path / "nothing"])


def test_an_archive_that_grows_beyond_measure_or_lies_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.csv", bytes(20_000_000))
    with pytest.raises(DataError, match=r"zeros.csv in bomb.zip would grow from [\d,]+ to 20,000,000 bytes"):
        read_traces([bomb])
    small = tmp_path / "small.zip"
    with zipfile.ZipFile(small, "w") as archive:
        archive.writestr("a.csv", TABLE)
    whole = small.read_bytes()
    small.write_bytes(whole.replace(TABLE, TABLE.replace(b"T", b"R")))
    with pytest.raises(DataError, match=r"small.zip cannot be unpacked: Bad CRC-32"):
        read_traces([small])
    small.write_bytes(whole[:50])
    with pytest.raises(DataError, match=r"small.zip cannot be unpacked"):
        read_traces([small])
