"""The graph of a policy answers like the policy and the world's own scale of actions, for every head."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch

from nightshift.driving import action
from nightshift.driving.bicycle import ACCEL_MAX_MPS2, ACCEL_MIN_MPS2, STEER_MAX_RAD
from nightshift.driving.learn.evaluation import along_seen, speed_seen
from nightshift.driving.observe import N_OBS, SPEED, SPEED_SCALE
from nightshift.families._driving_family import action_range
from nightshift.graphs.policies import policy_graph
from nightshift.graphs.sequences import weights_of
from nightshift.nets.device import seeded
from nightshift.nets.policy import Policy, PolicyShape

RANGE = action_range()


@pytest.mark.parametrize(
    ("head", "components", "activation", "hidden"),
    [("gaussian", 1, "tanh", (32, 16)), ("squashed", 1, "relu", (32,)), ("mixture", 4, "tanh", (32, 16))],
)
def test_the_graph_answers_like_the_policy(head: str, components: int, activation: str, hidden: tuple[int]) -> None:
    with seeded(1, torch.device("cpu")):
        shape = PolicyShape(observation=N_OBS, hidden=hidden, activation=activation, head=head, components=components)  # type: ignore[arg-type]
        policy = Policy(shape)
        with torch.no_grad():
            for weights in policy.parameters():
                weights += 0.3 * torch.randn(weights.shape)
        seen = (torch.rand(400, N_OBS) * 3 - 1.5).numpy()
    seen[:40, SPEED] = np.linspace(0, 1.5, 40)
    seen[40, 3], seen[41, 5], seen[42, 7], seen[43] = np.nan, np.inf, -np.inf, 1e30
    seen[44:50, SPEED] = np.nan, np.inf, -np.inf, 1e30, -1e30, 2.5
    model = policy_graph(shape, weights_of(policy.state_dict()), RANGE).build().SerializeToString()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    said = session.run(None, {"observation": seen})[0]
    with torch.no_grad():
        squashed = policy(torch.from_numpy(seen)).numpy()
    assert (speed_seen(seen)[43:50] == np.float32(2 * SPEED_SCALE)).all()
    speed = speed_seen(seen)
    np.testing.assert_allclose(said, action.physical(np, squashed, speed, along_seen(seen, speed)), atol=1e-5)
    assert said.dtype == np.float32
    assert np.isfinite(said).all()
    # A speed that nobody knows is no standstill: the wheels are held as at speed.
    assert np.abs(said[43:50, 1]).max() < 0.01
    assert said[:, 0].min() >= ACCEL_MIN_MPS2
    assert said[:, 0].max() <= ACCEL_MAX_MPS2
    assert (np.abs(said[:, 1]) <= STEER_MAX_RAD).all()
    assert len(np.unique(said[:, 0])) > 100
    assert session.run(None, {"observation": seen[:0]})[0].shape == (0, 2)
