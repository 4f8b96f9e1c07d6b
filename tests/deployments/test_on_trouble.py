"""How long the server waits for a night; what it then tells is tested with a server, in tests/flows/test_morning.py."""

from __future__ import annotations

import pytest

from deployments.on_trouble import longest_gap_s
from nightshift.errors import ConfigError


@pytest.mark.parametrize(
    ("cron", "hours"), [("0 2 * * *", 24.0), ("0 2 * * 1-5", 72.0), ("0 2 1 * *", 744.0), ("*/30 8-17 * * *", 14.5)]
)
def test_the_longest_time_between_two_nights_is_the_schedule_s(cron: str, hours: float) -> None:
    assert longest_gap_s(cron) == hours * 3600


def test_a_schedule_without_any_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="'0 2 30 2 \\*', which is no schedule"):
        longest_gap_s("0 2 30 2 *")
