"""Keywords and YAML become settings; what is told twice, or not known, is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import KFold

from nightshift.errors import ConfigError, NightshiftError, UnknownNameError, UsageError
from nightshift.trainer.config import asked_of, read_config, settings_of
from nightshift.trainer.options import Balance, Checks, EarlyStopping, Encode, Limits, Settings, Split, Track

ELEVEN = """
test_size: 0.25
validation_size: 0.15
stratify: true
shuffle: true
random_state: 7
cross_validation: {folds: 4, strategy: stratified}
imbalance_handling: smote
early_stopping: 30
save_model: false
save_path: somewhere/else
verbose: false
"""


def of(given: dict[str, Any] | None = None, **plain: Any) -> Settings:
    return settings_of(given or {}, plain)


def test_the_defaults_are_the_issues() -> None:
    made = of()
    assert made == Settings()
    assert (made.split.test_size, made.split.validation_size, made.seed) == (0.2, 0.1, 42)


def test_numpys_integers_are_numbers_too() -> None:
    assert of({"cv": np.int64(3), "early_stopping": np.int64(7)}) == of({"cv": 3, "early_stopping": 7})


@pytest.mark.parametrize(
    ("given", "plain", "wanted"),
    [
        ({}, {"test_size": 0.3, "shuffle": False}, {"split": Split(test_size=0.3, shuffle=False)}),
        ({"split": "time"}, {"validation_size": 0}, {"split": Split(strategy="time", validation_size=0)}),
        ({"split": {"gap": 3}}, {}, {"split": Split(gap=3)}),
        ({"strategy": "grouped"}, {}, {"split": Split(strategy="grouped")}),
        ({"balance": "smote"}, {}, {"balance": Balance(method="smote")}),
        ({}, {"handle_imbalance": True}, {"balance": Balance(method="class_weight")}),
        ({}, {"handle_imbalance": False}, {"balance": Balance()}),
        ({}, {"handle_imbalance": "undersample"}, {"balance": Balance(method="undersample")}),
        ({"early_stopping": True}, {}, {"early_stopping": EarlyStopping()}),
        ({"early_stopping": 7}, {}, {"early_stopping": EarlyStopping(patience=7)}),
        ({"encode": "none"}, {}, {"encode": None}),
        ({"encode": {"target_from": 9}}, {}, {"encode": Encode(target_from=9)}),
        ({"scale": True}, {}, {"scale": "yes"}),
        ({}, {"random_state": 1}, {"seed": 1}),
        ({}, {"random_state": None, "test_size": None, "handle_imbalance": None}, {"seed": 42, "split": Split()}),
        ({"seed": 3}, {"seeds": 5}, {"seed": 3, "seeds": 5}),
        ({"checks": "error"}, {}, {"checks": Checks(action="error")}),
        ({"checks": None}, {}, {"checks": Checks(action="off")}),
        ({"limits": {"threads": 2}}, {}, {"limits": Limits(threads=2)}),
        ({"cv": 3, "n_jobs": 2, "learning_curve": True}, {}, {"cv": 3, "n_jobs": 2, "learning_curve": True}),
        ({"cv": True}, {}, {"cv": 5}),
        ({"n_jobs": None}, {}, {"n_jobs": 1}),
        ({"cv": KFold(3)}, {}, {"cv": None}),
        ({"scoring": ["f1", "accuracy"]}, {}, {"scoring": ("f1", "accuracy")}),
        ({}, {"save_model": True, "save_path": Path("a/b"), "format": "native"}, {"save_path": "a/b"}),
    ],
)
def test_keywords_in_every_form(given: dict[str, Any], plain: dict[str, Any], wanted: dict[str, Any]) -> None:
    made = settings_of(given, plain)
    assert {name: getattr(made, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"split": Split()}, {"test_size": 0.2}),
        ({"split": Split()}, {"stratify": True}),
        ({"split": KFold(3)}, {"shuffle": True}),
        ({"split": Split(), "strategy": "grouped"}, {}),
        ({"balance": "smote"}, {"handle_imbalance": "smote"}),
        ({"balance": Balance()}, {"handle_imbalance": True}),
        ({"seed": 7}, {"random_state": 1}),
    ],
)
def test_one_thing_told_twice_is_refused(given: dict[str, Any], plain: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"both .* were given"):
        settings_of(given, plain)


@pytest.mark.parametrize(
    ("given", "plain", "says"),
    [
        ({}, {"test_sise": 0.2}, "unknown keyword 'test_sise'.*'test_size'"),
        ({"split": "grouped_stratifid"}, {}, "'grouped_stratified'"),
        ({"balance": "smot"}, {}, "'smote'"),
        ({"balance": {"k_neighbours": 3}}, {}, "'k_neighbors'"),
        ({"checks": "eror"}, {}, "'error'"),
        ({"scale": "maybe"}, {}, "unknown scale"),
        ({"cv": 1}, {}, "2 folds or more, got 1"),
        ({"cv": "five"}, {}, "pairs of row numbers, got 'five'"),
        ({"split": 3}, {}, "got 3"),
        ({"split": np.arange(500)}, {}, "got array.{70,80}…"),
        ({"limits": 3}, {}, "expected Limits"),
        ({"track": 3}, {}, "expected True"),
        ({"resume": True}, {}, "run_dir to go on from"),
        ({}, {"test_size": 1.5}, "less than 1, got 1.5"),
        ({}, {"random_state": "x"}, "got 'x'"),
        ({"seed": 2**32}, {}, "less than 4294967296"),
        ({}, {"sample_weight": [1]}, "sample_weight= is not taken.*balance='class_weight'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_name(given: Any, plain: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        settings_of(given, plain)


def test_a_file_of_the_eleven_keys_means_what_the_keywords_mean(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(ELEVEN, encoding="utf-8")
    told = read_config(path)
    names = {"cv", "strategy", "early_stopping"}
    read = settings_of({k: told[k] for k in names}, {k: v for k, v in told.items() if k not in names})
    wanted = settings_of(
        {"cv": 4, "strategy": "stratified", "early_stopping": 30},
        {
            "test_size": 0.25,
            "validation_size": 0.15,
            "stratify": True,
            "shuffle": True,
            "random_state": 7,
            "handle_imbalance": "smote",
            "save_model": False,
            "save_path": "somewhere/else",
            "verbose": False,
        },
    )
    assert read == wanted
    assert wanted.balance.method == "smote"
    assert not wanted.verbose


def test_what_is_no_config_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a YAML file or a mapping of its keys, got 3"):
        read_config(3)  # type: ignore[arg-type]


def test_a_file_saves_unless_it_says_otherwise() -> None:
    assert read_config({}) == {"save_model": True}
    assert read_config({"cross_validation": 3})["cv"] == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("test_sise: 0.1", "unknown key 'test_sise'.*'test_size'"),
        ("cross_validation: {fold: 3}", "cross_validation.fold.*'folds'"),
        ("- 1", "must hold a mapping"),
        (
            "a: [",
            r"train\.yaml.* YAML: line 1, column 5: expected the node content, .*, in 'a: \['\. Mend it there\.$",
        ),
        ("model: x\n\ttest_size: 0.2", "line 2, column 1: found character '.t' that cannot start any token"),
        ("seeds: 2\nseeds: 3", "line 2, column 1: the key 'seeds' stands twice"),
        ("model: a: b", "line 1, column 9: mapping values are not allowed here"),
        ("model: *a", "line 1, column 8: found undefined alias"),
        ("model: !!python/name:os.system x", "line 1, column 8: could not determine a constructor"),
        ("model: \x07", "special characters are not allowed"),
        ("params: 3", "'params': Input should be a valid dictionary, got 3"),
        ("save_path: [1]", r"'save_path': Input is not a valid path.*, got \[1\]"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(NightshiftError, match=r"gone\.yaml"):
        read_config(tmp_path / "gone.yaml")


def test_pairs_of_row_numbers_are_folds_and_leave_no_test_out_unless_one_is_asked_for() -> None:
    rows = np.arange(12)
    pairs = list(KFold(3).split(rows))
    for cv in (pairs, iter(pairs), KFold(3).split(rows), tuple(pairs)):
        asked = asked_of({"cv": cv}, {})
        assert [pair[1].tolist() for pair in asked.folds.pairs] == [pair[1].tolist() for pair in pairs]
        assert asked.settings.split.test_size == 0
    assert asked_of({"cv": pairs}, {"test_size": 0.3}).settings.split.test_size == 0.3
    assert asked_of({"cv": pairs, "split": Split()}, {}).settings.split.test_size == 0.2
    for wrong in ([], [1, 2], "5", {"a": 1}, 5.0, [(1, 2, 3)], [pairs[0], 3]):
        with pytest.raises(
            UsageError, match=r"cv: expected a number of folds, a splitter .* or \(train, held out\) pairs"
        ):
            asked_of({"cv": wrong}, {})


def test_objects_that_no_setting_can_hold_are_kept_beside() -> None:
    def mine(estimator: Any, X: Any, y: Any) -> float:
        return float(len(X))

    asked = asked_of(
        {"split": ([0, 1], [2], [3]), "cv": KFold(3), "scoring": {"mine": mine}, "track": True, "run_dir": "here"}, {}
    )
    assert asked.splitter == ([0, 1], [2], [3])
    assert asked.folds.n_splits == 3
    assert asked.settings.scoring == ("mine",)
    assert asked.track == Track()
    assert asked.run_dir == Path("here")
    with pytest.raises(UnknownNameError):
        asked_of({}, {"tracking": True})
