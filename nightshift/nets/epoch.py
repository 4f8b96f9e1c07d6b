"""What is told of one epoch: its figures, and the line that a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Validation:
    """What validation has found.

    Attributes:
        watched: the figure that early stopping and the plateau schedule lower.
        metrics: figures to tell beside it, by name; the suffix `_pct` is shown as a percentage.
    """

    watched: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures.

    Attributes:
        number: from 1.
        loss: mean training loss of its batches.
        validation: the validation figure, where there is one.
        metrics: validation's other figures.
        rate: learning rate that it was trained with.
        seconds: that it took, validation included; two epochs that differ in nothing else are equal.
    """

    number: int
    loss: float
    validation: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    seconds: float = field(default=0.0, compare=False)

    @property
    def watched(self) -> float:
        """What early stopping compares."""
        return self.loss if self.validation is None else self.validation

    def figures(self) -> dict[str, float]:
        """Return all figures by name, as they are logged."""
        found = {"train_loss": self.loss, "learning_rate": self.rate, "epoch_s": self.seconds}
        if self.validation is not None:
            found["val_loss"] = self.validation
        return {**found, **self.metrics}

    def line(self, epochs: int) -> str:
        """Return `Epoch 10/100 · train 0.2145 · val 0.2534 · accuracy 84.1 %`."""
        parts = [f"Epoch {self.number}/{epochs}", f"train {_shown(self.loss)}"]
        if self.validation is not None:
            parts.append(f"val {_shown(self.validation)}")
        for name, value in self.metrics.items():
            percent = name.endswith("_pct")
            words = name.removesuffix("_pct").replace("_", " ")
            parts.append(f"{words} {value:.1f} %" if percent else f"{words} {_shown(value)}")
        return " · ".join(parts)


def _shown(value: float) -> str:
    """Return four decimals, or four digits of what is too small or too large for them."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"
