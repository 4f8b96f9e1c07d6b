"""In what two trainings differ."""

from __future__ import annotations

from nightshift.nets.differences import differences


def test_each_key_is_named_with_both_values() -> None:
    there = {"epochs": 100, "data": {"rows": 5, "name": "x"}, "gone": True}
    here = {"epochs": 150, "data": {"rows": 5, "name": "y"}, "new": [1]}
    assert differences(there, here) == [
        'name is "x" there and "y" here',
        "epochs is 100 there and 150 here",
        "gone is true there and not set here",
        "new is not set there and [1] here",
    ]


def test_a_config_s_key_and_the_loop_s_own_are_one_difference() -> None:
    there, here = ({"epochs": n, "config": {"epochs": n}} for n in (1, 2))
    assert differences(there, here) == ["epochs is 1 there and 2 here"]


def test_what_json_reads_back_is_the_same() -> None:
    assert differences({"columns": ["a", "b"]}, {"columns": ("a", "b")}) == []
