"""Keras models, through Keras' own wrapper for scikit-learn; the extra `keras` brings them."""

from __future__ import annotations

import importlib
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from nightshift.errors import BundleError, ConfigError, CorruptFileError, first_line
from nightshift.trainer.contract import FitJob, FitReport, Values, Wants
from nightshift.trainer.kinds import fits, native
from nightshift.trainer.kinds.net import KerasNet, NetClassifier, NetRegressor, SeededNet, matrix
from nightshift.trainer.options import Task
from nightshift.trainer.retry import DivergedError

_FILE = "net.keras"
_WRAPPERS = ("SKLearnClassifier", "SKLearnRegressor")
#: Where the caller set none: Keras itself would stop after one epoch, with batches of 32.
_EPOCHS, _BATCH = 50, 128


class KerasKind:
    """Compiled Keras models, and SKLearnClassifier and SKLearnRegressor around what builds one.

    A fit that is cut off begins anew: Keras draws from states that it does not tell.
    """

    name = "keras"
    libraries: tuple[str, ...] = ("keras",)

    def wants(self, model: Any, task: Task) -> Wants:
        """Return what nets need: scaled numbers in single precision, and no gaps."""
        return Wants(scaled=True, refuses_nan=True, answers_gaps=True, float32=True, coded_labels=True)

    def seeded(self, model: Any, seed: int, threads: int | None, device: str) -> SeededNet:
        """Return the model and the seed, which Keras is given when it is fitted.

        Raises:
            ConfigError: for a GPU that Keras does not see.
        """
        if device == "cuda" and not _sees_gpu(_keras()):
            raise ConfigError(
                f"limits.device='cuda': Keras {_keras().__version__} on {_keras().backend.backend()} sees no GPU here.",
                hint="Leave device out, or install a build of its backend for GPUs.",
            )
        return SeededNet(model, seed, threads, device)

    def fit(self, model: Any, job: FitJob) -> FitReport:
        """Fit a model; it answers by its best epoch.

        Raises:
            TrainingError: with the first line of the library's error.
            InterruptedTraining: when asked to stop.
        """
        given = model if isinstance(model, SeededNet) else SeededNet(model, 0, None, "cpu")
        wrapper = _wrapped(given.model, job.task)
        with fits.hearing(wrapper) as heard, _drawing(given.seed), _on(given.device):
            report = _fitted(wrapper, job)
        return FitReport(report.model, report.rounds, report.best_round, heard.findings())

    def diverged(self, model: Any, job: FitJob, report: FitReport) -> str:
        """Return why the fit is of no use, "" when it is."""
        return fits.ran_away(report.model, job, report.rounds)

    def nondeterministic(self, model: Any) -> str:
        """Return the setting by which two fits may differ: a GPU that Keras sees."""
        return "a GPU adds numbers up in no fixed order" if _sees_gpu(_keras()) else ""

    def save_native(self, model: Any, folder: Path) -> None:
        """Write Keras' own file, and what the estimator was."""
        wrapper = model.net.net
        more = {"columns": int(model.n_features_in_)}
        native.describe(folder, model, wrapper, _WRAPPERS, more)
        with warnings.catch_warnings():
            # Keras 3.15 asks numpy for arrays in a way that is on its way out.
            warnings.simplefilter("ignore", DeprecationWarning)
            wrapper.model_.save(str(folder / _FILE))

    def load_native(self, folder: Path, module: Any = None) -> Any:
        """Read what `save_native` wrote.

        Args:
            module: a class of the caller's own that the model is made of, if there is one.

        Raises:
            ConfigError: when Keras is not installed.
            BundleError: when the file cannot be read, or holds code.
        """
        keras = _keras()
        told = native.described(folder, _WRAPPERS)
        own = {} if module is None else {module.__name__: module}
        path = folder / _FILE
        if not path.is_file():
            raise BundleError(f"{folder} holds no Keras model.", hint="Give the folder that was saved.")
        try:
            net = keras.saving.load_model(str(path), custom_objects=own, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises what zip, JSON, HDF5 and each layer raise
            raise CorruptFileError(
                f"{path} cannot be read as a Keras model: {first_line(error)}.",
                hint="Where it has a layer of your own, give its class: load(path, module=…).",
            ) from error
        wrapper = getattr(keras.wrappers, told.made_by)(net)
        wrapper.model_ = net
        held = KerasNet(wrapper)
        model = NetRegressor(held) if told.labels is None else NetClassifier(held, told.labels)
        model.n_features_in_ = int(told.more["columns"])
        return model


KIND = KerasKind()


def _keras() -> Any:
    """Return Keras, on TensorFlow where nobody chose.

    Raises:
        ConfigError: when it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        importlib.import_module("keras.wrappers")
        return importlib.import_module("keras")
    except ImportError as error:
        raise ConfigError(
            f"a Keras model needs Keras and its backend, which are not installed: {first_line(error)}.",
            hint="Install the extra: pip install 'nightshift[keras]'.",
        ) from error


def _sees_gpu(keras: Any) -> bool:
    return bool(keras.distribution.list_devices("gpu"))


def _wrapped(model: Any, task: Task) -> Any:
    """Return an unfitted wrapper of a model, or a copy of the caller's: Keras' own loses what `fit` is called with."""
    from sklearn.base import clone

    wrappers = _keras().wrappers
    if not isinstance(model, wrappers.SKLearnClassifier | wrappers.SKLearnRegressor):
        kind = wrappers.SKLearnRegressor if task == "regression" else wrappers.SKLearnClassifier
        return kind(model, fit_kwargs={})
    return clone(model).set_params(fit_kwargs=dict(model.fit_kwargs or {}))


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Draw by a seed; Python's and numpy's own states, which Keras uses, are put back."""
    state, numpys = random.getstate(), np.random.get_state()
    try:
        _keras().utils.set_random_seed(seed)
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpys)


