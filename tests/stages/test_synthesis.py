"""The stages of a synthesis on a real, small machine: done once, kept, gone on with, refused, and never half landed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.homes import a_home
from support.machines import QUICK, SMALL, SMALL_ROWS, write_machine

from nightshift.data import outbox
from nightshift.data.schema import PARTS
from nightshift.data.store import current, land, open_dataset, subjects
from nightshift.errors import BlockedError, InterruptedTraining, TransientError
from nightshift.plan import lock
from nightshift.plan.records import StageRecord, read_record, work_folder
from nightshift.plan.synthesis import (
    STAGES,
    Synthesis,
    SynthesisOptions,
    is_fresh,
    outcome_of,
    plan_synthesis,
    records,
)
from nightshift.progress import ProgressEvent, read_events
from nightshift.settings import Home
from nightshift.simulate.describe import metadata
from nightshift.stages.recorded import StageContext
from nightshift.stages.synthesis.chain import run_chain, run_stage
from nightshift.stages.synthesis.compose import Composed, compose
from nightshift.stages.synthesis.land import ROWS_SUFFIX, refuse_findings, rows_gate
from nightshift.stages.synthesis.quality import landing_seed, publish, read_quality
from nightshift.stages.synthesis.tables import generated, read_table, seed_units


def planned(home: Home, rows: int = SMALL_ROWS, **options: Any) -> Synthesis:
    return plan_synthesis(home, SMALL, rows, 7, SynthesisOptions.model_validate({**QUICK, **options}))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("synthesis")) as home:
        write_machine(home)
        yield home


@pytest.fixture(scope="module")
def landed(place: Home) -> list[StageRecord]:
    """The records of a first, whole run."""
    return run_chain(planned(place), StageContext(place, threads=1))


def stamps(home: Home, job: Synthesis) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in work_folder(home, job.key).glob("*.json")}


def stopping_in(stage: str) -> StageContext:
    """A context whose job is asked to stop once a stage has begun."""
    begun: list[str] = []

    def hear(event: ProgressEvent) -> None:
        begun.extend([event.stage] if event.stage == stage else [])

    return StageContext(Home(Path()), progress=hear, should_stop=lambda: bool(begun), threads=1)


def test_every_stage_leaves_a_record_and_progress(place: Home, landed: list[StageRecord]) -> None:
    assert [(r.stage, r.status) for r in landed] == [(name, "done") for name in STAGES]
    events = list(read_events(work_folder(place, planned(place).key) / "progress.jsonl"))
    assert {e.stage for e in events} == set(STAGES)
    epochs = [(e.step, e.total) for e in events if e.stage == "generate" and "tvae" in e.message]
    assert epochs
    assert all(0 < step <= total for step, total in epochs)


def test_what_lands_is_described_and_has_the_rows_asked_for(place: Home, landed: list[StageRecord]) -> None:
    data = open_dataset(place, SMALL)
    assert sum(len(data.frame(part)) for part in PARTS) == SMALL_ROWS
    assert data.fingerprint == landed[-1].summary["dataset"]
    details = data.metadata.provenance.details
    assert (details["seed"], details["generator"]) == (7, landed[3].summary["chosen"])
    assert details["profile_sha256"] == landed[0].summary["profile"]
    assert details["quality"]["violations"] == 0
    assert [note.fingerprint for note in outbox.pending(place)] == [data.fingerprint]


def test_a_second_run_does_no_work(place: Home, landed: list[StageRecord]) -> None:
    job = planned(place)
    before = stamps(place, job)
    assert is_fresh(place, job)
    assert run_chain(job, StageContext(place)) == landed
    after = stamps(place, job)
    assert {n: after[n] for n in before if n != "synthesis.json"} == {
        n: before[n] for n in before if n != "synthesis.json"
    }
    outcome = outcome_of(place, job, "up to date")
    assert (outcome.rows, outcome.dataset, outcome.exit_code) == (SMALL_ROWS, current(place, SMALL), 0)
    assert outcome.why == landed[3].summary["why"]
    assert not outcome.new


def test_another_run_of_the_same_gives_the_same_bytes(home: Home, landed: list[StageRecord]) -> None:
    write_machine(home)
    assert run_chain(planned(home), StageContext(home, threads=1))[-1].summary == landed[-1].summary


def test_data_that_somebody_else_landed_since_are_replaced(place: Home, landed: list[StageRecord]) -> None:
    job, ours = planned(place), open_dataset(place, SMALL)
    other = {part: ours.frame(part).iloc[:-1] for part in PARTS}
    land(place, other, ours.metadata)
    assert not is_fresh(place, job)
    done = run_chain(job, StageContext(place))
    assert done[-1].started_at >= landed[-1].started_at
    assert current(place, SMALL) == ours.fingerprint
    assert is_fresh(place, job)


def test_an_altered_table_is_drawn_again(home: Home, landed: list[StageRecord]) -> None:
    write_machine(home)
    job = planned(home)
    ctx = StageContext(home, threads=1)
    for name in STAGES[:3]:
        run_stage(name, job, ctx)
    (table,) = (work_folder(home, job.key) / "units").glob("copula-*.parquet")
    whole = table.read_bytes()
    table.write_bytes(whole[:100])
    assert read_record(home, job.key, "generate") is None
    run_stage("generate", job, ctx)
    assert table.read_bytes() == whole


def test_stopped_in_any_stage_nothing_has_landed_and_the_next_run_goes_on(
    home: Home, landed: list[StageRecord]
) -> None:
    write_machine(home)
    job = planned(home)
    for i, stage in enumerate(STAGES):
        with pytest.raises(InterruptedTraining):
            run_chain(job, replace(stopping_in(stage), home=home))
        assert list(records(home, job)) == list(STAGES[:i])
        assert subjects(home) == ()
        assert outbox.pending(home) == ()
        assert not is_fresh(home, job)
    done = run_chain(job, StageContext(home, threads=1))
    assert done[-1].summary == landed[-1].summary


def test_refused_data_do_not_land_and_are_not_judged_again(home: Home) -> None:
    write_machine(home)
    job = planned(home, limits={**QUICK["limits"], "column_shapes": 1, "daily_pattern": 1})
    done = run_chain(job, StageContext(home, threads=1))
    assert [r.stage for r in done] == list(STAGES[:4])
    refused = done[-1]
    assert refused.status == "blocked"
    assert "column shapes is 0." in refused.error
    assert "daily-pattern match is 0." in refused.error
    assert str(refused.summary["report"]).endswith("synthesis_refused.html")
    assert (home.root / str(refused.summary["report"])).is_file()
    assert not (home.reports / SMALL / "synthesis_report.html").exists()
    assert str(refused.summary["report"]) in refused.hint
    assert subjects(home) == ()
    assert outbox.pending(home) == ()
    assert run_chain(job, StageContext(home, threads=1)) == done


def test_the_page_is_of_what_has_landed_whatever_was_refused_since(place: Home, landed: list[StageRecord]) -> None:
    page = place.root / str(landed[3].summary["report"])
    shown = page.read_bytes()
    assert b"Passed" in shown
    run_chain(planned(place, limits={**QUICK["limits"], "column_shapes": 1}), StageContext(place, threads=1))
    assert page.read_bytes() == shown
    page.unlink()
    publish(planned(place), StageContext(place))
    assert page.read_bytes() == shown


def test_rows_with_another_share_of_failures_than_was_judged_do_not_land(
    place: Home, landed: list[StageRecord]
) -> None:
    """The judged roll-out and the landing rows differ: limits between the two shares refuse the rows alone."""
    job = planned(place)
    judged, ctx = read_quality(job, StageContext(place)), StageContext(place, threads=1)
    of_rows = {line.name: line for line in rows_gate(job, composed_of(job, ctx))}["share of failing rows" + ROWS_SUFFIX]
    share = judged.score(judged.chosen).mean("failure_share")
    assert share is not None
    assert of_rows.value is not None
    assert abs(share - of_rows.value) > 0.001
    middle = (share + of_rows.value) / 2
    between = [middle, 1] if share > middle else [0, middle]
    page = (place.reports / SMALL / "synthesis_report.html").read_bytes()
    before = current(place, SMALL)
    refused = run_chain(planned(place, limits={**QUICK["limits"], "failure_share": between}), ctx)[-1]
    assert (refused.stage, refused.status) == ("land", "blocked")
    assert "the rows are refused: share of failing rows, of the rows that land is 0." in refused.error
    assert "Nothing has landed." in refused.hint
    assert b"Refused" in (place.root / str(refused.summary["report"])).read_bytes()
    assert current(place, SMALL) == before
    assert (place.reports / SMALL / "synthesis_report.html").read_bytes() == page


def composed_of(job: Synthesis, ctx: StageContext) -> Composed:
    judged, seeds = read_quality(job, ctx), seed_units(job, ctx)
    units = read_table(generated(job, ctx, judged.chosen, landing_seed(job, judged)))
    described = metadata(job.machine, job.subject, details={})
    embargo_s = described.embargo * 3600
    return compose(job.machine, units, seeds.val, seeds.test, rows=job.rows, seed=job.seed, embargo_s=embargo_s)


def test_rows_that_break_a_law_are_counted(place: Home, landed: list[StageRecord]) -> None:
    job = planned(place)
    sound = composed_of(job, StageContext(place))
    assert all(line.ok for line in rows_gate(job, sound))
    hidden = sound.rolled.hidden.copy()
    hidden.loc[5:9, "damage"] = 2.0
    worn = replace(sound, rolled=replace(sound.rolled, hidden=hidden), table=sound.table.assign(severity=9.0))
    (laws,) = [line for line in rows_gate(job, worn) if not line.ok]
    assert laws.name == "physics violations" + ROWS_SUFFIX
    assert laws.value is not None
    assert laws.value >= 5 + len(sound.table)


def test_a_sensor_that_tells_the_label_alone_is_refused(place: Home, landed: list[StageRecord]) -> None:
    ours = open_dataset(place, SMALL)
    refuse_findings(ours)
    leaking = {
        part: frame.assign(
            vibration_drive_end_mm_s=1.0 + frame["failure_status"].fillna(0) + frame["rul"].fillna(0) * 1e-4
        )
        for part in PARTS
        if (frame := ours.frame(part)) is not None
    }
    before = current(place, SMALL)
    with pytest.raises(BlockedError, match="D015: vibration_drive_end_mm_s") as raised:
        land(place, leaking, ours.metadata, check=refuse_findings)
    assert "D015" in raised.value.codes
    assert current(place, SMALL) == before


def test_without_event_nobody_is_told(home: Home) -> None:
    write_machine(home)
    run_chain(planned(home, event=False), StageContext(home, threads=1))
    assert subjects(home) == (SMALL,)
    assert outbox.pending(home) == ()


def test_force_makes_it_anew_and_sets_the_old_records_aside(place: Home, landed: list[StageRecord]) -> None:
    job = planned(place, force=True)
    done = run_chain(job, StageContext(place, threads=1))
    assert all(new.started_at >= old.started_at for new, old in zip(done, landed, strict=True))
    assert done[-1].summary == {**landed[-1].summary, "new": False}
    assert not outcome_of(place, job, "landed").new
    assert (place.work / f"{job.key}.1" / "land.json").is_file()


def test_a_synthesis_that_another_process_makes_is_left_to_it(place: Home, landed: list[StageRecord]) -> None:
    job = planned(place)
    with lock.held(place, job.key), pytest.raises(TransientError, match="by another process"):
        run_chain(job, StageContext(place))
