"""A landing leaves one note, and only a landing that stands counts."""

from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from support.cut_landing import land_and_halt
from support.datasets import calendar_rows, describe

from nightshift.data import outbox, store, views
from nightshift.data.importers.landing import split_and_land
from nightshift.data.store import current, install, open_dataset, subjects, verify, versions
from nightshift.errors import DataError, NightshiftError
from nightshift.settings import Home, use_home


def told(home: Home) -> list[tuple[str, str, int]]:
    return [(n.subject, n.fingerprint, n.rows) for n in outbox.pending(home)]


def test_a_landing_leaves_a_note_with_machine_fingerprint_and_rows(home: Home) -> None:
    data = split_and_land(home, calendar_rows(), describe())
    rows = sum(part.rows for part in data.metadata.parts.values())
    assert data.new
    assert told(home) == [("pump_1", data.fingerprint, rows)]


def test_the_same_rows_again_are_nothing_new_and_leave_no_note(home: Home) -> None:
    first = split_and_land(home, calendar_rows(), describe())
    outbox.withdraw(home, "pump_1", first.fingerprint)
    stamp = (home.data / "current" / "pump_1").stat().st_mtime_ns
    again = split_and_land(home, calendar_rows(), describe())
    assert (again.fingerprint, again.new) == (first.fingerprint, False)
    assert told(home) == []
    assert (home.data / "current" / "pump_1").stat().st_mtime_ns == stamp


def test_without_event_nothing_is_told_and_an_older_note_is_void(home: Home) -> None:
    split_and_land(home, calendar_rows(seed=1), describe())
    quiet = split_and_land(home, calendar_rows(seed=2), describe(), event=False)
    assert quiet.new
    assert told(home) == []


def test_an_old_version_that_is_brought_back_is_no_event(home: Home) -> None:
    old = split_and_land(home, calendar_rows(seed=1), describe())
    new = split_and_land(home, calendar_rows(seed=2), describe())
    assert install(home, old.folder).new
    assert current(home, "pump_1") == old.fingerprint != new.fingerprint
    assert told(home) == []


def test_a_note_whose_pointer_was_never_set_counts_for_nothing_and_goes_in_time(home: Home) -> None:
    split_and_land(home, calendar_rows(), describe(), event=False)
    outbox.write(home, "pump_1", "f" * 64, 300)
    assert told(home) == []
    [path] = (home.machinery / "outbox").iterdir()
    note = outbox.Note.model_validate_json(path.read_bytes())
    long_ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    path.write_text(note.model_copy(update={"at": long_ago}).model_dump_json())
    assert told(home) == []
    assert not path.exists()


def test_a_damaged_note_is_forgotten(home: Home) -> None:
    (home.machinery / "outbox").mkdir(parents=True)
    path = home.machinery / "outbox" / "pump_1.ffff.json"
    path.write_text('{"subject": ')
    assert outbox.pending(home) == ()
    assert not path.exists()


def test_a_check_that_refuses_leaves_nothing_visible_and_nothing_to_tell(home: Home) -> None:
    def refuse(_data: object) -> None:
        raise DataError("not these.")

    with pytest.raises(DataError, match="not these"):
        split_and_land(home, calendar_rows(), describe(), check=refuse)
    assert subjects(home) == ()
    assert told(home) == []
    assert not [p for p in home.data.rglob("*") if p.is_file()]


def test_a_pointer_that_cannot_be_written_leaves_no_dataset_and_no_note(home: Home) -> None:
    (home.data).mkdir(parents=True)
    (home.data / "current").write_text("a file where the folder belongs")
    with pytest.raises(NightshiftError, match="could not be written"):
        split_and_land(home, calendar_rows(), describe())
    assert list((home.machinery / "outbox").iterdir()) == []
    assert not [p for p in (home.data / "store").rglob("*") if p.is_file()]


#: Where a landing is cut off -> what it is about to do, or (True) has just done there.
STEPS = {
    "before its files": (store, "_write_folder", False),
    "while they are written": (store, "fsync", False),
    "before its note": (outbox, "write", False),
    "after its note": (outbox, "write", True),
    "before its pointer": (store, "write_atomic", False),
}


def cut_off(home: Home, place: tuple[ModuleType, str, bool], number: signal.Signals) -> None:
    """End a landing at a place."""
    # A fork of this process, with the threads of other tests, may wait for a lock that nobody holds any more.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.cut_landing"])
    here, there = context.Pipe(duplex=False)
    module, name, after = place
    child = context.Process(target=land_and_halt, args=(home.root, (module.__name__, name, after), there))
    child.start()
    assert here.poll(60), "the landing never came to its place"
    assert child.pid is not None
    os.kill(child.pid, number)
    child.join(60)
    assert child.exitcode not in (0, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("already", [False, True], ids=["first landing", "over an older version"])
def test_a_landing_cut_off_anywhere_before_its_pointer_is_not_there(
    home: Home, step: str, already: bool, number: signal.Signals
) -> None:
    old = split_and_land(home, calendar_rows(seed=1), describe(), event=False) if already else None
    cut_off(home, STEPS[step], number)
    assert told(home) == []
    assert subjects(home) == (("pump_1",) if already else ())
    assert old is None or current(home, "pump_1") == old.fingerprint
    assert already or not (home.data / "real").exists()
    # The same landing afterwards is complete, and is told of.
    again = split_and_land(home, calendar_rows(seed=2), describe())
    assert again.new
    assert [fingerprint for _, fingerprint, _ in told(home)] == [again.fingerprint]


def test_a_landing_cut_off_right_after_its_pointer_stands_and_is_told_of(home: Home) -> None:
    cut_off(home, (views, "refresh", False), signal.SIGKILL)
    assert [subject for subject, _, _ in told(home)] == ["pump_1"]
    verify(open_dataset(home, "pump_1"))


def test_what_was_killed_before_its_pointer_is_no_version_until_it_lands(home: Home) -> None:
    first = split_and_land(home, calendar_rows(seed=1), describe())
    cut_off(home, (store, "_set_pointer", False), signal.SIGKILL)
    assert len([p for p in first.folder.parent.iterdir() if p.is_dir()]) == 2
    assert versions(home, "pump_1") == (first.fingerprint[:12],)
    again = split_and_land(home, calendar_rows(seed=2), describe())
    assert set(versions(home, "pump_1")) == {first.fingerprint[:12], again.fingerprint[:12]}


def test_what_was_killed_right_after_its_pointer_stays_a_version_when_others_land(home: Home) -> None:
    cut_off(home, (store, "write_atomic", True), signal.SIGKILL)
    killed = current(home, "pump_1")
    later = split_and_land(home, calendar_rows(seed=3), describe())
    assert set(versions(home, "pump_1")) == {killed[:12], later.fingerprint[:12]}


def test_two_homes_keep_their_notes_apart(home: Home, tmp_path: Path) -> None:
    split_and_land(home, calendar_rows(), describe())
    assert outbox.pending(use_home(tmp_path / "other")) == ()
