"""What `classifier` and `regressor` share: any estimator of the trainer on a table, its rows as numbers, its files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightshift.data.tables import is_flag
from nightshift.edge.manifest import Column, Interface, Output
from nightshift.errors import DataError, ExportError, InterruptedTraining, UsageError
from nightshift.family import FamilyConfig, RunContext, rng_of
from nightshift.graphs.parity import CasedInputs
from nightshift.problems.problem import Samples
from nightshift.progress import ProgressEvent
from nightshift.trainer.samples import column_order

if TYPE_CHECKING:
    import pandas as pd

    from nightshift.data.dataset import Dataset
    from nightshift.trainer.results.result import CVResult, TrainResult

Role = Literal["class", "value"]
Float32 = NDArray[np.float32]

#: Distributions that decide what an estimator and its graph are.
LIBRARIES = ("lightgbm", "scikit-learn", "skl2onnx", "onnxmltools", "numpy", "onnx")
#: A word that stands for every category that training has not seen.
UNSEEN = "(unseen)"
#: Independent rows are summed in so many units: the gate's bootstrap draws units, not millions of rows.
_UNITS = 2_000
_PARITY_ROWS, _GAP_ROWS = 1_000, 200
#: Largest difference of a probability; of a value, as a share of the largest.
TOLERANCE = 2e-5
_MODEL, _INTERFACE, _SETTINGS, _EXAMPLE = "model", "interface.json", "settings.json", "example.npy"


class EstimatorConfig(FamilyConfig):
    """What can be tuned.

    Attributes:
        model: a name that the trainer knows, such as lightgbm, random_forest, logistic, ridge.
        params: of the model.
        settings: other keys of a training file that say how it is fitted: balance, early_stopping, encode, scale, …;
            how rows are parted was settled when the table was landed.
        refit: fit on train and val together, as a cross-validation ends, where nothing is stopped or chosen by val.
    """

    model: str = "lightgbm"
    params: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    refit: bool = False


@dataclass(frozen=True)
class EstimatorModel:
    """A fitted estimator that answers a bundle's windows.

    Attributes:
        model: the trainer's: it takes the table's raw columns.
        fill: `(columns,)` what takes the place of a missing number; NaN where the model takes gaps itself.
        scale: the largest |answer| of the train rows, 1 at least; 1 of classes.
        threshold: of the second class, where one was chosen.
        folds: of a cross-validation: the metric that decides -> its figure in each fold.
        example: `(n, 1, columns)` rows of val, by which the trainer checks a graph.
        result: of the training, which `save` needs; None of a loaded one.
    """

    interface: Interface
    model: Any
    fill: Float32
    scale: float
    threshold: float | None
    summary: Mapping[str, str | int | float | bool]
    example: Float32 = field(repr=False, compare=False)
    folds: Mapping[str, list[float | None]] = field(default_factory=dict)
    result: TrainResult | CVResult | None = field(default=None, repr=False, compare=False)

    def frame(self, window: Float32) -> pd.DataFrame:
        """Return windows `(n, 1, columns)` as rows of the table's columns: float32 numbers, and words."""
        return frame_of(window, self.interface.columns, self.fill)


def frame_of(window: Float32, columns: tuple[Column, ...], fill: Float32) -> pd.DataFrame:
    """Return windows as rows; infinite readings are missing ones."""
    import pandas as pd

    found: dict[str, Any] = {}
    for place, column in enumerate(columns):
        values = window[:, -1, place]
        known = np.isfinite(values)
        if not column.categories:
            found[column.name] = np.where(known, values, fill[place])
            continue
        known &= values >= 0
        code = np.where(known, values, 0).astype(np.int64)
        if is_flag(column.categories):
            found[column.name] = np.where(known, (code % 2).astype(np.float32), fill[place])
        else:
            words = np.array([*column.categories, unseen_of(column)], dtype=object)
            found[column.name] = words[np.where(known & (code < len(words)), code, len(words) - 1)]
    return pd.DataFrame(found)


def unseen_of(column: Column) -> str:
    """Return a word that is none of a column's categories."""
    word = UNSEEN
    while word in column.categories:
        word = f"({word})"
    return word


def columns_of(data: Dataset) -> tuple[Column, ...]:
    """Return the table's inputs."""
    return tuple(Column(name=s.name, categories=s.categories) for s in data.metadata.sensors)


def window_of(data: Dataset, part: str, columns: tuple[Column, ...]) -> Float32:
    """Return a part's rows as windows `(n, 1, columns)`, categories by the codes of these columns.

    Raises:
        DataError: when the data lacks a column.
    """
    import pandas as pd

    order = column_order(data, Interface(columns=columns, window_rows=1, outputs=()))
    window = data.matrix(part)[:, order].copy()
    sensors = data.metadata.sensors
    for place, column in enumerate(columns):
        if column.categories != sensors[order[place]].categories:
            words = data.frame(part)[column.name].astype(object)
            window[:, place] = pd.Categorical(words, categories=list(column.categories)).codes
    return window[:, None, :]


