"""A torch module, or a skorch net around one, made ready for one fit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from nightshift.errors import ConfigError, TrainingError, UsageError, first_line
from nightshift.trainer.contract import FitJob, Values
from nightshift.trainer.kinds.fits import validation_of
from nightshift.trainer.kinds.net import Matrix, matrix
from nightshift.trainer.options import Task

#: Of a bare module; a skorch net has its own. A batch is a twentieth of the rows, within bounds.
EPOCHS, LEARNING_RATE = 50, 1e-3
SMALLEST_BATCH, LARGEST_BATCH = 16, 128

#: Rows of a batch times parameters below which threads wait for each other longer than they work.
_SMALL = 10_000_000


class Batches:
    """Takes batches out of arrays at once: a DataLoader fetches row by row.

    Args:
        dataset: skorch's, of arrays.
        batch_size: rows; a last batch of one row joins the one before, as batch norm takes no single row.
        shuffle: whether rows come in a new order each time.
    """

    def __init__(self, dataset: Any, batch_size: int = LARGEST_BATCH, shuffle: bool = False) -> None:
        self.dataset, self.batch_size, self.shuffle = dataset, max(1, batch_size), shuffle

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield rows, (batch, columns), and their targets; zeros where there are none."""
        X, y = torch.from_numpy(self.dataset.X), self.dataset.y
        targets = torch.zeros(len(X)) if y is None else torch.from_numpy(y)
        order = torch.randperm(len(X)) if self.shuffle else None
        start = 0
        while start < len(X):
            end = start + self.batch_size
            end = len(X) if end >= len(X) - 1 else end
            if order is None:
                yield X[start:end], targets[start:end]
            else:
                yield X[order[start:end]], targets[order[start:end]]
            start = end


@dataclass(frozen=True)
class Rows:
    """What a net learns from.

    Attributes:
        y: (n,) codes, or (n,) or (n, 1) numbers, as the net answers them.
        X_val, y_val: that it is stopped by; None: nothing stops it.
    """

    X: Matrix
    y: NDArray[Any]
    X_val: Matrix | None
    y_val: NDArray[Any] | None
    shift: float = 0.0
    scale: float = 1.0


def is_bare(model: Any) -> bool:
    """Whether a model is a torch module or its class, and no skorch net."""
    return not isinstance(model, NeuralNet)


