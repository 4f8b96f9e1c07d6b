"""profile: keeps the profile as it is used, and draws the seed units, split before anything is fitted on them."""

from __future__ import annotations

import json

from nightshift.files import write_atomic
from nightshift.plan.cell import sha256_json
from nightshift.plan.synthesis import Synthesis
from nightshift.simulate.units import draw_units
from nightshift.stages.recorded import StageContext, StageResult
from nightshift.stages.synthesis.tables import SEED_UNITS, write_table


def run(job: Synthesis, ctx: StageContext) -> StageResult:
    """Write `profile.json` and the seed units."""
    work, machine = ctx.work(job), job.machine
    described = work / "profile_used.json"
    write_atomic(described, json.dumps(job.profile, indent=1, sort_keys=True).encode())
    units = draw_units(machine, job.options.seed_units, job.seed)
    table = write_table(work / SEED_UNITS, units)
    return StageResult(
        files=(described, table),
        summary={
            "profile": sha256_json(job.profile),
            "machine_type": str(machine.machine_type),
            "sensors": len(machine.sensors),
            "seed_units": len(units),
            "failure_share": round(machine.failure_share, 4),
        },
    )
