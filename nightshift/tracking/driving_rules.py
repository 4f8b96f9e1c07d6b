"""What to do about a training run of a driving policy: written rules, each with the figures that triggered it.

Pure functions of what a run has told: the same figures say the same on the command line and on the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from pydantic import BaseModel, ConfigDict

from nightshift.driving.runs import MetricsRow
from nightshift.tracking.driving_runs import EXTERNAL, series

#: Rows that a rule must see before it says anything; a learning curve is noise before.
MIN_ROWS = 10
#: Converged: the newest quarter of the rows is better than the quarter before by less than this share of what was
#: gained in all, with at least so much of the steps still to come.
_GAIN, _LEFT = 0.01, 0.1
#: A GPU that works less than this has room for a larger batch.
_IDLE_PCT = 30.0
#: Entropy of two Gaussian actions falls by ln 2 for each halving of one's spread: this is both at a quarter or less.
_ENTROPY_FALL = 2.8
#: ... which is early while less than this share of the steps is done.
_EARLY = 0.5
#: Value loss: the newest fifth of the rows against the calmest fifth before.
_VALUE_RISE = 5.0
#: Collisions: more than this share of the episodes, changed by less than that over half of the rows.
_COLLISION, _COLLISION_CHANGE = 0.05, 0.1


class Recommendation(BaseModel):
    """One piece of advice.

    Attributes:
        run_id: whom it is for.
        rule: its name, stable.
        what: was seen, with the figures.
        do: about it.
        figures: that triggered it, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    rule: str
    what: str
    do: str
    figures: dict[str, float]


@dataclass(frozen=True)
class Told:
    """What the rules are asked about.

    Attributes:
        rows: so far, in the order of steps.
        total_steps: asked for; 0 where that is not known.
        device: `cpu` or `cuda`.
        gpu_use_pct: of the GPU that it trains on, now; None where nobody tells.
        gpu_free_mb: of that GPU's memory.
        algorithm: of the run.
    """

    run_id: str
    rows: Sequence[MetricsRow]
    total_steps: int = 0
    device: str = "cpu"
    gpu_use_pct: float | None = None
    gpu_free_mb: float | None = None
    algorithm: str = "ppo"

    @property
    def done(self) -> float:
        """Share of the steps."""
        return self.rows[-1].step / self.total_steps if self.rows and self.total_steps else 0.0


def recommend(told: Told) -> tuple[Recommendation, ...]:
    """Return what the rules say of a run, the gravest first."""
    return tuple(found for rule in RULES if (found := rule(told)) is not None)


def value_loss_diverging(told: Told) -> Recommendation | None:
    """The critic's loss grows, or is no number any more: what it says of actions is wrong, and the actor follows it."""
    found = series(told.rows, "value_loss")
    values = [value for _, value in found]
    if values and not math.isfinite(values[-1]):
        what = f"value loss is no finite number at step {found[-1][0]:,}"
        return _say(told, "value_loss_diverging", what, _calmer(told), step=found[-1][0])
    fifths = _split([v for v in values if math.isfinite(v)], 5)
    if len(values) < MIN_ROWS:
        return None
    now, calm = median(fifths[-1]), min(median(part) for part in fifths[:-1])
    # One that has only come back to where it began has not diverged.
    if not (now > _VALUE_RISE * calm and now > median(fifths[0])):
        return None
    what = f"value loss rose from {calm:.3g} to {now:.3g} (median of a fifth of the rows each)"
    return _say(told, "value_loss_diverging", what, _calmer(told), lowest=calm, now=now, times=now / max(calm, 1e-12))


def entropy_collapsing(told: Told) -> Recommendation | None:
    """The policy has nearly stopped to try anything else while most of the training is still to come."""
    found = series(told.rows, "entropy")
    if len(found) < MIN_ROWS or not 0 < told.done < _EARLY:
        return None
    quarters = _split([value for _, value in found], 4)
    first, now = fmean(quarters[0][:2]), fmean(quarters[-1])
    if first - now < _ENTROPY_FALL:
        return None
    what = f"entropy fell from {first:.2f} to {now:.2f} with {told.done:.0%} of the steps done"
    do = "Raise --ent-coef (0.005, say), or lower --learning-rate: it explores no more."
    if told.algorithm == EXTERNAL:
        do = "Raise beta, or lower learning_rate, in its trainer config: it explores no more."
    return _say(told, "entropy_collapsing", what, do, first=first, now=now, done_pct=100 * told.done)


