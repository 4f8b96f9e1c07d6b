"""Tables of anybody's in the shared store: brought once, fetched where the file is not, gone afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.trainer_files import write_table

from nightshift.data.shared_tables import share_table, table_here
from nightshift.errors import DataError
from nightshift.settings import STORE_VARIABLE, Home


def test_a_file_or_a_folder_of_parquet_is_the_same_on_another_machine(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "store"))
    own = tmp_path / "own"
    own.mkdir()
    file = write_table(own)
    other = Home(tmp_path / "other")
    for table in (file, own):
        key = share_table(home, table)
        assert share_table(home, table) == key
        with table_here(home, table, key) as here:
            assert here == table
        with table_here(other, tmp_path / "elsewhere" / table.name, key) as copy:
            assert copy.is_dir() == table.is_dir()
            pairs = [(copy, table)] if table.is_file() else [(copy / "data.parquet", table / "data.parquet")]
            assert all(one.read_bytes() == two.read_bytes() for one, two in pairs)
        assert not list(other.tmp.iterdir())


def test_a_table_that_is_nowhere_is_one_line(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert share_table(home, write_table(tmp_path)) == ""
    none, missing = tmp_path / "none.csv", r"none\.csv is not on this machine\. .*set NIGHTSHIFT_STORE_URL"
    with pytest.raises(DataError, match=missing), table_here(home, none, ""):
        pass
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "store"))
    with pytest.raises(DataError, match="and not in file://"), table_here(home, none, "tables/0"):
        pass
