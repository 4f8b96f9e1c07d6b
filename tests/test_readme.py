"""What the README says can be done, can be done: targets, commands, paths, deployments."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from nightshift.cli.app import build_parser

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```[a-z]*\n(.*?)```", README, re.DOTALL)
LINES = [line.strip() for block in BLOCKS for line in block.splitlines()]


def test_the_two_commands_come_first_and_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    first = BLOCKS[0].split("\n")[:2]
    assert README.index("```") < 60
    for line in first:
        make, target = line.split()
        assert make == "make"
        assert target in targets
    for target in ("demo", "test", "check", "bench", "up", "down"):
        assert target in targets


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("nightshift ")])
def test_every_command_is_one_that_the_parser_takes(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    build_parser(words).parse_args(words)


def test_every_path_in_the_table_exists() -> None:
    table = [line for line in README.splitlines() if line.startswith("| ") and "`" in line]
    paths = [p for line in table for p in re.findall(r"`([\w./-]+)`", line) if "/" in p or p.endswith(".yaml")]
    assert len(paths) > 20
    missing = [p for p in paths if not (ROOT / p).exists()]
    assert not missing


def test_every_deployment_has_its_line() -> None:
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    runs = [line for line in LINES if line.startswith("prefect deployment run ")]
    for deployment in declared:
        flow = deployment["entrypoint"].rsplit(".", 1)[-1].replace("_", "-")
        assert any(f" {flow}/{deployment['name']} " in line for line in runs), flow
