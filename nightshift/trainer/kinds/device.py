"""Whether there is a GPU, asked without a library that would take it."""

from __future__ import annotations

import os
from pathlib import Path

from nightshift.errors import ConfigError


def cuda_there() -> bool:
    """Whether this machine shows a CUDA device to this process."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in {"", "-1", "none", "NoDevFiles"}:
        return False
    dev = Path("/dev")
    return any(dev.glob("nvidia[0-9]*")) or (dev / "dxg").exists()


def require_cuda(library: str) -> None:
    """Refuse `cuda` where there is none.

    Raises:
        ConfigError: then.
    """
    if not cuda_there():
        what = f"limits.device='cuda' was asked for {library}, and this machine has no CUDA device."
        raise ConfigError(what, hint="Leave device out, or check nvidia-smi and CUDA_VISIBLE_DEVICES.")


def cannot(library: str, why: str) -> ConfigError:
    """Return the error for a library that was not built for GPUs."""
    return ConfigError(
        f"limits.device='cuda' was asked for {library}, which cannot use it here: {why}.",
        hint=f"Install a build of {library} with CUDA, or leave device out.",
    )
