from __future__ import annotations

import pytest

from nightshift.driving.importers.splitting import split_recorded
from nightshift.driving.scenario import EgoStart, Scenario
from nightshift.errors import DataError


def scenario(recording: str, start_s: float, duration_s: float = 10.0) -> Scenario:
    empty = None
    return Scenario(
        name=f"{recording}_{start_s:04.0f}",
        kind="replay",
        seed=0,
        duration_s=duration_s,
        lanes=empty,  # type: ignore[arg-type]
        route=empty,  # type: ignore[arg-type]
        ego=EgoStart(0.0),
        traffic=empty,  # type: ignore[arg-type]
        details={"recording": recording, "start_s": start_s},
    )


def test_recordings_stay_whole_and_no_part_is_empty() -> None:
    given = [scenario(r, i) for r, n in (("a", 14), ("b", 12), ("c", 11), ("d", 4)) for i in range(n)]
    parts = split_recorded(given)
    of = {part: {name[0] for name in names} for part, names in parts.items()}
    assert of == {"train": {"a", "b"}, "val": {"c"}, "test": {"d"}}
    three = split_recorded([scenario(r, i) for r, n in (("a", 50), ("b", 1), ("c", 1)) for i in range(n)])
    assert [len(names) for names in three.values()] == [50, 1, 1]


def test_one_log_is_cut_by_time_between_scenarios_that_do_not_overlap() -> None:
    given = [scenario("a", 20.0 * i) for i in range(10)] + [scenario("a", 185.0)]
    parts = split_recorded(list(reversed(given)))
    assert [len(parts[p]) for p in ("train", "val", "test")] == [6, 2, 3]
    assert max(parts["train"]) < min(parts["val"]) < max(parts["val"]) < min(parts["test"])
    # 180 to 190 s and 185 to 195 s overlap.
    assert {"a_0180", "a_0185"} <= set(parts["test"])


def test_what_ends_just_before_the_next_part_begins_is_in_none() -> None:
    given = [scenario("a", 10.1 * i) for i in range(12)]
    parts = split_recorded(given)
    names = [s.name for s in given]
    assert parts == {"train": names[:7], "val": names[8:9], "test": names[10:]}
    # Another recording's cars are others, whatever its clock says; and no part is left empty.
    two = split_recorded([scenario(r, 15.1 * i) for i in range(6) for r in "ab"])
    assert [len(names) for names in two.values()] == [8, 2, 2]
    three = split_recorded(given[:3])
    assert [len(names) for names in three.values()] == [1, 1, 1]


def test_what_overlaps_in_time_cannot_be_split() -> None:
    with pytest.raises(DataError, match="11 scenarios of 1 recording"):
        split_recorded([scenario("a", 0.5 * i) for i in range(11)])
