"""A training whose fits are counted, and which can be killed in one of them."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from nightshift.trainer.contract import Values
from nightshift.trainer.results.result import CVResult


class Counted(DecisionTreeClassifier):  # type: ignore[misc]
    """A tree that writes down each fit in the file FITS, and does not live through the fit of that number in DIES."""

    def fit(self, X: Values, y: Values, sample_weight: Values | None = None) -> Counted:
        with Path(os.environ["FITS"]).open("a+") as file:
            file.write(f"{hashlib.sha256(np.ascontiguousarray(X).tobytes()).hexdigest()}\n")
            file.seek(0)
            if len(file.readlines()) == int(os.environ.get("DIES", "0")):
                os.kill(os.getpid(), signal.SIGKILL)
        super().fit(X, y, sample_weight)
        return self


def counted_cv(run_dir: Path, *, depth: int = 3, resume: bool = False) -> CVResult:
    """Train counted trees in four folds."""
    from nightshift.trainer.api import train_with_cv

    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = np.where(X[:, 0] + rng.normal(size=200) > 0, "yes", "no")
    model = Counted(max_depth=depth)
    return train_with_cv(
        model, X, y, cv=4, run_dir=run_dir, resume=resume, progress=False, checks="off", save_model=False
    )
