"""How a training step is computed: in which precision, and compiled or not.

On a CPU the way follows from the processor alone, so that the same training gives the same bytes. On a GPU it is timed:
small networks wait for launches rather than arithmetic there, and bfloat16 costs some of them more than it saves.
Measured on a CPU with avx512_bf16, batches of 60 x 18: an LSTM autoencoder 2.3 x, a TCN 1.3 x faster in bfloat16;
compiled by torch neither was faster, so a CPU compiles only when asked to.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from nightshift.errors import first_line

logger = logging.getLogger("nightshift")

Precision = Literal["auto", "float32", "bfloat16"]
Compile = Literal["auto", "on", "off"]

#: What is less simple must be so much faster, as a share of the simpler one's time.
_GAIN = 0.1


@dataclass(frozen=True)
class Way:
    """How a step is computed.

    Attributes:
        bfloat16: whether matrices are multiplied in bfloat16; weights, gradients and the optimiser stay float32.
        compiled: whether the loss is compiled by torch.
    """

    bfloat16: bool = False
    compiled: bool = False

    def cast(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context that a loss is computed in; it can be entered again and again."""
        return torch.autocast(device.type, dtype=torch.bfloat16) if self.bfloat16 else nullcontext()


#: In float32, step by step as it is written.
PLAIN = Way()


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; others only emulate it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def choose(precision: Precision, compiled: Compile, device: torch.device, seconds_of: Callable[[Way], float]) -> Way:
    """Return the way to train on a device.

    Args:
        precision: `auto` is bfloat16 where the device has it, and on a GPU where it is faster.
        compiled: `auto` is only on a GPU, where it is faster.
        device: to train on.
        seconds_of: times a step; may fail.
    """
    low = has_bfloat16(device) if precision == "auto" else precision == "bfloat16"
    if device.type == "cpu":
        return Way(low, compiled == "on")
    precisions = (False, True) if precision == "auto" and low else (low,)
    ways = [Way(p, c) for c in {"auto": (False, True), "on": (True,), "off": (False,)}[compiled] for p in precisions]
    return fastest(ways, seconds_of) if len(ways) > 1 else ways[0]


def fastest(ways: list[Way], seconds_of: Callable[[Way], float]) -> Way:
    """Return the way whose step takes least; the first one unless another is faster by a tenth."""
    best, best_s = ways[0], math.inf
    for way in ways:
        took_s = _timed(way, seconds_of)
        if took_s < best_s * (1 - _GAIN):
            best, best_s = way, took_s
    logger.info("steps are computed in %s: %.3g ms each", best, best_s * 1e3)
    return best


def _timed(way: Way, seconds_of: Callable[[Way], float]) -> float:
    try:
        return seconds_of(way)
    # A compiler that is missing or cannot compile this network raises any of a dozen kinds; the simple way is there.
    except Exception as error:
        logger.info("steps cannot be computed in %s: %s", way, first_line(error))
        return math.inf
