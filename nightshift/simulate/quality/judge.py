"""Judges generated units: every generator at every seed, paired, against units that nothing was fitted on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nightshift.errors import DataError, InterruptedTraining
from nightshift.simulate.profile import Profile
from nightshift.simulate.quality import tables
from nightshift.simulate.quality.choose import decide
from nightshift.simulate.quality.limits import QualityLimits
from nightshift.simulate.quality.proxies import FIT_ROWS, TEST_ROWS, Examples, learn_and_test
from nightshift.simulate.quality.report import (
    GeneratorScores,
    ProblemScores,
    QualityReport,
    SeedScores,
    utility,
)
from nightshift.simulate.quality.rows import (
    Floats,
    Rows,
    autocorrelation,
    autocorrelation_match,
    best_sensor_auc,
    daily_pattern_match,
    failure_share,
    row_shapes,
)
from nightshift.simulate.units import SeedUnits, draw_units, unit_columns

if TYPE_CHECKING:
    import pandas as pd

#: Units rolled out per table, and rows that bound them. Over six draws of real units F1 varied by 0.025 with 48 units
#: and by 0.01 with 128 or more: the gate compares differences of 0.02.
UNITS, MAX_ROWS, MIN_UNITS = 192, 200_000, 16
#: The held-out roll-out is made once: more units in it cost little and steady every figure.
_TEST_FACTOR = 2
_TEST_SEED = 1_000_003


def _silent(step: int, total: int, message: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class JudgeContext:
    """What judging is given besides the data.

    Attributes:
        subject: the machine's id; the profile's title where it has none yet.
        limits: of the gate.
        units: rolled out per table, fewer where lives are long in rows.
        threads: tables judged at the same time; the figures do not depend on it.
        progress: told (tables done, tables in all, message).
        should_stop: asked between two tables.
    """

    subject: str = ""
    limits: QualityLimits = field(default_factory=QualityLimits)
    units: int = UNITS
    threads: int = 2
    progress: Callable[[int, int, str], None] = _silent
    should_stop: Callable[[], bool] = bool


class _Key(NamedTuple):
    """A table: a generator at a seed; generator "" for the real units of `train`."""

    generator: str
    seed: int

    def __str__(self) -> str:
        return f"{self.generator or 'real units'}, seed {self.seed}"


@dataclass(frozen=True)
class _Reference:
    """What every table is held against: the held-out units and their roll-out."""

    profile: Profile
    seeds: SeedUnits
    test: Examples
    autocorrelation: Floats
    units: int
    seed: int


def judge(
    profile: Profile,
    seeds: SeedUnits,
    candidates: Mapping[str, Mapping[int, pd.DataFrame]],
    *,
    seed: int,
    ctx: JudgeContext,
) -> QualityReport:
    """Judge generators and choose the one that lands.

    At one generator seed all generators are rolled out under the same physics seed, and so are as many real units of
    `train`, for what could be learned from them (TRTR).

    Args:
        profile: of the machine.
        seeds: real units; generators have seen `train`, and are judged by `judge`.
        candidates: generator -> generator seed -> unit table.
        seed: of roll-outs and draws.
        ctx: limits, budget and callbacks.

    Raises:
        DataError: for tables that are not paired, or lack a column.
        InterruptedTraining: when asked to stop.
    """
    _check(profile, candidates)
    _import_libraries()
    reference = _reference(profile, seeds, seed, ctx)
    generator_seeds = list(next(iter(candidates.values())))
    work: dict[_Key, Callable[[], SeedScores | ProblemScores]] = {
        _Key("", s): partial(_real, reference, s) for s in generator_seeds
    }
    for name, by_seed in candidates.items():
        work |= {_Key(name, s): partial(_generated, reference, table, s) for s, table in by_seed.items()}
    found = _run_all(work, ctx)
    trtr = [f for s in generator_seeds if isinstance(f := found[_Key("", s)], ProblemScores)]
    scores = []
    for name, by_seed in candidates.items():
        own = [f for s in by_seed if isinstance(f := found[_Key(name, s)], SeedScores)]
        own = [s.model_copy(update={"utility": utility(s.tstr, trtr)}) for s in own]
        scores.append(GeneratorScores(name=name, seeds=tuple(own)))
    return decide(ctx.subject or profile.title, profile, scores, trtr, ctx.limits)


def _check(profile: Profile, candidates: Mapping[str, Mapping[int, pd.DataFrame]]) -> None:
    seeds = {name: list(by_seed) for name, by_seed in candidates.items()}
    if not seeds or not all(seeds.values()) or len({tuple(s) for s in seeds.values()}) > 1:
        raise DataError(
            f"generators are compared in pairs: every one at the same seeds, got {seeds}.",
            hint="Sample every generator at every seed.",
        )
    wanted = {c.name for c in unit_columns(profile)}
    for name, by_seed in candidates.items():
        for s, table in by_seed.items():
            missing = sorted(wanted - set(table.columns))
            if missing or not len(table):
                what = f"lacks {', '.join(missing)}" if missing else "holds no unit"
                raise DataError(f"the table of {_Key(name, s)} {what}.", hint="Fit the generator on this profile.")


def _import_libraries() -> None:
    """Load in one thread what all use: sdmetrics brings torch, and scipy trips over a torch that is half loaded."""
    import lightgbm  # noqa: F401
    import sdmetrics.column_pairs
    import sdmetrics.single_column  # noqa: F401


def _reference(profile: Profile, seeds: SeedUnits, seed: int, ctx: JudgeContext) -> _Reference:
    rows_per_life = profile.life.mean_h * 3600 / profile.sampling_s
    units = min(ctx.units, max(MIN_UNITS, int(MAX_ROWS / rows_per_life)))
    test = _rolled(profile, seeds.judge, _TEST_FACTOR * units, seed, _TEST_SEED)
    return _Reference(
        profile=profile,
        seeds=seeds,
        test=Examples(test.rows, TEST_ROWS, seed),
        autocorrelation=autocorrelation(test.rows),
        units=units,
        seed=seed,
    )


@dataclass(frozen=True)
class _RolledTable:
    rows: Rows
    violations: dict[str, int]


def _rolled(profile: Profile, table: pd.DataFrame, n: int, seed: int, generator_seed: int) -> _RolledTable:
    """Roll out `n` units of a table, drawn the same way from every table of one seed."""
    from nightshift.simulate.physics.laws import violations
    from nightshift.simulate.physics.roll import roll

    order = np.random.default_rng([seed, generator_seed, 13]).permutation(len(table))
    units = table.iloc[order[:n]].reset_index(drop=True)
    physics_seed = int(np.random.default_rng([seed, generator_seed, 14]).integers(2**31))
    rolled = roll(profile, units, seed=physics_seed)
    broken = {law: n for law, n in violations(profile, rolled, table).items() if n}
    return _RolledTable(Rows.of(profile, rolled.frame), broken)


def _run_all(
    work: Mapping[_Key, Callable[[], SeedScores | ProblemScores]], ctx: JudgeContext
) -> dict[_Key, SeedScores | ProblemScores]:
    """Run every piece, some at a time; nothing new begins once asked to stop."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    def run(piece: Callable[[], SeedScores | ProblemScores]) -> SeedScores | ProblemScores:
        if ctx.should_stop():
            raise InterruptedTraining("Judging the generators stopped on request.", hint="Run the command again.")
        return piece()

    found = {}
    # Tables are judged side by side: threads within one would only wait for each other. OpenMP keeps its number per
    # thread, BLAS one for all, which is put back at the end.
    pool_of = partial(ThreadPoolExecutor, thread_name_prefix="judge", initializer=threadpool_limits, initargs=(1,))
    with threadpool_limits(1), pool_of(max_workers=max(1, ctx.threads)) as pool:
        futures = {key: pool.submit(run, piece) for key, piece in work.items()}
        try:
            for done, (key, future) in enumerate(futures.items(), 1):
                found[key] = future.result()
                ctx.progress(done, len(work), str(key))
        except BaseException:
            _cancel(futures.values())
            raise
    return found


