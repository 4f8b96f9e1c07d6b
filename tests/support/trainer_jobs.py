"""Jobs that tests hand to other processes: they must be found by import there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nightshift.errors import TrainingError
from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import Done, Job, Scored, Teller, Values


def jobs(*weights: float) -> list[Job]:
    rows = np.arange(4)
    return [Job(f"fold-{i}", rows, rows[:0], rows, seed=i, weight=weight) for i, weight in enumerate(weights, 1)]


def scored(values: Sequence[object], probability: Values | None = None) -> Scored:
    return Scored({"f1": 0.1 + 0.2, "auc": None}, np.asarray(values), probability, 0.25)


@dataclass(frozen=True)
class Sum:
    """Sums its table's rows of the seed's column; tells of one round, its process and its threads."""

    table: Values

    def __call__(self, job: Job, tell: Teller) -> Done:
        tell(ProgressEvent("", job.key, 1, 1, epoch=1, message=f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}"))
        time.sleep(0.1)
        total = self.table[:, job.seed].sum()
        return Done(job.key, None, {"test": Scored({"sum": float(total)}, self.table[:2, job.seed], None, 0.0)}, 0.0)


@dataclass(frozen=True)
class Bad:
    """Does one job badly: its process `dies`, it `raises`, or it `waits`; the others wait until then, or end."""

    key: str
    how: str
    folder: Path

    def __call__(self, job: Job, tell: Teller) -> Done:
        (self.folder / f"{job.key}.pid").write_text(str(os.getpid()))
        if job.key == self.key:
            if self.how == "dies":
                os._exit(1)
            if self.how == "raises":
                raise TrainingError("the loss is NaN.", hint="Lower lr.")
        if self.how == "waits":
            time.sleep(60)
        return Done(job.key, None, {}, 0.0)


@dataclass(frozen=True)
class Unsendable:
    lock: object = field(default_factory=threading.Lock)

    def __call__(self, job: Job, tell: Teller) -> Done:
        raise AssertionError("it cannot get here")
