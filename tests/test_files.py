"""How every YAML is read: what cannot be meant is refused in one sentence, whatever the text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nightshift.errors import ConfigError
from nightshift.files import _loaders, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key 'a' stands twice"),
        ("a: {b: 1, b: 2}", "the key 'b' stands twice"),
        ("a: 2022-13-45", "month must be in 1..12"),
        ("a: " + "9" * 5000, "cannot be read"),
        ("a: !!int abc", "cannot be read"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_yaml_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_yaml(text, "x.yaml")


def test_the_same_key_in_two_mappings_and_a_merge_are_fine() -> None:
    assert parse_yaml("a: &a {k: 1, m: 2}\nb: {<<: *a, k: 3}", "x.yaml")["b"] == {"k": 3, "m": 2}


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_text("a: 1\n" + "# nothing\n" * 100_000)
    with pytest.raises(ConfigError, match=r"huge.yaml has 1,000,005 bytes"):
        read_yaml(path)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "configs").rglob("*.yaml")), ids=lambda p: p.name)
def test_both_loaders_read_every_shipped_config_alike(path: Path) -> None:
    swift, careful = _loaders()
    text = path.read_text(encoding="utf-8")
    assert swift(text).get_single_data() == careful(text).get_single_data()


def test_an_error_shows_the_line_that_is_wrong() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_yaml("a: 1\nwrong: [1, 2\n", "x.yaml")
    assert "wrong: [1, 2" in str(refused.value)


def test_a_pipe_or_a_device_in_a_configs_place_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "link.yaml").symlink_to("/dev/zero")
    for name in ("pipe", "link"):
        with pytest.raises(ConfigError, match=f"{name}.yaml cannot be read: it is no plain file"):
            read_yaml(tmp_path / f"{name}.yaml")
