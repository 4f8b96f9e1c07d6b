"""The first layer of a network that reads raw windows: missing readings filled, columns in units of their own spread.

It is fitted on train, has nothing to learn, and travels with the weights, so that nobody can forget it. Training runs
it once over the whole table; the exported graph runs it on every window.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

#: Readings further than this many spreads from the mean count as this far: one wild value must not drown the others.
LIMIT = 10.0
#: Rows that are scaled at once.
_ROWS = 262_144
_LARGEST = float(np.finfo(np.float32).max)


class ColumnPlan(BaseModel):
    """How raw columns become inputs of a network.

    Attributes:
        numbers: positions of the columns that are numbers; each becomes one input, in this order.
        classes: (position, classes) of each category that becomes one input per class, all 0 for an unseen one.
        unseen: (position, classes) of each category of which only is asked whether it was seen in train.
        key: position of the category whose class chooses the mean and spread of every number, with its classes; None
            for one mean and spread.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    numbers: tuple[int, ...]
    classes: tuple[tuple[int, int], ...] = ()
    unseen: tuple[tuple[int, int], ...] = ()
    key: tuple[int, int] | None = None

    @property
    def width(self) -> int:
        """Inputs of the network."""
        return len(self.numbers) + sum(n for _, n in self.classes) + len(self.unseen)

    @property
    def keys(self) -> int:
        """Rows of the tables of means and spreads: one for each class of the key, and the first for an unseen one."""
        return 1 + (self.key[1] if self.key else 0)

    def tables(self) -> list[tuple[int, NDArray[np.float32]]]:
        """Return (position, table) of every category: what a class becomes, `(1 + classes, inputs)`, unseen first."""
        one_hot = [(at, np.eye(n + 1, n, -1, dtype=np.float32)) for at, n in self.classes]
        return one_hot + [(at, np.eye(n + 1, 1, dtype=np.float32) * np.float32(LIMIT)) for at, n in self.unseen]


class Scaling(nn.Module):
    """Raw columns to the inputs of a network, for windows, tables, or anything whose last axis is the columns.

    Attributes:
        plan: what becomes of each column.
        centre: `(plan.keys, numbers)` train mean of every number, which missing and infinite ones count as.
        factor: `(plan.keys, numbers)` one over its spread; 0 for a number that does not vary.
    """

    centre: Tensor
    factor: Tensor

    def __init__(self, plan: ColumnPlan) -> None:
        super().__init__()
        self.plan = plan
        shape = (plan.keys, len(plan.numbers))
        self.register_buffer("centre", torch.zeros(shape))
        self.register_buffer("factor", torch.ones(shape))

    def forward(self, raw: Tensor) -> Tensor:
        """Scale `(..., columns)` to `(..., plan.width)`."""
        known = raw.abs() <= _LARGEST  # False for NaN
        numbers = list(self.plan.numbers)
        row = self._code(raw, known, self.plan.key) if self.plan.key else torch.zeros((), dtype=torch.long)
        centre, factor = self.centre[row], self.factor[row]
        value = torch.where(known[..., numbers], raw[..., numbers], centre)
        scaled = [((value - centre) * factor).clamp(-LIMIT, LIMIT)]
        for at, table in self.plan.tables():
            code = self._code(raw, known, (at, len(table) - 1))
            scaled.append(torch.from_numpy(table).to(raw.device)[code])
        return torch.cat(scaled, dim=-1) if len(scaled) > 1 else scaled[0]

    @staticmethod
    def _code(raw: Tensor, known: Tensor, category: tuple[int, int]) -> Tensor:
        """Return 1 + the class, `(...,)`; 0 for an unseen or missing one."""
        at, classes = category
        code = torch.where(known[..., at], raw[..., at], -1.0) + 1.0
        return code.clamp(0.0, float(classes)).to(torch.long)

    def table(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale a table `(rows, columns)` to `(rows, plan.width)`, a slice at a time."""
        out = np.empty((len(values), self.plan.width), np.float32)
        with torch.no_grad():
            for start in range(0, len(values), _ROWS):
                part = torch.from_numpy(np.require(values[start : start + _ROWS], np.float32, ["C", "W"]))
                out[start : start + _ROWS] = self(part).numpy()
        return out


def fit_scaling(plan: ColumnPlan, values: NDArray[np.float32], *, least: float = 0.0) -> Scaling:
    """Fit mean and spread on rows of train.

    Args:
        plan: what becomes of each column.
        values: `(rows, columns)`; NaN = missing.
        least: least spread of a number within a class of the key, where it may hardly vary: this share of its mean
            there, or of its spread over all rows where that is less. Where it does not vary anywhere, 0 leaves it
            out, and more than 0 counts in its own unit.
    """
    scaling = Scaling(plan)
    numbers = values[:, list(plan.numbers)].astype(np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    _, mean, spread = _moments(numbers, np.zeros(len(values), np.intp), 1)
    constant = np.where(spread > 0.0, 0.0, float(least > 0.0))
    if plan.key is not None:
        code = np.nan_to_num(values[:, plan.key[0]], nan=-1.0, posinf=-1.0, neginf=-1.0)
        known, own_mean, own_spread = _moments(numbers, code.astype(np.intp) + 1, plan.keys)
        # Whatever was not seen in train is told by the mean and spread of all rows.
        known[0] = False
        size = np.abs(own_mean)
        floor = least * np.where(size > 0.0, np.minimum(size, spread), spread)
        mean, spread = np.where(known, own_mean, mean), np.where(known, np.maximum(own_spread, floor), spread)
    spread = np.maximum(spread, constant)
    scaling.centre.copy_(torch.from_numpy(mean))
    scaling.factor.copy_(torch.from_numpy(np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0.0)))
    return scaling


def _moments(
    numbers: NDArray[np.float64], group: NDArray[np.intp], groups: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Return of each column in each group whether a value is known, mean and standard deviation, `(groups, n)` each."""
    has = np.isfinite(numbers)
    count = _sums(has.astype(np.float64), group, groups)
    mean = _sums(np.where(has, numbers, 0.0), group, groups) / np.maximum(count, 1.0)
    off = np.where(has, numbers - mean[group], 0.0)
    spread = np.sqrt(_sums(off**2, group, groups) / np.maximum(count, 1.0))
    # A constant's spread is the rounding of its mean.
    return count > 0, mean, np.where(spread > 1e-6 * np.abs(mean), spread, 0.0)


def _sums(values: NDArray[np.float64], group: NDArray[np.intp], groups: int) -> NDArray[np.float64]:
    return np.stack([np.bincount(group, weights=column, minlength=groups) for column in values.T], axis=1)
