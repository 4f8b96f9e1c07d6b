"""Flags made from configs."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field

from nightshift import families
from nightshift.cli.flags import add_flags, applicable, attribute_docs, config_flags, given
from nightshift.cli.parser import Parser
from nightshift.errors import ConfigError, UsageError
from nightshift.family import FamilyConfig


class Example(FamilyConfig):
    """An example.

    Attributes:
        n_trees: of the forest, which
            goes on here.
        low, high: both ends, in `mm`.
        shown: whether it is shown.
        members: no scalar.
    """

    n_trees: int = 10
    low: float = 0.0
    high: float | None = None
    shown: bool = True
    mode: Literal["fast", "exact"] = "fast"
    horizon_h: int = Field(default=24, json_schema_extra={"flag": "--forecast-hours"})
    members: tuple[str, ...] = ()


def read(*words: str) -> dict[str, object]:
    parser = Parser(prog="t")
    parser.add_argument("--set", action="append")
    add_flags(parser, "settings", config_flags([Example]))
    return given(parser.parse_args(list(words)))


def test_every_scalar_field_is_a_flag_and_nothing_else_is() -> None:
    flags = {f.key: f.option for f in config_flags([Example])}
    assert flags["time_limit_s"] == "--time-limit"
    assert flags["horizon_h"] == "--forecast-hours"
    assert flags["n_trees"] == "--n-trees"
    assert "members" not in flags
    assert "wanted" not in flags


@pytest.mark.parametrize("name", families.names())
def test_every_family_offers_its_scalar_fields_with_help(name: str) -> None:
    for flag in config_flags([families.get(name).config]):
        assert flag.help, f"{name}.{flag.key} has no line under `Attributes:`"


def test_values_have_the_type_of_their_field() -> None:
    values = read("--n-trees", "10_000_000", "--low", "3e-4", "--high", "none", "--no-shown", "--mode", "exact")
    assert values == {"n_trees": 10_000_000, "low": 3e-4, "high": None, "shown": False, "mode": "exact"}
    assert type(values["n_trees"]) is int


def test_what_is_not_given_is_absent() -> None:
    assert read() == {}


@pytest.mark.parametrize(
    "words", [["--n-trees", "1.5"], ["--low", "much"], ["--mode", "slow"], ["--n-trees"], ["--n-tree", "3"]]
)
def test_a_wrong_value_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(UsageError):
        read(*words)


def test_set_reaches_nested_keys_and_wins_over_flags() -> None:
    values = read("--n-trees", "5", "--set", "n_trees=7", "--set", "wanted.f1=0.9", "--set", "members=[a, b]")
    assert values == {"n_trees": 7, "wanted": {"f1": 0.9}, "members": ["a", "b"]}


def test_set_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not key=value"):
        read("--set", "seed")


def test_help_comes_from_the_docstrings_of_the_class_and_its_bases() -> None:
    docs = attribute_docs(Example)
    assert docs["n_trees"] == "of the forest, which goes on here"
    assert docs["low"] == docs["high"] == "both ends, in mm"
    assert docs["seed"]


def test_a_family_takes_only_the_keys_it_knows() -> None:
    assert applicable({"n_trees": 3, "depth": 4}, Example) == {"n_trees": 3}
