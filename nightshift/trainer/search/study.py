"""A study of Optuna's that is kept, gone on with and shared by several processes.

Source: Akiba et al., Optuna (KDD 2019).
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import ConfigError, InterruptedTraining, ServiceError, first_line, without_credentials
from nightshift.settings import STUDY_DB_VARIABLE

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

#: Trials that are not pruned: there is no median before.
FIRST_TRIALS = 4
RUN = "run"
_PID, _HOST, _ASKED, _BEGUN = "pid", "host", "asked", "begun"
#: So often a trial is begun whose process ends before it.
_MOST_BEGUN = 3
_SQLITE = "sqlite:///"
#: How long a trial may stand without a note of its process: it is begun first, and noted then.
_UNMARKED = timedelta(minutes=1)
#: How long a process waits for another one's write to SQLite.
_WAIT_S = 60
#: Tries to make a database's tables beside other processes.
_TRIES = 5
#: Between two signs of life of a trial in a database, and when after the last one it is held for dead.
_SIGN_S, _SILENT_S = 30, 120


@dataclass(frozen=True)
class TrialLine:
    """One trial, for people; `state` is Optuna's."""

    number: int
    run_id: str
    state: str
    score: float | None
    params: Mapping[str, Any]


def open_study(
    name: str,
    storage: Path | str,
    asked: Mapping[str, Any],
    seed: int,
    *,
    what: str = "search",
    maximize: bool = True,
    warmup: int = 1,
    hint: str = "Choose another --name for this one.",
    begun: bool = False,
) -> optuna.Study:
    """Open a study, or begin it.

    Args:
        name: within the storage.
        storage: a journal file, or an address of SQLite or Postgres.
        asked: what must be the same when it goes on, JSON-able.
        seed: of what is drawn.
        what: it is called in an error.
        maximize: whether greater is better.
        warmup: reports of a trial before it can be pruned.
        hint: how another study is begun.
        begun: whether another process has begun it.

    Raises:
        ConfigError: where a study of this name searches something else, or the address cannot be used; for one that
            should have been begun and was not.
        ServiceError: when the database does not answer.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if begun and not _has(storage, name):
        raise ConfigError(
            f"{what} '{name}' is not in {without_credentials(str(storage))}, as this machine sees it.",
            hint=f"SQLite serves the processes of one machine; for several set {STUDY_DB_VARIABLE} to the same "
            "postgresql:// address on each.",
        )
    with reached(storage), _alone(storage):
        study = optuna.create_study(
            study_name=name,
            storage=_storage(storage),
            direction="maximize" if maximize else "minimize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=warmup),
        )
        # A sampler that begins anew with one seed would draw the first trials again.
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.get_trials(deepcopy=False)))
        known = study.user_attrs.get(_ASKED)
        if known is None:
            study.set_user_attr(_ASKED, dict(asked))
    if known is not None and known != asked:
        other = ", ".join(name for name in asked if known.get(name) != asked[name])
        raise ConfigError(f"{what} '{name}' exists and searches otherwise ({other}).", hint=hint)
    return study


def mark(trial: optuna.Trial, run_id: str = "") -> None:
    """Note on a trial which process works on it, and of which run it is."""
    trial.set_user_attr(_HOST, socket.gethostname())
    trial.set_user_attr(_PID, os.getpid())
    if run_id and RUN not in trial.user_attrs:
        trial.set_user_attr(RUN, run_id)


def ask(study: optuna.Study) -> optuna.Trial:
    """Begin a trial; `at_work` gives the signs of life that Optuna's own loop would, and its warning asks for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)
        return study.ask()


@contextmanager
def at_work(study: optuna.Study, trial: optuna.Trial) -> Iterator[None]:
    """Note on a trial that this process works on it, and let other machines see that it lives while the body runs.

    Where the body is stopped on request, the trial begins again elsewhere, or with the next call.
    """
    from optuna.storages import _heartbeat

    storage, number = study._storage, trial._trial_id
    if isinstance(storage, _heartbeat.BaseHeartbeat) and _heartbeat.is_heartbeat_enabled(storage):
        # Before the note: who finds the one shall find the other.
        storage.record_heartbeat(number)
    mark(trial)
    try:
        with _heartbeat.get_heartbeat_thread(number, storage):
            yield
    except (InterruptedTraining, KeyboardInterrupt):
        again(study, study.get_trials(deepcopy=False)[trial.number])
        raise


def tell(
    study: optuna.Study,
    trial: optuna.Trial | int,
    value: float | None = None,
    state: optuna.trial.TrialState | None = None,
) -> bool:
    """Tell how a trial has ended; False when another process has, for it held this one for dead."""
    from optuna.exceptions import UpdateFinishedTrialError

    try:
        study.tell(trial, value, state=state)
    except (ValueError, UpdateFinishedTrialError):
        return False
    return True


def again(study: optuna.Study, trial: optuna.trial.FrozenTrial, kept: tuple[str, ...] = ()) -> None:
    """Have a trial that was cut off begin again with the same settings, unless another process has done so."""
    from optuna.trial import TrialState

    if tell(study, trial.number, state=TrialState.FAIL):
        _enqueue(study, trial, kept)


