"""An LSTM autoencoder: a window is squeezed into a few numbers and drawn again; what it cannot draw is odd.

Source: Malhotra et al., "LSTM-based encoder-decoder for multi-sensor anomaly detection", arXiv 1607.00148, with the
decoder of Srivastava et al. (arXiv 1502.04681, 2.2): it draws the newest row first, from the latent numbers alone.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from nightshift.nets.scaling import ColumnPlan, Scaling


class LstmAeShape(BaseModel):
    """What the weights' shapes follow from.

    Attributes:
        plan: of the columns.
        hidden: units of encoder and decoder.
        latent: numbers that a window is squeezed into.
        span_rows: rows over whose mean error a window's worst stretch is found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: ColumnPlan
    hidden: int
    latent: int
    span_rows: int


class LstmAe(nn.Module):
    """Raw windows to how odd each is.

    Attributes:
        shape: of the weights.
        weight: `(width,)` one over the mean squared error of each input on normal windows of train: an input that is
            never drawn well must be off by more to be odd.
    """

    weight: Tensor

    def __init__(self, shape: LstmAeShape) -> None:
        super().__init__()
        self.shape = shape
        self.scaling = Scaling(shape.plan)
        width = shape.plan.width
        self.encoder = nn.LSTM(width, shape.hidden, batch_first=True)
        self.to_latent = nn.Linear(shape.hidden, shape.latent)
        self.decoder = nn.LSTM(shape.latent, shape.hidden, batch_first=True)
        self.to_rows = nn.Linear(shape.hidden, width)
        self.register_buffer("weight", torch.ones(width))

    def core(self, scaled: Tensor) -> Tensor:
        """Draw scaled windows `(b, rows, width)` again; the answer's first row is the newest."""
        _, (last, _) = self.encoder(scaled)
        latent = self.to_latent(last[0])
        drawn, _ = self.decoder(latent[:, None, :].expand(-1, scaled.shape[1], -1))
        answer: Tensor = self.to_rows(drawn)
        return answer

    def errors(self, scaled: Tensor) -> Tensor:
        """Return squared errors of scaled windows, `(b, rows, width)`, newest row first."""
        return (self.core(scaled) - scaled.flip(1)) ** 2

    def score(self, scaled: Tensor) -> Tensor:
        """Return the root of the worst stretch's mean weighed error of scaled windows, `(b, 1)`."""
        of_row = (self.errors(scaled) * self.weight).mean(dim=2)
        stretch = nn.functional.avg_pool1d(of_row[:, None, :], self.shape.span_rows, stride=1)
        return stretch.amax(dim=2).sqrt()

    def forward(self, raw: Tensor) -> Tensor:
        """Score raw windows `(b, rows, columns)`, `(b, 1)`; larger is odder."""
        return self.score(self.scaling(raw))
