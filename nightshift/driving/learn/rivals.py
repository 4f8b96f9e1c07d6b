"""What drivers by rule make of the validation scenarios that a run is judged on: driven once, told at each evaluation.

They lie in the run's folder, so that a run that goes on does not drive them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from nightshift.driving.learn.recorder import shares
from nightshift.driving.rollout import rivals
from nightshift.driving.scenario import Scenario
from nightshift.files import write_atomic

#: In the folder of a run's checkpoints.
RIVALS_FILE = "rivals.json"

Measures = Mapping[str, Mapping[str, float]]


class _Kept(BaseModel):
    """The file: what the measures follow from, and driver -> measure -> mean over scenarios."""

    model_config = ConfigDict(extra="forbid")

    follows_from: dict[str, Any]
    drivers: dict[str, dict[str, float]]


def rivals_on(
    scenarios: Sequence[Scenario], *, traffic: str, seed: int, dataset: str, folder: Path
) -> dict[str, dict[str, float]]:
    """Return driver by rule -> measure -> mean over scenarios, driven as a policy's evaluations are.

    Args:
        scenarios: of validation.
        traffic: model of the other cars.
        seed: of its noise.
        dataset: fingerprint of the scenarios' set.
        folder: where they are kept.
    """
    facts = {"dataset": dataset, "scenarios": [s.name for s in scenarios], "traffic": traffic, "seed": seed}
    place = folder / RIVALS_FILE
    with suppress(OSError, ValidationError):
        held = _Kept.model_validate_json(place.read_bytes())
        if held.follows_from == facts:
            return held.drivers
    found = {}
    for driven in rivals(scenarios, traffic=(traffic,), seed=seed):
        rows = [episode.measures for episode in driven.episodes]
        found[driven.who] = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    write_atomic(place, _Kept(follows_from=facts, drivers=found).model_dump_json(indent=1).encode())
    return found


def sentence(measures: Measures) -> str:
    """Return a line for people: every driver's score, collision, progress and comfort."""
    told = "; ".join(f"{who}: {shares(of_it)}" for who, of_it in measures.items())
    return f"Drivers by rule on the scenarios of validation: {told}"