def _on(device: str) -> Any:
    keras = _keras()
    if not _sees_gpu(keras):
        return nullcontext()
    return keras.device("cpu:0" if device == "cpu" else "gpu:0")


def _fitted(wrapper: Any, job: FitJob) -> FitReport:
    own = dict(wrapper.fit_kwargs)
    rounds = fits.Rounds(job, fits.rounds_of(job, int(own.get("epochs", _EPOCHS))))
    rounds.stop_when_asked()
    coded = fits.coded(job)
    validation = fits.validation_of(coded.job)
    labels = None if job.task == "regression" else np.unique(job.y) if coded.labels is None else coded.labels
    stops, told = _stopping(job, validation, labels)
    rows = matrix(job.X)
    y = np.asarray(coded.job.y, np.float32 if labels is None else np.int64)
    if (weight := fits.balanced_weight(coded.job)) is not None:
        told["sample_weight"] = weight.astype(np.float32)
    callbacks = [*own.get("callbacks", ()), *stops, _teller(rounds)]
    told = {"batch_size": _BATCH, "verbose": 0, **own, **told, "epochs": rounds.total, "callbacks": callbacks}
    wrapper.fit(rows, y, **told)
    # What it was called with holds rows.
    wrapper.fit_kwargs, wrapper.history_ = own, dict(wrapper.history_.history)
    net = KerasNet(wrapper)
    model = NetRegressor(net) if labels is None else NetClassifier(net, labels)
    model.n_features_in_ = rows.shape[1]
    best = stops[0].best_epoch + 1 if stops else len(rounds.done)
    return FitReport(model, tuple(rounds.done), best)


def _stopping(job: FitJob, validation: Any, labels: Values | None) -> tuple[list[Any], dict[str, Any]]:
    """Return Keras' own early stopping, and the rows that it goes by, as `fit` takes them; neither without any."""
    if validation is None or job.stopping is None:
        return [], {}
    y = np.asarray(validation.y)
    targets = y.reshape(-1, 1) if labels is None else np.eye(len(labels))[y]
    stop = _keras().callbacks.EarlyStopping(
        monitor="val_loss",
        patience=job.stopping.patience,
        min_delta=job.stopping.min_delta,
        restore_best_weights=True,
    )
    return [stop], {"validation_data": (matrix(validation.X), targets.astype(np.float32)), "validation_split": 0.0}


def _teller(rounds: fits.Rounds) -> Any:
    """Return the callback that takes epochs down."""

    class Tells(_keras().callbacks.Callback):  # type: ignore[misc] # Keras is loaded only here
        """Takes an epoch down, and ends a fit whose loss is no number."""

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            names = {"loss": "train_loss", "val_loss": "validation_loss"}
            metrics = {ours: float(logs[theirs]) for theirs, ours in names.items() if logs and theirs in logs}
            rounds.add(epoch + 1, metrics)
            if not all(map(np.isfinite, metrics.values())):
                raise DivergedError(f"the loss of {self.model.name} became NaN or infinite in epoch {epoch + 1}.")

    return Tells()
