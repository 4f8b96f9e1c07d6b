"""Windows for a network: the right rows, each once, in an order that the seed decides, without a copied data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nightshift.nets.windows import WindowSet

CPU = torch.device("cpu")
TABLE = np.arange(600, dtype=np.float32).reshape(200, 3)
ENDS = np.arange(9, 200, 4)


def gathered(windows: WindowSet, batch_size: int, *, shuffle: bool) -> tuple[Tensor, Tensor]:
    pairs = list(windows.batches(batch_size, shuffle=shuffle))
    assert all(len(x) == batch_size for x, _ in pairs[:-1])
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


@pytest.mark.parametrize("batch_size", [1, 7, 48, 1000])
def test_each_window_holds_the_rows_up_to_its_end(batch_size: int) -> None:
    x, y = gathered(WindowSet(TABLE, ENDS, 10, CPU), batch_size, shuffle=False)
    expected = np.stack([TABLE[end - 9 : end + 1] for end in ENDS])
    assert np.array_equal(x.numpy(), expected)
    assert torch.equal(x, y)


def test_a_target_stays_with_its_window_in_every_order() -> None:
    target = TABLE[ENDS, 0].copy()
    windows = WindowSet(TABLE, ENDS, 10, CPU, target)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = gathered(windows, 7, shuffle=True)
        second = gathered(windows, 7, shuffle=True)
        torch.manual_seed(3)
        again = gathered(windows, 7, shuffle=True)
    for x, y in (first, second):
        assert torch.equal(x[:, -1, 0], y)
        assert np.array_equal(np.sort(y.numpy()), target)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], second[0])


def test_a_small_budget_for_each_gathering_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = WindowSet(TABLE, ENDS, 10, CPU)
    at_once = gathered(windows, 7, shuffle=False)[0]
    monkeypatch.setattr("nightshift.nets.windows._CHUNK_BYTES", 4000)
    assert torch.equal(gathered(windows, 7, shuffle=False)[0], at_once)


def test_the_table_is_shared_not_copied() -> None:
    table = TABLE.copy()
    windows = WindowSet(table, ENDS, 10, CPU)
    table[9, 2] = -5
    assert next(windows.batches(1, shuffle=False))[0][0, -1, 2] == -5


def test_a_table_that_may_not_be_written_serves_as_well() -> None:
    table = TABLE.copy()
    table.flags.writeable = False
    x, _ = gathered(WindowSet(table, ENDS, 10, CPU), 7, shuffle=False)
    assert np.array_equal(x[0].numpy(), TABLE[:10])


def test_a_part_without_windows_has_no_batch() -> None:
    windows = WindowSet(TABLE[:5], np.zeros(0, np.intp), 10, CPU)
    assert len(windows) == 0
    assert list(windows.batches(4, shuffle=True)) == []


@pytest.mark.parametrize("ends", [[8], [200], [9, 300]])
def test_a_window_outside_the_table_is_refused(ends: list[int]) -> None:
    with pytest.raises(ValueError, match="must end within the table's 200 rows"):
        WindowSet(TABLE, np.array(ends), 10, CPU)


def test_another_number_of_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="a target for each of 48 windows, got 47"):
        WindowSet(TABLE, ENDS, 10, CPU, np.zeros(47, np.float32))
