"""Vehicles: how fast trips are simulated, and how fast the networks answer."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nightshift.simulate.vehicle.cycles import read_cycles
from nightshift.simulate.vehicle.episodes import Plan, simulate
from tests.benchmarks._published import shared_data
from tests.benchmarks._rows import Row, row


def simulator() -> Row:
    """10,000 trips of an hour on published cycles, every column and label; reading and writing not counted.

    Processor time of this one process, all its threads together: what one core takes when nothing else runs on it.
    """
    plan = Plan(10_000, 3600, 7, read_cycles(shared_data() / "drive_cycles"))
    began = time.process_time()
    rows = sum(trips.driving.size for trips in simulate(plan))
    took_s = time.process_time() - began
    assert rows == 36_000_000
    return row("vehicle", "10,000 simulated trips of an hour, one core", took_s, "s", 60.0, "lower")


#: Telemetry as `simulate vehicle` writes it.
_COLUMNS, _WINDOW_ROWS = 18, 60


def answers() -> list[Row]:
    """The sequence networks of their default sizes: one window, one thread, the graphs in turn.

    Weights are as they are before training: a window takes the same time whatever they are.
    """
    graphs = _graphs()
    took_ms = _p50_ms(graphs)
    faster, pruned = (took_ms["tcn"] / took_ms[name] for name in ("tcn int8", "tcn pruned int8"))
    return [
        row("vehicle", "TCN, one window, p50", took_ms["tcn"], "ms", 1.0, "lower"),
        row("vehicle", "LSTM autoencoder, one window, p50", took_ms["lstm_ae"], "ms", 1.0, "lower"),
        row("vehicle", "INT8 TCN over float32", faster, "times", 2.0, "higher"),
        row("vehicle", "INT8 TCN with a quarter of its inner channels pruned, over float32", pruned, "times"),
        row(
            "vehicle",
            "LSTM autoencoder in dynamic INT8 over float32",
            took_ms["lstm_ae"] / took_ms["lstm int8"],
            "times",
        ),
    ]


def _graphs() -> dict[str, bytes]:
    import torch

    from nightshift.families.lstm_ae import LstmAeConfig
    from nightshift.families.tcn import TcnConfig
    from nightshift.graphs.quantise import int8_dynamic, int8_static
    from nightshift.graphs.sequences import lstm_ae_graph, tcn_graph, weights_of
    from nightshift.nets.lstm_ae import LstmAe, LstmAeShape
    from nightshift.nets.prune import prune_tcn
    from nightshift.nets.scaling import ColumnPlan
    from nightshift.nets.tcn import Tcn, TcnShape, parameters_of

    torch.manual_seed(0)
    plan, given, odd = ColumnPlan(numbers=tuple(range(_COLUMNS))), TcnConfig(), LstmAeConfig()
    inner = (given.channels,) * given.blocks
    shape = TcnShape(plan=plan, channels=given.channels, inner=inner, kernel=given.kernel, head=given.head)
    net = Tcn(shape).eval()
    assert 100_000 <= parameters_of(net) <= 500_000
    drawn = LstmAe(LstmAeShape(plan=plan, hidden=odd.hidden, latent=odd.latent, span_rows=odd.span_rows or 10)).eval()
    rows = {"window": np.random.default_rng(0).normal(size=(128, _WINDOW_ROWS, _COLUMNS)).astype(np.float32)}

    def tcn(one: Tcn) -> Any:
        return tcn_graph(one.shape, weights_of(one.state_dict()), _WINDOW_ROWS, _COLUMNS).build()

    lstm = lstm_ae_graph(drawn.shape, weights_of(drawn.state_dict()), _WINDOW_ROWS, _COLUMNS, 1.0).build()
    models = {
        "tcn": tcn(net),
        "tcn int8": int8_static(tcn(net), rows),
        "tcn pruned int8": int8_static(tcn(prune_tcn(net, given.prune).eval()), rows),
        "lstm_ae": lstm,
        "lstm int8": int8_dynamic(lstm, products=("LSTM",)),
    }
    return {name: model.SerializeToString() for name, model in models.items()}


def _p50_ms(graphs: dict[str, bytes]) -> dict[str, float]:
    """Median of one window of each graph, of the calmest of 15 rounds in turn."""
    from nightshift.edge.session import open_session

    sessions = {name: open_session(graph) for name, graph in graphs.items()}
    window = {"window": np.random.default_rng(1).normal(size=(1, _WINDOW_ROWS, _COLUMNS)).astype(np.float32)}
    rounds: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(15):
        for name, session in sessions.items():
            took = np.empty(200)
            for i in range(-20, 200):
                start = time.perf_counter()
                session.run(None, window)
                took[max(i, 0)] = time.perf_counter() - start
            rounds[name].append(float(np.median(took)) * 1e3)
    return {name: min(found) for name, found in rounds.items()}
