"""What a request may say of places: a table in the home, and no other file, and no other machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightshift.errors import ConfigError, UsageError, nearest
from nightshift.settings import Home

#: What a training on a table may be told; the others name places on the machine that trains.
_SETTINGS = (
    *("params", "test_size", "validation_size", "stratify", "shuffle", "random_state", "cross_validation"),
    *("imbalance_handling", "early_stopping", "strategy", "split", "balance", "scoring", "encode", "scale", "seeds"),
    *("checks", "limits", "learning_curve", "n_jobs"),
)
#: The same of its limits: the address of a cluster would have the server ask another machine.
_LIMITS = ("memory_mb", "threads", "device", "backend", "beyond_memory", "retries")
#: Parameters by which estimators read or write files, or reach other machines; nested ones end alike
#: (`estimator__train_dir`).
_OF_PLACES = re.compile(
    r"(?:^|_)(?:dir|file|filename|path|folder|borders|hosts?|port|address|ur[il]|machines|machine_list|mlist)$"
    r"|^(?:nodes|workers|num_machines?|fs|forced_?splits|forcedbins|(?:input_)?model|(?:model_)?(?:in|input|output|out)|data"
    r"|train|test|valid|train_data|test_data|valid_data)$|snapshot|allow_writing"
)
#: What a parameter may hold where it is a text: words such as `balanced` and `multi:softprob`, no path and no address.
_WORDS = re.compile(r"(?!.*[: ]\d)[\w@+=,;: -]*")
#: A run to begin from is named by its id.
_PATH_LIKE = re.compile(r"[/\\]|^\.|\.pt$")
_TABLES = (".csv", ".parquet")


_ELSEWHERE = "Leave it out; the command line takes it."


def check_family_settings(settings: Mapping[str, Any]) -> None:
    """See that the settings of families name no place; what is no mapping at all is refused where it is read.

    Raises:
        UsageError: for a run to begin from that is a file.
        ConfigError: for a setting or a parameter that names another place.
    """
    if isinstance(init := settings.get("init_from"), str) and _PATH_LIKE.search(init):
        raise UsageError("init_from names a file.", hint="Name a run by its id; the command line takes files.")
    _check_params(settings.get("params"))
    _check_params(settings.get("hyperparameters"))
    if isinstance(inner := settings.get("settings"), Mapping):
        check_settings(inner)


def check_settings(settings: Mapping[str, Any]) -> None:
    """See that the settings of a training on a table name no place.

    Raises:
        ConfigError: for a setting, or a parameter of the estimator, that is not known or names one.
    """
    _check_known(settings, _SETTINGS, "a table's training")
    if isinstance(limits := settings.get("limits"), Mapping):
        _check_known(limits, _LIMITS, "its limits")
    _check_params(settings.get("params"))


def _check_known(given: Mapping[str, Any], known: tuple[str, ...], of: str) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(f"unknown setting '{key[:80]}' of {of}.", hint=nearest(key, known))


def _check_params(params: object, of: str = "") -> None:
    """See that an estimator's parameters, on whatever level, are numbers and words."""
    if isinstance(params, str) and not _WORDS.fullmatch(params):
        raise ConfigError(f"parameter '{of}' may hold words, got {params[:80]!r}.", hint=_ELSEWHERE)
    for value in params if isinstance(params, list) else ():
        _check_params(value, of)
    for key, value in params.items() if isinstance(params, Mapping) else ():
        if _OF_PLACES.search(key.lower()):
            raise ConfigError(
                f"parameter '{key[:80]}' is about files of the machine that trains, or about other machines.",
                hint=_ELSEWHERE,
            )
        _check_params(value, key[:80])


def table_file(home: Home, named: str) -> Path:
    """Return the table that a request names.

    Raises:
        UsageError: for what is no CSV or Parquet file in the home, or one of Nightshift's own.
    """
    if not named:
        raise UsageError(
            "file is missing.", hint="Name a CSV or Parquet file in the home, such as data/tables/shop.csv."
        )
    root, path = home.root.resolve(), _file(home.root / named)
    if Path(named).is_absolute() or path is None or path.suffix not in _TABLES or not path.is_relative_to(root):
        raise UsageError(
            f"{named!r} is no CSV or Parquet file in the home.", hint="Give its path from there, below data/."
        )
    if path.is_relative_to(home.machinery.resolve()):
        raise UsageError(f"'{named}' is one of Nightshift's own.", hint="Put the table below data/.")
    return path


def _file(path: Path) -> Path | None:
    """Return where a file lies, its links followed; None where there is none."""
    try:
        found = path.resolve()
        return found if found.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a name too long, with a NUL, or of links in a circle
        return None
