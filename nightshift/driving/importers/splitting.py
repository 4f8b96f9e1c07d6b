"""Parts of recorded scenarios: whole recordings where there are enough of them, else blocks of time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from nightshift.data.schema import PARTS
from nightshift.driving.scenario import Scenario
from nightshift.errors import DataError

#: Shares of the parts, counted in scenarios.
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
#: Recordings from which on each goes to one part whole.
_ENOUGH = len(PARTS)
#: Cars of one scenario are still there in another that begins sooner after it than this, s.
EMBARGO_S = 5.0


def split_recorded(scenarios: Sequence[Scenario]) -> dict[str, list[str]]:
    """Return part -> names of scenarios.

    Scenarios of one recording that overlap in time show the same cars on the same road: they stay in one part. Three
    recordings or more are not cut at all; the largest go to train. Of fewer, what lies between gaps of time is taken
    in order: train is the earliest, test the latest. What ends less than `EMBARGO_S` before the next part begins is
    then in no part, unless its own part would be left empty.

    Raises:
        DataError: when there are fewer than three pieces that do not overlap.
    """
    recordings = _recordings(scenarios)
    if len(recordings) >= _ENOUGH:
        return _dealt(recordings)
    blocks = [block for recording in recordings for block in _blocks(recording)]
    if len(blocks) < _ENOUGH:
        n = len(blocks)
        raise DataError(
            f"{len(scenarios)} scenarios of {n} {'recording' if n == 1 else 'recordings'} or blocks of time cannot be "
            f"split into {', '.join(PARTS)}: all that overlaps in time stays together.",
            hint="Give files of at least three recordings, or a longer log.",
        )
    return _in_order(blocks)


def _recordings(scenarios: Sequence[Scenario]) -> list[list[Scenario]]:
    def recording(scenario: Scenario) -> str:
        return str(scenario.details["recording"])

    return [list(group) for _, group in groupby(sorted(scenarios, key=recording), key=recording)]


def _blocks(recording: list[Scenario]) -> list[list[Scenario]]:
    """Return a recording's scenarios in pieces that overlap in time with no other."""
    found: list[list[Scenario]] = []
    over = float("-inf")
    for scenario in sorted(recording, key=_begin):
        if _begin(scenario) >= over:
            found.append([])
        found[-1].append(scenario)
        over = max(over, _begin(scenario) + scenario.duration_s)
    return found


def _begin(scenario: Scenario) -> float:
    return float(scenario.details["start_s"])


def _dealt(recordings: list[list[Scenario]]) -> dict[str, list[str]]:
    """Deal whole recordings, largest first, to the part that lacks most."""
    total = sum(len(r) for r in recordings)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    left = sorted(recordings, key=lambda r: (-len(r), str(r[0].details["recording"])))
    while left:
        recording = left.pop(0)
        # The last ones go where nothing is yet: no part stays empty.
        empty = [part for part in PARTS if not parts[part]]
        wanting = empty if len(empty) > len(left) else PARTS
        part = max(wanting, key=lambda p: SHARES[p] * total - len(parts[p]))
        parts[part] += [s.name for s in recording]
    return parts


def _in_order(blocks: list[list[Scenario]]) -> dict[str, list[str]]:
    blocks = sorted(blocks, key=lambda b: _begin(b[0]))
    n = len(blocks)
    held_out = max(1, round(SHARES["test"] * n))
    cuts = {"train": blocks[: n - 2 * held_out], "val": blocks[n - 2 * held_out : n - held_out]}
    cuts["test"] = blocks[n - held_out :]
    cuts["train"] = _apart(cuts["train"], cuts["val"] + cuts["test"])
    cuts["val"] = _apart(cuts["val"], cuts["test"])
    return {part: [s.name for block in cuts[part] for s in block] for part in PARTS}


def _apart(blocks: list[list[Scenario]], later: list[list[Scenario]]) -> list[list[Scenario]]:
    """Return the blocks whose cars are gone when a later block of their recording begins; the first one in any case."""
    begins = [(block[0].details["recording"], _begin(block[0])) for block in later]

    def is_near(block: list[Scenario]) -> bool:
        over = max(_begin(s) + s.duration_s for s in block)
        return any(block[0].details["recording"] == of and over > begin - EMBARGO_S for of, begin in begins)

    return [block for i, block in enumerate(blocks) if i == 0 or not is_near(block)]
