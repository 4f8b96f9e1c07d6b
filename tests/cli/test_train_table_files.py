"""`train-table` on files as people have them: a model, or one line that says what to do."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.homes import a_home

from nightshift.cli.app import main
from nightshift.errors import EXIT_BLOCKED, EXIT_OK, EXIT_USAGE
from nightshift.settings import Home

ROWS = 90


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("files")) as home:
        yield home


def frame(**columns: object) -> pd.DataFrame:
    a = np.round(np.sin(np.arange(ROWS)), 3)
    made = {"a": a, "b": np.roll(a, 7), "c": np.resize(["red", "gr\u00fcn", "blue"], ROWS)}
    return pd.DataFrame({**made, "y": np.where(a > 0, "yes", "no"), **columns})


def csv(file: Path, table: pd.DataFrame | None = None, /, **how: object) -> None:
    (frame() if table is None else table).to_csv(file, **{"index": False, **how})  # type: ignore[call-overload]


def text(file: Path, head: str = "", change: Callable[[str], str] = str) -> None:
    file.write_text(head + change(frame().to_csv(index=False)), encoding="utf-8")


def parquet(file: Path, **columns: object) -> None:
    frame(**columns).to_parquet(file)


def packed(file: Path) -> None:
    file.write_bytes(gzip.compress(b"a,y\n1,2\n"))


def folder(file: Path, *, lacking: str = "") -> None:
    file.mkdir()
    frame().to_parquet(file / "1.parquet")
    frame().drop(columns=lacking or []).to_parquet(file / "2.parquet")


def train(place: Home, file: Path, *words: str) -> int:
    asked = {"--target": "y", "--model": "logistic", **dict(zip(words[::2], words[1::2], strict=True))}
    given = [word for pair in asked.items() for word in pair]
    return main(["train-table", str(file), *given, "--no-track", "--set", "save_model=false"])


WHEN = pd.date_range("2024", periods=ROWS, freq="h")
NAMES = {"a": "L\u00e4nge [mm]", "b": 'b (roh), "x"', "c": ""}
QUOTED = [f'said "{n % 3}", then;\nthe end' for n in range(ROWS)]

READ: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "semicolons": (partial(csv, sep=";"), (), "90 rows × 3 columns"),
    "decimal commas": (partial(csv, sep=";", decimal=","), ("--target", "b", "--model", "ridge"), "b: regression"),
    "utf-16": (partial(csv, encoding="utf-16"), (), "3 columns"),
    "a byte-order mark": (partial(csv, encoding="utf-8-sig"), ("--target", "a", "--model", "ridge"), "a: regression"),
    "windows' lines": (partial(csv, lineterminator="\r\n"), (), "3 columns"),
    "odd names": (lambda file: csv(file, frame().rename(columns=NAMES)), (), "3 columns"),
    "quoted lines": (lambda file: csv(file, frame(c=QUOTED)), (), "90 rows × 3 columns"),
    "an index column": (partial(csv, index=True), (), "'column_1': a value of its own for each row"),
    "gaps by many words": (
        lambda file: csv(file, frame(c=np.resize(["n/a", "NULL", "-", "1"], ROWS))),
        (),
        "3 columns",
    ),
    "flags with gaps": (lambda file: csv(file, frame(c=np.resize([True, False, None], ROWS))), (), "3 columns"),
    "one value": (lambda file: csv(file, frame(y=1.5)), ("--model", "ridge"), "T037"),
    "words among numbers": (
        lambda file: csv(file, frame(a=["broken", *np.arange(1.0, ROWS).astype(str)])),
        (),
        "T038 warning: 'a' is text, for among its numbers are 'broken'.",
    ),
    "dates in another form": (
        lambda file: csv(file, frame(c=WHEN[::-1].strftime("%d.%m.%Y"), d=np.roll(WHEN.strftime("%d.%m.%y %H"), 1))),
        (),
        "T038 warning: 'd' is text, for its dates have a form that is not read",
    ),
    "long texts": (lambda file: csv(file, frame(c=["word " * 5_000 + str(n) for n in range(ROWS)])), (), "3 columns"),
    "times in no order": (lambda file: csv(file, frame(at=WHEN[::-1])), ("--times", "at"), "strategy time"),
    "a folder": (folder, (), "180 rows"),
}


@pytest.mark.parametrize("name", READ)
def test_it_is_trained_on(place: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    write, words, said = READ[name]
    write(tmp_path / "table.csv")
    code, shown = train(place, tmp_path / "table.csv", *words), capsys.readouterr()
    assert code == EXIT_OK, shown.err
    assert said in shown.out


REFUSED: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "twice the name": (partial(text, change=lambda told: told.replace("a,b", "a,a")), (), "'a' more than once. Rename"),
    "nothing": (Path.touch, (), "is empty"),
    "a header": (lambda file: file.write_text("a,y\n"), (), "a header but no rows"),
    "one row": (lambda file: file.write_text("a,y\n1,yes\n"), (), "got 1 class: 'yes' in all 1 rows. Get rows of"),
    "one class": (lambda file: csv(file, frame(y="yes")), (), "got 1 class"),
    "no other column": (lambda file: csv(file, frame()[["y"]]), (), "Expected at least 1 column"),
    "words above the header": (partial(text, head="made by x\n"), (), "Take out the lines above the header, such as"),
    "spaces between cells": (partial(csv, sep=" "), (), "separate its cells by comma, semicolon or tab"),
    "an open quote": (partial(text, head='a,b,c,y\n1,2,"red,yes\n'), (), "Mend the quotes"),
    "packed": (packed, (), "is packed by gzip. Unpack it"),
    "no target": (csv, ("--target", ""), "--target is empty"),
    "another target": (csv, ("--target", "Y"), "unknown --target column 'Y'. Did you mean 'y'?"),
    "gaps in the target": (lambda file: csv(file, frame(y=np.resize(["yes", "no", None], ROWS))), (), "NaN: 30 of 90"),
    "amounts as text": (
        lambda file: csv(file, frame(y=[f"{n / 8 + 1000:,.3f}" for n in range(ROWS)])),
        (),
        "y has 90 different texts in 90 rows. Expected classes of several rows each, or numbers, got '1,000.000'",
    ),
    "the target holds rows together": (csv, ("--groups", "y"), "the number of groups: 2"),
    "times that are none": (csv, ("--times", "c"), "got 'red' (dtype object). Write them as 2024-01-31"),
    "a misspelt model": (csv, ("--model", "lightbgm"), "Did you mean 'lightgbm'?"),
    "an empty folder": (Path.mkdir, (), "folder without Parquet files"),
    "a folder of other columns": (partial(folder, lacking="b"), (), "2.parquet has no column 'b'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(place: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    write, words, said = REFUSED[name]
    write(tmp_path / "table.csv")
    assert train(place, tmp_path / "table.csv", *words) in (EXIT_BLOCKED, EXIT_USAGE)
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert said in shown


@pytest.mark.parametrize(("column", "said"), [("c", "column 'c' of mixed types"), ("y", "y has mixed types")])
def test_nested_columns_are_refused(
    place: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str, said: str
) -> None:
    parquet(tmp_path / "table.parquet", **{column: [{"k": 1, "l": [1, 2]}] * ROWS})
    assert train(place, tmp_path / "table.parquet") == EXIT_BLOCKED
    assert said in capsys.readouterr().err
