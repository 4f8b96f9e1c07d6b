"""What docs/trainer.md shows runs as it stands there, and its tables are what the code says."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn.datasets import make_classification

from nightshift.cli.app import build_parser
from nightshift.findings import CODES
from nightshift.settings import Home
from nightshift.trainer import CVResult, FindingWarning, TrainResult, train_from_config
from nightshift.trainer.config import METHODS, STRATEGIES

pytestmark = pytest.mark.slow

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "trainer.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
#: The keys that a file must be able to have.
KEYS = {
    "test_size", "validation_size", "stratify", "shuffle", "random_state", "cross_validation", "imbalance_handling",
    "early_stopping", "save_model", "save_path", "verbose",
}  # fmt: skip


def shape(shown: str) -> list[str]:
    """Return lines with one space between words and N for each number: seconds differ, and so do last digits."""
    shown = re.sub(r"Saved in \S+; nightshift\.trainer\.load\('\S+'\)", "Saved in FOLDER", shown)
    lines = [re.sub(r"-?\d[\d,.]*(e-\d+)?", "N", " ".join(line.split())) for line in shown.splitlines()]
    return [line.rstrip(".") for line in lines]


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading."""
    under = TEXT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in under.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip().strip("`") for cell in line.strip("| ").split(" | ")] for line in lines]


def test_the_examples_run_and_show_what_the_page_says(home: Home) -> None:
    told: dict[str, Any] = {}
    results, shown = [], ""
    for kind, block in BLOCKS:
        if kind == "text":
            assert shape(shown) == shape(block)
        if kind != "python":
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
            warnings.simplefilter("ignore", FindingWarning)
            exec(compile(block, "docs/trainer.md", "exec"), told)
        shown = out.getvalue()
        results.append(told["result"])
    forest, folds, smote = results[:3]
    assert isinstance(forest, TrainResult)
    assert (forest.scores["test"]["accuracy"] or 0.0) > 0.9
    assert isinstance(folds, CVResult)
    assert (len(folds.folds), folds.about.primary) == (5, "f1")
    assert (folds.mean["f1"] or 0.0) > 0.9
    assert folds.saved is not None
    assert folds.saved.is_relative_to(home.root)
    assert smote.fitted.counts_before["0"] > 8 * smote.fitted.counts_before["1"]
    assert smote.fitted.counts_after["0"] == smote.fitted.counts_after["1"]
    assert Path(told["folder"]).is_dir()


def test_the_yaml_has_all_keys_and_trains(home: Home, tmp_path: Path) -> None:
    (text,) = [block for kind, block in BLOCKS if kind == "yaml"]
    given = yaml.safe_load(text)
    assert set(given) >= KEYS
    small = {**given, "save_path": str(tmp_path / given["save_path"]), "params": {"max_iter": 5}}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**small, "checks": "off"}), encoding="utf-8")
    X, y = make_classification(300, 5, random_state=0)
    result = train_from_config(tmp_path / "train.yaml", X, y)
    assert isinstance(result, CVResult)
    assert len(result.folds) == 5
    assert result.settings.balance.method == "class_weight"
    assert result.saved is not None
    assert result.saved.parent.name == given["save_path"]


def test_the_table_of_findings_is_the_registrys() -> None:
    rows = {row[1]: row for row in table("Findings")}
    trainers = {code for code in CODES if code[0] == "T" and int(code[1:]) > 20} | {"T001", "T003", "T006"}
    assert set(rows) == trainers
    for code, (_, _, *cells) in rows.items():
        assert cells == [CODES[code].title, CODES[code].why, CODES[code].remedy]
    planned = [row[0] for row in rows.values() if row[0] != "–"]
    assert planned == [f"T{number:03d}" for number in range(1, 14)]


@pytest.mark.parametrize(
    ("heading", "names"),
    [("Rare classes", set(METHODS) - {"none"}), ("Saving, and whom to trust", {"skops", "native", "joblib"})],
)
def test_tables_name_every_choice(heading: str, names: set[str]) -> None:
    assert {row[0].split("`")[0] for row in table(heading)} == names


def test_the_commands_are_what_the_parser_takes() -> None:
    shell = "".join(block for kind, block in BLOCKS if kind == "sh")
    commands = [shlex.split(line, comments=True)[1:] for line in shell.splitlines() if line.startswith("nightshift ")]
    trained = [words for words in commands if words[0] == "train-table"]
    assert len(trained) >= 3
    for words in trained:
        assert build_parser(words).parse_args(words).target == "y"
    for words in commands:
        assert build_parser(words).parse_args(words)


def test_every_strategy_is_told() -> None:
    assert all(f"`{name}`" in TEXT or f'"{name}"' in TEXT for name in STRATEGIES)