def _cancel(futures: Iterable[Future[SeedScores | ProblemScores]]) -> None:
    for future in futures:
        future.cancel()


def _real(reference: _Reference, generator_seed: int) -> ProblemScores:
    r = reference
    rolled = _rolled(r.profile, r.seeds.train, r.units, r.seed, generator_seed)
    return learn_and_test(Examples(rolled.rows, FIT_ROWS, generator_seed), r.test)


def _fresh(reference: _Reference, generator_seed: int) -> pd.DataFrame:
    """Draw as many units as the generators have learned from, which nothing else sees."""
    r = reference
    own_seed = int(np.random.SeedSequence([r.seed, generator_seed, 15]).generate_state(1)[0])
    return draw_units(r.profile, len(r.seeds.train), own_seed)


def _generated(reference: _Reference, table: pd.DataFrame, generator_seed: int) -> SeedScores:
    r, columns = reference, unit_columns(reference.profile)
    rolled = _rolled(r.profile, table, r.units, r.seed, generator_seed)
    rows = rolled.rows
    return SeedScores(
        seed=generator_seed,
        column_shapes=tables.column_shapes(r.seeds.judge, table, columns),
        pair_trends=tables.pair_trends(r.seeds.judge, table, columns),
        dcr_protection=tables.dcr_protection(r.seeds.train, _fresh(r, generator_seed), table, columns),
        row_shapes=row_shapes(r.test.rows, rows, generator_seed),
        autocorrelation=autocorrelation_match(r.autocorrelation, autocorrelation(rows)),
        daily_pattern=daily_pattern_match(r.test.rows, rows),
        failure_share=failure_share(rows),
        sensor_auc=best_sensor_auc(rows),
        violations=rolled.violations,
        tstr=learn_and_test(Examples(rows, FIT_ROWS, generator_seed), r.test),
        utility=0.0,
    )
