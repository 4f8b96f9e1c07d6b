"""Learning-rate schedules by name, one step an epoch."""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, ReduceLROnPlateau

Schedule = Literal["constant", "cosine", "plateau"]

#: Where a rate ends, as a share of the first one.
_LEAST = 0.01
#: What a plateau does to the rate.
_FALL = 0.5


def make(name: Schedule, optimiser: Optimizer, epochs: int, patience: int) -> LRScheduler | None:
    """Return a schedule; None keeps the rate.

    Args:
        name: `cosine` falls along half a cosine over all epochs (Loshchilov and Hutter, arXiv 1608.03983, without
            restarts); `plateau` halves the rate when the watched figure has not fallen for `patience` epochs.
        optimiser: whose rate it is.
        epochs: at most.
        patience: of `plateau`.
    """
    first = float(optimiser.param_groups[0]["lr"])
    if name == "cosine":
        return CosineAnnealingLR(optimiser, T_max=epochs, eta_min=_LEAST * first)
    if name == "plateau":
        return ReduceLROnPlateau(optimiser, factor=_FALL, patience=patience, min_lr=_LEAST * first)
    return None


def step(schedule: LRScheduler | None, watched: float) -> None:
    """End an epoch.

    Args:
        schedule: None does nothing.
        watched: the figure that a plateau is seen by.
    """
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(watched)
    elif schedule is not None:
        schedule.step()
