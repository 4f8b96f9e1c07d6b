"""The convolutional network: what looks back, how far, and what its answers are bounded by."""

from __future__ import annotations

import pytest
import torch

from nightshift.nets.scaling import ColumnPlan
from nightshift.nets.tcn import Block, Tcn, TcnShape, parameters_of

PLAN = ColumnPlan(numbers=(0, 1, 2))


def test_a_block_never_looks_ahead() -> None:
    torch.manual_seed(0)
    block = Block(3, 5, 4, kernel=3, dilation=2, dropout=0.0).eval()
    x = torch.randn(1, 3, 20)
    changed = x.clone()
    changed[:, :, 12:] += 1.0
    before, after = block(x), block(changed)
    assert before.shape == (1, 4, 20)
    torch.testing.assert_close(before[:, :, :12], after[:, :, :12], rtol=0, atol=0)
    assert (before[:, :, 12:] != after[:, :, 12:]).any()


@pytest.mark.parametrize(("blocks", "kernel"), [(1, 2), (3, 3)])
def test_the_newest_row_reaches_as_far_back_as_the_shape_says(blocks: int, kernel: int) -> None:
    torch.manual_seed(1)
    shape = TcnShape(plan=PLAN, channels=4, inner=(6,) * blocks, kernel=kernel, head=3)
    net = Tcn(shape).eval()
    x = torch.randn(1, 3, 40, requires_grad=True)
    y = x
    for block in net.blocks:
        y = block(y)
    y[0, :, -1].sum().backward()
    assert x.grad is not None
    felt = x.grad.abs().sum(dim=(0, 1)).nonzero().flatten()
    assert 40 - int(felt.min()) <= shape.reach_rows
    # Rectified units may be off at the far end of one random draw, not far from it.
    assert 40 - int(felt.min()) > shape.reach_rows - kernel


def test_the_shipped_shape_has_a_hundred_thousand_parameters_and_never_answers_below_nothing() -> None:
    net = Tcn(TcnShape(plan=ColumnPlan(numbers=tuple(range(18))), channels=64, inner=(64,) * 5, kernel=3, head=64))
    assert 100_000 <= parameters_of(net) <= 500_000
    net.centre.fill_(-100.0)
    assert net.eval()(torch.randn(3, 60, 18)).tolist() == [0.0, 0.0, 0.0]
