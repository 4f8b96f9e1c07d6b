"""Promotions against a real registry: one that is cut off half-way counts only where it came about, and only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.homes import a_home

from nightshift.errors import ServiceError
from nightshift.tracking import lineage, promotion, versions
from nightshift.tracking.mlflow_store import Store, open_store


class CutOffError(Exception):
    """Stands for a crash."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Store]:
    with a_home(tmp_path_factory.mktemp("versions"), migrated_db) as home:
        yield open_store(home)


@pytest.fixture
def name(store: Store, request: pytest.FixtureRequest) -> str:
    """A model of its own with four whole versions."""
    model = request.node.name.translate(str.maketrans("[]", "__")) + ".rul.pi"
    store.client.create_registered_model(model)
    for number in range(1, 5):
        store.client.create_model_version(model, "file:///nowhere", tags={versions.STATE: versions.READY})
        versions.make_champion(store, model, number, "gate") if number < 3 else None
    return model


def cut_off(monkeypatch: pytest.MonkeyPatch, store: Store, call: str, tag: str, act: Callable[[], Any]) -> None:
    """Do something that is cut off at its first call of the registry of this name, for this tag."""
    real = getattr(store.client, call)

    def stop(*given: Any) -> None:
        if not tag or tag in given:
            raise CutOffError
        real(*given)

    with monkeypatch.context() as patched:
        patched.setattr(store.client, call, stop)
        with pytest.raises((CutOffError, ServiceError)):
            act()


def who(store: Store, name: str) -> tuple[int, list[tuple[int, str]], int | None]:
    """Champion, all that was noted, and whom a rollback would go back to."""
    held = versions.inventory(store, name)[name]
    holder, back = versions.champion(store, name), promotion.before(held)
    told = [(number, one.by) for number, one in promotion.in_order(held)]
    return holder.version if holder else 0, told, back.version if back else None


UP = [(1, "gate"), (2, "gate")]


def test_a_promotion_that_did_not_come_about_is_not_noted_and_is_done_by_the_same_call(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(
        monkeypatch, store, "set_registered_model_alias", "", lambda: versions.make_champion(store, name, 3, "gate")
    )
    assert who(store, name) == (2, UP, 1)
    versions.make_champion(store, name, 4, "gate")
    assert who(store, name) == (4, [*UP, (4, "gate")], 2), "nobody goes back to 3, which was never champion"
    versions.make_champion(store, name, 3, "hand")
    assert who(store, name) == (3, [*UP, (4, "gate"), (3, "hand")], 4)


@pytest.mark.parametrize("next_one", [3, 4])
def test_a_promotion_that_came_about_and_was_not_noted_is_noted_by_the_next_call(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch, next_one: int
) -> None:
    cut_off(
        monkeypatch,
        store,
        "set_model_version_tag",
        versions.PROMOTIONS,
        lambda: versions.make_champion(store, name, 3, "hand"),
    )
    assert who(store, name) == (3, UP, 2)
    versions.make_champion(store, name, next_one, "gate")
    later = [(4, "gate")] if next_one == 4 else []
    assert who(store, name) == (next_one, [*UP, (3, "hand"), *later], 3 if later else 2)
    assert all(h.version.promoting is None for h in versions.inventory(store, name)[name])


def test_a_word_that_was_cut_off_is_said_again_and_the_promotion_noted_once(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(
        monkeypatch, store, "set_model_version_tag", versions.GATE, lambda: promotion.promote(store, name, 3, "good")
    )
    promotion.promote(store, name, 3, "good")
    assert who(store, name) == (3, [*UP, (3, "hand")], 2)
    assert versions.read(store, name, 3).tags[versions.GATE] == versions.BY_HAND


def test_a_rollback_that_was_cut_off_is_finished_and_goes_back_no_further(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.make_champion(store, name, 3, "gate")

    def crash(*_: object) -> None:
        raise CutOffError

    with monkeypatch.context() as patched:
        patched.setattr(promotion, "note_champion", crash)
        with pytest.raises(CutOffError):
            promotion.rollback(store, name)
    assert who(store, name)[0] == 2
    again = promotion.rollback(store, name)
    assert (again.version.version, again.finished) == (2, True)
    assert who(store, name) == (2, [*UP, (3, "gate"), (2, "rollback")], 1)
    further = promotion.rollback(store, name)
    assert (further.version.version, further.finished) == (1, False)


def test_whether_a_single_model_waits_is_asked_of_its_versions_alone(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.client.set_model_version_tag(name, "4", versions.GATE, versions.WAITS)
    asked, search = [], store.client.search_model_versions

    def seen(**given: Any) -> Any:
        asked.append(given["filter_string"])
        return search(**given)

    monkeypatch.setattr(store.client, "search_model_versions", seen)
    assert [v.version for v in lineage.waiting(store, [name])] == [4]
    assert asked == [f"name = '{name}'"]
    assert [v.version for v in lineage.waiting(store, ["another.rul.pi", name, name])] == [4]
    assert asked[1:] == [None], "many are read at once"
