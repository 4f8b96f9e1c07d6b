"""physics: rolls seed units forward and holds them against the laws, before anything is learned from them."""

from __future__ import annotations

import math

from nightshift.errors import BlockedError
from nightshift.plan.synthesis import Synthesis
from nightshift.simulate.physics.laws import violations
from nightshift.simulate.physics.roll import roll
from nightshift.simulate.profile import MIN_RUNS
from nightshift.stages.recorded import StageContext, StageResult
from nightshift.stages.synthesis.tables import seed_units

#: So many rows, or `MIN_RUNS` lives, say enough.
_ROWS = 20_000


def run(job: Synthesis, ctx: StageContext) -> StageResult:
    """Roll held-out seed units, and check them.

    Raises:
        BlockedError: when the simulated machine breaks a law; names which and how often.
    """
    machine = job.machine
    lives = math.ceil(_ROWS * machine.sampling_s / 3600 / machine.life.mean_h)
    units = seed_units(job, ctx).judge.head(max(MIN_RUNS, lives))
    rolled = roll(machine, units, seed=job.seed)
    broken = {rule: n for rule, n in violations(machine, rolled, units).items() if n}
    if broken:
        listed = ", ".join(f"{rule} {n} times" for rule, n in broken.items())
        raise BlockedError(
            f"the simulated {job.subject} breaks laws of physics: {listed}.",
            hint=f"Check the rises, ranges and limits in configs/machines/{job.subject}.yaml.",
        )
    facts: dict[str, str | int | float | bool | None] = {"rows": len(rolled.frame), "runs": len(units)}
    if "failure_status" in rolled.frame:
        facts["failing"] = round(float(rolled.frame["failure_status"].mean()), 4)
    return StageResult(summary=facts)
