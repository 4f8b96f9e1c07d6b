"""Flow runs in a process of their own, as the command makes them: `python flow_scenarios.py NAME HOME`.

Prefect reads its settings once, at import, so that a test process with several homes cannot be trusted with it.
The last line printed is JSON: what each run ended as.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nightshift.settings import Home, use_home

# Rounds so small that a cell takes seconds; a seed of their own tells them from a user's.
TINY = {"n_trees": 10, "reference_rows": 60, "max_rows": 200}


def land(home: Home, subject: str, rows: int = 400) -> None:
    """Land independent rows of a pump that fails where it is hot and shakes: no clock, no runs."""
    import numpy as np

    from nightshift.data.importers.csv_file import import_csv
    from nightshift.data.importers.mapping import Mapping

    rng = np.random.default_rng(5)
    hot, shaking = rng.normal(60, 5, rows), rng.normal(2, 0.5, rows)
    failed = rng.random(rows) < 0.12
    hot[failed] += 25
    shaking[failed] += 2.5
    lines = [f"{a:.3f},{b:.3f},{int(c)}" for a, b, c in zip(hot, shaking, failed, strict=True)]
    source = home.tmp / f"{subject}.csv"
    source.write_text("\n".join(["temperature_c,vibration_mm_s,failed", *lines]))
    mapping = {
        "time": {"kind": "none"},
        "sensors": {"temperature_c": {"unit": "degC", "critical": True}, "vibration_mm_s": {"unit": "mm/s"}},
        "label": "failed",
    }
    # Once the home is up, an event would start a training that no test has asked for.
    import_csv(home, source, Mapping.model_validate(mapping), subject, event=False)


def ended(call: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Run a flow; returns its final state, what it returned or raised, and its id."""
    state = call(*args, **kwargs, return_state=True)
    got = state.result(raise_on_failure=False)
    said = {"outcome": got.model_dump()} if hasattr(got, "model_dump") else {"error": type(got).__name__}
    if hasattr(got, "outcome"):
        said["outcome"] = got.outcome.model_dump()
    return {
        "state": state.name,
        "message": state.message,
        "id": str(state.state_details.flow_run_id),
        "exit_code": getattr(got, "exit_code", None),
        **said,
    }


def train_again_and_again(home: Home) -> list[dict[str, Any]]:
    """One cell: first, again, with a result altered behind its back, by force; then what cannot be trained.

    At last, other data having landed, the cell by its key, and the same with another setting.
    """
    from flows.train import train
    from nightshift.plan.options import TrainOptions
    from nightshift.stages.evaluate import EVALUATION_FILE

    subject, options = "pump_train", TrainOptions(settings=TINY)
    land(home, subject)
    runs = [ended(train, subject, "anomaly", options=options), ended(train, subject, "anomaly", options=options)]
    work = home.work / runs[0]["outcome"]["cell_key"]
    (work / EVALUATION_FILE).write_text("{}")
    runs.append(ended(train, subject, "anomaly", options=options))
    runs.append(ended(train, subject, "anomaly", force=True, options=options))
    runs.append(ended(train, subject, "forecast"))
    runs.append(ended(train, "pump_tarin", "anomaly"))
    land(home, subject, rows=700)
    key = runs[0]["outcome"]["cell_key"]
    runs.append(ended(train, subject, "anomaly", options=options, resume=key[:12]))
    other = TrainOptions(settings={**TINY, "n_trees": 12})
    runs.append(ended(train, subject, "anomaly", options=other, resume=key[:12]))
    return runs


def train_until_told_to_stop(home: Home) -> list[dict[str, Any]]:
    """One cell that takes long enough to be stopped in the middle of its training."""
    from flows.train import train
    from nightshift.plan.options import TrainOptions

    land(home, "slow_pump", rows=2_000)
    return [ended(train, "slow_pump", "anomaly", options=TrainOptions(settings={"n_trees": 2_000}))]


def train_machine(home: Home) -> list[dict[str, Any]]:
    """A machine whose cells end in every way: trained, not applicable, failed by their config."""
    from flows.machine import train_machine
    from nightshift.plan.options import TrainOptions

    subject, options = "pump_machine", TrainOptions(settings=TINY)
    land(home, subject)
    wrong = options.model_copy(update={"families": {"forecast": {"forecast_h": -3}}})
    return [
        ended(train_machine, subject, ["forecast", "anomaly"], options=options),
        ended(train_machine, subject, ["timeseries", "anomaly"], options=wrong),
    ]


def train_batch(home: Home) -> list[dict[str, Any]]:
    """A batch over two machines: first, again with a cell whose config is bad, one that has no room.

    Then one of its cells by force for another run, and the same once more.
    """
    from flows.batch import train_batch
    from nightshift.plan.batch import BatchOptions, CellRef
    from nightshift.plan.options import TrainOptions

    land(home, "pump_one")
    land(home, "pump_two")
    cells = [CellRef(subject=s, family=f) for s in ("pump_one", "pump_two") for f in ("anomaly", "forecast")][:3]
    training = TrainOptions(settings=TINY, threads=1)
    wrong = training.model_copy(update={"families": {"forecast": {"forecast_h": -3}}})
    forced = [cells[0].model_copy(update={"forced": "asked"})]
    return [
        ended(train_batch, cells, BatchOptions(train=training)),
        ended(train_batch, cells, BatchOptions(train=wrong)),
        ended(train_batch, forced, BatchOptions(disk_mb_per_model=1e9)),
        ended(train_batch, forced, BatchOptions(train=training, for_run="night 1")),
        ended(train_batch, forced, BatchOptions(train=training, for_run="night 1")),
    ]


