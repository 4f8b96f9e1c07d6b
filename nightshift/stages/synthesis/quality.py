"""quality: judges the generators against held-out seed units, writes the report, and lets the best pass or nothing."""

from __future__ import annotations

from nightshift.files import write_atomic
from nightshift.plan.synthesis import QUALITY_FILE, Synthesis
from nightshift.progress import ProgressEvent
from nightshift.simulate.generators.base import GENERATORS
from nightshift.simulate.quality.judge import JudgeContext, judge
from nightshift.simulate.quality.pictures import pictures
from nightshift.simulate.quality.report import QualityReport
from nightshift.stages.recorded import StageContext, StageResult
from nightshift.stages.synthesis.tables import generated, read_table, seed_units


def run(job: Synthesis, ctx: StageContext) -> StageResult:
    """Write `judged.json` and the report's page; blocked, with every missed gate named, when it does not pass."""
    from nightshift.tracking.quality_report import write_quality_report

    seeds = seed_units(job, ctx)
    candidates = {
        name: {seed: read_table(generated(job, ctx, name, seed)).head(len(seeds.train)) for seed in job.generator_seeds}
        for name in GENERATORS
    }
    sink = ctx.sink(job)

    def tell(step: int, total: int, message: str) -> None:
        sink(ProgressEvent(cell=job.key, stage="quality", step=step, total=total, message=message))

    given = JudgeContext(
        subject=job.subject,
        limits=job.options.limits,
        threads=ctx.threads,
        progress=tell,
        should_stop=ctx.should_stop,
    )
    judged = judge(job.machine, seeds, candidates, seed=job.seed, ctx=given)
    kept = ctx.work(job) / QUALITY_FILE
    write_atomic(kept, judged.model_dump_json(indent=1).encode())
    chosen = candidates[judged.chosen][job.generator_seeds[0]]
    drawn = pictures(job.machine, seeds.judge, chosen, name=judged.chosen, seed=job.seed)
    page = write_quality_report(ctx.home, job.subject, judged, drawn)
    where = page.relative_to(ctx.home.root).as_posix()
    return StageResult(
        status="done" if judged.passed else "blocked",
        files=(kept,),
        summary={"chosen": judged.chosen, "why": judged.why, "passed": judged.passed, "report": where},
        error="" if judged.passed else f"{job.subject}: the data is refused: {judged.refusal()}.",
        hint="" if judged.passed else f"Nothing has landed. {where} shows the figures and pictures.",
    )


def read_quality(job: Synthesis, ctx: StageContext) -> QualityReport:
    """Return what the stage judged."""
    return QualityReport.model_validate_json((ctx.work(job) / QUALITY_FILE).read_bytes())