def net_of(model: Any, task: Task, device: str, rows: int = 0) -> Any:
    """Return an unfitted skorch net of a module, its class, or a skorch net; the caller's own stays as it is.

    Args:
        rows: that it will be fitted on.

    Raises:
        UsageError: for a class whose module cannot be made without arguments.
    """
    if not is_bare(model):
        net = clone(model)
        return net.set_params(device=device) if device != "cpu" else net
    if inspect.isclass(model):
        _check_arguments(model)
    classifies = task != "regression"
    return (NeuralNetClassifier if classifies else NeuralNetRegressor)(
        model if inspect.isclass(model) else deepcopy(model),
        criterion=torch.nn.CrossEntropyLoss if classifies else torch.nn.MSELoss,
        optimizer=torch.optim.Adam,
        lr=LEARNING_RATE,
        max_epochs=EPOCHS,
        batch_size=min(LARGEST_BATCH, max(SMALLEST_BATCH, rows // 20)),
        iterator_train=Batches,
        iterator_train__shuffle=True,
        iterator_valid=Batches,
        train_split=None,
        device=device,
        verbose=0,
    )


def _check_arguments(module: type) -> None:
    needed = [
        name
        for name, each in inspect.signature(module).parameters.items()
        if each.default is each.empty and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    if needed:
        raise UsageError(
            f"{module.__name__} cannot be made without {', '.join(needed)}: expected a class without arguments.",
            hint=f"Give {module.__name__}(…), or a skorch net with module__{needed[0]}=….",
        )


def classes_of(job: FitJob) -> Values:
    """Return the labels of the codes, of y's own type: those of the whole table, also of classes that train lacks."""
    return np.array(job.classes, dtype=job.y.dtype) if job.classes else np.unique(job.y)


def rows_of(net: Any, job: FitJob, *, bare: bool) -> Rows:
    """Return rows and targets in the form that the net takes; it must be initialised.

    Raises:
        TrainingError: when the module cannot take the rows, or answers something else than the task asks for.
    """
    X = matrix(job.X)
    shape = _answered(net, X)
    validation = validation_of(job)
    X_val = None if validation is None else matrix(validation.X)
    if job.task != "regression":
        classes = classes_of(job)
        k = len(classes)
        binary = isinstance(net, NeuralNetBinaryClassifier)
        if not binary and isinstance(net, NeuralNetClassifier) and (len(shape) < 2 or shape[1] != k):
            found = shape[1] if len(shape) > 1 else 1
            raise TrainingError(
                f"{_name(net)} answers {found} numbers for a row: expected {k}, one for each class.",
                hint=f"Let its last layer have {k} outputs; softmax is put on them.",
            )
        kind = np.float32 if binary else np.int64
        y_val = None if validation is None else np.searchsorted(classes, validation.y).astype(kind)
        return Rows(X, np.searchsorted(classes, job.y).astype(kind), X_val, y_val)
    if len(shape) > 1 and shape[1] != 1:
        raise TrainingError(
            f"{_name(net)} answers {shape[1]} numbers for a row: expected 1.", hint="Let its last layer have 1 output."
        )
    y = np.asarray(job.y, np.float64)
    # Numbers far from 0 would take a net of the usual learning rate for ever.
    shift, scale = (float(y.mean()), float(y.std()) or 1.0) if bare else (0.0, 1.0)
    form = (-1, 1) if len(shape) > 1 else (-1,)
    y_val = None if validation is None else _scaled(np.asarray(validation.y, np.float64), shift, scale, form)
    return Rows(X, _scaled(y, shift, scale, form), X_val, y_val, shift, scale)


def _scaled(y: NDArray[np.float64], shift: float, scale: float, form: tuple[int, ...]) -> NDArray[np.float32]:
    return ((y - shift) / scale).astype(np.float32).reshape(form)


def _answered(net: Any, X: Matrix) -> tuple[int, ...]:
    """Return the shape of the answer to two rows; layers that learn their width from the first rows have it then."""
    net.module_.eval()
    try:
        with torch.no_grad():
            answer = net.infer(X[:2])
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise TrainingError(
            f"{_name(net)} cannot take rows of {X.shape[1]} columns: {first_line(error)}.",
            hint=f"Let its first layer have {X.shape[1]} inputs (the columns after preparation), or be a lazy one.",
        ) from error
    answer = answer[0] if isinstance(answer, tuple) else answer
    return tuple(answer.shape)


def threads_for(net: Any, rows: Rows, asked: int | None) -> int:
    """Return the threads that a net is trained with: one for a small one."""
    batch = min(len(rows.X), net.batch_size if net.batch_size > 0 else len(rows.X))
    parameters = sum(each.numel() for each in net.module_.parameters())
    return 1 if batch * parameters < _SMALL else asked or torch.get_num_threads()


def stopped_by(net: Any, rows: Rows) -> None:
    """Let a net measure itself on the validation rows; without these a skorch net keeps its own split."""
    if rows.X_val is not None:
        net.set_params(train_split=predefined_split(Dataset(rows.X_val, rows.y_val)))


def weigh_classes(net: Any, job: FitJob) -> None:
    """Let a net's loss weigh all classes alike; weights that it has stay.

    Raises:
        UsageError: for row weights, and for a loss that knows no weights of classes.
    """
    if job.weight is not None:
        raise UsageError(
            f"{type(net).__name__} takes no weight for each row.", hint="Give balance='class_weight' or 'oversample'."
        )
    if not job.class_weight:
        return
    classes = classes_of(job)
    counts = np.bincount(np.searchsorted(classes, job.y), minlength=len(classes))
    criterion = net.criterion if inspect.isclass(net.criterion) else type(net.criterion)
    if issubclass(criterion, torch.nn.BCEWithLogitsLoss):
        key, weight = "criterion__pos_weight", counts[:1] / max(1, counts[1])
    elif issubclass(criterion, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss):
        key, weight = "criterion__weight", len(job.y) / (len(counts) * np.maximum(1, counts))
    else:
        raise UsageError(
            f"the loss {criterion.__name__} knows no weights of classes.", hint="Give balance='oversample'."
        )
    if net.get_params().get(key) is None:
        net.set_params(**{key: torch.tensor(weight, dtype=torch.float32)})


def check_device(device: str) -> None:
    """Refuse a GPU that is not there.

    Raises:
        ConfigError: then.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"limits.device='cuda': torch {torch.__version__} sees no GPU here.",
            hint="Leave device out, or install a CUDA build of torch and the driver.",
        )


def _name(net: Any) -> str:
    return type(net.module_).__name__
