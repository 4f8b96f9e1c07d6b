"""The gate: the written rules by which a challenger becomes champion.

One pure function of what is known about challenger and champion, so that it can be asked again when a device has
checked the bundle.

Not worse than the champion: the lower end of a one-sided 90 % paired bootstrap of the difference in the primary
metric, drawn over independent units (runs, else days), lies above minus the margin. The margin is absolute for scores
(higher is better: F1) and a share of the champion's own figure for errors (lower is better: RMSE in hours or cycles),
since an error has a unit and a machine's own scale.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13; a non-inferiority test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from nightshift.edge.manifest import BundleManifest, DeviceCheck, Interface, Parity
from nightshift.family import Limits
from nightshift.findings import Finding, blockers, finding
from nightshift.problems.evaluation import Evaluation, UnitStatistics
from nightshift.problems.problem import Problem

#: Fewer independent units than this: a bootstrap of them says nothing.
MIN_UNITS = 5

#: One-sided 90 %.
LEVEL = 0.10

_DRAWS = 2000
_DRAWN_AT_ONCE = 4_000_000
_MEGABYTE = 1e6

# The problems that are judged on `failure_status`: for the others it does not matter who made it.
_USES_LABELS = ("classification", "anomaly")


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion on the same rows, unit by unit in the same order."""

    challenger: UnitStatistics
    champion: UnitStatistics


@dataclass(frozen=True)
class Champion:
    """What the gate knows of the present champion.

    Attributes:
        version: its number in the registry.
        interface: what goes into it and comes out.
        members: names of its members.
        members_cut: the time limit had cut members of its own.
        comparison: both on the challenger's test rows; None when that cannot be.
        why_not: why there is no comparison.
    """

    version: int
    interface: Interface
    members: tuple[str, ...] = ()
    members_cut: bool = False
    comparison: Comparison | None = None
    why_not: str = ""


@dataclass(frozen=True)
class GateInput:
    """All that the gate asks.

    Attributes:
        problem: of the family.
        manifest: the challenger's `bundle.json`.
        evaluation: how the challenger was judged.
        limits: of the target.
        margin: see the module.
        findings: of all stages of the challenger's cell.
        champion: None when there is none yet.
        device: what a device has found of the bundle, None before one has checked it; its figures then count, not
            those of the machine that exported.
        awaits_device: the target wants a device's word first: until there is one, nothing is said of speed and memory.
    """

    problem: Problem
    manifest: BundleManifest
    evaluation: Evaluation
    limits: Limits
    margin: float
    findings: tuple[Finding, ...] = ()
    champion: Champion | None = None
    device: DeviceCheck | None = None
    awaits_device: bool = False


