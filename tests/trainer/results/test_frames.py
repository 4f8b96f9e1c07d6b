"""Scores as a frame."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nightshift.trainer import CVResult, TrainResult
from nightshift.trainer.results.frames import COLUMNS


def test_each_part_fold_and_metric_has_one_row(folds: CVResult) -> None:
    frame = folds.to_frame()
    assert tuple(frame.columns) == COLUMNS
    assert not frame.duplicated(["part", "fold", "seed", "metric"]).any()
    metrics = len(folds.mean)
    assert len(frame) == metrics * (2 * len(folds.folds) + len(folds.scores))
    one = frame[(frame.part == "held_out") & (frame.fold == 2) & (frame.metric == "f1")]
    assert one.score.item() == folds.folds[1].scores["f1"]
    mean = frame[(frame.part == "held_out") & (frame.fold == 0) & (frame.metric == "f1")]
    assert (mean.score.item(), mean.spread.item()) == (folds.mean["f1"], folds.spread["f1"])
    each = frame[(frame.part == "held_out") & (frame.fold > 0) & (frame.metric == "f1")].score
    assert each.mean() == pytest.approx(mean.score.item())


def test_each_seed_has_its_rows(smote: TrainResult) -> None:
    frame = smote.to_frame()
    assert set(frame.seed) == {one.seed for one in smote.by_seed}
    assert len(frame) == 2 * 3 * len(smote.scores["test"])


def test_folds_beside_one_split_are_in_it_too(smote: TrainResult, folds: CVResult) -> None:
    frame = replace(smote, cv=folds).to_frame()
    assert sorted(set(frame[frame.part == "held_out"].fold)) == [0, 1, 2, 3]
    assert not frame.duplicated(["part", "fold", "seed", "metric"]).any()
