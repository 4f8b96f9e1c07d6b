"""generate: fits the three generators on the seed units' training part, once per generator seed, and draws units."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from nightshift.errors import InterruptedTraining
from nightshift.files import sha256_file, write_atomic
from nightshift.plan.synthesis import Synthesis
from nightshift.progress import ProgressEvent
from nightshift.simulate.generators.base import GENERATORS, FitContext, TvaeConfig, fit
from nightshift.simulate.units import SeedUnits, unit_columns
from nightshift.stages.recorded import StageContext, StageResult
from nightshift.stages.synthesis.compose import units_needed
from nightshift.stages.synthesis.tables import generated, seed_units, write_table

#: What is drawn already, with its hash: an interrupted stage goes on after it.
_DRAWN = "drawn.json"


def run(job: Synthesis, ctx: StageContext) -> StageResult:
    """Write one table of units per generator and seed; a fit that was stopped goes on from its checkpoint.

    Raises:
        InterruptedTraining: when asked to stop; tables and checkpoints are kept.
        TrainingError: when the TVAE cannot learn these units.
    """
    seeds = seed_units(job, ctx)
    folder = ctx.work(job) / "units"
    drawn = _drawn(folder)
    paths = []
    for place, (name, seed) in enumerate(_fits(job)):
        path = generated(job, ctx, name, seed)
        if drawn.get(path.name) is None:
            _stop_if_asked(job, ctx)
            _draw(job, ctx, seeds, place, path)
            drawn[path.name] = sha256_file(path)
            write_atomic(folder / _DRAWN, json.dumps(drawn, indent=1).encode())
        paths.append(path)
    shutil.rmtree(ctx.work(job) / "checkpoints", ignore_errors=True)
    return StageResult(
        files=tuple(paths),
        summary={"fits": len(paths), "trained_on": len(seeds.train), "units": table_length(job, seeds)},
    )


def table_length(job: Synthesis, seeds: SeedUnits) -> int:
    """Return how many units each generator draws: as many as it learned from, and enough for what lands."""
    return max(len(seeds.train), units_needed(job.machine, job.rows))


def _fits(job: Synthesis) -> Iterator[tuple[str, int]]:
    """Yield (generator, seed), the quick ones first."""
    for name in reversed(GENERATORS):
        for seed in job.generator_seeds:
            yield name, seed


def _draw(job: Synthesis, ctx: StageContext, seeds: SeedUnits, place: int, path: Path) -> None:
    name, seed = path.stem.rsplit("-", 1)
    sink = ctx.sink(job)
    before = max(0, place - (len(GENERATORS) - 1) * job.options.generator_seeds)

    def tell(step: int, total: int, message: str) -> None:
        # The TVAE's fits are nearly all of the time: the others count as none of it.
        fits = job.options.generator_seeds
        done = before * total + step if name == "tvae" else 0
        text = f"{name}, seed {seed}: {message}"
        sink(ProgressEvent(cell=job.key, stage="generate", step=done, total=fits * total, message=text))

    context = FitContext(
        seed=int(seed),
        checkpoints=ctx.work(job) / "checkpoints" / path.stem,
        device=job.options.device,
        threads=ctx.threads,
        progress=tell,
        should_stop=ctx.should_stop,
    )
    config = TvaeConfig(epochs=job.options.epochs) if job.options.epochs else None
    generator = fit(name, seeds.train, unit_columns(job.machine), context, config)
    write_table(path, generator.sample(table_length(job, seeds), int(seed)))


def _drawn(folder: Path) -> dict[str, str]:
    """Return the tables that are there and whole, with their hashes."""
    try:
        noted = json.loads((folder / _DRAWN).read_bytes())
    except (OSError, ValueError):
        return {}
    return {n: h for n, h in noted.items() if (folder / n).is_file() and sha256_file(folder / n) == h}


def _stop_if_asked(job: Synthesis, ctx: StageContext) -> None:
    if ctx.should_stop():
        raise InterruptedTraining(f"{job.name}: stopped while generating.", hint="Run it again to go on.")