class GateDecision(BaseModel):
    """What the gate says.

    Attributes:
        promote: whether the challenger may become champion without a person.
        reasons: why, one line each.
        findings: G001 to G005.
        awaiting: nothing but a device's check is missing.
        difference: challenger minus champion in the primary metric, positive = better; None without a comparison.
        bound: the lower end of its interval.
        margin: the largest accepted loss, in the metric's unit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    promote: bool
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    awaiting: bool = False
    difference: float | None = None
    bound: float | None = None
    margin: float | None = None


@dataclass(frozen=True)
class _Verdict:
    """Outcome of the bootstrap; `bound` is None when the metric is undefined in most draws."""

    difference: float
    bound: float | None
    margin: float


def decide(given: GateInput) -> GateDecision:
    """Say whether the challenger becomes champion, and why."""
    refused = list(_faults(given))
    found = [*_against_baselines(given), *_too_little(given)]
    verdict = None
    if given.champion is not None:
        compared, verdict = _against_champion(given, given.champion)
        found += compared
    awaiting = given.awaits_device and given.device is None and not refused and not found
    if awaiting:
        found.append(finding("G005", "awaiting its device check"))
    refused += [f.what for f in found]
    return GateDecision(
        awaiting=awaiting,
        promote=not refused,
        reasons=tuple(refused) or (_praise(given, verdict),),
        findings=tuple(found),
        difference=verdict.difference if verdict else None,
        bound=verdict.bound if verdict else None,
        margin=verdict.margin if verdict else None,
    )


def paired_bound(
    problem: Problem, compared: Comparison, *, draws: int = _DRAWS, level: float = LEVEL, seed: int = 0
) -> tuple[float, float | None]:
    """Return (difference, its lower bound), positive = the challenger is better; bound None when mostly undefined.

    Args:
        problem: gives the primary metric of summed statistics.
        compared: statistics over the same units, in the same order.
        draws: of the bootstrap.
        level: of the one-sided interval.
        seed: of the draws.
    """
    challenger = np.asarray(compared.challenger.values, dtype=np.float64)
    champion = np.asarray(compared.champion.values, dtype=np.float64)
    sign = 1.0 if problem.higher_is_better else -1.0

    def gain(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        # + 0.0: no difference is shown as 0, not as -0.
        return sign * (problem.from_sums(counts @ challenger) - problem.from_sums(counts @ champion)) + 0.0

    units = len(challenger)
    difference = float(gain(np.ones((1, units)))[0])
    drawn = np.concatenate([gain(counts) for counts in _resamples(units, draws, np.random.default_rng(seed))])
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(difference) or len(defined) < draws / 2:
        return difference, None
    return difference, float(np.quantile(defined, level))


def _resamples(units: int, draws: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """How often each unit is drawn, `(some draws, units)` at a time: independent rows may be many units."""
    at_once = max(1, _DRAWN_AT_ONCE // units)
    for first in range(0, draws, at_once):
        size = min(at_once, draws - first)
        yield rng.multinomial(units, np.full(units, 1.0 / units), size=size).astype(np.float64)


def _faults(given: GateInput) -> Iterator[str]:
    """Yield what has a finding of its own already: blockers, parity, size, latency."""
    for stop in blockers(given.findings):
        yield f"blocker {stop.code}: {stop.what}"
    manifest, limits = given.manifest, given.limits
    if not manifest.parity.ok:
        yield f"the graph differs from its library (parity: {manifest.parity.flips} flips)"
    size_mb = manifest.size_bytes / _MEGABYTE
    if size_mb > limits.size_mb:
        yield f"size {size_mb:.1f} MB is above the target's {limits.size_mb:g} MB"
    if given.device is not None:
        yield from device_faults(given.device, limits)
    elif not given.awaits_device:
        memory_mb = manifest.footprint.memory_mb if manifest.footprint else None
        yield from _too_much(manifest.latency.p99_ms, memory_mb, limits)


def device_faults(check: DeviceCheck, limits: Limits) -> Iterator[str]:
    """Yield what a device has found wrong with a bundle, nothing when it may hold it.

    Args:
        check: what it has found.
        limits: of the target.
    """
    if not check.parity.ok:
        yield f"on {check.device} the graph is not the model: {differences(check.parity)}"
    yield from _too_much(check.latency.p99_ms, check.footprint.memory_mb, limits, f" on {check.device}")


def differences(parity: Parity) -> str:
    """Say how the answers of a graph differ from those that they should be."""
    wide = {k: v for k, v in parity.max_abs.items() if v > parity.tolerance.get(k, 0.0)}
    said = [f"{k} differs by up to {v:.3g}, accepted {parity.tolerance.get(k, 0.0):.3g}" for k, v in wide.items()]
    if parity.flips:
        said.insert(0, f"{parity.flips} of {parity.rows} rows are labelled otherwise")
    if not said and parity.between_batches:
        said = [f"{k} differs by {v:.3g} between one row and many" for k, v in parity.between_batches.items() if v]
    return "; ".join(said) or "its answers differ"


def _too_much(latency_ms: float, memory_mb: float | None, limits: Limits, where: str = "") -> Iterator[str]:
    if latency_ms > limits.latency_ms:
        yield f"latency p99 {latency_ms:.1f} ms{where} is above the target's {limits.latency_ms:g} ms"
    if memory_mb is not None and limits.memory_mb is not None and memory_mb > limits.memory_mb:
        yield f"memory {memory_mb:.0f} MB{where} is above the target's {limits.memory_mb:g} MB"


def _against_baselines(given: GateInput) -> Iterator[Finding]:
    judged = given.evaluation
    own, best = judged.score(judged.headline_part), judged.best_baseline()
    if own is None:
        yield finding("G003", f"{judged.primary} is undefined on {judged.headline_part}.")
    elif best is None:
        yield finding("G003", f"no baseline has a {judged.primary} to compare with.")
    elif not (own > best[1] if judged.higher_is_better else own < best[1]):
        yield finding("G001", f"{judged.primary} {own:.4g} is not better than baseline {best[0]} ({best[1]:.4g}).")


def _too_little(given: GateInput) -> Iterator[Finding]:
    statistics = given.evaluation.statistics
    part = given.evaluation.headline_part
    if statistics is None:
        yield finding("G003", "the evaluation holds no statistics per unit.")
    else:
        yield from _too_few(given, statistics, part)
    if given.problem.name in _USES_LABELS and given.manifest.label_source == "thresholds":
        yield finding("G003", "labels were made from sensor thresholds: the model only learns the rule.")


def _too_few(given: GateInput, statistics: UnitStatistics, where: str) -> Iterator[Finding]:
    units = min(len(statistics.units), statistics.runs or len(statistics.units))
    if units < MIN_UNITS:
        yield finding("G003", f"{where} has {units} runs or days, fewer than {MIN_UNITS}.")
    positives, needed = statistics.positives, given.problem.min_positives
    if needed and positives is not None and positives < needed:
        rows = "windows" if given.manifest.interface.window_rows > 1 else "rows"
        counted = f"{rows} of its rarest kind" if given.evaluation.primary == "macro_f1" else "positive rows"
        yield finding("G003", f"{where} has {positives} {counted}, fewer than {needed}.")


def _against_champion(given: GateInput, champion: Champion) -> tuple[list[Finding], _Verdict | None]:
    changed = changed_inputs(champion.interface, given.manifest.interface)
    if changed:
        return [finding("G004", f"inputs differ from champion v{champion.version}: {changed}.")], None
    found = list(_cut_members(given, champion))
    compared = champion.comparison
    if compared is None:
        why = champion.why_not or "no common rows"
        return [*found, finding("G003", f"no comparison with champion v{champion.version}: {why}.")], None
    if compared.challenger.units != compared.champion.units:
        return [*found, finding("G003", f"champion v{champion.version} was judged on other units.")], None
    few = list(_too_few(given, compared.champion, f"the comparison with champion v{champion.version}"))
    if len(compared.champion.units) < MIN_UNITS:
        return [*found, *few], None
    verdict = _bootstrap(given, compared)
    return [*found, *few, *_worse(given, champion, verdict)], verdict


def _bootstrap(given: GateInput, compared: Comparison) -> _Verdict:
    difference, bound = paired_bound(given.problem, compared)
    margin = given.margin
    if not given.problem.higher_is_better:
        sums = np.asarray(compared.champion.values, dtype=np.float64).sum(axis=0)
        margin *= abs(float(given.problem.from_sums(sums)))
    return _Verdict(difference=difference, bound=bound, margin=margin)


def _worse(given: GateInput, champion: Champion, verdict: _Verdict) -> Iterator[Finding]:
    primary = given.evaluation.primary
    if verdict.bound is None or not np.isfinite(verdict.margin):
        yield finding("G003", f"{primary} is undefined in most resamples of the comparison.")
    elif verdict.bound < -verdict.margin:
        yield finding(
            "G002",
            f"{primary} against champion v{champion.version}: {verdict.difference:+.4g} (positive = better), with 90 % "
            f"confidence above {verdict.bound:+.4g}, the margin allows {-verdict.margin:+.4g}.",
        )


def _cut_members(given: GateInput, champion: Champion) -> Iterator[Finding]:
    """T004 says that the time limit cut members; its `columns` name them."""
    cuts = [f for f in given.findings if f.code == "T004"]
    if not cuts:
        return
    dropped = {name for f in cuts for name in f.columns}
    # An ensemble's member carries its layer behind its kind: LightGBM_BAG_L1.
    lost = sorted(d for d in dropped if not champion.members or any(m.startswith(d) for m in champion.members))
    if lost or (not dropped and not champion.members_cut):
        named = ", ".join(lost) or "members"
        yield finding("G003", f"the time limit cut {named}, which champion v{champion.version} has.")


def changed_inputs(before: Interface, now: Interface) -> str:
    """Say what a device would have to be told, "" when nothing: columns, units, window, time, outputs.

    Categories and thresholds are not asked: they stand in `bundle.json` and in the graph.
    """
    names = ("columns", "window_rows", "uses_time", "outputs", "takes")
    was, is_now = _surface(before), _surface(now)
    return ", ".join(n for n, a, b in zip(names, was, is_now, strict=True) if a != b)


def _surface(interface: Interface) -> tuple[object, ...]:
    return (
        [(c.name, c.unit) for c in interface.columns],
        interface.window_rows,
        interface.uses_time,
        [(o.name, o.dtype, o.unit) for o in interface.outputs],
        (interface.takes, interface.actions),
    )


def _praise(given: GateInput, verdict: _Verdict | None) -> str:
    judged = given.evaluation
    own, best = judged.score(judged.headline_part), judged.best_baseline()
    line = f"{judged.primary} {own:.4g}"
    if best:
        line += f" beats baseline {best[0]} ({best[1]:.4g})"
    checked = f"; {checked_by(given.device)}" if given.device else ""
    if given.champion is None or verdict is None or verdict.bound is None:
        return f"{line}; the first champion{checked}"
    return (
        f"{line}; not worse than champion v{given.champion.version} "
        f"({verdict.difference:+.4g}, bound {verdict.bound:+.4g}, margin {verdict.margin:.4g}){checked}"
    )


def checked_by(check: DeviceCheck) -> str:
    """Say which device has checked a bundle, and what it was when it was not the target's own."""
    board = f" ({check.board})" if check.board else ""
    stands_in = f", a stand-in: {check.stand_in}" if check.stand_in else ""
    return f"checked on {check.device}{board}{stands_in}"
