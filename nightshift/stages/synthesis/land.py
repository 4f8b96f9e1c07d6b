"""land: composes the rows from generated and unseen seed units, and lands them whole or not at all."""

from __future__ import annotations

from typing import Any

from nightshift.data.importers.landing import SECONDS_PER_HOUR
from nightshift.data.store import land
from nightshift.plan.code import installed_version
from nightshift.plan.records import read_record
from nightshift.plan.synthesis import Synthesis
from nightshift.simulate.describe import metadata
from nightshift.simulate.quality.report import FIGURES, PROBLEMS, QualityReport
from nightshift.stages.recorded import StageContext, StageResult
from nightshift.stages.synthesis.compose import compose
from nightshift.stages.synthesis.quality import read_quality
from nightshift.stages.synthesis.tables import generated, read_table, seed_units


def run(job: Synthesis, ctx: StageContext) -> StageResult:
    """Land the chosen generator's units as train, and the seed's own `val` and `test` units as the other parts.

    Raises:
        NightshiftError: when the units do not last, or the disk is full.
        DataError: when the rows cannot be stored.
    """
    judged, seeds = read_quality(job, ctx), seed_units(job, ctx)
    units = read_table(generated(job, ctx, judged.chosen, job.generator_seeds[0]))
    described = metadata(job.machine, job.subject, details=_details(job, ctx, judged))
    composed = compose(
        job.machine,
        units,
        seeds.val,
        seeds.test,
        rows=job.rows,
        seed=job.seed,
        embargo_s=described.embargo * SECONDS_PER_HOUR,
    )
    data = land(ctx.home, composed.parts, described, event=job.options.event)
    return StageResult(
        files=(data.folder,),
        summary={
            "dataset": data.fingerprint,
            "rows": sum(part.rows for part in data.metadata.parts.values()),
            **{f"runs_{name}": n for name, n in composed.units.items()},
        },
    )


def _details(job: Synthesis, ctx: StageContext, judged: QualityReport) -> dict[str, Any]:
    """Return what the dataset remembers of how it was made; the same call makes the same bytes."""
    drawn = read_record(ctx.home, job.key, "profile")
    scores = judged.score(judged.chosen)
    figures = {key: scores.mean(key) for key in (*FIGURES, *PROBLEMS)}
    return {
        "profile_sha256": drawn.summary["profile"] if drawn else "",
        "seed": job.seed,
        "rows": job.rows,
        "generator": judged.chosen,
        "generator_seed": job.generator_seeds[0],
        "quality": {key: round(value, 4) for key, value in figures.items() if value is not None},
        "nightshift": installed_version("nightshift"),
    }
