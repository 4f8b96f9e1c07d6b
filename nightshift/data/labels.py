"""Makes `failure_status` where a source has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import Sensor
from nightshift.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

POSITIVE_WORDS = frozenset({"1", "true", "yes", "y", "fail", "failed", "failure", "fault", "anomaly"})
NEGATIVE_WORDS = frozenset({"0", "false", "no", "n", "ok", "normal", "healthy", "good"})


def from_rul(rul: NDArray[np.float64], horizon: float) -> NDArray[np.float64]:
    """Return 1 where failure comes within `horizon`, 0 where it does not, NaN where `rul` is unknown, `(rows,)`.

    Args:
        rul: `(rows,)` remaining life in the dataset's time unit.
        horizon: in the same unit.
    """
    return np.where(np.isnan(rul), np.nan, (rul <= horizon).astype(np.float64))


def from_words(column: pd.Series[Any], positive: Sequence[object] = ()) -> NDArray[np.float64]:
    """Return a source's own label as 0, 1 or NaN (empty), `(rows,)`.

    Args:
        column: numbers, booleans or text.
        positive: the values that mean failing; every other value then means well.

    Raises:
        DataError: without `positive`, for a value that is neither a known yes nor a known no.
    """
    words = column.map(_word, na_action="ignore")
    missing = words.isna().to_numpy() | (words == "").to_numpy()
    if positive:
        value = words.isin({_word(p) for p in positive}).to_numpy(np.float64)
        return np.where(missing, np.nan, value)
    known = words.isin(POSITIVE_WORDS | NEGATIVE_WORDS).to_numpy() | missing
    if not known.all():
        raise DataError(
            f"D020: column '{column.name}' holds '{column[~known].iloc[0]}'; is that failing or well?",
            hint="Name the failing values in the mapping: `label: {column: …, positive: […]}`.",
        )
    return np.where(missing, np.nan, words.isin(POSITIVE_WORDS).to_numpy(np.float64))


def from_thresholds(frame: pd.DataFrame, sensors: Sequence[Sensor], *, noise: float, seed: int) -> NDArray[np.float64]:
    """Return 1 where any sensor is beyond its alarm limits, with a share of labels flipped, `(rows,)`.

    A model of such labels only learns the rule (finding T005); the noise keeps it from looking perfect.

    Args:
        frame: columns named as the sensors.
        sensors: those with alarm limits count.
        noise: share of labels that are flipped.
        seed: of the draw.
    """
    beyond = np.zeros(len(frame), dtype=bool)
    for sensor in sensors:
        values = frame[sensor.name].to_numpy() if sensor.role != "category" else np.full(len(frame), np.nan)
        if sensor.alarm_above is not None:
            beyond |= values > sensor.alarm_above
        if sensor.alarm_below is not None:
            beyond |= values < sensor.alarm_below
    flipped = np.random.default_rng(seed).random(len(frame)) < noise
    return (beyond ^ flipped).astype(np.float64)


def have_limits(sensors: Sequence[Sensor]) -> bool:
    """Whether any sensor has an alarm limit."""
    return any(s.alarm_above is not None or s.alarm_below is not None for s in sensors)


def _word(value: object) -> str:
    """Return a value as a lower-case word; 1, 1.0 and "1.0" are one word."""
    word = str(value).strip().lower()
    try:
        number = float(word)
    except ValueError:
        return word
    return str(int(number)) if number.is_integer() else word
