"""What a person reads of a result, in its order."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from nightshift.trainer import CVResult, TrainResult
from nightshift.trainer.results.summary import MOST_LISTED, number, sections, summary


def titles(result: TrainResult | CVResult) -> list[str]:
    return [one.title for one in sections(result)]


def table(result: TrainResult | CVResult, title: str) -> dict[str, tuple[str, ...]]:
    """Return a section's rows by their first cell."""
    (section,) = [one for one in sections(result) if one.title == title]
    return {row[0]: row[1:] for row in section.rows}


def test_the_order_is_the_issues(smote: TrainResult, folds: CVResult) -> None:
    assert titles(folds) == [
        "Rows", "Stratification", "Classes", "Folds", "Over the folds", "Learning curve", "Scores", "Model", "Findings",
    ]  # fmt: skip
    assert titles(smote) == ["Rows", "Stratification", "Classes", "Scores", "Seeds", "Model", "Findings"]
    shown = summary(folds)
    places = [shown.index(f"\n{title}\n") for title in titles(folds)]
    assert places == sorted(places)
    assert repr(folds.summary()) == shown == str(folds)


def test_each_part_has_its_rows_and_their_share(smote: TrainResult, numbers: TrainResult) -> None:
    rows = table(smote, "Rows")
    assert rows == {"train": ("210", "70.0 %"), "validation": ("30", "10.0 %"), "test": ("60", "20.0 %")}
    timed = table(numbers, "Rows")
    assert int(timed["between parts"][0]) == len(numbers.split.dropped) > 0
    assert sum(int(count) for count, _ in timed.values()) == 240
    assert abs(sum(float(share.removesuffix(" %")) for _, share in timed.values()) - 100) < 0.3


def test_stratification_says_how_and_why(smote: TrainResult, numbers: TrainResult) -> None:
    assert sections(smote)[1].lines == (f"yes; strategy stratified: {smote.split.why}.",)
    assert sections(numbers)[1].lines[0].startswith("no; strategy time: ")


def test_classes_are_counted_before_and_after_balancing(smote: TrainResult, numbers: TrainResult) -> None:
    classes = table(smote, "Classes")
    for name, (all_rows, _share, before, after) in classes.items():
        assert int(all_rows) == smote.about.class_counts[name]
        assert int(before) == smote.fitted.counts_before[name]
        assert int(after) == smote.fitted.counts_after[name]
    assert int(classes["<i>bad</i>"][2]) < int(classes["<i>bad</i>"][3]) == int(classes["good"][3])
    assert "SMOTE made rows" in sections(smote)[2].lines[0]
    assert "Classes" not in titles(numbers)


def test_each_fold_has_its_score_and_seconds_and_the_mean_its_spread(folds: CVResult) -> None:
    rows = table(folds, "Folds")
    (head,) = [one.head for one in sections(folds) if one.title == "Folds"]
    for fold in folds.folds:
        cells = dict(zip(head[1:], rows[str(fold.number)], strict=True))
        assert cells["f1"] == f"{fold.scores['f1']:.4g}"
        assert cells["seconds"] == f"{fold.seconds:.3g}"
    assert table(folds, "Over the folds")["f1"] == (f"{folds.mean['f1']:.4g} ± {folds.spread['f1']:.2g}",)
    assert table(folds, "Scores")["held out"][0] == f"{folds.mean['f1']:.4g}"
    assert len(table(folds, "Learning curve")) == len(folds.learning_curve)


def test_seeds_have_their_mean_and_spread(smote: TrainResult) -> None:
    (seeds,) = [one for one in sections(smote) if one.title == "Seeds"]
    assert [row[0] for row in seeds.rows] == [str(one.seed) for one in smote.by_seed]
    assert f"{smote.mean['test']['f1_macro']:.4g} ± {smote.spread['test']['f1_macro']:.2g}" in seeds.lines[0]


def test_it_says_where_the_model_is_or_how_to_save_it(smote: TrainResult) -> None:
    assert "Not saved; result.save()" in summary(smote)
    kept = replace(smote, saved=Path("kept") / "forest_20260101_120000")
    assert "Saved in kept/forest_20260101_120000; nightshift.trainer.load('kept/forest" in summary(kept)


def test_findings_come_last_with_what_to_do(smote: TrainResult, folds: CVResult) -> None:
    last = sections(folds)[-1]
    assert folds.findings
    assert [line.partition(" ")[0] for line in last.lines[:-1]] == [one.code for one in folds.findings]
    assert all(one.remedy in line for one, line in zip(folds.findings, last.lines, strict=False))
    assert "checks=Checks(mute=" in last.lines[-1]
    assert sections(smote)[-1].lines == ("None.",)


def test_of_many_folds_the_first_are_listed_and_the_others_counted(folds: CVResult) -> None:
    many = replace(folds, folds=tuple(replace(folds.folds[0], number=n) for n in range(1, MOST_LISTED + 6)))
    (section,) = [one for one in sections(many) if one.title == "Folds"]
    assert len(section.rows) == MOST_LISTED
    assert section.lines == ("5 more folds are in to_frame().",)


def test_a_training_with_folds_beside_tells_both(smote: TrainResult, folds: CVResult) -> None:
    both = replace(smote, cv=folds)
    assert "Folds over train and validation" in titles(both)
    assert titles(both).index("Over the folds") < titles(both).index("Model")


def test_numbers_are_short(numbers: TrainResult) -> None:
    assert [number(one) for one in (None, 0.123456, 12345.6, 1e-9)] == ["–", "0.1235", "12,346", "1e-09"]
    assert re.search(r"^  train +0\.\d+ +[\d.]+ +[\d.]+$", summary(numbers), re.MULTILINE)
