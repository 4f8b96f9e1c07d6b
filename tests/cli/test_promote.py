"""`nightshift promote | rollback | history` on a real registry: what a person reads, and what has changed then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift.cli import main
from nightshift.cli.closing import print_closing
from nightshift.data.dataset import Dataset
from nightshift.errors import EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE
from nightshift.files import write_atomic
from nightshift.plan.past import past_of
from nightshift.plan.records import read_record, write_record
from nightshift.settings import STORE_VARIABLE, Home
from nightshift.tracking import registry, versions
from nightshift.tracking.mlflow_store import Store, open_store
from tests.tracking.bundles import a_cell, finish, threshold_for

pytestmark = pytest.mark.slow

MODEL = ("motor_bench_001", "anomaly")


@dataclass(frozen=True)
class Story:
    """A model whose first version is champion, and whose second one the gate refused."""

    home: Home
    store: Store
    data: Dataset
    name: str

    def trained(self, seed: int, share: float) -> registry.Registered:
        cell = a_cell(self.data, seed)
        finish(self.home, cell, self.data, threshold_for(self.data, share))
        return registry.register(self.home, self.store, cell)

    @property
    def champion(self) -> int | None:
        found = versions.champion(self.store, self.name)
        return found.version if found else None

    @property
    def champion_of_the_records(self) -> int | None:
        found = past_of(self.home, *MODEL, "pi").champion
        return found.version if found else None

    def tags(self, version: int) -> dict[str, str]:
        return dict(self.store.client.get_model_version(self.name, str(version)).tags)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Story]:
    with a_home(tmp_path_factory.mktemp("promote"), migrated_db) as home:
        data = land_demo(home, seed=5, runs=14)
        told = Story(home, open_store(home), data, a_cell(data, 1).name)
        for seed, share in ((1, 1.0), (2, 0.5)):
            _stage(told, seed, share)
        yield told


def _stage(told: Story, seed: int, share: float) -> registry.Registered:
    """Register as the stage does, whose record holds the gate's word."""
    done = told.trained(seed, share)
    cell = a_cell(told.data, seed)
    facts = done.summary(told.home, told.store.uri)
    before = read_record(told.home, cell.key, "register")
    assert before is not None
    write_record(told.home, before.model_copy(update={"summary": facts}))
    return done


@pytest.fixture
def said(story: Story, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, code: int = EXIT_OK) -> str:
        assert main(list(words)) == code
        shown = capsys.readouterr()
        return shown.out + shown.err

    return run


def test_the_history_shows_every_version_and_the_champion_s_whole_lineage(story: Story, said: Any) -> None:
    lines = said("history", *MODEL).splitlines()
    assert lines[0].split("  ")[0] == "version (* = champion)"
    newest, oldest = lines[1], lines[2]
    assert newest.startswith("v2 ")
    assert "challenger, not promoted" in newest
    assert "f1 against champion v1" in newest
    assert oldest.startswith("v1 * ")
    assert "by gate" in oldest
    assert "best baseline 0 (always, never)" in oldest
    lineage = "\n".join(lines[3:])
    held = versions.champion(story.store, story.name)
    assert held is not None
    counted = ", ".join(f"{part} {summary.rows:,}" for part, summary in story.data.metadata.parts.items())
    for fact in (
        f"{story.name} version 1",
        f"{story.data.fingerprint[:12]}: {counted} rows, landed ",
        "seed 1 (default 42)",
        "code       cccccccccccc, commit ",
        f"run {held.run_id} in sqlite",
        f"bundle     {held.bundle_id[:12]}, ",
        "same as the library: 100 rows, 0 labels differ",
        "device     not checked",
        "the first champion",
    ):
        assert fact in lineage


def test_a_script_gets_versions_and_lineage_with_every_figure(story: Story, said: Any) -> None:
    told = json.loads(said("history", *MODEL, "--version", "2", "--json"))
    assert [(v["version"], v["champion"]) for v in told["versions"]] == [(2, False), (1, True)]
    lineage = told["lineage"]
    assert lineage["entry"]["version"] == 2
    assert lineage["data"]["rows"] == {part: s.rows for part, s in story.data.metadata.parts.items()}
    assert lineage["origin"]["settings"]["seed"] == {"value": "2", "default": "42"}
    assert lineage["origin"]["libraries"]["onnxruntime"]
    assert lineage["decision"]["difference"] < 0
    assert lineage["bundle"]["parity"]["ok"] is True
    assert lineage["promotions"] == []


