"""A model in its library's own format: boosters and nets, with the steps before them beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightshift.errors import BundleError
from nightshift.trainer.contract import Kind

FRONT = "prepare.skops"
FOLDER = "native"


@dataclass(frozen=True)
class Peeled:
    """A model taken apart.

    Attributes:
        estimator: what stands last.
        front: the fitted steps before it; None where there are none.
        steps: names of them all; none without a Pipeline.
        threshold: that it answers by; None for the usual one.
    """

    estimator: Any
    kind: Kind
    front: Any = None
    steps: tuple[str, ...] = ()
    threshold: float | None = None


def peel(model: Any) -> Peeled:
    """Take a fitted model apart, as far as it can be put together again; what cannot be is left whole."""
    from nightshift.trainer.kinds.kind import kind_of

    inner, threshold = _under_threshold(model)
    front, steps = None, ()
    if type(inner).__module__ == "sklearn.pipeline" and hasattr(inner, "steps") and len(inner.steps) > 1:
        last = inner.steps[-1][1]
        if hasattr(last, "predict") and hasattr(last, "fit"):
            front, steps, inner = inner[:-1], tuple(name for name, _ in inner.steps), last
    return Peeled(inner, kind_of(inner), front, steps, threshold)


def _under_threshold(model: Any) -> tuple[Any, float | None]:
    """Return what stands under a threshold that the trainer chose, and the threshold."""
    frozen = getattr(model, "estimator", None)
    if (
        frozen is None
        or type(model).__name__ != "FixedThresholdClassifier"
        or type(frozen).__name__ != "FrozenEstimator"
    ):
        return model, None
    usual = model.pos_label is None and model.response_method == "auto"
    return (frozen.estimator, float(model.threshold)) if usual else (model, None)


def put_together(estimator: Any, front: Any, steps: tuple[str, ...], threshold: float | None) -> Any:
    """Return the model that `peel` took apart; nothing is fitted again."""
    from sklearn.pipeline import Pipeline

    from nightshift.trainer.balance.threshold import with_threshold

    model = estimator
    if front is not None:
        model = Pipeline([*front.steps, (steps[-1], estimator)])
    return model if threshold is None else with_threshold(model, threshold)


def kind_named(name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        BundleError: for a name that no kind has.
    """
    import importlib

    known = ("lightgbm", "xgboost", "catboost", "skorch", "keras")
    if name not in known:
        raise BundleError(f"no estimator kind {name!r}; expected one of {', '.join(known)}.")
    found: Kind = importlib.import_module(f"nightshift.trainer.kinds.{name}_kind").KIND
    return found


def write(peeled: Peeled, folder: Path) -> None:
    """Write an estimator in its library's own format.

    Raises:
        UsageError: when it has none.
    """
    inside = folder / FOLDER
    inside.mkdir()
    peeled.kind.save_native(peeled.estimator, inside)


def read(folder: Path, kind: str, module: Any) -> Any:
    """Read what `write` wrote.

    Raises:
        BundleError: when it cannot be read.
    """
    return kind_named(kind).load_native(folder / FOLDER, module)
