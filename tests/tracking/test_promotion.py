"""Who was champion, and who would be after a rollback, from what the versions say; crashes included."""

from __future__ import annotations

import json

from nightshift.tracking import promotion, versions
from nightshift.tracking.versions import Held, Version

NAME = "pump_1.rul.pi"
Told = list[tuple[int, str]]


def a_model(told: Told, champion: int | None, *, gone: tuple[int, ...] = (), waits: tuple[int, ...] = ()) -> list[Held]:
    """Versions 1 to 5 with these promotions, in this order; `gone` are being removed."""
    promotions: dict[int, list[dict[str, str]]] = {n: [] for n in range(1, 6)}
    for hour, (number, by) in enumerate(told):
        promotions[number].append({"at": f"2026-01-01T{hour:02d}:00:00.000000+00:00", "by": by, "note": ""})
    held = []
    for number, noted in promotions.items():
        tags = {versions.STATE: versions.PRUNED if number in gone else versions.READY}
        tags |= {versions.PROMOTIONS: json.dumps(noted)} if noted else {}
        tags |= {versions.GATE: versions.WAITS} if number in waits else {}
        aliases = frozenset({versions.CHAMPION} if number == champion else ())
        held.append(Held(Version(NAME, number, f"run{number}", tags), aliases))
    return held


def before(told: Told, champion: int | None, *, gone: tuple[int, ...] = ()) -> int | None:
    found = promotion.before(a_model(told, champion, gone=gone))
    return found.version if found else None


def test_a_rollback_goes_back_one_champion_and_further_each_time() -> None:
    up: Told = [(1, "gate"), (2, "gate"), (4, "hand")]
    assert before(up, 4) == 2
    assert before([*up, (2, "rollback")], 2) == 1
    assert before([*up, (2, "rollback"), (1, "rollback")], 1) is None
    # Whoever comes after a rollback has the one below it.
    assert before([*up, (2, "rollback"), (5, "gate")], 5) == 2
    assert before([(1, "gate"), (2, "gate"), (1, "hand")], 1) == 2


def test_what_is_being_removed_is_passed_over() -> None:
    told: Told = [(1, "gate"), (2, "gate"), (3, "gate")]
    assert before(told, 3, gone=(2,)) == 1
    assert before(told, 3, gone=(1, 2)) is None


def test_a_promotion_that_was_noted_and_did_not_come_about_changes_nothing() -> None:
    assert before([(1, "gate"), (2, "gate"), (3, "gate")], 2) == 1
    assert before([(1, "gate"), (2, "gate"), (1, "rollback")], 2) == 1
    # One that somebody made champion in MLflow's own pages lies on top.
    assert before([(1, "gate"), (2, "gate")], 5) == 2
    assert before([(1, "gate")], None) is None


def test_a_version_of_before_promotions_were_noted_has_the_gate_s_word() -> None:
    old = Version(NAME, 1, "run1", {versions.GATE: versions.PROMOTED}, "2026-01-01T00:00:00+00:00")
    assert [(p.by, p.at) for p in old.promotions] == [("gate", "2026-01-01T00:00:00+00:00")]
    assert Version(NAME, 2, "run2", {versions.GATE: versions.NOT_PROMOTED}).promotions == ()
    assert Version(NAME, 3, "run3", {versions.PROMOTIONS: "not JSON"}).promotions == ()


def test_of_several_that_wait_the_newest_is_asked_about() -> None:
    found = promotion.waiting(a_model([], 1, waits=(2, 4)))
    assert found is not None
    assert found.version == 4
    assert promotion.waiting(a_model([], 4, waits=(2, 4))) is None