def test_a_person_promotes_what_the_gate_refused_and_goes_back_again(story: Story, said: Any) -> None:
    shown = said("promote", *MODEL, "--note", "tested in hall 1")
    assert "the gate had refused version 2: f1 against champion v1" in shown
    compared = next(line for line in shown.splitlines() if line.startswith("version "))
    assert compared.split() == ["version", "v2", "v1"]
    assert shown.splitlines()[-2:] == [
        "version 2 is champion; version 1 was.",
        "back again: nightshift rollback motor_bench_001 anomaly",
    ]
    assert (story.champion, story.champion_of_the_records) == (2, 2)
    record = read_record(story.home, a_cell(story.data, 2).key, "register")
    assert record is not None
    assert str(record.summary["gate"]).startswith("promoted by hand (tested in hall 1); the gate said: not promoted: ")
    assert "champion already" in said("promote", *MODEL, "--version", "2")
    assert len(json.loads(story.tags(2)[versions.PROMOTIONS])) == 1

    shown = said("rollback", *MODEL, "--note", "false alarms")
    assert "version 1 is champion again; it was, champion since " in shown
    assert "before version 2." in shown
    assert (story.champion, story.champion_of_the_records) == (1, 1)
    assert [p["by"] for p in json.loads(story.tags(1)[versions.PROMOTIONS])] == ["gate", "rollback"]
    # Champions are a stack: a second rollback does not go forth to version 2 again.
    refused = said("rollback", *MODEL, code=EXIT_USAGE)
    assert f"{story.name} has no champion before version 1 that is still there." in refused
    assert story.champion == 1
    lines = said("history", *MODEL).splitlines()
    assert "was champion" in lines[1]
    assert "by rollback (false alarms)" in lines[2]


def test_where_promotion_is_by_hand_what_passes_waits_for_a_person(
    story: Story, said: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_atomic(story.home.configs / "fleet.yaml", b"promotion: by_hand\n")
    done = _stage(story, 3, 1.0)
    assert done.decision is not None
    assert done.decision.promote
    assert (done.verdict, story.champion) == (versions.WAITS, 1)
    assert "waits for a person" in said("history", *MODEL).splitlines()[1]
    print_closing(story.home, a_cell(story.data, 3), "trained")
    assert "promote       nightshift promote motor_bench_001 anomaly --target pi\n" in capsys.readouterr().out
    again = registry.register(story.home, story.store, a_cell(story.data, 3))
    assert (again.version, again.verdict, story.champion) == (3, versions.WAITS, 1)
    shown = said("promote", *MODEL)
    assert "refused" not in shown
    assert story.champion == 3
    assert story.tags(3)[versions.GATE] == versions.BY_HAND
    # A fleet.yaml that cannot be read promotes nobody unasked.
    write_atomic(story.home.configs / "fleet.yaml", b"promotion: sometimes\n")
    assert _stage(story, 4, 1.0).verdict == versions.WAITS
    write_atomic(story.home.configs / "fleet.yaml", b"promotion: automatic\n")
    assert _stage(story, 5, 1.0).verdict == versions.PROMOTED
    assert story.champion == 5


def test_the_machines_of_a_shared_store_hear_of_a_promotion_and_of_a_rollback(
    story: Story, said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path))
    said("promote", *MODEL, "--version", "3")
    assert of_newest(tmp_path, story) is False
    said("rollback", *MODEL)
    assert (story.champion, of_newest(tmp_path, story)) == (5, True)


def of_newest(store: Path, story: Story) -> bool:
    """Whether the store's record says that the newest version, which is the only one it holds, is champion."""
    texts = json.loads((store / "cells" / f"{story.name}.json").read_text())["texts"]
    summary = json.loads(texts["register.json"])["summary"]
    assert summary["version"] == 5
    return bool(summary["champion"])


def test_a_version_that_is_not_whole_is_not_promoted(story: Story, said: Any) -> None:
    now = story.champion
    for state, code, words in (
        (versions.PENDING, EXIT_UNREACHABLE, f"version 2 of {story.name} is not whole yet."),
        (versions.PRUNED, EXIT_USAGE, f"unknown version of {story.name} '2'."),
    ):
        story.store.client.set_model_version_tag(story.name, "2", versions.STATE, state)
        assert words in said("promote", *MODEL, "--version", "2", code=code)
    assert story.champion == now
    story.store.client.set_model_version_tag(story.name, "2", versions.STATE, versions.READY)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("history", "motor_bench_01", "anomaly"), "unknown machine with a model 'motor_bench_01'. Did you mean"),
        (("history", "motor_bench_001", "anomly"), "unknown family 'anomly'. Did you mean 'anomaly'?"),
        (("rollback", *MODEL, "--target", "py"), "unknown target 'py'. Did you mean 'pi'?"),
        (("promote", *MODEL, "--version", "77"), "unknown version of motor_bench_001.anomaly.pi '77'."),
        (("promote", *MODEL, "--version", "two"), "argument --version: invalid int value: 'two'"),
    ],
)
def test_what_is_not_there_is_named(story: Story, said: Any, words: tuple[str, ...], told: str) -> None:
    assert told in said(*words, code=EXIT_USAGE)


def test_a_model_that_was_never_trained_says_what_the_machine_has(story: Story, said: Any) -> None:
    told = said("history", "motor_bench_001", "rul", code=EXIT_USAGE)
    assert "motor_bench_001.rul.pi has no version in the registry; motor_bench_001 has anomaly for pi." in told
    assert "nightshift train rul --machine motor_bench_001" in told
