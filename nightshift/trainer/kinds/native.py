"""What stands beside a booster's own file, so that it comes back as the estimator that it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nightshift.errors import CorruptFileError, UsageError
from nightshift.trainer.contract import Values

_FILE = "estimator.json"
_LABELS = "biufU"


@dataclass(frozen=True)
class Described:
    """An estimator beside its booster.

    Attributes:
        made_by: name of its class.
        params: those that JSON can hold.
        labels: of the classes; None for regression.
        labelled: whether the estimator itself knows codes alone.
        more: what a library needs besides.
    """

    made_by: str
    params: dict[str, Any]
    labels: Values | None
    labelled: bool
    more: dict[str, Any]


def describe(folder: Path, model: Any, inner: Any, allowed: tuple[str, ...], more: dict[str, Any]) -> None:
    """Write what `model` is; `inner` is the library's own estimator in it.

    Raises:
        UsageError: for a class of the caller's own, or labels that JSON cannot hold.
    """
    name = type(inner).__name__
    if name not in allowed or type(inner).__module__.startswith("__"):
        raise UsageError(
            f"{name} has no native format here: expected one of {', '.join(allowed)}.", hint="Give format='skops'."
        )
    labels = getattr(model, "classes_", None)
    written = None if labels is None else np.asarray(labels)
    if written is not None and not _plain(written):
        raise UsageError(f"classes of {written.dtype} have no native format.", hint="Give format='skops'.")
    told = {
        "made_by": name,
        "params": {key: value for key, value in inner.get_params().items() if _is_json(value)},
        "labels": None if written is None else written.tolist(),
        "dtype": "" if written is None else written.dtype.str,
        "labelled": model is not inner,
        "more": more,
    }
    (folder / _FILE).write_text(json.dumps(told, indent=1), encoding="utf-8")


def described(folder: Path, allowed: tuple[str, ...]) -> Described:
    """Read what `describe` wrote.

    Raises:
        CorruptFileError: when it cannot be.
    """
    path = folder / _FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        labels = None if told["labels"] is None else np.array(told["labels"], dtype=_dtype(told["dtype"]))
        found = Described(told["made_by"], dict(told["params"]), labels, bool(told["labelled"]), dict(told["more"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{path} does not describe an estimator.", hint="Save the model again.") from error
    if found.made_by not in allowed:
        raise CorruptFileError(f"{path} names {found.made_by}; expected one of {', '.join(allowed)}.")
    return found


def _plain(labels: Values) -> bool:
    return labels.dtype.kind in _LABELS or all(isinstance(label, str) for label in labels.tolist())


def _dtype(told: str) -> np.dtype[Any]:
    found = np.dtype(told)
    if found.kind not in _LABELS + "O":
        raise ValueError(f"labels of {told}")
    return found


def _is_json(value: Any) -> bool:
    if value is None or isinstance(value, bool | int | str):
        return True
    if isinstance(value, float):
        return bool(np.isfinite(value))
    if isinstance(value, list | tuple):
        return all(_is_json(each) for each in value)
    return isinstance(value, dict) and all(isinstance(k, str) and _is_json(v) for k, v in value.items())