def collision_flat(told: Told) -> Recommendation | None:
    """Collisions stay as they are, and are too many."""
    values = [value for _, value in series(told.rows, "collision")]
    if len(values) < 2 * MIN_ROWS:
        return None
    before, now = (fmean(part) for part in _split(values[len(values) // 2 :], 2))
    if now < _COLLISION or abs(now - before) > _COLLISION_CHANGE * before:
        return None
    what = f"collision rate stays at {now:.1%} ({before:.1%} before) over the newer half of {len(values)} rows"
    do = f"Look at the pictures of its episodes; then {_OF_COLLISIONS.get(told.algorithm, _WEIGH)}"
    return _say(told, "collision_flat", what, do, before=before, now=now, rows=len(values))


def converged(told: Told) -> Recommendation | None:
    """Nothing is gained any more, and many steps are left: what runs on costs time alone."""
    name = "score" if len(series(told.rows, "score")) >= MIN_ROWS else "mean_reward"
    values = [value for _, value in series(told.rows, name)]
    if len(values) < 2 * MIN_ROWS or not 0 < told.done <= 1 - _LEFT:
        return None
    quarters = _split(values, 4)
    before, now = fmean(quarters[-2]), fmean(quarters[-1])
    gained = max(values) - min(values)
    if gained <= 0 or now - before > _GAIN * gained or before - now > 5 * _GAIN * gained:
        return None
    # A curve that has not yet begun to rise is no plateau.
    if now < min(values) + 0.5 * gained:
        return None
    what = (
        f"{name.replace('_', ' ')} {now:.4g} against {before:.4g} a quarter of the rows earlier, {told.done:.0%} done"
    )
    do = f"Stop early: nightshift driving stop {told.run_id}; best.pt is kept."
    return _say(told, "converged", what, do, before=before, now=now, done_pct=100 * told.done)


def gpu_idle(told: Told) -> Recommendation | None:
    """The GPU waits for work."""
    use = told.gpu_use_pct
    if told.device != "cuda" or use is None or use >= _IDLE_PCT or not told.rows:
        return None
    free = f", {told.gpu_free_mb / 1e3:.1f} GB of its memory are free" if told.gpu_free_mb else ""
    figures = {"use_pct": use} | ({"free_mb": told.gpu_free_mb} if told.gpu_free_mb else {})
    do = f"Raise {_OF_BATCHES.get(told.algorithm, '--num-envs and --batch-size')}: small batches keep it waiting."
    return _say(told, "gpu_idle", f"the GPU works {use:.0f} % of the time{free}", do, **figures)


#: What makes a batch, where it is not environments and `batch_size`.
_OF_BATCHES = {"bc": "--clone-batch-size", EXTERNAL: "--num-envs, and batch_size in its trainer config"}
#: What is done about collisions. The reward of `gail` is its discriminator's, `bc` has none.
_MORE_STEPS = "give it more --total-steps with a lower --learning-rate"
_WEIGH = (
    f"weigh collisions more (--set reward.crash=5), {_MORE_STEPS}, "
    "or begin from a BC policy (nightshift train cimrl --init-from BC_RUN)."
)
_OF_COLLISIONS = {
    "bc": "let it go on by reward: nightshift train cimrl --init-from with this run.",
    "gail": f"{_MORE_STEPS}, or go on by reward: nightshift train cimrl --init-from BC_RUN.",
    "cimrl": f"weigh collisions more (--set reward.crash=5), {_MORE_STEPS}, or try --method recovery.",
}


def _calmer(told: Told) -> str:
    """Return what to do about a critic whose loss grows."""
    if told.algorithm == EXTERNAL:
        return "Lower learning_rate in its trainer config, and train anew."
    also = "--tau" if told.algorithm == "sac" else "--max-grad-norm"
    return (
        f"Lower --learning-rate or {also}, and begin another run from a checkpoint before it rose, with --init-from: "
        f"`nightshift driving checkpoints {told.run_id}` lists them."
    )


#: In the order in which they matter.
RULES: tuple[Callable[[Told], Recommendation | None], ...] = (
    value_loss_diverging,
    entropy_collapsing,
    collision_flat,
    converged,
    gpu_idle,
)


def _say(told: Told, rule: str, what: str, do: str, **figures: float) -> Recommendation:
    return Recommendation(run_id=told.run_id, rule=rule, what=f"{what}.", do=do, figures=figures)


def _split(values: Sequence[float], parts: int) -> list[Sequence[float]]:
    """Return values in so many neighbouring parts of about the same length."""
    return list(_parts(values, parts))


def _parts(values: Sequence[float], parts: int) -> Iterator[Sequence[float]]:
    for i in range(parts):
        yield values[i * len(values) // parts : (i + 1) * len(values) // parts]
