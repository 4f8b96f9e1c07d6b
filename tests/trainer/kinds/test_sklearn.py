"""scikit-learn's estimators: what they want, how they are seeded, stopped by validation, weighed and refused."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge, SGDClassifier, SGDRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from nightshift.errors import InterruptedTraining, TrainingError, UnknownNameError, UsageError
from nightshift.findings import Severity
from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import FitJob, FitReport
from nightshift.trainer.kinds.kind import kind_of
from nightshift.trainer.kinds.named import NAMES, named, parameters_of
from nightshift.trainer.kinds.sklearn_kind import KIND
from nightshift.trainer.options import EarlyStopping, Task
from nightshift.trainer.retry import DivergedError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
NOISE = RNG.normal(size=400)
TWO = np.where(X[:, 0] + NOISE > 0, "yes", "no")
THREE = np.digitize(X[:, 0] + NOISE / 2, [-0.5, 0.5]) + 3
NUMBERS = X[:, 0] * 2 + X[:, 1] ** 2 + NOISE / 2
TRAIN, VALIDATION = slice(0, 300), slice(300, 400)
Y: dict[Task, Any] = {"binary": TWO, "multiclass": THREE, "regression": NUMBERS}

#: Estimators in rounds that have far more of them than the data bears.
IN_ROUNDS: list[tuple[Any, Task]] = [
    (HistGradientBoostingClassifier(max_iter=150, learning_rate=0.3), "binary"),
    (HistGradientBoostingRegressor(max_iter=150, learning_rate=0.3), "regression"),
    (GradientBoostingClassifier(n_estimators=150, learning_rate=0.3), "binary"),
    (GradientBoostingClassifier(n_estimators=80, learning_rate=0.5, subsample=0.7), "multiclass"),
    (GradientBoostingClassifier(n_estimators=150, learning_rate=0.3, loss="exponential"), "binary"),
    (GradientBoostingRegressor(n_estimators=150, learning_rate=0.3, loss="huber"), "regression"),
    (SGDClassifier(max_iter=150), "multiclass"),
    (SGDClassifier(max_iter=150, loss="log_loss", class_weight="balanced"), "binary"),
    (SGDRegressor(max_iter=150), "regression"),
    (Perceptron(max_iter=150), "binary"),
    (MLPClassifier((20,), max_iter=150, learning_rate_init=0.03), "binary"),
    (MLPRegressor(hidden_layer_sizes=(20,), max_iter=150, learning_rate_init=0.03), "regression"),
]


def job(task: Task = "binary", **other: Any) -> FitJob:
    """A job on the train rows."""
    return FitJob(X[TRAIN], Y[task][TRAIN], task, **other)


def stopped(task: Task = "binary", **other: Any) -> FitJob:
    """A job that validation rows stop."""
    told = {"X_val": X[VALIDATION], "y_val": Y[task][VALIDATION], "stopping": EarlyStopping(patience=5)}
    return job(task, **(told | other))


def fitted(model: Any, given: FitJob) -> FitReport:
    return KIND.fit(KIND.seeded(model, 1, None, "cpu"), given)


def named_after(value: Any) -> str:
    return type(value).__name__ if hasattr(value, "fit") else str(value)


@pytest.mark.parametrize(("model", "task"), IN_ROUNDS, ids=named_after)
def test_validation_stops_the_rounds_and_the_best_one_answers(model: Any, task: Task) -> None:
    told: list[ProgressEvent] = []
    report = fitted(model, stopped(task, tell=told.append))
    again = fitted(model, stopped(task))
    most = model.get_params().get("max_iter") or model.get_params()["n_estimators"]
    losses = [each.metrics["validation_loss"] for each in report.rounds]

    assert [each.number for each in report.rounds] == list(range(1, len(losses) + 1))
    assert len(losses) < most
    assert report.best_round == int(np.argmin(losses)) + 1 == len(losses) - 5
    assert [event.step for event in told] == [each.number for each in report.rounds]
    assert {event.stage for event in told} == {"fit"}
    assert told[0].total == most
    assert np.array_equal(report.model.predict(X), again.model.predict(X))

    exact = fitted(model, job(task, rounds=report.best_round))
    assert np.array_equal(exact.model.predict(X), report.model.predict(X)), "the best round is not the one that answers"


@pytest.mark.parametrize(("model", "task"), [IN_ROUNDS[0], IN_ROUNDS[2], IN_ROUNDS[10]], ids=named_after)
def test_it_is_validation_that_stops_and_nothing_else(model: Any, task: Task) -> None:
    turned = np.where(Y[task][VALIDATION] == "yes", "no", "yes")
    assert fitted(model, stopped(task, y_val=turned)).best_round == 1


def test_the_loss_that_stops_is_that_of_the_model() -> None:
    from sklearn.metrics import log_loss

    for model, task in ((IN_ROUNDS[3][0], "multiclass"), (IN_ROUNDS[4][0], "binary"), (IN_ROUNDS[0][0], "binary")):
        report = fitted(model, stopped(task))
        assert report.best_round is not None
        told = report.rounds[report.best_round - 1].metrics["validation_loss"]
        assert told == pytest.approx(log_loss(Y[task][VALIDATION], report.model.predict_proba(X[VALIDATION])))


def test_max_rounds_ends_a_fit_and_min_delta_wants_more_than_a_little() -> None:
    model = GradientBoostingClassifier(n_estimators=60)
    short = fitted(model, stopped(stopping=EarlyStopping(patience=5, max_rounds=4)))
    assert len(short.rounds) == 4
    demanding = fitted(model, stopped(stopping=EarlyStopping(patience=3, min_delta=0.05)))
    patient = fitted(model, stopped(stopping=EarlyStopping(patience=3)))
    assert len(demanding.rounds) < len(patient.rounds)


def test_validation_rows_of_a_class_that_train_rows_lack_stop_nothing() -> None:
    strange = np.where(np.arange(100) < 10, "never", TWO[VALIDATION])
    report = fitted(IN_ROUNDS[2][0], stopped(y_val=strange))
    known = fitted(IN_ROUNDS[2][0], stopped(X_val=X[VALIDATION][10:], y_val=TWO[VALIDATION][10:]))
    assert report.rounds[-1].metrics == known.rounds[-1].metrics


def test_an_estimator_without_rounds_is_fitted_whole_and_says_so_once() -> None:
    report = fitted(RandomForestClassifier(3), stopped())
    assert [each.code for each in report.findings] == ["T035"]
    assert report.best_round is None
    assert fitted(RandomForestClassifier(3), job()).findings == ()


def test_warnings_become_one_finding(recwarn: pytest.WarningsRecorder) -> None:
    report = fitted(LogisticRegression(max_iter=1), job("multiclass"))
    assert [each.code for each in report.findings] == ["T034"]
    assert report.findings[0].severity is Severity.WARNING
    assert "lbfgs failed to converge" in report.findings[0].what
    assert not recwarn.list


@pytest.mark.parametrize(
    ("model", "scaled", "refuses_nan", "raw"),
    [
        (LogisticRegression(), True, True, False),
        (SVC(), True, True, False),
        (KNeighborsClassifier(), True, True, False),
        (RandomForestClassifier(), False, False, False),
        (HistGradientBoostingClassifier(), False, False, False),
        (GradientBoostingClassifier(), False, True, False),
        (GaussianNB(), False, True, False),
        (MultinomialNB(), False, True, False),
        (BaggingClassifier(SVC()), True, True, False),
        (CalibratedClassifierCV(RandomForestClassifier()), False, True, False),
        (GridSearchCV(LogisticRegression(), {"C": [1]}), True, True, False),
        (TransformedTargetRegressor(Ridge()), True, True, False),
        (make_pipeline(StandardScaler(), SVC()), False, False, True),
        (GridSearchCV(make_pipeline(StandardScaler(), SVC()), {}), False, False, True),
    ],
    ids=named_after,
)
def test_what_is_wanted_of_prepared_rows(model: Any, scaled: bool, refuses_nan: bool, raw: bool) -> None:
    wants = kind_of(model).wants(model, "binary")
    assert (wants.scaled, wants.refuses_nan, wants.raw) == (scaled, refuses_nan, raw)


def test_seed_and_threads_are_set_where_they_were_left_open_and_the_callers_model_stays_as_it_is() -> None:
    model = make_pipeline(StandardScaler(), RandomForestClassifier(3))
    made = KIND.seeded(model, 7, 2, "cpu")
    assert made.get_params()["randomforestclassifier__random_state"] == 7
    assert model.get_params()["randomforestclassifier__random_state"] is None
    assert KIND.seeded(RandomForestClassifier(3, random_state=5), 7, 2, "cpu").get_params() == (
        RandomForestClassifier(3, random_state=5, n_jobs=2).get_params()
    )
    given = RandomForestClassifier(3)
    fitted(given, job())
    assert not hasattr(given, "estimators_")


def test_estimators_of_other_libraries_within_are_seeded_as_their_kind_is(capfd: pytest.CaptureFixture[str]) -> None:
    from catboost import CatBoostClassifier
    from lightgbm import LGBMClassifier

    vote = VotingClassifier(
        [
            ("a", make_pipeline(StandardScaler(), LGBMClassifier(n_estimators=3))),
            ("b", CatBoostClassifier(iterations=3)),
            ("c", LogisticRegression()),
        ]
    )
    made = KIND.seeded(vote, 7, 1, "cpu")
    params = made.get_params()
    assert (params["a__lgbmclassifier__random_state"], params["c__random_state"]) == (7, 7)
    assert params["b"].get_params()["random_seed"] == 7
    KIND.fit(made, job())
    assert capfd.readouterr() == ("", "")


def test_a_forests_answers_do_not_hang_on_which_thread_came_first() -> None:
    made = KIND.fit(KIND.seeded(RandomForestClassifier(3), 7, 2, "cpu"), job()).model
    assert made.n_jobs is None, "threads chosen by the trainer end with the fit"
    own = KIND.fit(KIND.seeded(RandomForestClassifier(3, n_jobs=2), 7, 1, "cpu"), job()).model
    assert own.n_jobs == 2
    assert KIND.nondeterministic(own).startswith("n_jobs=2")


def test_an_estimator_that_is_only_in_scikit_learns_form_is_taken() -> None:
    class Constant:
        def fit(self, X: Any, y: Any) -> Constant:
            self.value = float(np.mean(y))
            return self

        def predict(self, X: Any) -> Any:
            return np.full(len(X), self.value)

    report = fitted(Constant(), job("regression"))
    assert report.model.value == pytest.approx(NUMBERS[TRAIN].mean())
    assert KIND.wants(Constant(), "regression").refuses_nan


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(C=0.01),
        GaussianNB(),
        make_pipeline(StandardScaler(), SVC()),
        SGDClassifier(),
        GradientBoostingClassifier(n_estimators=5),
    ],
    ids=named_after,
)
def test_classes_weigh_alike_where_that_is_asked_for(model: Any) -> None:
    rare = replace(stopped(), y=np.where((TWO[TRAIN] == "yes") & (np.arange(300) % 4 > 0), "no", TWO[TRAIN]))
    plain, weighed = (fitted(model, replace(rare, class_weight=asked)) for asked in (False, True))
    assert np.sum(weighed.model.predict(X) == "yes") > np.sum(plain.model.predict(X) == "yes")


def test_an_estimator_that_knows_no_weights_says_what_to_do_instead() -> None:
    with pytest.raises(UsageError, match=r"KNeighborsClassifier knows neither .* balance='oversample'"):
        fitted(KNeighborsClassifier(), job(class_weight=True))


def test_rows_weights_reach_the_fit() -> None:
    weight = np.where(TWO[TRAIN] == "yes", 1.0, 0.0)
    report = fitted(GaussianNB(priors=None), job(weight=weight + 1e-9))
    assert set(report.model.predict(X)) == {"yes"}


def test_errors_of_the_library_become_one_line() -> None:
    with pytest.raises(TrainingError, match=r"MultinomialNB could not be fitted: Negative values .* without negative"):
        fitted(MultinomialNB(), job())


def test_a_fit_that_ran_away_is_found_out() -> None:
    with pytest.raises(DivergedError, match="SGDRegressor diverged"):
        fitted(SGDRegressor(learning_rate="constant", eta0=1e300), job("regression"))
    wild = SGDRegressor(learning_rate="constant", eta0=1e3, max_iter=3, tol=None)
    report = fitted(wild, job("regression"))
    assert "answers up to" in KIND.diverged(wild, job("regression"), report)
    fine = fitted(Ridge(), job("regression"))
    assert KIND.diverged(fine.model, job("regression"), fine) == ""


def test_a_loss_or_an_answer_that_is_no_number_is_found_out() -> None:
    class Nan(GaussianNB):  # type: ignore[misc]
        def predict_proba(self, X: Any) -> Any:
            return np.full((len(X), 2), np.nan)

    report = fitted(Nan(), job())
    assert KIND.diverged(report.model, job(), report) == "Nan answers NaN or infinity"


@pytest.mark.parametrize("model", [RandomForestClassifier(3), IN_ROUNDS[0][0], IN_ROUNDS[2][0], IN_ROUNDS[10][0]],
                         ids=named_after)  # fmt: skip
def test_a_fit_ends_when_asked_to(model: Any) -> None:
    with pytest.raises(InterruptedTraining):
        fitted(model, stopped(should_stop=lambda: True))


def test_numpys_global_generator_is_named_as_what_makes_fits_differ() -> None:
    shared = np.random.mtrand._rand
    assert "random_state" in KIND.nondeterministic(RandomForestClassifier(random_state=shared))
    assert KIND.nondeterministic(RandomForestClassifier()) == ""


def test_there_is_no_native_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no native format.*skops"):
        KIND.save_native(Ridge(), tmp_path)
    with pytest.raises(UsageError, match="no native format"):
        KIND.load_native(tmp_path)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (RandomForestClassifier, r"got the class RandomForestClassifier. Give RandomForestClassifier\(\)"),
        (StandardScaler(), "StandardScaler, which has no predict"),
        (KMeans(2), "KMeans, which looks at X alone"),
        (IsolationForest(), "IsolationForest, which looks at X alone"),
        ("lightgbm", "got str, which has no fit and no predict"),
    ],
    ids=str,
)
def test_what_is_no_estimator_is_refused(given: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        kind_of(given)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_an_estimator_for_classes_or_numbers(name: str) -> None:
    made = []
    for task in ("binary", "regression"):
        with suppress(UsageError):
            made.append(named(name, task, 3))
    assert made
    for model in made:
        seeds = {key: value for key, value in model.get_params().items() if key in ("random_state", "random_seed")}
        assert set(seeds.values()) <= {3, None}
        assert set(model.get_params()) <= set(parameters_of(model))
        assert kind_of(model).name in {"sklearn", name}


def test_parameters_are_known_that_catboost_itself_does_not_list() -> None:
    assert "depth" in parameters_of(named("catboost", "binary"))
    assert "self" not in parameters_of(named("catboost", "binary"))


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'lightgbm'"):
        named("lightgmb", "binary")
    with pytest.raises(UsageError, match="'lasso' is not made for classes"):
        named("lasso", "binary")
