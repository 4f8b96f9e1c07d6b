"""Where a network trains, with how many threads, and from which random state: one code path for CPU and GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nightshift.errors import ConfigError, UnknownNameError

DEVICES = ("auto", "cpu", "cuda")


def pick(name: str = "auto") -> torch.device:
    """Return the device to train on; `auto` is the GPU where torch sees one, else the CPU.

    Raises:
        UnknownNameError: for a name that is not in `DEVICES`.
        ConfigError: for `cuda` where torch sees no GPU.
    """
    if name not in DEVICES:
        raise UnknownNameError("device", name, DEVICES)
    seen = torch.cuda.is_available()
    if name == "cuda" and not seen:
        raise ConfigError(
            f"device: cuda was asked for, and torch {torch.__version__} sees no GPU here.",
            hint="Use device: auto or cpu, or install a CUDA build of torch and the driver.",
        )
    return torch.device("cuda" if seen and name != "cpu" else "cpu")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Make torch's random state that of `seed`, and put the caller's back at the end."""
    with torch.random.fork_rng(devices=_gpus(device)):
        # Not torch.manual_seed: it also reseeds GPUs that are not forked, and so not put back.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Compute with `n` CPU threads, and put the caller's number back at the end.

    Raises:
        ConfigError: for a number below 1.
    """
    if n < 1:
        raise ConfigError(f"threads must be 1 or more, got {n}.")
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return torch's random state: `cpu`, and `cuda` on a GPU."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Go on from a state of `random_state`; one that was taken on another kind of device is used as far as it goes."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def _gpus(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
