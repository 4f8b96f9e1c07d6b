"""Delimited text is read as it comes, or refused with the line named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nightshift.data.importers.text import header_of, read_text_table
from nightshift.errors import DataError

TABLE = "zeit;wärme;n\n2025-01-01;1,5;3\n2025-01-02;-2,25;4\n"


def write(folder: Path, text: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / "file.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
        ("latin-1", "cp1252"),
    ],
)
def test_encodings_are_told_apart(tmp_path: Path, encoding: str, told: str) -> None:
    table = read_text_table(write(tmp_path, TABLE, encoding))
    assert table.encoding == told
    assert list(table.frame.columns) == ["zeit", "wärme", "n"]
    assert (table.separator, table.decimal) == (";", ",")
    assert table.frame["wärme"].tolist() == ["1,5", "-2,25"]


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
def test_separators_are_told_apart(tmp_path: Path, sep: str) -> None:
    text = "a,b,c\n1.5,x,\n2.5,y,z\n".replace(",", sep)
    table = read_text_table(write(tmp_path, text))
    assert (table.separator, table.decimal) == (sep, ".")
    assert table.frame.to_numpy().tolist() == [["1.5", "x", ""], ["2.5", "y", "z"]]


@pytest.mark.parametrize("sep", [",", ";"])
def test_separators_are_told_apart_beside_quoted_lines(tmp_path: Path, sep: str) -> None:
    file = tmp_path / "file.csv"
    file.write_text(f"a{sep}b\n" + f'1{sep}"x;\ny, z"\n' * 3)
    table = read_text_table(file)
    assert table.separator == sep
    assert table.frame["b"].tolist() == ["x;\ny, z"] * 3


def test_quoted_decimal_commas_stand_beside_comma_separators(tmp_path: Path) -> None:
    table = read_text_table(write(tmp_path, 'a,b\n"1,5",x\n"2,5",y\n'))
    assert (table.separator, table.decimal) == (",", ",")
    assert table.frame["a"].tolist() == ["1,5", "2,5"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_any_line_end_is_read_and_blank_lines_are_skipped(tmp_path: Path, newline: str) -> None:
    table = read_text_table(write(tmp_path, newline.join(["a,b", "1,2", "", "3,4", ""])))
    assert len(table.frame) == 2


def test_superfluous_separators_at_line_ends_are_dropped_and_told(tmp_path: Path) -> None:
    table = read_text_table(write(tmp_path, "a,b,\n1,2,\n3,4,\n"))
    assert list(table.frame.columns) == ["a", "b"]
    assert table.notes == ("2 lines ended in a superfluous separator",)


def test_excels_own_separator_line_is_understood(tmp_path: Path) -> None:
    assert list(read_text_table(write(tmp_path, "sep=;\r\na;b\r\n1;2\r\n")).frame.columns) == ["a", "b"]


def test_a_nameless_index_column_gets_a_name(tmp_path: Path) -> None:
    assert list(read_text_table(write(tmp_path, ",a\n0,1\n1,2\n")).frame.columns) == ["column_1", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,4,5\n", r"line 3 of file\.csv has 3 cells, the header has 2"),
        ("a,b\n1,2\n3\n", r"line 3 of file\.csv has 1 cells, the header has 2"),
        ("a,b\n1,5,2,5\n", "decimal comma"),
        ('a,b\n1,"2\n', r"line 2 of file\.csv"),
        ("a,b,a\n1,2,3\n", "column 'a' more than once"),
        ("a,b\n", "header but no rows"),
        ("", "is empty"),
        ("  \n", "is empty"),
        (b"PK\x03\x04\x00\x00\x00", "an Excel workbook. Unpack it"),
        (b"\x1f\x8b\x08\x00", "packed by gzip"),
        (b"\x7fELF\x00\x00\x00", "is binary"),
        ("made in May\n\na,b\n1,2\n", r"line 3 .* Take out the lines above the header, such as 'made in May'"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        ("ts;a\n1;1,234\n2;12,345\n", r"'1,234' in column 'a': the comma may mark thousands or decimals"),
        ("ts;a\n1;1,234\n2;1,234,567\n", "thousands or decimals"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_text_table(write(tmp_path, text))


def test_a_wrong_or_unknown_encoding_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "wärme,b\n1,2\n", "latin-1")
    with pytest.raises(DataError, match="not utf-8 text"):
        read_text_table(path, encoding="utf-8")
    with pytest.raises(DataError, match="'utf-9' is no encoding"):
        read_text_table(path, encoding="utf-9")
    with pytest.raises(DataError, match=r"no file gone.csv"):
        read_text_table(tmp_path / "gone.csv")


def test_a_pipe_and_a_file_that_is_too_large_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", Path("/dev/zero")):
        with pytest.raises(DataError, match=f"{path.name} cannot be read: it is no plain file"):
            read_text_table(path)
    large = write(tmp_path, "a,b\n1,2\n")
    with pytest.raises(DataError, match=r"file\.csv is larger than 7 bytes. Cut it into several files"):
        read_text_table(large, limit=7)
    assert len(read_text_table(large, limit=8).frame) == 1


@pytest.mark.parametrize("telling", ["0,500", "1234,500", "1,23"])
def test_one_number_that_can_only_be_a_decimal_settles_the_comma(tmp_path: Path, telling: str) -> None:
    rows = "".join(f"{i};1,234\n" for i in range(80))
    assert read_text_table(write(tmp_path, f"ts;a\n{rows}80;{telling}\n")).decimal == ","


def test_a_comma_that_the_mapping_explains_is_not_asked_about(tmp_path: Path) -> None:
    assert read_text_table(write(tmp_path, "ts;a\n1;1,234\n"), decimal=",").decimal == ","


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"])
@pytest.mark.parametrize("rows", [1, 30_000])
def test_the_header_is_told_from_the_beginning_alone(tmp_path: Path, encoding: str, rows: int) -> None:
    """Whatever byte the part that is read ends in the midst of."""
    file = write(tmp_path, "\nzeit; wärme ;;n\n" + "2025-01-01;1,5;ä;3\n" * rows, encoding)
    assert header_of(file) == tuple(read_text_table(file).frame.columns) == ("zeit", "wärme", "column_3", "n")


def test_a_header_alone_is_refused_as_the_table_would_be(tmp_path: Path) -> None:
    assert header_of(write(tmp_path, "sep=|\na|b\n1|2\n")) == ("a", "b")
    for content, said in (
        (b"PK\x03\x04", "a ZIP archive"),
        ("a,a\n1,2\n", "more than once"),
        ('a,"b\n', "is no table"),
    ):
        with pytest.raises(DataError, match=said):
            header_of(write(tmp_path, content))
    with pytest.raises(DataError, match="cannot be read"):
        header_of(tmp_path / "nothing.csv")