def _enqueue(study: optuna.Study, trial: optuna.trial.FrozenTrial, kept: tuple[str, ...] = ()) -> None:
    begun = int(trial.user_attrs.get(_BEGUN, 1))
    # It may be what ends the processes, by its memory for example; with notes of its own it goes on, and comes further.
    if kept or begun < _MOST_BEGUN:
        notes = {name: trial.user_attrs[name] for name in kept if name in trial.user_attrs}
        study.enqueue_trial(trial.params, user_attrs={**notes, _BEGUN: begun + 1})


def is_one_too_many(study: optuna.Study, trial: optuna.Trial, trials: int) -> bool:
    """Whether enough trials were begun before this one: processes that look in one moment may each begin the last."""
    from optuna.trial import TrialState

    live = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING)
    return sum(one.number < trial.number for one in study.get_trials(deepcopy=False, states=live)) >= trials


def take_back_cut_off(
    study: optuna.Study, is_alive: Callable[[int, datetime], bool], kept: tuple[str, ...] = ()
) -> int:
    """Have trials whose process has died begin again with the same settings.

    Those of other machines are known to live in a database alone, by the signs that `at_work` gives.

    Args:
        is_alive: whether a process of that number was there at some moment, and is.
        kept: notes that the new trial takes over.

    Returns:
        How many trials others are working on, as far as that is known.
    """
    import optuna
    from optuna.storages._heartbeat import is_heartbeat_enabled

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    others = 0
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        host, pid = trial.user_attrs.get(_HOST), int(trial.user_attrs.get(_PID, 0))
        began = (trial.datetime_start or datetime.now()).astimezone()
        if host not in (None, socket.gethostname()):
            others += is_heartbeat_enabled(study._storage)
            continue
        fresh = pid == 0 and datetime.now().astimezone() - began < _UNMARKED
        if fresh or (pid not in (0, os.getpid()) and is_alive(pid, began)):
            others += 1
            continue
        again(study, trial, kept)
    return others


def is_alive(pid: int, told: datetime, slack_s: float = 5.0) -> bool:
    """Whether a process of this machine is at work that was there at some moment: another may have its number now."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.create_time() <= told.timestamp() + slack_s and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def ended(study: optuna.Study) -> int:
    """Return how many trials were completed or pruned."""
    from optuna.trial import TrialState

    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def lines(study: optuna.Study) -> list[TrialLine]:
    """Return a study's trials, the best first, those without a figure last."""
    sign = -1.0 if study.direction.name == "MAXIMIZE" else 1.0
    found = [
        TrialLine(t.number, str(t.user_attrs.get(RUN, "")), t.state.name.lower(), t.value, dict(t.params))
        for t in study.get_trials(deepcopy=False)
        if t.state.is_finished() and t.state.name != "FAIL"
    ]
    return sorted(found, key=lambda line: sign * line.score if line.score is not None else float("inf"))


def best_of(study: optuna.Study) -> TrialLine | None:
    """Return the best completed trial."""
    return next((line for line in lines(study) if line.state == "complete" and line.score is not None), None)


def best_value(study: optuna.Study) -> str:
    """Return the best figure so far, for people."""
    best = best_of(study)
    return f"{best.score:.4f}" if best else "none"


def words(params: Mapping[str, Any]) -> str:
    """Return a trial's settings in one line."""
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in params.items())


def _storage(where: Path | str) -> BaseStorage:
    if isinstance(where, Path):
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        where.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(where)))
    if where.startswith(_SQLITE):
        return _database(where, connect_args={"timeout": _WAIT_S})
    import sqlalchemy.exc

    left = _TRIES
    while True:
        try:
            return _database(where, pool_pre_ping=True)
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):
            # Another process makes the tables at this moment.
            left -= 1
            if not left:
                raise
            time.sleep(1.0)


def _database(where: str, **engine: Any) -> BaseStorage:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RDBStorage(
            where,
            engine_kwargs=engine,
            heartbeat_interval=_SIGN_S,
            grace_period=_SILENT_S,
            heartbeat_stale_trial_callback=_enqueue,
        )


def _has(where: Path | str, name: str) -> bool:
    """Whether a study is there; makes no file."""
    import optuna

    if isinstance(where, str) and where.startswith(_SQLITE) and not Path(where.removeprefix(_SQLITE)).is_file():
        return False
    with reached(where):
        return name in optuna.get_all_study_names(_storage(where))


@contextmanager
def reached(where: Path | str) -> Iterator[None]:
    """Turn what a study's database says into one line.

    Raises:
        ConfigError: for an address that is none, or whose driver is not installed.
        ServiceError: when it does not answer, or refuses.
    """
    if isinstance(where, Path):
        yield
        return
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    place = without_credentials(where)
    try:
        yield
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError) as error:
        raise ConfigError(
            f"storage '{place}' cannot be used: {first_line(error)}.",
            hint="Give sqlite:///path/to/study.db, or postgresql://user:password@host/name (extra 'scale').",
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        raise ServiceError(
            f"the study's database {place} cannot be reached: {first_line(error)}.",
            hint="See that it is up; the trials that have ended are kept.",
        ) from error


@contextmanager
def _alone(where: Path | str) -> Iterator[None]:
    """Keep other processes from making SQLite's tables at the same time."""
    if isinstance(where, Path) or not where.startswith(_SQLITE):
        yield
        return
    path = Path(where.removeprefix(_SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as one:
        fcntl.flock(one, fcntl.LOCK_EX)
        yield
