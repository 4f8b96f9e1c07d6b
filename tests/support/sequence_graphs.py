"""Sequence networks with random weights and windows for them: nothing has to be trained to look at a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

    from nightshift.nets.tcn import Tcn

WINDOW_ROWS, COLUMNS = 12, 5
CLASSES = 4


def windows(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Windows whose first column is a class and the others numbers."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, WINDOW_ROWS, COLUMNS - 1))
    classes = rng.integers(0, CLASSES, (n, WINDOW_ROWS, 1))
    return np.concatenate([classes, numbers], axis=2).astype(np.float32)


def tcn(channels: int = 16, blocks: int = 3) -> Tcn:
    """A network whose answers are a few spreads apart."""
    import torch

    from nightshift.nets.scaling import ColumnPlan, fit_scaling
    from nightshift.nets.tcn import Tcn, TcnShape

    plan = ColumnPlan(numbers=tuple(range(1, COLUMNS)), classes=((0, CLASSES),))
    torch.manual_seed(1)
    net = Tcn(TcnShape(plan=plan, channels=channels, inner=(channels,) * blocks, kernel=3, head=8))
    net.scaling.load_state_dict(fit_scaling(plan, windows(50).reshape(-1, COLUMNS)).state_dict())
    net.train()
    with torch.no_grad():
        for _ in range(30):  # so that batch normalisation knows its inputs
            net(torch.from_numpy(windows(64)))
    net.centre.fill_(5.0)
    return net.eval().requires_grad_(False)


def tcn_model(net: Tcn, batch: int | str = "batch") -> onnx.ModelProto:
    """Its graph."""
    from nightshift.graphs.sequences import tcn_graph, weights_of

    return tcn_graph(net.shape, weights_of(net.state_dict()), WINDOW_ROWS, COLUMNS, batch=batch).build()


def lstm_model(batch: int | str = "batch") -> onnx.ModelProto:
    """The graph of an autoencoder whose first column chooses the scale of the others."""
    import torch

    from nightshift.graphs.sequences import lstm_ae_graph, weights_of
    from nightshift.nets.lstm_ae import LstmAe, LstmAeShape
    from nightshift.nets.scaling import ColumnPlan, fit_scaling

    plan = ColumnPlan(numbers=tuple(range(1, COLUMNS)), unseen=((0, CLASSES),), key=(0, CLASSES))
    torch.manual_seed(2)
    net = LstmAe(LstmAeShape(plan=plan, hidden=8, latent=4, span_rows=5)).eval()
    net.scaling.load_state_dict(fit_scaling(plan, windows(50).reshape(-1, COLUMNS)).state_dict())
    return lstm_ae_graph(net.shape, weights_of(net.state_dict()), WINDOW_ROWS, COLUMNS, 1.2, batch=batch).build()


def answers(model: onnx.ModelProto, rows: NDArray[np.float32], *, one_by_one: bool = False) -> NDArray[Any]:
    """A graph's first output."""
    from nightshift.edge.session import open_session

    session = open_session(model.SerializeToString())
    if not one_by_one:
        return np.asarray(session.run(None, {"window": rows})[0])
    return np.concatenate([session.run(None, {"window": rows[i : i + 1]})[0] for i in range(len(rows))])
