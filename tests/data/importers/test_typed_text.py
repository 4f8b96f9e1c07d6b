"""Columns that nobody has described: each gets the type that all of its cells have."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.data.importers.typed_text import read_typed
from nightshift.errors import DataError


@pytest.mark.parametrize(
    ("cells", "dtype", "first"),
    [
        (("1", "-2", "30"), "int64", 1),
        (("1", "", "30"), "float64", 1.0),
        (("1.5", "2e3", "n/a"), "float64", 1.5),
        (("True", "false", "TRUE"), "bool", True),
        (("true", "", "false"), "float64", 1.0),
        (("007", "012", "100"), "object", "007"),
        (("red", "", "2"), "object", "red"),
        (("2024-01-31", "2024-02-01 12:30", ""), "datetime64", "2024-01-31 00:00:00"),
        (("2024-01-31", "2024-02-31", "2024-03-01"), "object", "2024-01-31"),
        (("", "-", "null"), "float64", "nan"),
        (("123456789012345678", "1", "2"), "float64", 123456789012345678.0),
    ],
)
def test_a_column_has_the_type_of_all_of_its_cells(
    tmp_path: Path, cells: tuple[str, ...], dtype: str, first: object
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("\n".join(["a;b", *(f"{cell};x" for cell in cells)]))
    found = read_typed(file)["a"]
    assert str(found.dtype).startswith(dtype)
    assert str(found.iloc[0]) == str(first)


def test_a_gap_in_text_is_none_and_not_a_word(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a,b\nred,1\n,2\nNA,3\n")
    assert read_typed(file)["a"].tolist() == ["red", None, None]


def test_decimal_commas_are_found_out(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a;b\n0,5;1\n1,25;2\n")
    assert read_typed(file)["a"].tolist() == [0.5, 1.25]


def test_a_file_that_is_no_table_is_one_error(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.csv is empty"):
        read_typed(file)