def train_batch_until_told_to_stop(home: Home) -> list[dict[str, Any]]:
    """A batch whose one cell takes long enough to be stopped in the middle of its training."""
    from flows.batch import train_batch
    from nightshift.plan.batch import BatchOptions, CellRef
    from nightshift.plan.options import TrainOptions

    land(home, "slow_batch_pump", rows=2_000)
    cells = [CellRef(subject="slow_batch_pump", family="anomaly")]
    return [ended(train_batch, cells, BatchOptions(train=TrainOptions(settings={"n_trees": 2_000}, threads=1)))]


def hold_gpus(_home: Home) -> list[dict[str, Any]]:
    """A limit that the server does not have, one that two threads want at once, and a stop while one waits."""
    import threading
    import time
    from concurrent.futures import ThreadPoolExecutor

    from deployments import api
    from nightshift.errors import NightshiftError
    from tasks import gpu

    gpu.POLL_S = 0.2
    for name, limit in (("gpu:box", 1), ("gpu:off", 0)):
        api.ask("v2/concurrency_limits/", {"name": name, "limit": limit})
    running, most, lock, stop = 0, 0, threading.Lock(), threading.Event()

    def hold(name: str, stopped: Callable[[], bool] = lambda: False) -> str:
        nonlocal running, most
        try:
            with gpu.held(name, stopped):
                with lock:
                    running += 1
                    most = max(most, running)
                time.sleep(0.5)
                with lock:
                    running -= 1
        except NightshiftError as error:
            return f"{type(error).__name__}: {error}"
        return "held"

    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(hold, ["gpu:box"] * 3))
        with gpu.held("gpu:box", lambda: False):
            waiting = pool.submit(hold, "gpu:box", stop.is_set)
            stop.set()
            ended.append(waiting.result(60))
    return [
        {
            "ended": ended,
            "most": most,
            "missing": hold("gpu:none"),
            "empty": hold("gpu:off"),
            "outside": gpu.gpu_of_run(stop.is_set),
        }
    ]


def synthesize(home: Home) -> list[dict[str, Any]]:
    """A small machine: first, again, with one seed more that its gate refuses; then what cannot be made."""
    from flows.synthesize import synthesize_machine
    from nightshift.plan.synthesis import SynthesisOptions
    from tests.support.machines import QUICK, SMALL, SMALL_ROWS, write_machine

    write_machine(home)
    options = SynthesisOptions.model_validate(QUICK)
    strict = SynthesisOptions.model_validate({**QUICK, "limits": {**QUICK["limits"], "column_shapes": 1}})
    return [
        ended(synthesize_machine, SMALL, SMALL_ROWS, options=options),
        ended(synthesize_machine, SMALL, SMALL_ROWS, options=options),
        ended(synthesize_machine, SMALL, SMALL_ROWS, options=strict),
        ended(synthesize_machine, SMALL, 2_000, options=options),
        ended(synthesize_machine, "motor_smal", SMALL_ROWS, options=options),
    ]


def demo(home: Home) -> list[dict[str, Any]]:
    """The demo's flow on a small machine with one family: once, and with data that are refused."""
    from flows.demo import demo
    from nightshift.plan.options import TrainOptions
    from nightshift.plan.synthesis import SynthesisOptions
    from tests.support.machines import QUICK, SMALL_ROWS, write_machine

    subject, training = write_machine(home, "motor_demo"), TrainOptions(settings={**TINY, "window_rows": 3}, threads=1)
    options = SynthesisOptions.model_validate({**QUICK, "event": False})
    strict = SynthesisOptions.model_validate({**QUICK, "limits": {**QUICK["limits"], "column_shapes": 1}})
    return [
        ended(demo, subject, SMALL_ROWS, 7, options, ["anomaly"], options=training),
        ended(demo, subject, SMALL_ROWS, 7, strict, ["anomaly"], options=training),
    ]


def synthesize_until_told_to_stop(home: Home) -> list[dict[str, Any]]:
    """A synthesis whose TVAE learns long enough to be stopped in the middle of it."""
    from flows.synthesize import synthesize_machine
    from nightshift.plan.synthesis import SynthesisOptions
    from tests.support.machines import QUICK, SMALL_ROWS, write_machine

    subject = write_machine(home, "motor_stopped")
    options = SynthesisOptions.model_validate({**QUICK, "epochs": 100_000})
    return [ended(synthesize_machine, subject, SMALL_ROWS, options=options)]


def estimator(home: Home) -> list[dict[str, Any]]:
    """A table with three folds, and a column that is not there."""
    from flows.estimator import train_estimator
    from nightshift.plan.table import TableOptions
    from tests.support.trainer_files import write_table

    write_table(home.tmp, dates=False)
    file = str((home.tmp / "data.csv").relative_to(home.root))
    options = TableOptions(settings={"cross_validation": 3}, subject="shop")
    return [
        ended(train_estimator, file, "label", "logistic", options),
        ended(train_estimator, file, "lable", "logistic", options),
    ]


def land_only(home: Home) -> list[dict[str, Any]]:
    """Data for a run that somebody else starts."""
    land(home, "pump_deployed")
    return []


SCENARIOS = {
    "land": land_only,
    "train": train_again_and_again,
    "stop": train_until_told_to_stop,
    "machine": train_machine,
    "batch": train_batch,
    "stop-batch": train_batch_until_told_to_stop,
    "gpu": hold_gpus,
    "synthesize": synthesize,
    "demo": demo,
    "estimator": estimator,
    "stop-synthesis": synthesize_until_told_to_stop,
}


def main() -> None:
    """Run one scenario against the home's server."""
    home = use_home(Path(sys.argv[2]))
    from deployments.server import ensure_server

    ensure_server(home)
    print(json.dumps(SCENARIOS[sys.argv[1]](home)))


if __name__ == "__main__":
    main()
