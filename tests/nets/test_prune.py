"""Whole channels go: those that nothing reads first, and every tensor that knew them gets smaller."""

from __future__ import annotations

import pytest
import torch
from support.sequence_graphs import tcn, windows

from nightshift.nets.prune import kept_of, prune_tcn
from nightshift.nets.tcn import parameters_of


def test_channels_that_nothing_reads_go_first_and_change_no_answer() -> None:
    net = tcn(channels=32)
    with torch.no_grad():
        for block in net.blocks:
            block.second.weight[:, 3:19] = 0.0  # type: ignore[union-attr, index, operator]
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    narrow = prune_tcn(net, 0.5).eval()
    assert narrow.shape.inner == (16, 16, 16)
    assert narrow.blocks[0].first.weight.shape[0] == narrow.blocks[0].second.weight.shape[1] == 16  # type: ignore[union-attr]
    assert parameters_of(narrow) < 0.6 * parameters_of(net)
    given = torch.from_numpy(windows(20))
    with torch.no_grad():
        torch.testing.assert_close(narrow(given), net(given))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    ("width", "share", "kept"), [(64, 0.25, 48), (64, 0.3, 48), (64, 0.0, 64), (8, 0.25, 6), (1, 0.9, 1)]
)
def test_what_stays_is_a_multiple_of_16_where_there_are_more(width: int, share: float, kept: int) -> None:
    assert kept_of(width, share) == kept
