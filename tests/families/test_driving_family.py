"""What driving families answer alike: a policy and its graph on hard rows, and what to try for a better one."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import torch

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.driving.landing import MadeSet, land_made
from nightshift.driving.learn.evaluation import answer_of
from nightshift.driving.observe import N_OBS, SPEED
from nightshift.families._driving_family import action_range, hard_observations, try_next
from nightshift.graphs.policies import policy_graph
from nightshift.graphs.sequences import weights_of
from nightshift.nets.device import seeded
from nightshift.nets.policy import Policy, PolicyShape
from nightshift.settings import Home


def test_policy_and_graph_agree_where_the_speed_is_unknown_or_beyond_any_scale() -> None:
    seen = np.random.default_rng(1).uniform(-1, 1, (200, N_OBS)).astype(np.float32)
    rows = hard_observations(seen)["observation"]
    speed = rows[:, SPEED]
    assert {True} == {bool(found.any()) for found in (np.isnan(speed), speed == np.inf, speed == -np.inf)}
    assert speed[np.isfinite(speed)].max() >= 1e30
    assert speed[np.isfinite(speed)].min() <= -1e30
    with seeded(1, torch.device("cpu")):
        policy = Policy(PolicyShape(observation=N_OBS, hidden=(16,)))
        with torch.no_grad():
            policy.mean.bias += torch.tensor([0.0, 2.0])
    graph = policy_graph(policy.shape, weights_of(policy.state_dict()), action_range()).build().SerializeToString()
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    said, wanted = session.run(None, {"observation": rows})[0], answer_of(policy)(rows)
    np.testing.assert_allclose(said, wanted, atol=1e-5)
    # The wheel is turned nearly fully throughout, so that the limit alone holds it.
    unknown = ~np.isfinite(speed)
    assert 0.0 < np.abs(said[unknown, 1]).max() < 0.01
    assert np.abs(said[np.abs(speed) < 0.1, 1]).max() > 0.3


def test_what_to_try_is_more_steps_more_scenarios_or_another_beginning(home: Home) -> None:
    few = land_made(home, MadeSet(("highway",), 6, 3), "few", event=False)
    all_kinds = land_made(home, MadeSet(scenarios=15), event=False)

    def told(family: str, data: Dataset, **more: object) -> str:
        return try_next(family, families.get(family).config(**more), data)

    said = told("ppo", few, total_steps=1_000_000)
    assert said.startswith("Try `nightshift train ppo --total-steps 2000000`, more scenarios (`nightshift simulate ")
    assert "simulate driving --kinds highway --id few --scenarios 12`), or begin with a policy that was cloned" in said
    assert "simulate driving --scenarios 30`)" in told("sac", all_kinds)
    assert "cloned" not in told("ppo", few, init_from="bc_v1")
    assert "--epochs 100`" in told("bc", few, epochs=50)
    assert "let reward go on from it (`train cimrl --init-from bc_v1`)" in told("bc", few, run_id="bc_v1")
    assert told("cimrl", few).endswith("--scenarios 12`).")
