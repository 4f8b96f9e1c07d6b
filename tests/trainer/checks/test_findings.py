"""Each finding on one set where it is planted, and on one where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from support.trainer_tables import a_table

from nightshift.findings import CODES, Finding, Severity
from nightshift.trainer.checks.data import before
from nightshift.trainer.checks.outcome import after, near_limit
from nightshift.trainer.checks.split import of_split
from nightshift.trainer.contract import Choice, FoldResult, Table
from nightshift.trainer.inputs.columns import kinds
from nightshift.trainer.inputs.table import table_of
from nightshift.trainer.options import Balance, Checks, Limits, Settings, Split
from nightshift.trainer.scores import scorers_of
from nightshift.trainer.split.choose import choose
from nightshift.trainer.split.cut import cut
from nightshift.trainer.split.folds import folds

RNG = np.random.default_rng(11)
NOISE = RNG.normal(size=(300, 4))
COIN = RNG.permutation(300) % 2
THREE = RNG.permutation(300) % 3
BLOCKS = np.arange(300) // 10


def told(table: Table, settings: Settings | None = None, **more: Any) -> list[Finding]:
    """Return what all checks before a fit find."""
    settings = settings or Settings(**more)
    columns = kinds(table, settings.encode)
    choice = choose(table, settings.split, columns)
    parts = cut(table, settings.split, choice, settings.seed)
    return [*before(table, columns, settings), *choice.findings, *of_split(table, parts, (), settings)]


def codes(found: list[Finding]) -> list[str]:
    return [one.code for one in found]


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": NOISE[:, 0], "b": NOISE[:, 1], **columns})


def hour(group: int) -> np.ndarray:
    return np.arange(300) // group


TWICE = np.r_[np.arange(270), np.arange(30)]
UNSTRATIFIED = Split(strategy="random")
MOST = np.r_[np.ones(60, int), np.zeros(240, int)]
AT = pd.date_range("2024", periods=300, tz="UTC")[RNG.permutation(300)]
ROW = np.arange(300)
MISSING = np.where(COIN == 1, np.nan, NOISE[:, 2])

PLANTED: dict[str, tuple[Any, str, str]] = {
    "few rows": (partial(told, a_table(COIN[:45])), "T021", "45 rows"),
    "few groups": (partial(told, a_table(COIN, groups=np.arange(300) % 9)), "T022", "9 groups"),
    "a class in few groups": (
        partial(told, a_table((BLOCKS < 2).astype(int), groups=BLOCKS), balance=Balance(method="smote"), cv=5),
        "T022",
        "Class 1 lies in 2 of 30 groups, fewer than the 5 folds",
    ),
    "imbalance": (
        partial(told, a_table(MOST)),
        "T003",
        "Class 0 has 240 rows, class 1 60: always saying 0 is right in 80%",
    ),
    "a group in two parts": (
        partial(told, a_table(COIN, groups=BLOCKS), split=UNSTRATIFIED),
        "T023",
        "30 groups have rows in two parts",
    ),
    "labels constant per value": (partial(told, a_table(COIN[BLOCKS], frame(s=BLOCKS * 7919 % 31))), "T023", "'s'"),
    "overlap in time": (partial(told, a_table(COIN, times=hour(1)), split=UNSTRATIFIED), "T024", "rows"),
    "duplicate rows": (partial(told, a_table(COIN[TWICE], NOISE[TWICE])), "T025", "rows of validation and test"),
    "duplicate rows of a frame": (
        partial(told, a_table(COIN[TWICE], frame(c=[f"t{i}" for i in range(300)]).iloc[TWICE])),
        "T025",
        "y included",
    ),
    "duplicate texts": (
        partial(told, a_table(COIN[TWICE], pd.DataFrame({"c": [f"t{i}" for i in TWICE]}))),
        "T025",
        "y included",
    ),
    "duplicate rows with gaps": (
        partial(told, a_table(COIN[TWICE], np.where(NOISE > 1, np.nan, NOISE)[TWICE])),
        "T025",
        "y included",
    ),
    "duplicate rows of nullable numbers": (
        partial(told, a_table(COIN[TWICE], pd.DataFrame(NOISE).iloc[TWICE].astype("Float64"))),
        "T025",
        "y included",
    ),
    "duplicate sparse rows": (
        partial(told, a_table(COIN[TWICE], scipy.sparse.csr_matrix(np.where(NOISE > 0.5, NOISE, 0))[TWICE])),
        "T025",
        "y included",
    ),
    "a threshold decides": (
        partial(told, a_table(COIN, frame(leak=COIN * 9 + NOISE[:, 3]))),
        "T026",
        "'leak' alone decides the class",
    ),
    "thresholds decide three": (partial(told, a_table(THREE, frame(leak=THREE + NOISE[:, 3] / 50))), "T026", "'leak'"),
    "a category decides": (partial(told, a_table(COIN, frame(leak=np.array(["yes", "no"])[COIN]))), "T026", "'leak'"),
    "a gap decides": (partial(told, a_table(COIN, frame(leak=MISSING))), "T026", "'leak'"),
    "a date decides": (
        partial(told, a_table(COIN, frame(leak=pd.Timestamp("2024") + pd.to_timedelta(COIN * 99, "D")))),
        "T026",
        "'leak'",
    ),
    "a nullable number decides": (
        partial(told, a_table(COIN, frame(leak=pd.array(np.where(COIN == 1, None, 3), "Int64"), on=AT))),
        "T026",
        "'leak'",
    ),
    "a number decides": (
        partial(told, a_table(NOISE[:, 3], frame(leak=NOISE[:, 3] ** 3))),
        "T026",
        "'leak' alone decides y",
    ),
    "a category decides a number": (
        partial(told, a_table(THREE * 5.0, frame(leak=np.array(["p", "q", "r"])[THREE]))),
        "T026",
        "'leak'",
    ),
    "a constant column": (partial(told, a_table(COIN, frame(c=1.5))), "T027", "'c': one value in all rows."),
    "a name for each row": (
        partial(told, a_table(COIN, frame(c=RNG.permutation(300)))),
        "T027",
        "'c': a value of its own for each row.",
    ),
    "a copied column": (partial(told, a_table(COIN, frame(c=NOISE[:, 0]))), "T027", "'c' = 'a': the same values."),
    "a copied column of other words": (
        partial(told, a_table(COIN, frame(c=np.array(["x", "y", "z"])[THREE], d=np.array(["1", "2", "3"])[THREE]))),
        "T027",
        "'d' = 'c'",
    ),
    "words among numbers": (
        partial(told, a_table(COIN, frame(c=np.where(ROW < 9, "broken", NOISE[:, 3].round(1).astype(str))))),
        "T038",
        "'c' is text, for among its numbers are 'broken'.",
    ),
    "dates in another form": (
        partial(told, a_table(COIN, frame(c=pd.date_range("2024", periods=300).strftime("%d.%m.%Y")[ROW // 2]))),
        "T038",
        "'c' is text, for its dates have a form that is not read, as '01.01.2024'.",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found_and_nothing_else(name: str) -> None:
    find, code, words = PLANTED[name]

    found = find()

    assert codes(found) == [code]
    assert words in found[0].what


CLEAN: dict[str, Any] = {
    "noise": partial(told, a_table(COIN)),
    "a number": partial(told, a_table(NOISE[:, 3])),
    "fifty rows": partial(told, a_table(COIN[:50])),
    "ten groups": partial(told, a_table(COIN, groups=np.arange(300) % 10)),
    "three to one": partial(told, a_table((np.arange(300) % 4 == 0).astype(int))),
    "imbalance that is seen to": partial(told, a_table(MOST), balance=Balance(method="class_weight")),
    "groups that stay whole": partial(told, a_table(COIN, groups=BLOCKS)),
    "times in order": partial(told, a_table(COIN, times=hour(3)), split=Split(gap=2)),
    "equal rows of other y": partial(told, a_table(RNG.normal(size=300), NOISE[TWICE])),
    "flags repeat each other": partial(told, a_table(COIN, (NOISE > 0).astype(int))),
    "a feature that says much": partial(told, a_table(COIN, frame(good=COIN * 2 + NOISE[:, 3]))),
    "dates and categories": partial(
        told,
        a_table(COIN, frame(on=pd.date_range("2024", periods=300)[RNG.permutation(300)], c=pd.Categorical(THREE))),
    ),
    "codes and words": partial(
        told,
        a_table(
            COIN,
            frame(
                code=[f"{one:03}" for one in ROW // 3],
                size=[f"{one // 4} kg" for one in ROW],
                word=[f"word {one // 5}" for one in ROW[::-1]],
            ),
        ),
    ),
    "sparse": partial(told, a_table(COIN, scipy.sparse.csr_matrix(NOISE))),
    "a large drowning number": partial(told, a_table(COIN, frame(c=1.7e18 + RNG.permutation(300) // 2 * 1e9))),
    "iris, which holds one flower twice": partial(told, a_table(load_iris().target, load_iris().data)),
    "breast cancer": partial(told, a_table(load_breast_cancer().target, load_breast_cancer(as_frame=True).data)),
    "diabetes": partial(told, a_table(load_diabetes().target, load_diabetes().data)),
}


@pytest.mark.parametrize("name", CLEAN)
def test_nothing_is_found_where_nothing_is_wrong(name: str) -> None:
    assert CLEAN[name]() == []


@pytest.mark.parametrize(
    ("table", "strategy", "code"),
    [
        (a_table(COIN, groups=BLOCKS), "stratified", "T023"),
        (a_table(COIN, times=hour(1)), "random", "T024"),
        (a_table(COIN[TWICE], NOISE[TWICE]), "random", "T025"),
    ],
)
def test_folds_are_looked_at_beside_parts(table: Table, strategy: Any, code: str) -> None:
    def found(strategy: Any, test_size: float) -> list[str]:
        split, choice = Split(strategy=strategy, test_size=test_size, validation_size=0), Choice(strategy, "")
        parts = cut(table, split, choice, 1)
        return codes(of_split(table, parts, folds(table, parts, 5, choice, split, 1, inner=0.1), Settings()))

    assert found(strategy, 0) == [code]
    assert found(strategy, 0.2) == [code]
    if code != "T025":
        assert found("grouped" if code == "T023" else "time", 0) == []


def test_many_rows_are_looked_at_by_a_sample() -> None:
    rows = np.tile(np.arange(300), 4)
    settings = Settings(checks=Checks(sample_rows=200))

    found = told(a_table(COIN[rows], frame(leak=COIN * 1.0 + NOISE[:, 3] / 99).iloc[rows]), settings)

    assert codes(found) == ["T026", "T025"]


@dataclass(frozen=True)
class Ended:
    """An outcome: of one split unless fold scores are given."""

    table: Table
    train: float = 0.7
    own: float = 0.7
    metric: str = "accuracy"
    beside: tuple[tuple[str, float], ...] = ()
    by_fold: tuple[float, ...] = ()
    held_out: int = 60
    n_rows: int = 100
    rest: tuple[tuple[str, Any], ...] = ()

    def found(self, settings: Settings | None = None) -> list[Finding]:
        beside = dict(self.beside)
        results = [
            FoldResult(
                i,
                {self.metric: s, **dict(self.beside)},
                {self.metric: self.train},
                1.0,
                1,
                rows={"held_out": self.held_out},
            )
            for i, s in enumerate(self.by_fold, 1)
        ]
        test = {self.metric: self.own, **beside}
        return after(
            self.table,
            scorers_of(self.metric, self.table.task),
            settings or Settings(),
            scores={"train": {self.metric: self.train}}
            if results
            else {"train": {self.metric: self.train}, "test": test},
            rows={"test": np.arange(self.table.n_rows if results else self.n_rows)},
            folds=results,
            **dict(self.rest),
        )


EVEN, NUMBER = a_table(COIN), a_table(NOISE[:, 3] * 10)
ENDED: dict[str, tuple[Ended, str, str]] = {
    "by heart": (Ended(EVEN, 1.0, 0.8), "T001", "accuracy is 1 on train and 0.8 on test"),
    "by heart, in folds": (Ended(EVEN, 1.0, by_fold=(0.8, 0.81, 0.8, 0.79)), "T001", "the held-out rows of 4 folds"),
    "an error grows": (Ended(NUMBER, 1.0, 4.0, "mae"), "T001", "mae is 1 on train and 4 on test"),
    "a negative error grows": (Ended(NUMBER, -1.0, -4.0, "neg_mean_squared_error"), "T001", "-4 on test"),
    "ranks like a coin": (Ended(EVEN, beside=(("roc_auc", 0.57),)), "T006", "roc_auc on test is 0.57 (100 rows)"),
    "guesses": (Ended(EVEN, beside=(("balanced_accuracy", 0.55),)), "T006", "balanced_accuracy"),
    "guesses in folds": (Ended(EVEN, by_fold=(0.7,) * 4, beside=(("roc_auc", 0.54),)), "T006", "(300 rows)"),
    "few groups guess": (
        Ended(a_table(COIN[BLOCKS], groups=BLOCKS), beside=(("roc_auc", 0.65),)),
        "T006",
        "roc_auc",
    ),
    "explains nothing": (Ended(NUMBER, 0.1, 0.01, "r2"), "T006", "r2 on test is 0.01"),
    "errs as the mean does": (Ended(NUMBER, 9.0, 11.0, "rmse"), "T006", "rmse on test is 11"),
    "a fold apart": (Ended(EVEN, by_fold=(0.7, 0.71, 0.69, 0.7, 0.4)), "T028", "accuracy of fold 5 is 0.4"),
    "an error apart": (Ended(NUMBER, 5.0, metric="mae", by_fold=(5, 5.1, 4.9, 5, 9)), "T028", "mae of fold 5 is 9"),
    "a setting": (Ended(EVEN, rest=(("nondeterministic", "device='cuda' sums in any order"),)), "T029", "cuda"),
    "memory": (Ended(EVEN, rest=(("peak_mb", 900.0), ("limit_mb", 1000.0))), "T030", "900 MB of 1,000 MB are used."),
}


@pytest.mark.parametrize("name", ENDED)
def test_what_ended_badly_is_found_and_nothing_else(name: str) -> None:
    ended, code, words = ENDED[name]

    found = ended.found()

    assert codes(found) == [code]
    assert words in found[0].what


@pytest.mark.parametrize(
    "ended",
    [
        Ended(EVEN, 0.8, 0.7, beside=(("roc_auc", 0.65), ("balanced_accuracy", 0.5))),
        Ended(EVEN, beside=(("balanced_accuracy", 0.65),)),
        Ended(NUMBER, 0.3, 0.2, "r2"),
        Ended(NUMBER, 5.0, 7.0, "rmse"),
        Ended(NUMBER, -2.0, -4.0, "neg_mean_absolute_error"),
        Ended(EVEN, by_fold=(0.70, 0.75, 0.68, 0.72, 0.63)),
        Ended(EVEN, by_fold=(0.700, 0.701, 0.699, 0.700, 0.66)),
        Ended(EVEN, 0.8, by_fold=(0.9, 0.9, 0.4)),
        Ended(EVEN, 1.0, by_fold=(1.0,) * 20 + (0.0,), held_out=1),
        Ended(EVEN, rest=(("peak_mb", 800.0), ("limit_mb", 1000.0))),
        Ended(EVEN, rest=(("peak_mb", 800.0),)),
        Ended(EVEN, own=float("nan")),
    ],
)
def test_what_ended_well_is_not_remarked_on(ended: Ended) -> None:
    assert ended.found() == []


def test_a_figure_of_all_held_out_rows_goes_before_the_mean_of_folds() -> None:
    """The mean F1 of single rows says nothing."""
    folds = [FoldResult(i, {"f1": i % 2}, {"f1": 0.8}, 1.0, 1, rows={"held_out": 1}) for i in range(300)]
    scorers = scorers_of("f1", "binary")

    found = after(EVEN, scorers, Settings(), scores={"test": {"f1": 0.75}}, rows={"test": np.arange(300)}, folds=folds)

    assert found == []
    assert codes(after(EVEN, scorers, Settings(), scores={}, rows={"test": np.arange(300)}, folds=folds)) == ["T001"]


def test_noise_is_told_apart_from_chance_in_about_one_of_twenty() -> None:
    """The border of T006 is what a guess passes in 5 of 100 tests."""
    from sklearn.metrics import roc_auc_score

    y = COIN[:80]
    draws = [roc_auc_score(y, np.random.default_rng(i).random(80)) for i in range(100)]
    missed = sum(not Ended(a_table(y), beside=(("roc_auc", auc),), n_rows=80).found() for auc in draws)

    assert 1 <= missed <= 12


def test_the_limit_is_that_of_the_settings_where_none_is_given() -> None:
    ended = Ended(EVEN, rest=(("peak_mb", 90.0),))

    assert codes(ended.found(Settings(limits=Limits(memory_mb=100)))) == ["T030"]
    assert codes(near_limit(90, 100)) == ["T030"]
    assert codes(Ended(EVEN, rest=(("peak_mb", 1e9),)).found()) == ["T030"], "more than is free"
    assert near_limit(None, 100) == near_limit(84, 100) == near_limit(90, None) == []


def test_leave_one_out_is_not_advised_to_those_who_do_it() -> None:
    split = Split(strategy="leave_one_out")

    assert told(a_table(COIN[:45]), split=split)[0].remedy == "Get more rows."
    assert "leave_one_out" in told(a_table(COIN[:45]))[0].remedy


def test_nothing_is_looked_for_with_checks_off() -> None:
    off = Settings(checks=Checks(action="off"))
    table = a_table(COIN[TWICE][:40], NOISE[TWICE][:40])

    assert told(table, off) == []
    assert Ended(EVEN, 1.0, 0.1, rest=(("nondeterministic", "x"),)).found(off) == []


@pytest.mark.parametrize("code", [f"T0{number}" for number in range(21, 34)])
def test_every_code_says_why_and_what_to_do(code: str) -> None:
    known = CODES[code]

    assert known.title
    assert known.severity in (Severity.TIP, Severity.WARNING)
    assert len(known.why.split()) >= 4
    assert known.remedy.endswith(".")
    assert f"checks=Checks(mute=('{code}',))" in Finding(code=code, severity=known.severity, what="x", remedy="y").mute


def test_every_finding_of_the_issue_has_a_test() -> None:
    found = {code for _, code, _ in [*PLANTED.values(), *ENDED.values()]}

    assert found == {"T001", "T003", "T006", "T038", *(f"T0{number}" for number in range(21, 31))}


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
def test_columns_of_a_small_sparse_table_are_looked_at(kind: Any) -> None:
    dense = np.column_stack([NOISE[:, 0], np.zeros(300), NOISE[:, 1], NOISE[:, 0], COIN])
    found = told(table_of(kind(dense), COIN))
    assert {one.code: one.columns for one in found} == {"T026": ("x4",), "T027": ("x1", "x3")}
    rare = scipy.sparse.random_array((30_000, 100), density=0.0001, format="csr", rng=0)
    assert told(table_of(rare, np.arange(30_000) % 2)) == []
