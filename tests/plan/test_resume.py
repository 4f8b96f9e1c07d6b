"""A training found by its run, and refused for another config, data or code."""

from __future__ import annotations

import pytest

from nightshift.errors import ConfigError, UnknownNameError
from nightshift.plan.records import work_folder
from nightshift.plan.resume import RUN_FILE, cell_of_run, refuse_another
from nightshift.plan.state import remember
from nightshift.settings import Home
from tests.plan.trained import leave_record
from tests.tracking.cells import a_cell

RUN = "0123456789abcdef0123456789abcdef"


def test_a_training_is_found_by_its_run_or_its_key(home: Home) -> None:
    cell, other = a_cell(epochs=5), a_cell(epochs=6)
    for one in (cell, other):
        remember(home, one)
    (work_folder(home, cell.key) / RUN_FILE).write_text(RUN)
    for name in (RUN, RUN[:6], cell.key, cell.key[:12]):
        assert cell_of_run(home, name) == cell
    for name in (RUN[:5], "", "the last one"):
        with pytest.raises(ConfigError, match="names no run: expected 6 or more hex digits"):
            cell_of_run(home, name)


def test_an_unknown_run_names_the_nearest_else_the_latest(home: Home) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown run 'f{32}'\. No run has begun here yet\."):
        cell_of_run(home, "f" * 32)
    cell = a_cell()
    remember(home, cell)
    digits = cell.key[:12]
    near = ("0" if digits[0] != "0" else "1") + digits[1:]
    with pytest.raises(UnknownNameError, match=f"Did you mean '{digits}'"):
        cell_of_run(home, near)
    far = "".join("0" if digit != "0" else "1" for digit in digits)
    with pytest.raises(UnknownNameError, match=f"The latest: {digits} \\({cell.name}\\)"):
        cell_of_run(home, far)


def test_a_run_is_found_by_the_mlflow_run_that_it_was_registered_with(home: Home) -> None:
    cell = a_cell()
    remember(home, cell)
    leave_record(home, cell, "register", summary={"run_id": RUN})
    assert cell_of_run(home, RUN) == cell


def test_digits_that_two_runs_begin_with_are_refused(home: Home) -> None:
    for epochs, last in ((5, "0"), (6, "1")):
        cell = a_cell(epochs=epochs)
        remember(home, cell)
        (work_folder(home, cell.key) / RUN_FILE).write_text(RUN[:-1] + last)
    with pytest.raises(ConfigError, match=r"the beginning of several runs: .* Give more of its digits"):
        cell_of_run(home, RUN[:-1])


def test_what_was_set_aside_by_force_is_no_training_to_go_on_from(home: Home) -> None:
    cell = a_cell()
    remember(home, cell)
    work_folder(home, cell.key).rename(work_folder(home, f"{cell.key}.1"))
    with pytest.raises(UnknownNameError):
        cell_of_run(home, cell.key)


def test_another_config_is_refused_with_the_difference() -> None:
    begun, asked = a_cell(epochs=100, learning_rate=0.001), a_cell(epochs=150, learning_rate=0.0005)
    refuse_another(begun, begun)
    with pytest.raises(
        ConfigError, match=r"epochs is 100 there and 150 here; learning_rate is 0\.001 there and 0\.0005"
    ):
        refuse_another(begun, asked)


def test_other_data_and_code_are_refused() -> None:
    begun = a_cell()
    with pytest.raises(ConfigError, match=r'code is "cccccccccccc" there and "eeeeeeeeeeee" here; dataset is "dddd'):
        refuse_another(begun, begun.model_copy(update={"code": "e" * 64, "dataset": "a" * 64}))
