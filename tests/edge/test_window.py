"""Windows hold a row and its past, and nothing of another run."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.edge.window import build_windows


def slow_windows(values: np.ndarray, run: np.ndarray, window_rows: int) -> np.ndarray:
    """The definition, row by row."""
    windows = np.full((len(values), window_rows, values.shape[1]), np.nan, dtype=np.float32)
    for end in range(len(values)):
        begin = end
        while begin > 0 and run[begin - 1] == run[end] and end - begin + 1 < window_rows:
            begin -= 1
        windows[end, window_rows - (end - begin + 1) :] = values[begin : end + 1]
    return windows


@pytest.mark.parametrize("window_rows", [1, 2, 5, 40])
def test_windows_match_the_definition_row_by_row(window_rows: int) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(30, 3)).astype(np.float32)
    values[4, 1] = np.nan
    run = np.repeat([7, 3, 9, 3], [1, 12, 4, 13])
    np.testing.assert_array_equal(build_windows(values, run, window_rows), slow_windows(values, run, window_rows))


def test_a_run_may_be_named_by_text() -> None:
    values = np.arange(4, dtype=np.float32)[:, None]
    windows = build_windows(values, np.array(["a", "a", "b", "b"]), 2)
    np.testing.assert_array_equal(windows[:, :, 0], [[np.nan, 0], [0, 1], [np.nan, 2], [2, 3]])


def test_only_the_asked_rows_come_back_in_the_asked_order() -> None:
    values = np.arange(20, dtype=np.float32).reshape(10, 2)
    run = np.zeros(10, dtype=np.int64)
    rows = np.array([9, 0, 4])
    np.testing.assert_array_equal(build_windows(values, run, 3, rows), build_windows(values, run, 3)[rows])


def test_no_row_asked_gives_no_window() -> None:
    assert build_windows(np.zeros((3, 2), np.float32), np.zeros(3), 4, np.array([], dtype=int)).shape == (0, 4, 2)
    assert build_windows(np.zeros((0, 2), np.float32), np.zeros(0), 4).shape == (0, 4, 2)


def test_the_table_is_left_as_it_was() -> None:
    values = np.ones((5, 2), dtype=np.float32)
    windows = build_windows(values, np.zeros(5), 2)
    windows[:] = 7
    assert (values == 1).all()


@pytest.mark.parametrize(
    ("values", "run", "window_rows", "rows", "said"),
    [
        (np.zeros(3), np.zeros(3), 2, None, "values must be"),
        (np.zeros((3, 1)), np.zeros(2), 2, None, "run must hold"),
        (np.zeros((3, 1)), np.zeros(3), 0, None, "window_rows"),
        (np.zeros((3, 1)), np.zeros(3), 2, np.array([3]), "rows must lie"),
        (np.zeros((3, 1)), np.zeros(3), 2, np.array([-1]), "rows must lie"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    values: np.ndarray, run: np.ndarray, window_rows: int, rows: np.ndarray | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        build_windows(values, run, window_rows, rows)
