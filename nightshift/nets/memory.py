"""What is done when memory runs out in a training: told from other errors, and freed."""

from __future__ import annotations

import gc

import torch

from nightshift.findings import Finding, finding

#: The setting that lets torch join the pieces of a GPU's free memory.
ALLOCATOR = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
_SAYS_SO = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a memory that is too small; torch's CPU allocator says so in words alone."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAYS_SO)


def free(device: torch.device) -> None:
    """Give back what torch keeps of a step that failed."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def halved(before: int, after: int, device: torch.device) -> Finding:
    """Return the finding of a batch that was halved."""
    remedy = f"Lower batch_size, or set {ALLOCATOR}: it helps where memory is free but in pieces."
    return finding(
        "T019",
        f"A batch of {before} did not fit into the memory of {_place(device)}; the training goes on with {after}.",
        remedy=remedy if device.type == "cuda" else "",
    )


def advice(device: torch.device) -> str:
    """Return what to do when nothing is left to halve."""
    if device.type == "cuda":
        return f"Free the GPU for it, set {ALLOCATOR}, or train with device: cpu."
    return "Free memory, or train with a smaller network or shorter windows."


def _place(device: torch.device) -> str:
    return "the GPU" if device.type == "cuda" else "this machine"
