"""What a request may say of a training on a table: which file, and no other place on the machine that trains."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightshift.errors import ConfigError, UsageError, nearest
from nightshift.settings import Home

#: What such a training may be told; the others name places on the machine that trains.
_SETTINGS = (
    *("params", "test_size", "validation_size", "stratify", "shuffle", "random_state", "cross_validation"),
    *("imbalance_handling", "early_stopping", "strategy", "split", "balance", "scoring", "encode", "scale", "seeds"),
    *("checks", "limits", "learning_curve", "n_jobs"),
)
#: Parameters by which estimators read or write files; nested ones end alike (`estimator__train_dir`).
_OF_FILES = re.compile(r"(?:^|_)(?:dir|file|filename|path|folder|borders)$|snapshot|allow_writing")
_TABLES = (".csv", ".parquet")


def check_settings(settings: Mapping[str, Any]) -> None:
    """See that the settings of a training on a table name no place on the machine that trains.

    Raises:
        ConfigError: for a setting, or a parameter of the estimator, that is not known or names one.
    """
    for key in settings:
        if key not in _SETTINGS:
            raise ConfigError(f"unknown setting '{key}' of a table's training.", hint=nearest(key, _SETTINGS))
    check_params(settings.get("params"))


def check_params(params: object) -> None:
    """See that an estimator's parameters name no files; what is no mapping at all is refused where it is read.

    Raises:
        ConfigError: for one that does.
    """
    for key in params if isinstance(params, Mapping) else ():
        if _OF_FILES.search(str(key).lower()):
            raise ConfigError(
                f"parameter '{str(key)[:80]}' is about files of the machine that trains.",
                hint="Leave it out; the command line takes it.",
            )


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