def answers_of(data: Dataset, part: str, role: Role, classes: tuple[str, ...]) -> NDArray[Any]:
    """Return what is true of a part's rows, `(n,)`: values, or codes of these classes, -1 for others."""
    if role == "value":
        return data.truth(part, role)
    column = data.metadata.truth(role)
    if column is None:
        raise DataError(f"'{data.subject}' holds no classes.", hint="Train a regressor.")
    code = {name: place for place, name in enumerate(classes)}
    return np.array([code.get(str(name), -1) for name in data.frame(part)[column.name]], np.int64)


def samples_of(interface: Interface, data: Dataset, part: str, role: Role) -> Samples:
    """Return all rows of a part; those that belong together are one unit, independent ones are dealt out."""
    run = data.runs(part)
    alone = len(np.unique(run)) == len(run)
    return Samples(
        inputs={"window": window_of(data, part, interface.columns)},
        truth={"kind" if role == "class" else "value": answers_of(data, part, role, interface.classes)},
        unit=(run % _UNITS if alone else run).astype(str),
        time=np.full(len(run), np.nan),
    )


def train(data: Dataset, config: EstimatorConfig, ctx: RunContext, role: Role) -> EstimatorModel:
    """Fit on the train part, stopped by val where the settings say so; test is not looked at.

    Raises:
        DataError: when no column has a value.
        TrainingError: when the estimator cannot be fitted.
        InterruptedTraining: when asked to stop.
    """
    from nightshift.trainer.api import train_model, with_params
    from nightshift.trainer.checks.telling import FindingWarning
    from nightshift.trainer.config import PLAIN, read_config, settings_of

    X, y, first = _fitted_rows(data, role)
    rows, run = np.arange(len(y)), np.concatenate([data.runs("train"), data.runs("val")])
    keywords = {key: value for key, value in read_config(config.settings).items() if key != "save_model"}
    plain = {key: value for key, value in keywords.items() if key in PLAIN}
    asked = settings_of({key: value for key, value in keywords.items() if key not in PLAIN}, plain)
    joined = config.refit and asked.early_stopping is None and asked.balance.method != "threshold"
    # In the table's own order, in which a cross-validation's refit saw them: a bootstrap draws by place.
    parts = (np.argsort(run, kind="stable"), rows[:0], rows[:0]) if joined else (rows[:first], rows[first:], rows[:0])
    keywords["limits"] = {"threads": ctx.threads, "device": config.device, **(keywords.get("limits") or {})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FindingWarning)
        model = with_params(config.model, config.params, y)
        result = train_model(model, X, y, split=parts, seed=config.seed, progress=_sink(ctx), **keywords)
    ctx.note(*result.findings)
    return model_of(result, data, role)


def model_of(result: TrainResult | CVResult, data: Dataset, role: Role) -> EstimatorModel:
    """Return a result of the trainer on a table that has landed, as a model of bundles' windows.

    Raises:
        ExportError: for a classifier that tells no probabilities.
    """
    from nightshift.trainer.options import described

    model, columns = result.model, columns_of(data)
    if role == "class" and not hasattr(model, "predict_proba"):
        raise ExportError(
            f"{result.about.name} tells no probabilities, which the bundle of a classifier answers with.",
            hint="Take logistic or random_forest; --no-register keeps it as it is.",
        )
    outputs: tuple[Output, ...] = (
        Output(name="value", dtype="float32", shape=("batch",), meaning=f"`{result.about.y_name}`"),
    )
    classes: tuple[str, ...] = ()
    scale = 1.0
    if role == "class":
        classes = tuple(str(name) for name in model.classes_)
        outputs = (
            Output(name="probability", dtype="float32", shape=("batch", len(classes)), meaning="of each class"),
            Output(name="label", dtype="int64", shape=("batch",), meaning="place of the class among the classes"),
        )
    else:
        scale = max(1.0, float(np.abs(data.truth("train", role)).max()))
    told = {"estimator": result.about.name, "rows": result.about.n_rows, **described(result.settings)}
    return EstimatorModel(
        interface=Interface(columns=columns, window_rows=1, outputs=outputs, classes=classes),
        model=model,
        fill=_fill(model, data, columns),
        scale=scale,
        threshold=result.fitted.threshold,
        summary={key: value for key, value in told.items() if isinstance(value, str | int | float | bool)},
        example=_example(data, columns),
        folds=_folds(result),
        result=result,
    )


def _folds(result: TrainResult | CVResult) -> dict[str, list[float | None]]:
    """Return the folds' figures; nothing without a cross-validation."""
    from nightshift.trainer.results.result import CVResult

    made, metric = result if isinstance(result, CVResult) else result.cv, result.about.primary
    return {} if made is None else {metric: [fold.scores.get(metric) for fold in made.folds]}


