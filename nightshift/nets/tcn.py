"""A temporal convolutional network: dilated causal convolutions in residual blocks, and one number for a window.

Source: Bai, Kolter, Koltun, "An empirical evaluation of generic convolutional and recurrent networks for sequence
modeling", arXiv 1803.01271, section 3; with batch normalisation, which folds into the convolutions, in place of their
weight normalisation, and an answer read from the mean over the window and its newest row.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from nightshift.nets.scaling import ColumnPlan, Scaling


class TcnShape(BaseModel):
    """What the weights' shapes follow from.

    Attributes:
        plan: of the columns.
        channels: of the residual path.
        inner: channels between the two convolutions of each block; block i is dilated by 2**i.
        kernel: rows that a convolution looks at.
        head: units between the summary of the window and the answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: ColumnPlan
    channels: int
    inner: tuple[int, ...]
    kernel: int
    head: int

    @property
    def reach_rows(self) -> int:
        """Rows that the newest answer depends on."""
        return 1 + 2 * (self.kernel - 1) * ((1 << len(self.inner)) - 1)


class Block(nn.Module):
    """Two causal convolutions and a shortcut."""

    def __init__(self, inputs: int, inner: int, outputs: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.pad = (kernel - 1) * dilation
        self.first = nn.Conv1d(inputs, inner, kernel, dilation=dilation, bias=False)
        self.first_norm = nn.BatchNorm1d(inner)
        self.second = nn.Conv1d(inner, outputs, kernel, dilation=dilation, bias=False)
        self.second_norm = nn.BatchNorm1d(outputs)
        self.shortcut: nn.Module = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        # Whole channels: neighbouring rows say nearly the same, and a number drawn for each took a sixth of a step.
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(b, outputs, rows)` of `(b, inputs, rows)`."""
        y = torch.relu(self.first_norm(self.first(nn.functional.pad(x, (self.pad, 0)))))
        y = self.second_norm(self.second(nn.functional.pad(self.dropout(y), (self.pad, 0))))
        return torch.relu(y + self.shortcut(x))


class Tcn(nn.Module):
    """Raw windows to one number.

    Attributes:
        shape: of the weights.
        centre, spread: of the truth over the training windows; `core` answers in this spread from this centre.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, shape: TcnShape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.scaling = Scaling(shape.plan)
        widths = [shape.plan.width] + [shape.channels] * len(shape.inner)
        self.blocks = nn.ModuleList(
            Block(widths[i], inner, shape.channels, shape.kernel, 2**i, dropout) for i, inner in enumerate(shape.inner)
        )
        self.hidden = nn.Linear(2 * shape.channels, shape.head)
        self.dropout = nn.Dropout(dropout)
        self.answer = nn.Linear(shape.head, 1)
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def core(self, scaled: Tensor) -> Tensor:
        """Answer scaled windows `(b, rows, width)` in the truth's spread, `(b,)`."""
        x = scaled.transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        summary = torch.cat([x.mean(dim=2), x[:, :, -1]], dim=1)
        answer: Tensor = self.answer(self.dropout(torch.relu(self.hidden(summary))))
        return answer.squeeze(1)

    def forward(self, raw: Tensor) -> Tensor:
        """Answer raw windows `(b, rows, columns)` in the truth's unit, never below 0, `(b,)`."""
        return torch.relu(self.core(self.scaling(raw)) * self.spread + self.centre)


def parameters_of(module: nn.Module) -> int:
    """Return how many numbers a network has learned."""
    return sum(p.numel() for p in module.parameters())
