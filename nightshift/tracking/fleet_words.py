"""A run of the fleet in words: what a person reads first, on the page and in the message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nightshift.plan.fleet_run import FleetCell, FleetOutcome, read_start
from nightshift.plan.state import State
from nightshift.settings import Home
from nightshift.tracking import fleet_facts as facts
from nightshift.tracking.fleet_cells import standing
from nightshift.tracking.fleet_facts import Cause, Change, Cost, Drifted, Restart
from nightshift.tracking.text import number, seconds

# A line of a message is read on a phone.
_LONGEST = 180
_CAUSES_TOLD = 4
_REASONS = {
    "never trained": "first trainings",
    "new data": "new data",
    "drift": "drift",
    "config change": "changed config",
    "code change": "changed code",
    "champion older": "old champion",
    "asked for": "asked for",
    "stopped after": "was cut off",
    "stopped before": "was cut off",
    "trained, not registered": "not registered before",
    "its registration": "not registered before",
}


@dataclass(frozen=True)
class Night:
    """A run of the fleet with all that is to be said of it.

    Attributes:
        crashes: how often the run itself crashed and was gone on with.
    """

    outcome: FleetOutcome
    changes: tuple[Change, ...]
    causes: tuple[Cause, ...]
    drifted: tuple[Drifted, ...]
    restarts: tuple[Restart, ...]
    costs: tuple[Cost, ...]
    crashes: int = 0

    @property
    def total(self) -> Cost:
        """What all cells took together."""
        return facts.total("all", self.costs)

    def count(self, *words: str) -> int:
        """Count the cells that stand so."""
        return sum(standing(c).word in words for c in self.outcome.cells)

    @property
    def is_well(self) -> bool:
        """Whether a person has nothing to do."""
        return not self.causes and not self.outcome.remarks and self.outcome.ended == "completed"


@dataclass(frozen=True)
class Message:
    """What a person is told: one line, and a few more."""

    subject: str
    body: str


def night_of(home: Home, outcome: FleetOutcome) -> Night:
    """Gather what is to be said of a run."""
    start = read_start(home, outcome.run_id)
    return Night(
        outcome=outcome,
        changes=facts.changes(home, outcome),
        causes=facts.causes(home, outcome),
        drifted=facts.drifted(home, outcome),
        restarts=facts.restarts(home, outcome),
        costs=facts.cell_costs(outcome),
        crashes=start.tries - 1 if start else 0,
    )


def verdict(night: Night) -> str:
    """Say in a few words how the run ended."""
    parts = [f"{night.count(word):,} {word}" for word in ("failed", "blocked", "not registered") if night.count(word)]
    if night.outcome.ended == "cancelled":
        parts.insert(0, "stopped on request")
    if not parts and night.outcome.remarks:
        return "done, with remarks"
    return ", ".join(parts) or "all well"


def sentences(night: Night) -> list[str]:
    """Return what a person wants to know, one thing to a sentence."""
    said = (_trained, _champions, _bad, _drift, _anew, _cost)
    return [sentence for say in said for sentence in say(night)]


def message(night: Night, date: str, where: str) -> Message:
    """Return what is sent.

    Args:
        date: of the run, in the fleet's zone.
        where: the report, as a person finds it; "" when it could not be written.
    """
    lines = [*sentences(night), *(_short(remark) for remark in night.outcome.remarks[:_CAUSES_TOLD])]
    for cause in night.causes[:_CAUSES_TOLD]:
        what = " ".join(part for part in (_short(cause.what), _short(cause.hint)) if part)
        lines.append(f"- {len(cause.names)} {cause.ending}: {what} -> {'; '.join(cause.commands)}")
    if len(night.causes) > _CAUSES_TOLD:
        lines.append(f"- and {len(night.causes) - _CAUSES_TOLD} more causes")
    lines.append(f"Report: {where or 'it could not be written; the log says why'}")
    return Message(f"Nightshift {date}: {verdict(night)}, of {len(night.outcome.cells):,} models", "\n".join(lines))


def failed_message(date: str, error: str, hint: str, where: str) -> Message:
    """Return what is sent when there is no outcome: the night itself failed."""
    lines = [f"The fleet was not trained: {_short(error)}", *([hint] if hint else [])]
    lines.append(f"Report: {where or 'it could not be written; the log says why'}")
    return Message(f"Nightshift {date}: the night failed", "\n".join(lines))


def _trained(night: Night) -> Iterator[str]:
    cells = night.outcome.cells
    if not cells:
        yield "The fleet has no machine with data yet."
        return
    trained = [c for c in cells if c.outcome is not None and c.outcome.ending in ("trained", "unregistered")]
    fresh = night.count("up to date")
    if trained:
        why = ", ".join(f"{reason} {n:,}" for reason, n in _reasons(trained).most_common(4))
        share = f"{len(trained):,} of {len(cells):,} models {_were(len(trained))} retrained"
        yield f"{share} ({why}); {fresh:,} {_were(fresh)} up to date."
    elif fresh == len(cells):
        yield f"Nothing had to be retrained: all {fresh:,} models are up to date."
    else:
        yield f"No model was retrained; {fresh:,} of {len(cells):,} are up to date."
    left = night.count("not tried")
    if left:
        yield f"{_many(left, 'model')} {_were(left)} not tried: the next run goes on."


def _reasons(cells: Sequence[FleetCell]) -> Counter[str]:
    found: Counter[str] = Counter()
    for cell in cells:
        for reason in cell.planned.reasons:
            found[next((said for begin, said in _REASONS.items() if reason.startswith(begin)), "failed last time")] += 1
    return found


def _champions(night: Night) -> Iterator[str]:
    new = [c for c in night.changes if c.promoted]
    first = sum(c.first for c in new)
    others = [c for c in new if not c.first]
    better = [c for c in others if c.gain is not None and c.gain > 0]
    parts = []
    if others:
        rest = len(others) - len(better)
        parts.append(f"{_many(len(others), 'champion')} changed, {len(better):,} for a better one")
        parts[-1] += f", {rest:,} within the gate's margin" if rest else ""
    if first:
        parts.append(f"{_many(first, 'model')} got {'its' if first == 1 else 'their'} first champion")
    waits = {c.name for c in night.outcome.cells if standing(c).word == State.AWAITING}
    if waits:
        parts.append(f"{_many(len(waits), 'model')} {'awaits its' if len(waits) == 1 else 'await their'} device check")
    refused = sum(not c.promoted and c.name not in waits for c in night.changes)
    if refused:
        parts.append(f"the gate kept {_many(refused, 'new version')} as challenger")
    if parts:
        text = "; ".join(parts)
        yield f"{text[0].upper()}{text[1:]}."
    if better:
        best = better[0]
        yield f"Largest gain: {best.name}, {best.metric} {number(best.before)} → {number(best.now)}."


def _bad(night: Night) -> Iterator[str]:
    if not night.causes:
        return
    bad = [(word, night.count(word)) for word in ("failed", "blocked", "not registered")]
    told = ", ".join(f"{n:,} {word}" for word, n in bad if n)
    yield f"{told}, for {_many(len(night.causes), 'reason')}."


def _drift(night: Night) -> Iterator[str]:
    machines = list(dict.fromkeys(d.subject for d in night.drifted))
    if machines:
        more = f" and {len(machines) - 3:,} more" if len(machines) > 3 else ""
        yield f"Sensors of {_many(len(machines), 'machine')} have drifted: {', '.join(machines[:3])}{more}."


def _anew(night: Night) -> Iterator[str]:
    if night.crashes:
        yield f"The run itself crashed {_many(night.crashes, 'time')} and was gone on with."
    if night.restarts:
        yield f"{_many(len(night.restarts), 'model')} went on after being cut off."


def _cost(night: Night) -> Iterator[str]:
    if not night.costs:
        return
    costs = night.total
    compared = f", {seconds(costs.estimated_s)} were expected" if costs.estimated_s else ""
    hours = f"{costs.cpu_s / 3600:.2f} CPU-hours" if costs.cpu_s else ""
    gpu = f", {costs.gpu_s / 3600:.2f} GPU-hours" if costs.gpu_s else ""
    used = f" ({hours}{gpu})" if hours else ""
    yield f"It took {seconds(night.outcome.wall_s)}: {seconds(costs.seconds)} of work{used}{compared}."


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _were(n: int) -> str:
    return "was" if n == 1 else "were"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else f"{flat[: _LONGEST - 1]}…"
