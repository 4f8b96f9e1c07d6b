"""Which kind of estimator a model is, told by the modules of its classes: no library is loaded for it."""

from __future__ import annotations

import inspect
from typing import Any

from nightshift.errors import UsageError
from nightshift.trainer.contract import Kind

_LABELLED = "nightshift.trainer.labelled"
_NET = "nightshift.trainer.kinds.net"
_HINT = "Give a classifier or a regressor in scikit-learn's form, or a torch module."


def kind_of(model: Any) -> Kind:
    """Return how an estimator is seeded, fitted, stopped and saved.

    Args:
        model: an estimator, fitted or not; a torch module or its class.

    Raises:
        UsageError: for what cannot be fitted or cannot predict.
    """
    of = model if inspect.isclass(model) else type(model)
    if of.__module__ == _LABELLED and not inspect.isclass(model):
        return kind_of(model.estimator)
    if of.__module__ == _NET and hasattr(model, "net") and not inspect.isclass(model):
        return kind_of(model.net)
    libraries = {base.__module__.partition(".")[0] for base in of.__mro__}
    if "skorch" in libraries or "torch" in libraries:
        return _skorch()
    if "keras" in libraries:
        return _keras()
    _refuse(model)
    if "lightgbm" in libraries:
        return _lightgbm()
    if "xgboost" in libraries:
        return _xgboost()
    if "catboost" in libraries:
        return _catboost()
    return _sklearn()


def _refuse(model: Any) -> None:
    made_of = model.__name__ if inspect.isclass(model) else type(model).__name__
    if inspect.isclass(model):
        raise UsageError(f"expected an estimator, got the class {made_of}.", hint=f"Give {made_of}().")
    # Of the class, too: a stack predicts only when its last estimator is there.
    lacking = [name for name in ("fit", "predict") if not (hasattr(model, name) or hasattr(type(model), name))]
    if lacking:
        what = f"expected an estimator with fit and predict, got {made_of}, which has no {' and no '.join(lacking)}."
        raise UsageError(what, hint=_HINT)
    from sklearn.base import ClusterMixin, OutlierMixin

    if isinstance(model, ClusterMixin | OutlierMixin):
        raise UsageError(f"expected an estimator that learns y, got {made_of}, which looks at X alone.", hint=_HINT)


def _sklearn() -> Kind:
    from nightshift.trainer.kinds.sklearn_kind import KIND

    return KIND


def _lightgbm() -> Kind:
    from nightshift.trainer.kinds.lightgbm_kind import KIND

    return KIND


def _xgboost() -> Kind:
    from nightshift.trainer.kinds.xgboost_kind import KIND

    return KIND


def _catboost() -> Kind:
    from nightshift.trainer.kinds.catboost_kind import KIND

    return KIND


def _skorch() -> Kind:
    from nightshift.trainer.kinds.skorch_kind import KIND

    return KIND


def _keras() -> Kind:
    from nightshift.trainer.kinds.keras_kind import KIND

    return KIND
