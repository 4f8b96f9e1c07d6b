"""What a training of a driving policy will hold of a GPU, and whether one has that much free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightshift.data.store import open_dataset
from nightshift.driving.observe import N_OBS
from nightshift.plan.batch import CapacityError
from nightshift.plan.cell import Cell
from nightshift.settings import Home
from nightshift.tracking.driving_others import is_driving
from nightshift.tracking.driving_runs import list_runs
from nightshift.tracking.resources import Gpu, gpus, short_of

#: Context of CUDA, torch's kernels, a small network and its batches, MB.
_BASE_MB = 900.0
_FLOAT_BYTES, _MEGABYTE = 4, 1e6
#: Numbers of a decision beside its observation: action, reward, value, log probability, advantage, return.
_MORE_FLOATS = 8
#: Steps of an expert in one scenario, at most.
_EPISODE = 225


def need_mb(config: Mapping[str, Any], scenarios: int = 0) -> float:
    """Return about how much of a GPU's memory a training holds: context, its rollout, its memory, demonstrations.

    Worlds and SAC's replay buffer are held by the processor.

    Args:
        config: of the family, as JSON values.
        scenarios: of the set's training part, of which experts are watched.
    """
    floats = float(config.get("num_envs") or 1) * float(config.get("n_steps") or 0) * (N_OBS + _MORE_FLOATS)
    if config.get("method") == "recovery" or config.get("compare"):
        floats += float((config.get("recovery") or {}).get("capacity") or 0) * (2 * N_OBS + _MORE_FLOATS)
    if "demo_scenarios" in config:
        watched = min(scenarios, config["demo_scenarios"] or scenarios) * _EPISODE * (N_OBS + 2)
        # A discriminator has them beside those to clone.
        floats += watched * (2 if "disc_updates" in config else 1)
    return _BASE_MB + floats * _FLOAT_BYTES / _MEGABYTE


def require_gpu(home: Home, cell: Cell, found: tuple[Gpu, ...] | None = None) -> None:
    """See that a GPU has the memory that a cell's training will hold; cells that train on the processor need none.

    Args:
        home: whose runs may hold one.
        cell: to be trained.
        found: GPUs of this machine; asked for when left out.

    Raises:
        CapacityError: when none has; names the runs and processes that hold it.
    """
    config = cell.config.get("config", {})
    if not is_driving(cell) or config.get("device") != "cuda":
        return
    known = gpus() if found is None else found
    held = {run.status.pid: run.run_id for run in list_runs(home) if run.active and run.here and run.status}
    scenarios = open_dataset(home, cell.subject, cell.dataset).metadata.parts["train"].rows
    short = short_of(need_mb(config, scenarios), known, held)
    if short:
        first = next((held[h.pid] for gpu in known for h in gpu.holders if h.pid in held), "")
        stop = f"`nightshift driving stop {first}`" if first else "Wait for what holds it"
        raise CapacityError(short, hint=f"{stop}, or lower --num-envs; --device cpu needs none.")
