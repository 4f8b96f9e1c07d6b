"""Challenger and champion of problem `control` in closed loop, on the scenarios that the champion was not trained on.

A policy's answers to given observations say little: where it errs, it comes to see others. So both bundles drive, in
the edge runtime, as on a vehicle, every test scenario that the champion has not seen, under every model of traffic and
with the same noise; what they reach is paired by scenario.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.dataset import Dataset
from nightshift.data.store import open_dataset
from nightshift.edge.runtime import Model
from nightshift.errors import NightshiftError, TransientError
from nightshift.problems.evaluation import UnitStatistics
from nightshift.settings import Home

if TYPE_CHECKING:
    from nightshift.driving.drivers import PolicyDriver
    from nightshift.driving.scenario import Scenario

#: Of the traffic's noise.
_SEED = 0
#: Columns of a set of scenarios: what one was recorded in, "" for a made one; and its own name, which tells its seed.
RECORDING, NAME = "recording", "name"


def unseen(home: Home, data: Dataset, trained_on: str) -> tuple[Scenario, ...]:
    """Return the test scenarios of a set that a training on another set has not seen.

    Scenarios of one recording overlap: where the other set's train or val holds one of them, it has seen all. Made ones
    share nothing but their seed, which their names tell.

    Args:
        home: whose store is read.
        data: the set.
        trained_on: fingerprint of the other set, or of this very one, whose test part no training has seen.

    Raises:
        DataError: when a set cannot be read.
        UnknownNameError: when the other set is gone.
    """
    from nightshift.driving.bank import ScenarioBank

    scenarios = ScenarioBank.open(data).scenarios("test")
    if trained_on == data.fingerprint:
        return scenarios
    theirs = open_dataset(home, data.subject, trained_on)
    seen = {source for part in ("train", "val") for source in _sources(theirs, part)}
    return tuple(s for s, source in zip(scenarios, _sources(data, "test"), strict=True) if source not in seen)


def _sources(data: Dataset, part: str) -> list[str]:
    """Return of each scenario of a part what it shares with others: its recording, or itself where it was made."""
    frame = data.frame(part)
    return [str(r or n) for r, n in zip(frame[RECORDING].tolist(), frame[NAME].tolist(), strict=True)]


def driven(folder: Path, scenarios: tuple[Scenario, ...], bundle_id: str = "") -> UnitStatistics:
    """Let a bundle drive scenarios under every model of traffic, and sum up its scores by scenario.

    Args:
        folder: of the bundle.
        scenarios: to drive.
        bundle_id: what its id must be; one that is known by it needs no signature.

    Raises:
        BundleError: when it cannot be used.
    """
    from nightshift.driving.rollout import measured

    driver = driver_of(Model.load(folder, bundle_id=bundle_id, require_signature=not bundle_id))
    return measured(driver, "policy", "model", scenarios, seed=_SEED).statistics()


def driver_of(model: Model) -> PolicyDriver:
    """Return a bundle as a driver."""
    from nightshift.driving.drivers import PolicyDriver

    def answer(observation: NDArray[np.float32]) -> NDArray[Any]:
        return model.run({"observation": np.ascontiguousarray(observation)})["action"]

    return PolicyDriver(answer)


def why_not(error: NightshiftError) -> str:
    """Return why two policies cannot be compared, for the gate.

    Raises:
        TransientError: the error itself, where another try may help.
    """
    if isinstance(error, TransientError):
        raise error
    return f"the scenarios that it was trained on cannot be read, so which are new is not known ({error.what})"
