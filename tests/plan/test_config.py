"""Config: order of the layers, numbers as people write them, and errors that name the way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nightshift.errors import ConfigError, UnknownNameError
from nightshift.plan.config import merge, read_yaml, resolve
from nightshift.settings import Home


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-4", 3e-4), ("10_000_000", 10_000_000), ("1_000.5", 1000.5), (".5", 0.5), ("1E3", 1000.0), ("-2e2", -200.0)],
)
def test_numbers_are_read_as_people_write_them(tmp_path: Path, text: str, value: float) -> None:
    read = read_yaml(write(tmp_path / "x.yaml", f"key: {text}\n"))["key"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["1.2.3", "v1", "12:30:00x", "e5"])
def test_what_only_looks_like_a_number_stays_text(tmp_path: Path, text: str) -> None:
    assert read_yaml(write(tmp_path / "x.yaml", f"key: {text}\n"))["key"] == text


def test_broken_yaml_is_one_readable_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml is not valid YAML"):
        read_yaml(write(tmp_path / "x.yaml", "a: [1, 2\n"))
    with pytest.raises(ConfigError, match="must hold a mapping"):
        read_yaml(write(tmp_path / "x.yaml", "- 1\n"))


def test_maps_merge_and_lists_replace() -> None:
    merged = merge({"a": {"x": 1, "y": 2}, "b": [1, 2]}, {"a": {"y": 3}, "b": [4]})
    assert merged == {"a": {"x": 1, "y": 3}, "b": [4]}


def test_each_layer_overrides_the_one_before(home: Home, tmp_path: Path) -> None:
    def seed(**over: object) -> int:
        return resolve(home, "m1", "anomaly", "pi", **over).config.seed  # type: ignore[arg-type]

    assert seed() == 42
    write(home.configs / "targets" / "pi.yaml", "families: {anomaly: {seed: 1}}\n")
    assert seed() == 1
    write(home.configs / "machines" / "m1.yaml", "families: {anomaly: {seed: 2}}\n")
    assert seed() == 2
    file = write(tmp_path / "mine.yaml", "families: {anomaly: {seed: 3}}\n")
    assert seed(file=file) == 3
    assert seed(file=file, params={"seed": 4}) == 4
    assert seed(file=file, params={"seed": 4}, flags={"seed": "5"}) == 5
    assert resolve(home, "m1", "anomaly", "pi", flags={"seed": 5}).sources["seed"] == "flag"


def test_an_unknown_key_names_the_nearest(home: Home, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.yaml", "families: {anomaly: {contaminaton: 0.1}}\n")
    with pytest.raises(ConfigError, match="Did you mean 'contamination'"):
        resolve(home, "m1", "anomaly", "pi", file=file)


def test_unknown_family_and_target_name_the_nearest(home: Home) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'anomaly'"):
        resolve(home, "m1", "anomoly", "pi")
    with pytest.raises(UnknownNameError, match="Did you mean 'server'"):
        resolve(home, "m1", "anomaly", "sever")


def test_a_bad_value_names_key_source_and_value(home: Home) -> None:
    with pytest.raises(ConfigError, match=r"from flag.*'seed'.*'many'"):
        resolve(home, "m1", "anomaly", "pi", flags={"seed": "many"})


@pytest.mark.parametrize(
    ("family", "preset", "near"),
    [("anomaly", "fsat", "fast"), ("anomaly", "standart", "standard"), ("rul", "medium_qualty", "medium_quality")],
)
def test_a_misspelt_preset_names_the_nearest(home: Home, family: str, preset: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"from flag.*unknown preset '{preset}'.*Did you mean '{near}'"):
        resolve(home, "m1", family, "pi", flags={"preset": preset})


def test_autogluons_presets_are_for_the_tabular_families_only(home: Home) -> None:
    assert resolve(home, "m1", "rul", "pi", flags={"preset": "medium_quality"}).config.preset == "medium_quality"
    with pytest.raises(ConfigError, match="unknown preset 'medium_quality'"):
        resolve(home, "m1", "forecast", "pi", flags={"preset": "medium_quality"})


def test_a_value_above_the_targets_ceiling_is_refused(home: Home) -> None:
    with pytest.raises(ConfigError, match=r"'num_bag_folds' is 5 .* above the limit of target 'pi': 3"):
        resolve(home, "m1", "classification", "pi", flags={"num_bag_folds": 5})


def test_names_that_users_know_are_mapped(home: Home, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.yaml", "families: {timeseries: {seed: 7}}\n")
    assert resolve(home, "m1", "timeseries", "pi", file=file).config.seed == 7


def test_every_shipped_target_resolves_for_every_family(home: Home) -> None:
    from nightshift import families
    from nightshift.plan.config import targets

    assert {"pi", "server"} <= set(targets(home))
    for family in families.names():
        for target in targets(home):
            assert resolve(home, "m1", family, target).limits.size_mb > 0


def test_a_file_that_changes_is_read_again_whether_it_was_kept_or_not(home: Home) -> None:
    path = home.configs / "machines" / "m1.yaml"
    for seed, written_ns in ((1, 10**18), (2, 2 * 10**18), (3, None), (4, None)):
        write(path, f"families: {{anomaly: {{seed: {seed}}}}}\n")
        if written_ns:
            os.utime(path, ns=(written_ns, written_ns))
        for _ in range(2):
            assert resolve(home, "m1", "anomaly", "pi").config.seed == seed
    path.unlink()
    assert resolve(home, "m1", "anomaly", "pi").config.seed == 42


def test_what_was_kept_of_a_file_is_not_changed_by_who_uses_it(home: Home) -> None:
    path = write(home.configs / "machines" / "m1.yaml", "families: {anomaly: {wanted: {f1: 0.5}}}\n")
    os.utime(path, ns=(10**18, 10**18))
    first = resolve(home, "m1", "anomaly", "pi", flags={"wanted": {"recall": 0.9}})
    assert first.config.wanted == {"f1": 0.5, "recall": 0.9}
    first.config.wanted["precision"] = 1.0
    assert resolve(home, "m1", "anomaly", "pi").config.wanted == {"f1": 0.5}


def test_the_presets_own_time_limit_spelt_out_is_the_same_config(home: Home) -> None:
    def limit(**params: object) -> float | None:
        return resolve(home, "m1", "anomaly", "pi", params=params).config.time_limit_s

    assert limit() is None
    assert limit(preset="fast", time_limit_s=900) is None
    assert limit(preset="fast", time_limit_s=901) == 901
    assert limit(preset="high", time_limit_s=900) == 900
    # A policy's preset has a limit of its own.
    assert resolve(home, "m1", "ppo", "pi", params={"preset": "fast", "time_limit_s": 900}).config.time_limit_s == 900
