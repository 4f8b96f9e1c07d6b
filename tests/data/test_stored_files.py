"""Files beside a dataset's rows: named safely, under the fingerprint, stored whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from support.datasets import calendar_rows, describe

from nightshift.data.dataset import Dataset
from nightshift.data.schema import Metadata
from nightshift.data.splits import split
from nightshift.data.store import land, open_dataset, verify
from nightshift.errors import DataError
from nightshift.settings import Home


def landed(home: Home, files: dict[str, Path], described: dict[str, str] | None = None) -> Dataset:
    metadata = describe("pump_1").model_copy(update={"files": described or {}})
    return land(home, split(calendar_rows(), metadata), metadata, files=files)


def test_files_count_in_the_fingerprint_and_none_leave_it_as_it_was(home: Home, tmp_path: Path) -> None:
    plain = landed(home, {})
    assert plain.metadata.files == {}
    (tmp_path / "a").write_bytes(b"one")
    one = landed(home, {"notes/a.txt": tmp_path / "a"})
    assert (one.folder / "notes" / "a.txt").read_bytes() == b"one"
    verify(open_dataset(home, "pump_1"))
    (tmp_path / "a").write_bytes(b"two")
    two = landed(home, {"notes/a.txt": tmp_path / "a"})
    assert len({plain.fingerprint, one.fingerprint, two.fingerprint}) == 3
    # The rows are the same, and so is what they alone would be.
    assert landed(home, {}).fingerprint == plain.fingerprint


def test_a_file_that_is_gone_or_other_than_described_refuses_the_landing(home: Home, tmp_path: Path) -> None:
    before = landed(home, {})
    with pytest.raises(DataError, match=r"notes/a\.txt of 'pump_1' cannot be read: No such file"):
        landed(home, {"notes/a.txt": tmp_path / "a"})
    (tmp_path / "a").write_bytes(b"one")
    with pytest.raises(DataError, match=r"notes/a\.txt of 'pump_1' is missing or not the file that the metadata name"):
        landed(home, {"notes/a.txt": tmp_path / "a"}, {"notes/a.txt": "0" * 64})
    with pytest.raises(DataError, match=r"notes/b\.txt of 'pump_1' is missing"):
        landed(home, {}, {"notes/b.txt": "0" * 64})
    assert open_dataset(home, "pump_1").fingerprint == before.fingerprint


@pytest.mark.parametrize("name", ["../up/a", "/etc/a", "a/../../b", "train.parquet", "a//b", "a/.b", "a/b/c/d/e", ""])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    told = describe("pump_1").model_dump(mode="json") | {"files": {name: "0" * 64}}
    with pytest.raises(ValidationError):
        Metadata.model_validate(told)
