"""The gate of every generator, and which of them lands."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from nightshift.simulate.profile import Profile
from nightshift.simulate.quality.limits import QualityLimits
from nightshift.simulate.quality.report import (
    FIGURES,
    PROBLEMS,
    SOUND_SEEDS,
    GateLine,
    GeneratorScores,
    ProblemScores,
    QualityReport,
    SeedScores,
    mean_trtr,
    ratio_name,
)

#: The generator that lands where it is worth it, and what it is compared with.
PRIMARY, BASELINES = "tvae", ("copula", "resample")
_GATED_PROBLEMS = ("f1", "rul_r2")
#: What the table of the seed that lands must reach by itself, beside breaking no law.
_OF_ONE_TABLE = ("column_shapes", "pair_trends", "dcr_protection")


def decide(
    subject: str,
    profile: Profile,
    scores: Sequence[GeneratorScores],
    trtr: Sequence[ProblemScores],
    limits: QualityLimits,
) -> QualityReport:
    """Hold every generator against the limits and choose.

    The TVAE lands where it passes its gate and its mean paired utility is above a baseline's; else the best by mean
    utility of those that pass. Where none passes, the best of all is named, and refused. Of the chosen generator's
    seeds, the most useful one whose own table passes lands.
    """
    gated = [s.model_copy(update={"gates": tuple(_gate(profile, s, scores, trtr, limits))}) for s in scores]
    chosen, why = _choice(gated)
    return QualityReport(
        subject=subject,
        scores=tuple(gated),
        trtr=tuple(trtr),
        gates=chosen.gates,
        chosen=chosen.name,
        seed=_landing_seed(chosen, limits),
        why=why,
        passed=chosen.passed,
    )


def _gate(
    profile: Profile,
    own: GeneratorScores,
    every: Sequence[GeneratorScores],
    trtr: Sequence[ProblemScores],
    limits: QualityLimits,
) -> Iterator[GateLine]:
    for figure in ("column_shapes", "pair_trends", "dcr_protection", "row_shapes", "autocorrelation", "daily_pattern"):
        yield _at_least(FIGURES[figure], own.mean(figure), getattr(limits, figure))
    yield _at_most(FIGURES["violations"], sum(own.values("violations")), float(limits.violations))
    if profile.labels.failure_status:
        share, (low, high) = own.mean("failure_share"), limits.failure_share
        yield GateLine(
            name=FIGURES["failure_share"],
            value=share,
            limit=(low, high),
            better="between",
            ok=share is not None and low <= share <= high,
        )
        yield _at_most(FIGURES["sensor_auc"], own.mean("sensor_auc"), limits.sensor_auc)
    yield _at_least(SOUND_SEEDS, float(sum(not misses_alone(s, limits) for s in own.seeds)), 1.0)
    for problem in _problems(profile):
        real, reached = mean_trtr(trtr, problem), own.mean(problem)
        ratio = reached / real if reached is not None and real else None
        yield _at_least(ratio_name(problem), ratio, limits.tstr_to_trtr)
        for rival in every:
            if rival.name in BASELINES and rival.name != own.name:
                loss = _paired_loss(own, rival, problem)
                yield _at_most(f"{PROBLEMS[problem]}: worse than {rival.name}", loss, limits.worse_than_baseline)


def misses_alone(seed: SeedScores, limits: QualityLimits) -> list[str]:
    """Return the figures that a seed's own table misses: units of one seed land, and means may hide it."""
    missed = [FIGURES[name] for name in _OF_ONE_TABLE if getattr(seed, name) < getattr(limits, name)]
    return missed + ([FIGURES["violations"]] if sum(seed.violations.values()) > limits.violations else [])


def _landing_seed(chosen: GeneratorScores, limits: QualityLimits) -> int | None:
    sound = [s for s in chosen.seeds if not misses_alone(s, limits)]
    return max(sound, key=lambda s: s.utility).seed if sound else None


def _problems(profile: Profile) -> list[str]:
    has = {"f1": profile.labels.failure_status, "rul_r2": profile.labels.rul}
    return [p for p in _GATED_PROBLEMS if has[p]]


def _paired_loss(own: GeneratorScores, rival: GeneratorScores, problem: str) -> float | None:
    """Return by how much a rival is better, mean over seeds of the difference; None where one has no figure."""
    pairs = [(getattr(a.tstr, problem), getattr(b.tstr, problem)) for a, b in zip(own.seeds, rival.seeds, strict=True)]
    if any(a is None or b is None for a, b in pairs):
        return None
    return statistics.fmean(b - a for a, b in pairs)


def _choice(scores: Sequence[GeneratorScores]) -> tuple[GeneratorScores, str]:
    ranked = sorted(scores, key=lambda s: -s.utility)
    passing = [s for s in ranked if s.passed]
    primary = next((s for s in scores if s.name == PRIMARY), None)
    baselines = [s for s in ranked if s.name in BASELINES]
    if primary is not None and primary.passed:
        beaten = [s for s in baselines if primary.utility > s.utility]
        if beaten or not baselines:
            against = " and ".join(f"{s.name} ({s.utility:.3f})" for s in beaten) or "no baseline"
            return primary, f"{PRIMARY} passes its gate, and its utility {primary.utility:.3f} beats {against}."
    reason = _why_not(primary, baselines)
    if passing:
        best = passing[0]
        ahead = [s for s in ranked[: ranked.index(best)] if s is not primary]
        refused = "".join(f"; {s.name} ({s.utility:.3f}) {_misses(s)}" for s in ahead)
        lands = "yet it" if best is primary else best.name
        return best, f"{reason}{lands} is the best of those that pass ({best.utility:.3f}){refused}."
    return ranked[0], f"No generator passes its gate; {ranked[0].name} is the most useful, but {_misses(ranked[0])}."


def _why_not(primary: GeneratorScores | None, baselines: Sequence[GeneratorScores]) -> str:
    if primary is None:
        return ""
    if not primary.passed:
        return f"{PRIMARY} {_misses(primary)}; "
    every = ", ".join(f"{s.name} {s.utility:.3f}" for s in baselines)
    return f"{PRIMARY} beats neither baseline (utility {primary.utility:.3f}; {every}); "


def _misses(scores: GeneratorScores) -> str:
    return "misses " + ", ".join(line.name for line in scores.gates if not line.ok)


def _at_least(name: str, value: float | None, limit: float) -> GateLine:
    return GateLine(name=name, value=value, limit=limit, better="more", ok=value is not None and value >= limit)


def _at_most(name: str, value: float | None, limit: float) -> GateLine:
    return GateLine(name=name, value=value, limit=limit, better="less", ok=value is not None and value <= limit)
