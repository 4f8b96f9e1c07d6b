"""Trains models: `train_model` and `train_with_cv` for any estimator, and what the tabular families learn with.

Everything below is loaded when it is asked for: the families that import a module beside them load none of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightshift.trainer.api import train_from_config as train_from_config
    from nightshift.trainer.api import train_model as train_model
    from nightshift.trainer.api import train_with_cv as train_with_cv
    from nightshift.trainer.batches import train_from_parquet as train_from_parquet
    from nightshift.trainer.checks.telling import FindingWarning as FindingWarning
    from nightshift.trainer.keep.load import TrainedModel as TrainedModel
    from nightshift.trainer.keep.load import load as load
    from nightshift.trainer.options import Balance as Balance
    from nightshift.trainer.options import Checks as Checks
    from nightshift.trainer.options import EarlyStopping as EarlyStopping
    from nightshift.trainer.options import Encode as Encode
    from nightshift.trainer.options import Limits as Limits
    from nightshift.trainer.options import Split as Split
    from nightshift.trainer.options import Track as Track
    from nightshift.trainer.results.result import CVResult as CVResult
    from nightshift.trainer.results.result import TrainResult as TrainResult
    from nightshift.trainer.search.run import SearchResult as SearchResult
    from nightshift.trainer.search.run import join_search as join_search
    from nightshift.trainer.search.run import search_model as search_model

_PLACES = {
    "api": ("train_from_config", "train_model", "train_with_cv"),
    "batches": ("train_from_parquet",),
    "checks.telling": ("FindingWarning",),
    "keep.load": ("TrainedModel", "load"),
    "options": ("Balance", "Checks", "EarlyStopping", "Encode", "Limits", "Split", "Track"),
    "results.result": ("CVResult", "TrainResult"),
    "search.run": ("SearchResult", "join_search", "search_model"),
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}


#: All of `_PLACES`, written out: checkers of types read no code.
__all__ = [
    "Balance",
    "CVResult",
    "Checks",
    "EarlyStopping",
    "Encode",
    "FindingWarning",
    "Limits",
    "SearchResult",
    "Split",
    "Track",
    "TrainResult",
    "TrainedModel",
    "join_search",
    "load",
    "search_model",
    "train_from_config",
    "train_from_parquet",
    "train_model",
    "train_with_cv",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
