"""Pictures of a result, with the numbers that they are drawn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.metrics import confusion_matrix

from nightshift.problems.charts import draw
from nightshift.problems.evaluation import Figure
from nightshift.trainer import CVResult, TrainResult


def by_key(result: TrainResult | CVResult) -> dict[str, Figure]:
    return {figure.key: figure for figure in result.figures()}


def test_folds_and_the_learning_curve_are_drawn_with_their_figures(folds: CVResult) -> None:
    made = by_key(folds)
    assert list(made) == ["folds", "learning_curve", "confusion"]
    train, held = made["folds"].series
    assert train.y == [one.train_scores["f1"] for one in folds.folds]
    assert held.y == [one.scores["f1"] for one in folds.folds]
    curve = {one.label: one for one in made["learning_curve"].series}
    assert curve["held out"].x == [one.rows for one in folds.learning_curve]
    assert curve["held out"].y == [one.held_out for one in folds.learning_curve]
    band = curve["spread over the folds"]
    point = folds.learning_curve[-1]
    assert (band.y2 or [])[-1] == (point.held_out or 0.0) + (point.spread or 0.0)
    for figure in made.values():
        assert draw(figure).startswith("<svg")


def test_the_confusion_is_of_rows_that_no_model_behind_it_saw(folds: CVResult, smote: TrainResult) -> None:
    told = folds.predictions
    own = told.part == "held_out"
    assert by_key(folds)["confusion"].cells == confusion_matrix(told.truth[own], told.value[own]).tolist()
    assert np.sum(by_key(smote)["confusion"].cells or []) == len(smote.split.test)
    assert by_key(smote)["confusion"].ticks == ["<i>bad</i>", "good"]
    assert "&lt;i&gt;bad&lt;/i&gt;" in draw(by_key(smote)["confusion"])


def test_rounds_are_the_histories(numbers: TrainResult) -> None:
    rounds = by_key(numbers)["rounds"]
    assert len(numbers.history) > 1
    for series in rounds.series:
        name = series.label.replace(" ", "_")
        assert series.x == [one.number for one in numbers.history]
        assert series.y == [one.metrics[name] for one in numbers.history]


def test_numbers_are_drawn_against_the_truth(numbers: TrainResult) -> None:
    perfect, rows = by_key(numbers)["predicted"].series
    own = numbers.predictions.part == "test"
    assert rows.x == numbers.predictions.truth[own].tolist()
    assert rows.y == numbers.predictions.value[own].tolist()
    assert perfect.x == perfect.y


def test_of_very_many_classes_and_of_no_held_out_rows_there_is_no_picture(smote: TrainResult) -> None:
    many = replace(smote, about=replace(smote.about, classes=tuple(range(40))))
    assert "confusion" not in by_key(many)
    told = smote.predictions
    none = replace(told, part=told.part[:0], truth=told.truth[:0], value=told.value[:0])
    assert by_key(replace(smote, predictions=none)) == {}
