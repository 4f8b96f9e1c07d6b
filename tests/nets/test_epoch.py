"""What is told of an epoch."""

from __future__ import annotations

from nightshift.nets.epoch import Epoch


def test_an_epoch_is_one_line_with_its_figures() -> None:
    epoch = Epoch(10, 0.21446, 0.25344, {"accuracy_pct": 84.123, "r2": 0.9})
    assert epoch.line(100) == "Epoch 10/100 · train 0.2145 · val 0.2534 · accuracy 84.1 % · r2 0.9000"


def test_small_and_large_figures_keep_their_digits() -> None:
    assert Epoch(1, 0.000012345).line(3) == "Epoch 1/3 · train 1.234e-05"
    assert Epoch(1, 123456.0, 0.0).line(3) == "Epoch 1/3 · train 1.235e+05 · val 0.0000"


def test_figures_have_one_name_each() -> None:
    epoch = Epoch(2, 0.5, 0.25, {"accuracy_pct": 84.0}, rate=0.001, seconds=1.5)
    assert epoch.figures() == {
        "train_loss": 0.5,
        "val_loss": 0.25,
        "accuracy_pct": 84.0,
        "learning_rate": 0.001,
        "epoch_s": 1.5,
    }
    assert "val_loss" not in Epoch(2, 0.5).figures()
