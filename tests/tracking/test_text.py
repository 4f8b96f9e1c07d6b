"""Figures read as people write them."""

from __future__ import annotations

import math

import pytest

from nightshift.tracking.text import number


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "inf"),
        (0.0, "0"),
        (12_345.0, "12,345"),
        (0.81237, "0.8124"),
        (12.3456, "12.35"),
        (1.5e-5, "1.5e-05"),
        (-2.5e7, "-2.5e+07"),
    ],
)
def test_four_digits_matter(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_a_comparison_asks_for_more_digits() -> None:
    assert (number(0.8123456, 6), number(1234.56789, 6)) == ("0.812346", "1,234.57")
