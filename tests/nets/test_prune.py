"""Whole channels go: those that nothing reads first, and every tensor that knew them gets smaller."""

from __future__ import annotations

import pytest
import torch
from support.sequence_graphs import tcn, windows

from nightshift.nets.lstm_ae import LstmAe, LstmAeShape
from nightshift.nets.prune import kept_of, prune_lstm_ae, prune_tcn
from nightshift.nets.scaling import ColumnPlan
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


def test_units_that_nothing_reads_go_first_and_change_no_score() -> None:
    torch.manual_seed(4)
    net = LstmAe(LstmAeShape(plan=ColumnPlan(numbers=(0, 1, 2)), hidden=8, latent=3, span_rows=4)).eval()
    with torch.no_grad():
        for layer, reader in ((net.encoder, net.to_latent), (net.decoder, net.to_rows)):
            layer.weight_hh_l0[:, [1, 5]] = 0.0
            reader.weight[:, [1, 5]] = 0.0
    narrow = prune_lstm_ae(net, 0.25).eval()
    assert (narrow.shape.hidden, narrow.encoder.weight_hh_l0.shape) == (6, (24, 6))
    given = torch.randn(10, 12, 3)
    with torch.no_grad():
        torch.testing.assert_close(narrow(given), net(given))


@pytest.mark.parametrize(
    ("width", "share", "kept"), [(64, 0.25, 48), (64, 0.3, 48), (64, 0.0, 64), (8, 0.25, 6), (1, 0.9, 1)]
)
def test_what_stays_is_a_multiple_of_16_where_there_are_more(width: int, share: float, kept: int) -> None:
    assert kept_of(width, share) == kept
