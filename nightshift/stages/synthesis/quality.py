"""quality: judges the generators against held-out seed units, writes the report, and lets the best pass or nothing."""

from __future__ import annotations

from pydantic import TypeAdapter

from nightshift.files import write_atomic
from nightshift.plan.synthesis import PICTURES_FILE, QUALITY_FILE, Synthesis
from nightshift.problems.evaluation import Figure
from nightshift.progress import ProgressEvent
from nightshift.simulate.generators.base import GENERATORS
from nightshift.simulate.quality.judge import JudgeContext, judge
from nightshift.simulate.quality.pictures import pictures
from nightshift.simulate.quality.report import QualityReport
from nightshift.stages.recorded import StageContext, StageResult
from nightshift.stages.synthesis.tables import generated, read_table, seed_units

_PICTURES = TypeAdapter(tuple[Figure, ...])


def run(job: Synthesis, ctx: StageContext) -> StageResult:
    """Write `judged.json` and the report's page; blocked, with every missed gate named, when it does not pass.

    The page of data that pass waits in the work folder until they have landed.
    """
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
    where = write_page(job, ctx, judged)
    return StageResult(
        status="done" if judged.passed else "blocked",
        files=(kept,),
        summary={
            "chosen": judged.chosen,
            "seed": judged.seed,
            "why": judged.why,
            "passed": judged.passed,
            "report": where,
        },
        error="" if judged.passed else f"{job.subject}: the data is refused: {judged.refusal()}.",
        hint="" if judged.passed else f"Nothing has landed. {where} shows the figures and pictures.",
    )


def write_page(job: Synthesis, ctx: StageContext, judged: QualityReport) -> str:
    """Render the page: into the work folder where the data pass, else where people look; returns that place.

    What its pictures show is kept in the work folder too, for the dashboard to plot.

    Returns:
        Where people look for it, relative to the home.
    """
    from nightshift.tracking.quality_report import page_of, quality_page

    units = read_table(generated(job, ctx, judged.chosen, landing_seed(job, judged)))
    held_out = seed_units(job, ctx)
    units = units.head(len(held_out.train))
    drawn = pictures(job.machine, held_out.judge, units, name=judged.chosen, seed=job.seed)
    page = page_of(ctx.home, job.subject, passed=judged.passed)
    kept = ctx.work(job) / page.name if judged.passed else page
    write_atomic(kept, quality_page(job.subject, judged, drawn))
    write_atomic(ctx.work(job) / PICTURES_FILE, _PICTURES.dump_json(drawn))
    return page.relative_to(ctx.home.root).as_posix()


def publish(job: Synthesis, ctx: StageContext) -> None:
    """Show the page of what has landed: a machine has one, of its present data."""
    from nightshift.tracking.quality_report import page_of

    page = page_of(ctx.home, job.subject, passed=True)
    kept = ctx.work(job) / page.name
    if not kept.is_file():
        write_page(job, ctx, read_quality(job, ctx))
    content = kept.read_bytes()
    if not page.is_file() or page.read_bytes() != content:
        write_atomic(page, content)


def landing_seed(job: Synthesis, judged: QualityReport) -> int:
    """Return the generator seed whose units land; the first one's are shown where none may."""
    return job.generator_seeds[0] if judged.seed is None else judged.seed


def read_quality(job: Synthesis, ctx: StageContext) -> QualityReport:
    """Return what the stage judged."""
    return QualityReport.model_validate_json((ctx.work(job) / QUALITY_FILE).read_bytes())
