"""land: composes the rows from generated and unseen seed units, holds them to the gate, and lands them or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import SECONDS_PER_HOUR, refusing
from nightshift.data.schema import LABEL
from nightshift.data.store import land
from nightshift.data.validate import validate
from nightshift.errors import BlockedError
from nightshift.plan.code import installed_version
from nightshift.plan.records import read_record
from nightshift.plan.synthesis import Synthesis
from nightshift.simulate.describe import metadata
from nightshift.simulate.physics.laws import violations
from nightshift.simulate.quality.report import FIGURES, PROBLEMS, GateLine, QualityReport
from nightshift.stages.recorded import StageContext, StageResult
from nightshift.stages.synthesis.compose import Composed, compose
from nightshift.stages.synthesis.quality import landing_seed, publish, read_quality, write_page
from nightshift.stages.synthesis.tables import generated, read_table, seed_units

#: What the lines of the gate that the rows themselves must pass end with.
ROWS_SUFFIX = ", of the rows that land"


def run(job: Synthesis, ctx: StageContext) -> StageResult:
    """Land the chosen generator's units as train, and the seed's own `val` and `test` units as the other parts.

    What was judged are roll-outs of their own; these rows are held to the laws, the share of failures and the checks of
    data once more, and blocked where they miss one.

    Raises:
        NightshiftError: when the units do not last, or the disk is full.
        DataError: when the rows cannot be stored.
    """
    judged, seeds = read_quality(job, ctx), seed_units(job, ctx)
    units = read_table(generated(job, ctx, judged.chosen, landing_seed(job, judged)))
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
    lines = tuple(rows_gate(job, composed))
    missed = "; ".join(f"{line.name} is {line.value:g}, wanted {line.wanted}" for line in lines if not line.ok)
    if missed:
        return _refused(job, ctx, judged, lines, missed, "Ask for more rows, another seed, or correct the profile.")
    try:
        data = land(ctx.home, composed.parts, described, event=job.options.event, check=refuse_findings)
    except BlockedError as error:
        return _refused(job, ctx, judged, lines, error.what.removesuffix("."), error.hint)
    publish(job, ctx)
    return StageResult(
        files=(data.folder,),
        summary={
            "dataset": data.fingerprint,
            "rows": sum(part.rows for part in data.metadata.parts.values()),
            "new": data.new,
            **{f"runs_{name}": n for name, n in composed.units.items()},
        },
    )


def rows_gate(job: Synthesis, composed: Composed) -> Iterator[GateLine]:
    """Yield the gate's lines on the rows that land, and on the tables that they come from."""
    limits, machine = job.options.limits, job.machine
    broken = sum(violations(machine, composed.rolled, composed.table).values())
    most = float(limits.violations)
    yield GateLine(
        name=FIGURES["violations"] + ROWS_SUFFIX, value=float(broken), limit=most, better="less", ok=broken <= most
    )
    if machine.labels.failure_status:
        labels = np.concatenate([part[LABEL].to_numpy(np.float64) for part in composed.parts.values()])
        share, (low, high) = float(np.nanmean(labels)), limits.failure_share
        name = FIGURES["failure_share"] + ROWS_SUFFIX
        yield GateLine(
            name=name, value=round(share, 4), limit=(low, high), better="between", ok=low <= round(share, 4) <= high
        )


def refuse_findings(data: Dataset) -> None:
    """Refuse rows with a blocker, or whose label one sensor gives away.

    Raises:
        BlockedError: with the findings and their codes.
    """
    # None is spared: the profile says what each family gets, so what stops one of them was made wrongly.
    found = refusing(data, validate(data, data.metadata.offers), spared=frozenset())
    if found:
        told = "; ".join(f"{f.code}: {f.what.removesuffix('.')}" for f in found)
        raise BlockedError(f"{told}.", hint=found[0].remedy, codes=tuple(f.code for f in found))


def _refused(
    job: Synthesis, ctx: StageContext, judged: QualityReport, lines: tuple[GateLine, ...], missed: str, hint: str
) -> StageResult:
    """Show why the rows do not land, on the page of refusals: what has landed before keeps its own."""
    why = f"The units of {judged.chosen} pass, and the rows made of them do not: {missed}."
    report = judged.model_copy(update={"passed": False, "gates": (*judged.gates, *lines), "why": why})
    where = write_page(job, ctx, report)
    return StageResult(
        status="blocked",
        summary={"report": where},
        error=f"{job.subject}: the rows are refused: {missed}.",
        hint=f"Nothing has landed. {where} shows the figures. {hint}",
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
        "generator_seed": landing_seed(job, judged),
        "quality": {key: round(value, 4) for key, value in figures.items() if value is not None},
        "nightshift": installed_version("nightshift"),
    }
