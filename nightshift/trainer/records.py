"""What a training leaves: figures of folds, answers on rows that a model has not seen, and how it came to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Values = NDArray[Any]
Scores = Mapping[str, float | None]


class Fixed(dict[str, Any]):
    """A mapping that nobody changes by mistake; unlike Python's own it can be copied, pickled and written as JSON."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a result does not change: take dict(…) of it.")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return Fixed, (dict(self),)


def fix(record: Any) -> None:
    """Fix the mappings of a frozen record, and those in them."""
    for one in fields(record):
        value = getattr(record, one.name)
        if isinstance(value, Mapping):
            object.__setattr__(record, one.name, _fixed(value))


def _fixed(value: Any) -> Any:
    return Fixed({key: _fixed(one) for key, one in value.items()}) if isinstance(value, Mapping) else value


@dataclass(frozen=True)
class FoldResult:
    """A fold's figures.

    Attributes:
        rows: by part.
    """

    number: int
    scores: Scores
    train_scores: Scores
    seconds: float
    seed: int
    best_round: int | None = None
    rows: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fix(self)


@dataclass(frozen=True)
class Predictions:
    """Answers on rows that the model behind them was not fitted on.

    Attributes:
        index: (k,) row numbers.
        part: (k,) `validation`, `test` or `held_out`.
        fold: (k,) number of the fold; 0 where there is none.
        value: (k,) classes or values.
        probability: (k, classes); None where there are none.
        truth: (k,) y of those rows.
    """

    index: Ints
    part: NDArray[np.str_]
    fold: Ints
    value: Values
    probability: Floats | None
    truth: Values


@dataclass(frozen=True)
class Provenance:
    """How a result came to be.

    Attributes:
        seeds: of all fits.
        data: fingerprint of the table.
        config: fingerprint of the settings and the model's parameters.
        versions: of Python and the libraries that took part.
        commit: of the code; None outside a repository.
        peak_mb: of the process.
        gpu_mb: that the fit held at most; None on a CPU.
    """

    seed: int
    seeds: tuple[int, ...]
    data: str
    config: str
    versions: Mapping[str, str]
    commit: str | None
    uncommitted: bool
    started_at: str
    wall_s: float
    peak_mb: float
    gpu_mb: float | None
    machine: str
    estimator: str

    def __post_init__(self) -> None:
        fix(self)