def _fitted_rows(data: Dataset, role: Role) -> tuple[pd.DataFrame, pd.Series[Any], int]:
    """Return the rows of train and val with their answers, and how many are of train."""
    import pandas as pd

    columns = columns_of(data)
    nothing = np.full(len(columns), np.nan, np.float32)
    windows = [window_of(data, part, columns) for part in ("train", "val")]
    coded = np.array([bool(column.categories) for column in columns])
    if not (np.isfinite(windows[0]) & ((windows[0] >= 0) | ~coded)).any():
        raise DataError(f"no column of '{data.subject}' has a value in train.", hint="Give another file.")
    truth = data.metadata.truth(role)
    name = truth.name if truth else ""
    y = pd.concat([data.frame(part)[name] for part in ("train", "val")], ignore_index=True)
    X = frame_of(np.concatenate(windows), columns, nothing)
    answers = y.astype(np.float64) if role == "value" else _labels(y, truth.classes if truth else ())
    return X, answers, len(windows[0])


def _labels(y: pd.Series[Any], classes: tuple[str, ...]) -> pd.Series[Any]:
    """Return labels as the numbers that they stand for, if they do: as text 10 comes before 2."""
    for kind in (int, float):
        with suppress(ValueError):
            numbers = {name: kind(name) for name in classes}
            if all(str(number) == name for name, number in numbers.items()):
                return y.map(str).map(numbers)
    return y.astype(object)


def _fill(model: Any, data: Dataset, columns: tuple[Column, ...]) -> Float32:
    """Return the train rows' medians for a model that takes no gaps: a device may meet them any day."""
    nothing = np.full(len(columns), np.nan, np.float32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows that are unlike those trained on
            model.predict(frame_of(np.full((1, 1, len(columns)), np.nan, np.float32), columns, nothing))
    except (ValueError, TypeError):
        window = window_of(data, "train", columns)[:, 0, :]
        present = np.isfinite(window).any(axis=0)
        medians = np.zeros(len(columns), np.float32)
        medians[present] = np.nanmedian(window[:, present], axis=0)
        flags = np.array([is_flag(column.categories) for column in columns])
        return np.where(flags, np.maximum(np.round(medians), 0) % 2, medians).astype(np.float32)
    return nothing


def _sink(ctx: RunContext) -> Any:
    def take(event: ProgressEvent) -> None:
        if ctx.should_stop():
            raise InterruptedTraining("Training was stopped on request.")
        ctx.progress(replace(event, cell=ctx.cell, stage=ctx.stage))

    return take


def _example(data: Dataset, columns: tuple[Column, ...]) -> Float32:
    window = window_of(data, "val", columns)
    return window[:: -(-len(window) // _PARITY_ROWS)]


def hard_rows(fitted: EstimatorModel, ctx: RunContext) -> CasedInputs:
    """Return rows of val, their values mixed anew, and such with a missing, infinite or unseen value each."""
    real, rng = fitted.example, rng_of(ctx)
    width = real.shape[2]
    drawn = rng.integers(0, len(real), (_PARITY_ROWS, width))
    mixed = np.take_along_axis(real[:, 0, :], drawn, axis=0)[:, None, :]
    rows, cases = [real, mixed], ["real"] * len(real) + ["mixed"] * len(mixed)
    words = [place for place, column in enumerate(fitted.interface.columns) if column.categories]
    for case, value, places in (
        ("missing", np.nan, range(width)),
        ("infinite", np.inf, range(width)),
        ("infinite", -np.inf, range(width)),
        ("unseen", -1.0, words),
    ):
        if places:
            some = mixed[:_GAP_ROWS].copy()
            some[np.arange(len(some)), 0, np.resize(np.array(list(places)), len(some))] = value
            rows.append(some)
            cases += [case] * len(some)
    return CasedInputs({"window": np.concatenate(rows).astype(np.float32)}, np.array(cases))


def save(fitted: EstimatorModel, folder: Path) -> None:
    """Write the model as the trainer saves it, and what stands around it.

    Raises:
        UsageError: for a model that was loaded: it lies saved already.
    """
    from nightshift.trainer.keep.save import save as keep

    if fitted.result is None:
        raise UsageError("a model that was loaded is saved already.", hint="Copy its folder.")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        keep(fitted.result, folder / _MODEL, fitted.result.settings.format)
    except UsageError:
        keep(fitted.result, folder / _MODEL, "joblib")
    (folder / _INTERFACE).write_text(fitted.interface.model_dump_json(indent=1), encoding="utf-8")
    np.save(folder / _EXAMPLE, fitted.example, allow_pickle=False)
    fill = [None if np.isnan(value) else float(value) for value in fitted.fill]
    told = {"fill": fill, "scale": fitted.scale, "threshold": fitted.threshold, "summary": dict(fitted.summary)}
    told["folds"] = dict(fitted.folds)
    (folder / _SETTINGS).write_text(json.dumps(told, indent=1), encoding="utf-8")


def load(folder: Path) -> EstimatorModel:
    """Read what `save` wrote, from our own work folder."""
    from nightshift.trainer.keep.load import load as read

    told = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    return EstimatorModel(
        interface=Interface.model_validate_json((folder / _INTERFACE).read_bytes()),
        model=read(folder / _MODEL, trusted=True).model,
        fill=np.array([np.nan if value is None else value for value in told["fill"]], np.float32),
        scale=told["scale"],
        threshold=told["threshold"],
        summary=told["summary"],
        folds=told.get("folds", {}),
        example=np.load(folder / _EXAMPLE, allow_pickle=False),
    )
