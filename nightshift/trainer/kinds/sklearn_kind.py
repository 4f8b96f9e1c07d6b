"""scikit-learn's own estimators, and any other in its form."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from nightshift.errors import ConfigError, UsageError
from nightshift.trainer.contract import FitJob, FitReport, Kind, Wants
from nightshift.trainer.kinds import fits, sklearn_rounds
from nightshift.trainer.options import Task

#: Parts of scikit-learn whose estimators measure distances, or go down gradients or penalties.
_SCALED = {
    "linear_model", "svm", "neighbors", "neural_network", "gaussian_process", "kernel_ridge", "semi_supervised",
}  # fmt: skip
#: Parts whose estimators turn rows into single precision themselves.
_SINGLE = {"sklearn.tree._classes", "sklearn.ensemble._forest", "sklearn.ensemble._gb"}
#: Parts where n_jobs means threads: elsewhere it starts processes, which costs more than it gains on a table.
_FOREST = "sklearn.ensemble._forest"
_THREADS = {_FOREST, "sklearn.neighbors._classification", "sklearn.neighbors._regression"}


class Threads(int):
    """A number of threads that the trainer chose, not the caller: it ends with the fit."""


class SklearnKind:
    """Estimators in scikit-learn's form."""

    name = "sklearn"
    libraries: tuple[str, ...] = ("scikit-learn",)

    def wants(self, model: Any, task: Task) -> Wants:
        """Return what the estimator's tags and its part of scikit-learn say; a Pipeline prepares rows itself."""
        from sklearn.utils import get_tags

        if any(_is_pipeline(each) for each in _nested(model)):
            return Wants(raw=True, refuses_nan=False)
        try:
            tags = get_tags(model).input_tags
        except (AttributeError, TypeError):  # in scikit-learn's form, and not of its classes
            return Wants()
        return Wants(
            scaled=any(_part(each) in _SCALED for each in _nested(model)) and not tags.positive_only,
            refuses_nan=not tags.allow_nan,
            takes_sparse=bool(tags.sparse),
            float32=type(model).__module__ in _SINGLE,
        )

    def seeded(self, model: Any, seed: int, threads: int | None, device: str) -> Any:
        """Return an unfitted clone: every `random_state` that is None becomes `seed`.

        Estimators of other libraries within a Pipeline, a search or a vote are seeded as their own kind is.

        Raises:
            ConfigError: for another device than the CPU, where nothing in it could use one.
        """
        made = cloned(model)
        params = made.get_params(deep=True) if hasattr(made, "get_params") else {}
        others = {key: kind for key, value in params.items() if (kind := _other_kind(value)) is not None}
        if device != "cpu" and not others:
            what = f"limits.device='{device}': {type(model).__name__} of scikit-learn runs on the CPU alone."
            raise ConfigError(what, hint="Leave device out, or take lightgbm, xgboost, catboost or a torch module.")
        told = {key: kind.seeded(params[key], seed, threads, device) for key, kind in others.items()}
        for key, value in params.items():
            path, _, name = key.rpartition("__")
            if name == "random_state" and value is None and path not in others:
                told[key] = seed
        if threads is not None and params.get("n_jobs", 1) is None and type(made).__module__ in _THREADS:
            told["n_jobs"] = Threads(threads)
        return made.set_params(**told) if told else made

    def fit(self, model: Any, job: FitJob) -> FitReport:
        """Fit a seeded clone; stop it early where it goes in rounds."""
        with fits.hearing(model) as heard:
            report = sklearn_rounds.fit(model, job)
        if isinstance(getattr(report.model, "n_jobs", None), Threads):
            # Threads of a forest add up what its trees answer in any order, and so never quite alike.
            report.model.set_params(n_jobs=None)
        return replace(report, findings=(*report.findings, *heard.findings()))

    def diverged(self, model: Any, job: FitJob, report: FitReport) -> str:
        """Return why the fit is of no use, "" when it is."""
        return fits.ran_away(report.model, job, report.rounds)

    def nondeterministic(self, model: Any) -> str:
        """Return the setting by which two fits may differ: numpy's global generator, or threads of a forest."""
        import numpy as np

        shared = np.random.mtrand._rand
        params = model.get_params(deep=True) if hasattr(model, "get_params") else {}
        found = next((key for key, value in params.items() if value is shared or value is np.random), None)
        if found:
            return f"{found}: numpy's global generator"
        threads = params.get("n_jobs")
        if threads not in {None, 1} and not isinstance(threads, Threads) and type(model).__module__ == _FOREST:
            return f"n_jobs={threads}: threads add up what trees answer in any order"
        return ""

    def save_native(self, model: Any, folder: Path) -> None:
        """Refuse: scikit-learn has no format of its own.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"{type(model).__name__} has no native format.", hint="Give format='skops', or 'joblib' within one project."
        )

    def load_native(self, folder: Path, module: Any = None) -> Any:
        """Refuse: scikit-learn has no format of its own.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{folder} was not saved by scikit-learn: it has no native format.")


KIND = SklearnKind()


def cloned(model: Any) -> Any:
    """Return an unfitted copy; of what scikit-learn cannot clone, a deep copy."""
    from sklearn.base import clone

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the caller heard of a deprecated class when making it
        try:
            return clone(model)
        except (TypeError, RuntimeError):  # in scikit-learn's form, and not to its letter
            return deepcopy(model)


def _other_kind(value: Any) -> Kind | None:
    """Return the kind of an estimator of another library, None for anything else."""
    if inspect.isclass(value) or not (hasattr(value, "fit") and hasattr(value, "predict")):
        return None
    from nightshift.trainer.kinds.kind import kind_of

    kind = kind_of(value)
    return None if kind.name == KIND.name else kind


def _nested(model: Any) -> Iterator[Any]:
    """Yield an estimator and those that it is made of, as a search, a vote or a stack is."""
    yield model
    if not hasattr(model, "get_params"):
        return
    for value in model.get_params(deep=False).values():
        for each in value if isinstance(value, list | tuple) else (value,):
            inner = each[1] if isinstance(each, tuple) and len(each) > 1 else each
            if hasattr(inner, "fit") and hasattr(inner, "get_params"):
                yield from _nested(inner)


def _part(model: Any) -> str:
    """Return which part of scikit-learn a class comes from: `linear_model`, `svm`."""
    places = (base.__module__.split(".") for base in type(model).__mro__)
    return next((place[1] for place in places if place[0] == "sklearn" and len(place) > 1), "")


def _is_pipeline(model: Any) -> bool:
    return any(base.__module__ == "sklearn.pipeline" and base.__name__ == "Pipeline" for base in type(model).__mro__)
