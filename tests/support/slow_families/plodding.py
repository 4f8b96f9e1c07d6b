"""Slow on purpose, without checkpoints: steps that are counted, then the detectors of `anomaly`."""

from __future__ import annotations

import time
from typing import Any

from nightshift.families.anomaly import AnomalyConfig, AnomalyFamily, AnomalyModel
from nightshift.family import RunContext


class PloddingConfig(AnomalyConfig):
    steps: int = 40
    step_s: float = 0.5


class PloddingFamily(AnomalyFamily):
    name = "plodding"
    config = PloddingConfig

    def train(self, data: Any, config: PloddingConfig, ctx: RunContext) -> AnomalyModel:
        for step in range(1, config.steps + 1):
            time.sleep(config.step_s)
            ctx.step(step, config.steps, f"step {step}")
        return super().train(data, config, ctx)


FAMILY = PloddingFamily()
