"""The one checkpoint format: tensors, state dicts and plain values in torch's zip, read without running any code.

A checkpoint knows which training it belongs to by a fingerprint, and goes on with no other.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from nightshift.errors import TrainingError
from nightshift.files import write_atomic
from nightshift.nets.differences import differences

#: Raised when a field changes its meaning; a reader refuses what it does not know.
FORMAT = 1

State = dict[str, Any]

#: An error names so many differing keys.
_SHOWN = 8


@dataclass(frozen=True)
class Checkpoint:
    """A training as it stood after a whole number of epochs.

    Attributes:
        fingerprint: of the training it belongs to (see `fingerprint`).
        epoch: epochs done.
        model: the module's state dict.
        optimiser: the optimiser's state dict; empty for weights that are only used.
        schedule: the learning-rate schedule's state dict; empty without one.
        random: `device.random_state` at the end of the epoch.
        best: the module's state dict where it validated best; empty without early stopping.
        meta: JSON-able facts, such as the history of the losses; under `facts` what the training follows from.
        more: tensors and plain values of whatever else goes on: a critic, an environment, a replay buffer.
    """

    fingerprint: str
    epoch: int
    model: State
    optimiser: State = field(default_factory=dict)
    schedule: State = field(default_factory=dict)
    random: dict[str, torch.Tensor] = field(default_factory=dict)
    best: State = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    more: State = field(default_factory=dict)


def fingerprint(facts: Mapping[str, Any], tensors: Iterable[torch.Tensor] = ()) -> str:
    """Return 64 hex digits that change with any fact (JSON-able) or any value, shape or dtype of the tensors.

    Take in what decides the result: architecture, config, seed and the training rows; not the device.
    """
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode())
    for tensor in tensors:
        digest.update(f"\n{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole or not at all; the former one stays until the new one is on disk."""
    content = {f.name: getattr(checkpoint, f.name) for f in fields(Checkpoint)}
    content["meta"] = json.dumps(checkpoint.meta, ensure_ascii=False)
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "torch": str(torch.__version__), **content}, buffer)
    write_atomic(path, buffer.getvalue())


def load(path: Path, expected: str | None = None, facts: Mapping[str, Any] | None = None) -> Checkpoint | None:
    """Read a checkpoint to the CPU; None when there is none.

    Args:
        path: what `save` wrote.
        expected: the fingerprint it must have; None takes any.
        facts: what the training that wants it follows from, to say in what another one's differs.

    Raises:
        TrainingError: for a damaged file, another format, or another training's checkpoint.
    """
    if not path.exists():
        return None
    content = _content(path)
    found = content.pop("format", None)
    if found != FORMAT:
        raise TrainingError(
            f"{path.name}: expected a checkpoint of format {FORMAT}, got {found}.", hint="Delete it to start anew."
        )
    content.pop("torch", None)
    checkpoint = Checkpoint(**{**content, "meta": json.loads(content["meta"])})
    if expected is not None and checkpoint.fingerprint != expected:
        differing = differences(checkpoint.meta.get("facts", {}), facts or {})
        told = "; ".join(differing[:_SHOWN]) + (f"; and {len(differing) - _SHOWN} more" * (len(differing) > _SHOWN))
        raise TrainingError(
            f"{path.name} belongs to another training: "
            f"{told or f'expected fingerprint {expected[:12]}, got {checkpoint.fingerprint[:12]}'}.",
            hint="Train with what it was written with to go on from it, or delete it to start anew.",
        )
    return checkpoint


def _content(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    # A damaged zip, a foreign file or one that holds objects: torch raises a dozen kinds, some of a banned module.
    except Exception as error:
        raise TrainingError(
            f"{path.name} cannot be read as a checkpoint: it is damaged, or holds more than tensors and plain values.",
            hint="Delete it to start anew.",
        ) from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path.name} holds no checkpoint, got {type(content).__name__}.", hint="Delete it.")
    return content
