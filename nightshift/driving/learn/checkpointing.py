"""A run's checkpoints: everything that its next steps follow from, in the one format of `nets/checkpoint.py`.

`last.pt` goes on exactly: learner, optimisers, replay buffer, environments, random states, and the place in the
schedule. `best.pt` and the numbered ones are smaller: the policy with its critics. All of them hold the policy as
`nets/policy.py` has it, so each can be driven, exported, or begun from (`load_for`); but for the recovery method's,
whose policy only proposes, while their score is that of the whole decision.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nightshift.driving.runs import RunFolder
from nightshift.errors import TrainingError
from nightshift.nets.checkpoint import Checkpoint, State, load, save
from nightshift.nets.device import random_state, set_random_state
from nightshift.nets.policy import Policy, policy_of, shape_meta

LAST, BEST = "last.pt", "best.pt"
#: How the recovery method's networks have their imitative policy (`imitate.decider.Decider`).
_PROPOSES = "candidates.policy."
#: What a learner has seen, among `LearnerState.more`; left out of the `last.pt` of a run that has driven all its steps.
REPLAY = "replay"
#: Keys of `Checkpoint.more`.
_NUMPY, _PYTHON = "numpy", "python"


@dataclass(frozen=True)
class LearnerState:
    """What a learner's next steps follow from, besides the random states of the process.

    Attributes:
        networks: state dict of all of it: policy, critics, targets.
        optimisers: by name.
        more: by name: `env`, `replay`, `tally` …; tensors and plain values, in dicts and lists.
    """

    networks: State
    optimisers: State = field(default_factory=dict)
    more: State = field(default_factory=dict)


@dataclass(frozen=True)
class RunFacts:
    """What a run's checkpoints say of it.

    Attributes:
        algorithm: `ppo` …
        layout: fingerprint of the observation's layout.
        fingerprint: of the training; `last.pt` goes on with no other.
        follows_from: JSON-able facts of which that is the fingerprint.
    """

    algorithm: str
    layout: str
    fingerprint: str
    follows_from: dict[str, Any]


def numbered(step: int) -> str:
    """Return the name of the checkpoint at a step."""
    return f"step_{step:010d}.pt"


def save_last(
    folder: RunFolder, facts: RunFacts, policy: Policy, state: LearnerState, rows: int, meta: dict[str, Any]
) -> None:
    """Write `last.pt`, with the random states of torch, NumPy and Python as they are now.

    Args:
        folder: of the run.
        facts: of the run.
        policy: as it is now.
        state: of its learner.
        rows: of `metrics.jsonl` so far.
        meta: JSON-able place in the run: `step`, the best score …
    """
    device = next(policy.parameters()).device
    content = Checkpoint(
        fingerprint=facts.fingerprint,
        epoch=rows,
        model=policy.state_dict(),
        optimiser=state.optimisers,
        random=random_state(device),
        meta={**_meta(facts, policy), **meta, "facts": facts.follows_from},
        more={**state.more, "networks": state.networks, _NUMPY: _numpy_state(), _PYTHON: _python_state()},
    )
    save(folder.checkpoints / LAST, content)


def load_last(folder: RunFolder, facts: RunFacts, device: torch.device) -> tuple[LearnerState, Checkpoint] | None:
    """Read `last.pt`, and put the process's random states to where they were; None when there is none.

    Raises:
        TrainingError: when it is damaged, or another training's.
    """
    found = load(folder.checkpoints / LAST, facts.fingerprint, facts.follows_from)
    if found is None:
        return None
    more = dict(found.more)
    set_random_state(found.random, device)
    _set_numpy_state(more.pop(_NUMPY))
    _set_python_state(more.pop(_PYTHON))
    return LearnerState(more.pop("networks"), found.optimiser, more), found


def save_policy_of(path: Path, facts: RunFacts, policy: Policy, state: LearnerState, meta: dict[str, Any]) -> None:
    """Write the policy with its critics: `best.pt`, or a numbered checkpoint."""
    content = Checkpoint(
        fingerprint=facts.fingerprint,
        epoch=0,
        model=policy.state_dict(),
        meta={**_meta(facts, policy), **meta},
        more={"networks": state.networks},
    )
    save(path, content)


def load_for(path: Path, layout: str, *, proposing: bool = False, name: str = "") -> tuple[Policy, Checkpoint]:
    """Read the policy of any run's checkpoint, to begin from it or to drive it.

    Args:
        path: of a checkpoint.
        layout: fingerprint of the observation's layout now.
        proposing: whether one is wanted too that only proposes what the recovery method decides about.
        name: what it is called in errors; the file's where none is given.

    Raises:
        TrainingError: when it is missing, damaged, holds no policy, one of another observation, or one that only
            proposes and is not wanted.
    """
    found, name = load(path), name or path.name
    if found is None:
        raise TrainingError(
            f"{name if name != path.name else path} is missing.",
            hint="Name a checkpoint, such as …/checkpoints/<run>/best.pt.",
        )
    held = str(found.meta.get("layout", ""))
    policy = policy_of(found, name)
    if held != layout:
        raise TrainingError(
            f"{name} was trained on another layout of the observation: expected {layout[:12]}, got {held[:12]}.",
            hint="Train it again with this version.",
        )
    if not proposing and any(key.startswith(_PROPOSES) for key in found.more.get("networks", {})):
        raise TrainingError(
            f"{name} is of cimrl's recovery method: what it scores is the whole decision, and its policy alone is "
            "the clone that proposes.",
            hint="Name a run of `bc`, of `ppo`, or of cimrl's finetune method.",
        )
    return policy, found


@contextmanager
def random_kept(device: torch.device) -> Iterator[None]:
    """Put the random states of torch, NumPy and Python back at the end: what stands inside changes no training."""
    kept = random_state(device), _numpy_state(), _python_state()
    try:
        yield
    finally:
        set_random_state(kept[0], device)
        _set_numpy_state(kept[1])
        _set_python_state(kept[2])


def to_tensors(value: Any) -> Any:
    """Return arrays as tensors, in whatever dicts and lists they lie: what a checkpoint may hold."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape).copy())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: to_tensors(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_tensors(one) for one in value]
    return value


def to_arrays(value: Any) -> Any:
    """Return tensors as arrays: what `to_tensors` made of them."""
    if isinstance(value, torch.Tensor):
        return value.numpy().copy()
    if isinstance(value, dict):
        return {key: to_arrays(one) for key, one in value.items()}
    if isinstance(value, list):
        return [to_arrays(one) for one in value]
    return value


def _meta(facts: RunFacts, policy: Policy) -> dict[str, Any]:
    return {"algorithm": facts.algorithm, "layout": facts.layout, **shape_meta(policy)}


def _numpy_state() -> State:
    # SB3's buffers draw from NumPy's and SB3 itself seeds Python's global generator.
    state: Any = np.random.get_state()
    _, words, place, has_gauss, gauss = state
    return {"words": torch.from_numpy(words.astype(np.int64)), "place": [int(place), int(has_gauss), float(gauss)]}


def _set_numpy_state(state: State) -> None:
    place, has_gauss, gauss = state["place"]
    np.random.set_state(("MT19937", state["words"].numpy().astype(np.uint32), place, has_gauss, gauss))


def _python_state() -> State:
    version, words, gauss = random.getstate()
    return {"version": version, "words": list(words), "gauss": gauss}


def _set_python_state(state: State) -> None:
    random.setstate((state["version"], tuple(state["words"]), state["gauss"]))
