"""A training that is killed without a word in the middle of an epoch, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from support.learners import Line, weights

from nightshift.nets import checkpoint as checkpoints
from nightshift.nets.loop import LoopContext, LoopPlan, train

KILLED = """
import sys, time
from pathlib import Path
from nightshift.nets.loop import LoopContext, LoopPlan, train
from support.learners import Line

class Slow(Line):
    def after_step(self):
        super().after_step()
        if self.steps == 3 * 3 + 2:
            Path(sys.argv[2]).touch()
            time.sleep(60)

train(Slow, LoopPlan(epochs=6, seed=3, patience=5), LoopContext(device="cpu", checkpoint=Path(sys.argv[1]),
      checkpoint_every_epochs=2))
"""


def test_a_process_killed_in_mid_epoch_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    path, reached = tmp_path / "line.pt", tmp_path / "reached"
    command = [sys.executable, "-c", KILLED, str(path), str(reached)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        deadline = time.monotonic() + 60
        while not reached.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert reached.exists()
    kept = checkpoints.load(path)
    assert kept is not None
    assert kept.epoch == 2, "the third epoch was whole and the fourth under way: both are lost"
    plan = LoopPlan(epochs=6, seed=3, patience=5)
    whole = train(Line, plan, LoopContext(device="cpu"))
    resumed = train(Line, plan, LoopContext(device="cpu", checkpoint=path))
    assert resumed.learner.steps == 3 * 4
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.history == whole.history
