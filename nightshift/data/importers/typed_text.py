"""A CSV file whose columns nobody has described: each gets the type that all of its cells have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.data.importers.csv_file import MISSING_WORDS
from nightshift.data.importers.text import read_text_table

if TYPE_CHECKING:
    import pandas as pd

_WHOLE = r"[-+]?(0|[1-9]\d{0,14})"
#: A code such as 007 is no number: it would lose its zeros.
_CODE = r"[-+]?0\d+"
_DATE = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?"
_TRUTH = {"true": True, "false": False}


def read_typed(path: Path) -> pd.DataFrame:
    """Read a CSV-like file; columns become whole numbers, numbers, flags, dates, or text with None for no value.

    Raises:
        DataError: when it cannot be read; see `text.read_text_table`.
    """
    import pandas as pd

    table = read_text_table(path)
    columns = {name: _typed(table.frame[name], table.decimal) for name in table.frame.columns}
    return pd.DataFrame(columns)


def _typed(cells: pd.Series[Any], decimal: str) -> Any:
    import pandas as pd

    # As Arrow's strings: a pass over Python's takes ten times as long.
    words = cells.astype("string[pyarrow]")
    lower = words.str.lower()
    gone = lower.isin({*MISSING_WORDS, ""}).astype(bool)
    text = cells.mask(gone, None)
    told, words, lower = text[~gone], words[~gone], lower[~gone]
    if told.empty:
        return pd.Series(float("nan"), index=cells.index)
    if lower.isin(_TRUTH.keys()).all():
        flags = lower.astype(object).map(_TRUTH)
        return flags.astype(bool) if not gone.any() else flags.astype(float).reindex(cells.index)
    if words.str.fullmatch(_CODE).any():
        return text
    if not gone.any() and words.str.fullmatch(_WHOLE).all():
        return told.astype("int64")
    spelled = told.str.replace(",", ".", regex=False) if decimal == "," else told
    numbers = pd.to_numeric(spelled, errors="coerce")
    if not numbers.isna().any():
        return numbers.astype(float).reindex(cells.index)
    return _dates(text, words)


def _dates(text: pd.Series[Any], words: pd.Series[Any]) -> Any:
    import pandas as pd

    if not words.str.fullmatch(_DATE).all():
        return text
    try:
        return pd.to_datetime(text, format="ISO8601")
    except (ValueError, TypeError):  # days that no calendar has, several time zones
        return text
