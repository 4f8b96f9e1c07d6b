"""A batch's cells and outcome."""

from __future__ import annotations

from nightshift.plan.batch import BatchFailedError, BatchOptions, BatchOutcome, CellRef, each_once
from nightshift.plan.outcome import CellOutcome, Ending


def outcome(*endings: Ending) -> BatchOutcome:
    cells = [CellOutcome(subject=f"m{i}", family="rul", target="pi", ending=e, reason=e) for i, e in enumerate(endings)]
    return BatchOutcome(cells=tuple(cells))


def test_a_cell_named_twice_is_one_whatever_name_its_family_has() -> None:
    cells = [
        CellRef(subject="m", family="rul", forced="asked"),
        CellRef(subject="m", family="regression"),
        CellRef(subject="m", family="rul", target="server"),
        CellRef(subject="n", family="rul"),
    ]
    assert each_once(cells) == (cells[0], cells[2], cells[3])


def test_another_run_is_waited_for_as_long_as_a_cell_may_take_unless_it_is_said() -> None:
    assert BatchOptions().longest_wait_s is None
    assert BatchOptions(cell_time_limit_s=7200).longest_wait_s == 7200
    assert BatchOptions(cell_time_limit_s=7200, wait_s=0).longest_wait_s == 0


def test_the_gravest_ending_gives_the_exit_code() -> None:
    assert outcome("trained", "up to date", "not applicable").exit_code == 0
    assert outcome("trained", "unregistered").exit_code == 4
    assert outcome("unregistered", "blocked").exit_code == 3
    assert outcome("blocked", "failed", "trained").exit_code == 1


def test_the_error_of_a_batch_names_the_bad_cells_and_survives_a_process_border() -> None:
    ended = outcome("trained", "failed", "blocked")
    error = BatchFailedError(ended)
    assert str(error).startswith("2 of 3 cells did not end well: m1.rul.pi failed: failed; m2.rul.pi blocked: blocked")
    assert "The other 1 are done" in error.hint
    make, arguments = error.__reduce__()
    assert callable(make)
    assert isinstance(arguments, tuple)
    assert make(*arguments).outcome == ended
