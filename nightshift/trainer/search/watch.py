"""How far a search is whose trials other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import Teller
from nightshift.trainer.search.study import best_value, ended

if TYPE_CHECKING:
    import optuna

#: Tells how far a search is, and what else is to be said ("" = nothing); returns how many trials are left.
Look = Callable[[str], int]
#: Has other processes do a search's trials by `join_search`; looks now and then, and returns when none is left.
Hands = Callable[[Look], None]


def watch(study: optuna.Study, trials: int, tell: Teller) -> Look:
    """Return what tells how far others are.

    Args:
        study: that they share.
        trials: that are wanted in all.
        tell: hears of it, at each look.
    """
    before, began, told = ended(study), time.monotonic(), -1

    def say(message: str) -> None:
        tell(ProgressEvent("", "train", message=message, line=True))

    def look(note: str) -> int:
        nonlocal told
        if note:
            say(note)
        done = ended(study)
        if done != told:
            pace_s = (time.monotonic() - began) / max(1, done - before)
            left = (
                f", about {timedelta(seconds=round(pace_s * (trials - done)))} left" if before < done < trials else ""
            )
            say(f"{done} of {trials} trials, best so far {best_value(study)}{left}")
        told = done
        # Where nothing is new, too: a wish to stop is heard by it. The last step is the training with the best.
        tell(ProgressEvent("", "train", done, trials + 1))
        return max(0, trials - done)

    return look
