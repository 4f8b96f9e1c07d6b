"""Small fixed models, one per family's problem: what can be learned from one roll-out, tested on another (TSTR, TRTR).

They are proxies: quick, and the same for every table, so that tables are compared and not tuning.

Source:
    Esteban, Hyland, Rätsch, "Real-valued (medical) time series generation with recurrent conditional GANs" (2017),
    for TSTR: train on synthetic, test on real.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.problems import classification, regression
from nightshift.problems.anomaly import pr_auc
from nightshift.simulate.quality.report import ProblemScores
from nightshift.simulate.quality.rows import Floats, Ints, Rows, thinned, weekly_pattern
from nightshift.simulate.quality.windows import Windows, windows

if TYPE_CHECKING:
    import lightgbm

#: Remaining life above this counts as this, as in the family's config.
CAP_H = 500.0
#: How far the forecast reaches, and no more than this share of a mean life.
FORECAST_H, FORECAST_SHARE = 24.0, 0.1
#: Rows that each model sees; neighbours repeat each other, so that more would cost time and teach little.
FIT_ROWS, TEST_ROWS = 16_000, 24_000
_FOLDS = 3
_BOOSTER = {
    "num_leaves": 8,
    "learning_rate": 0.08,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.6,
    "lambda_l2": 1.0,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
_ROUNDS = 80
_RIDGE = 1.0
_DAMPING = 0.05


@dataclass(frozen=True)
class Examples:
    """A roll-out with its window features, computed once however many models are tested on it."""

    rows: Rows
    wanted: int
    seed: int

    @cached_property
    def windows(self) -> Windows:
        """Windows of every row."""
        return windows(self.rows)

    @cached_property
    def picked(self) -> Ints:
        """The rows that are learned from or tested on."""
        return thinned(len(self.rows.run), self.wanted, self.seed)

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """Features of the picked rows, `(picked, features)`."""
        return self.windows.features(self.rows, self.picked)

    def known(self, column: Floats | None) -> NDArray[np.bool_]:
        """Tell which picked rows have a value, `(picked,)`; none where there is no such column."""
        if column is None:
            return np.zeros(len(self.picked), dtype=np.bool_)
        return np.isfinite(column[self.picked])


def learn_and_test(train: Examples, test: Examples) -> ProblemScores:
    """Fit all four proxies on one roll-out and test them on another."""
    return ProblemScores(
        f1=_classification(train, test),
        rul_r2=_remaining_life(train, test),
        pr_auc=_anomaly(train, test),
        forecast_skill=_forecast(train, test),
    )


def _classification(train: Examples, test: Examples) -> float | None:
    """Return the F1 of the models that each leave out a fold of runs; the threshold is chosen on what they left out."""
    if not _two_classes(train) or not _two_classes(test):
        return None
    label, known = _label(train), train.known(train.rows.label)
    fold = train.rows.run[train.picked] % _FOLDS
    models, unseen = [], np.zeros(len(label), dtype=np.float32)
    for left_out in range(_FOLDS):
        fit, rest = known & (fold != left_out), known & (fold == left_out)
        if len(np.unique(label[fit])) < 2:
            return None
        models.append(_boosted(train.features[fit], label[fit], "binary", train.seed))
        unseen[rest] = _said(models[-1], train.features[rest])
    threshold = classification.choose_threshold(label[known].astype(np.int64), unseen[known], "best_f1", 1.0)
    judged = test.known(test.rows.label)
    probability = np.mean([_said(m, test.features[judged]) for m in models], axis=0)
    truth = _label(test)[judged].astype(np.int64)
    return classification.metrics(truth, probability, (probability >= threshold).astype(np.int64))["f1"]


def _remaining_life(train: Examples, test: Examples) -> float | None:
    fit, judged = train.known(train.rows.rul), test.known(test.rows.rul)
    if train.rows.rul is None or test.rows.rul is None or not fit.any() or not judged.any():
        return None
    target = np.minimum(train.rows.rul[train.picked][fit], CAP_H)
    model = _boosted(train.features[fit], target, "regression", train.seed)
    stored = test.rows.rul[test.picked][judged]
    said = np.clip(_said(model, test.features[judged]), 0.0, CAP_H)
    return regression.metrics(np.minimum(stored, CAP_H), stored, said)["r2"]


def _anomaly(train: Examples, test: Examples) -> float | None:
    """Return how well Mahalanobis distance from well rows ranks failing rows above well ones.

    The covariance is damped: a direction in which well rows hardly vary would else decide alone.
    """
    if not _two_classes(train) or not _two_classes(test):
        return None
    places = train.rows.sensors("sensor", "setting")

    def table(of: Examples, wanted: NDArray[np.bool_]) -> Floats:
        at = of.picked[wanted]
        return np.concatenate([of.windows.short[at][:, places], of.windows.spread[at][:, places]], axis=1)

    normal = table(train, train.known(train.rows.label) & (_label(train) == 0))
    scale = _Scale.of(normal)
    damped = np.cov(scale(normal).T) + _DAMPING * np.eye(normal.shape[1])
    judged = test.known(test.rows.label)
    off = scale(table(test, judged))
    strength = (off * np.linalg.solve(damped, off.T).T).sum(axis=1)
    return pr_auc(_label(test)[judged].astype(np.int64), strength)


def _forecast(train: Examples, test: Examples) -> float | None:
    """Return 1 - MAE / MAE of repeating the newest value, mean over sensors, a day ahead.

    A day ahead the newest value is the seasonal-naive forecast. The model is a ridge regression on the newest values,
    their means, and how the week's hour at the target differs from now's in the training rows.
    """
    pattern = weekly_pattern(train.rows)
    fit, judged = _pairs(train, pattern), _pairs(test, pattern)
    if fit is None or judged is None:
        return None
    scale = _Scale.of(fit.inputs)
    inputs, asked = _with_one(scale(fit.inputs)), _with_one(scale(judged.inputs))
    skills = []
    for i in range(fit.change.shape[1]):
        known, there = np.isfinite(fit.change[:, i]), np.isfinite(judged.change[:, i])
        naive = float(np.abs(judged.change[there, i]).mean()) if there.any() else 0.0
        if naive <= 0 or not known.any():
            continue
        penalty = _RIDGE * np.eye(inputs.shape[1])
        weights = np.linalg.solve(inputs[known].T @ inputs[known] + penalty, inputs[known].T @ fit.change[known, i])
        skills.append(1.0 - float(np.abs(judged.change[there, i] - asked[there] @ weights).mean()) / naive)
    return float(np.mean(skills)) if skills else None


@dataclass(frozen=True)
class _Pairs:
    """What is known at each origin `(origins, inputs)`, and the change to the target `(origins, sensors)`."""

    inputs: Floats
    change: Floats


def _pairs(of: Examples, pattern: Floats) -> _Pairs | None:
    rows = of.rows
    ahead = rows.lag(min(FORECAST_H, FORECAST_SHARE * rows.profile.life.mean_h))
    origin = of.picked[of.picked + ahead < len(rows.run)]
    origin = origin[rows.run[origin] == rows.run[origin + ahead]]
    if not len(origin):
        return None
    states, all_places = rows.sensors("sensor"), rows.sensors("sensor", "setting")
    season = pattern[rows.hour[origin + ahead]] - pattern[rows.hour[origin]]
    w = of.windows
    off = (w.last - w.short, w.short - w.long, w.rise)
    inputs = np.concatenate([season[:, all_places], *(b[origin][:, all_places] for b in off)], axis=1)
    return _Pairs(inputs, (rows.values[origin + ahead] - rows.values[origin])[:, states])


@dataclass(frozen=True)
class _Scale:
    """Standardises columns; what is missing becomes the mean."""

    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, table: Floats) -> _Scale:
        known = np.isfinite(table)
        n = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, table, 0.0).sum(axis=0) / n
        spread = np.sqrt(np.where(known, (table - mean) ** 2, 0.0).sum(axis=0) / n)
        return cls(mean, np.where(spread > 0, spread, 1.0))

    def __call__(self, table: Floats) -> Floats:
        return np.nan_to_num((table - self.mean) / self.spread)


def _with_one(table: Floats) -> Floats:
    return np.concatenate([table, np.ones((len(table), 1))], axis=1)


def _label(of: Examples) -> Floats:
    assert of.rows.label is not None
    return of.rows.label[of.picked]


def _two_classes(of: Examples) -> bool:
    return of.rows.label is not None and len(np.unique(_label(of)[of.known(of.rows.label)])) == 2


def _boosted(features: NDArray[np.float32], target: Floats, objective: str, seed: int) -> lightgbm.Booster:
    import lightgbm

    data = lightgbm.Dataset(features, target, free_raw_data=True)
    parameters: dict[str, Any] = {**_BOOSTER, "objective": objective, "seed": seed}
    return lightgbm.train(parameters, data, _ROUNDS)


def _said(model: lightgbm.Booster, features: NDArray[np.float32]) -> Floats:
    return np.asarray(model.predict(features, num_threads=1), dtype=np.float64)
