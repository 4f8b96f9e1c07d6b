"""A study of Optuna's that is kept, gone on with and shared by several processes.

Source: Akiba et al., Optuna (KDD 2019).
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import ConfigError, ServiceError, first_line, without_credentials

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

#: Trials that are not pruned: there is no median before.
FIRST_TRIALS = 4
RUN = "run"
_PID, _HOST, _ASKED = "pid", "host", "asked"
_SQLITE = "sqlite:///"
#: How long a trial may stand without a note of its process: it is begun first, and noted then.
_UNMARKED = timedelta(minutes=1)
#: How long a process waits for another one's write to SQLite.
_WAIT_S = 60
#: Tries to make a database's tables beside other processes.
_TRIES = 5


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

    Raises:
        ConfigError: where a study of this name searches something else, or the address cannot be used.
        ServiceError: when the database does not answer.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
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


def take_back_cut_off(
    study: optuna.Study, is_alive: Callable[[int, datetime], bool], kept: tuple[str, ...] = ()
) -> int:
    """Have trials whose process has died begin again with the same settings.

    Args:
        is_alive: whether a process of that number was there at some moment, and is.
        kept: notes that the new trial takes over.

    Returns:
        How many trials of this machine others are working on.
    """
    import optuna

    others = 0
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        host, pid = trial.user_attrs.get(_HOST), int(trial.user_attrs.get(_PID, 0))
        began = (trial.datetime_start or datetime.now()).astimezone()
        if host not in (None, socket.gethostname()):
            continue
        fresh = pid == 0 and datetime.now().astimezone() - began < _UNMARKED
        if fresh or (pid not in (0, os.getpid()) and is_alive(pid, began)):
            others += 1
            continue
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        notes = {name: trial.user_attrs[name] for name in kept if name in trial.user_attrs}
        study.enqueue_trial(trial.params, user_attrs=notes)
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
    from optuna.storages import RDBStorage

    if where.startswith(_SQLITE):
        return RDBStorage(where, engine_kwargs={"connect_args": {"timeout": _WAIT_S}})
    import sqlalchemy.exc

    left = _TRIES
    while True:
        try:
            return RDBStorage(where, engine_kwargs={"pool_pre_ping": True})
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):
            # Another process makes the tables at this moment.
            left -= 1
            if not left:
                raise
            time.sleep(1.0)


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
