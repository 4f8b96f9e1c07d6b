"""Trains on a file: CSV or Parquet in, a saved model, a logged run and a registered version out."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import NightshiftError, ServiceError, TransientError, UsageError, first_line
from nightshift.files import disk_full
from nightshift.plan.table import TableJob, TableOutcome
from nightshift.settings import Home, without_places
from nightshift.stages.estimator_register import Registration, hold, register_table, stamp_of
from nightshift.stages.estimator_rows import is_parquet, rows_of
from nightshift.trainer.options import Track

if TYPE_CHECKING:
    from nightshift.trainer.results.result import CVResult, TrainResult
    from nightshift.trainer.search.run import SearchResult
    from nightshift.trainer.search.watch import Hands


@dataclass(frozen=True)
class TableRun:
    """A training that has ended.

    Attributes:
        found: by the search, where one was asked for.
        registration: of the model, where that is asked for.
        faults: what went wrong after the fit, such as a model that could not be saved: they cost no result.
    """

    outcome: TableOutcome
    result: TrainResult | CVResult
    found: SearchResult | None = None
    registration: Registration = field(default_factory=Registration)
    faults: tuple[NightshiftError, ...] = ()


def train_table(home: Home, job: TableJob, progress: Any = "auto", hands: Hands | None = None) -> TableRun:
    """Train as a job says, save the model, log the run and register the model.

    Args:
        home: whose store the run is logged in.
        job: what is asked for.
        progress: "auto", True, False or a function of progress events.
        hands: has others do the trials of a search, by `join_table_search`.

    Raises:
        DataError: for a file that cannot be read, or a table that nothing can be trained on.
        UsageError: for settings that cannot be, a column that is not there, a name that other data have.
        TrainingError: when the estimator cannot be fitted.
    """
    began = time.perf_counter()
    told, saving, track = _told(job, progress)
    if job.registry and track is not None and track.mlflow:  # the registry is MLflow's
        hold(home, job)
    with warnings.catch_warnings():
        _hush_findings()
        file = file_of(home, job)
        as_read = stamp_of(file)
        trained, found = _trained(file, job, told, hands)
    result, faults = _kept(trained, saving)
    run_id, more = _logged(home, result, track, job, found)
    faults += more
    done = Registration()
    if run_id and job.registry:
        done = register_table(home, job, file, as_read, result, found.best if found else {})
    faults += done.faults
    outcome = TableOutcome(
        subject=job.called,
        model=result.about.name,
        task=result.about.task,
        rows=result.about.n_rows,
        metric=result.about.primary,
        scores=result.scores,
        findings=tuple(sorted({finding.code for finding in result.findings})),
        saved=_in_home(home, result.saved),
        run_id=run_id,
        registered=done.cell.name if done.cell and done.version else "",
        cell_key=done.cell.key if done.cell and done.version else "",
        version=done.version,
        gate=done.gate,
        reason=without_places(home, " ".join(str(fault) for fault in faults)),
        seconds=time.perf_counter() - began,
        exit_code=faults[0].exit_code if faults else 0,
    )
    return TableRun(outcome, result, found, done, faults)


def _in_home(home: Home, saved: Path | None) -> str:
    """Return a folder by where it lies in the home, where it does: another machine's home is elsewhere."""
    if saved is None:
        return ""
    place = saved.resolve()
    return place.relative_to(home.root).as_posix() if place.is_relative_to(home.root) else str(saved)


def join_table_search(home: Home, job: TableJob, progress: Any = "auto") -> int:
    """Do trials of a job's search, which another process has begun; return how many ended here.

    Raises:
        ConfigError: where the storage has no such study as seen from here, or the file here is another one.
        NightshiftError: as `train_table`.
    """
    from nightshift.trainer.search.run import join_search

    told, _, _ = _told(job, progress)
    with warnings.catch_warnings():
        _hush_findings()
        given, keywords = _search(file_of(home, job), job, told)
        return join_search(*given, **keywords)


def file_of(home: Home, job: TableJob) -> Path:
    """Return where a job's file lies."""
    return home.root / Path(job.file).expanduser()


def _told(job: TableJob, progress: Any) -> tuple[dict[str, Any], _Saving, Track | None]:
    """Return the trainer's keywords, and what is done with the result.

    Raises:
        UsageError: for settings that cannot be.
    """
    from nightshift.trainer.config import read_config

    told = read_config(job.settings)
    if not told.get("model"):
        raise UsageError("no model: expected a name such as lightgbm, got none.", hint="Give --model lightgbm.")
    saving, track = _saving(told), _track(told.pop("track", None), job)
    told["progress"] = False if told.pop("verbose", None) is False else progress
    return told, saving, track


@dataclass(frozen=True)
class _Saving:
    wanted: bool
    path: str


def _saving(told: dict[str, Any]) -> _Saving:
    """Take what is said of saving out of the keywords: the trainer's own saving would only warn of a fault."""
    wanted, path = told.pop("save_model", True), told.pop("save_path", None)
    if not isinstance(wanted, bool):
        raise UsageError(f"save_model: expected true or false, got {wanted!r}.")
    told["save_model"] = False
    return _Saving(wanted, str(path or ""))


def _track(told: Any, job: TableJob) -> Track | None:
    from nightshift.trainer.config import asked_of

    if not job.track or told is False:
        return None
    found = asked_of({"track": told if told is not None else True}, {}).track
    return found if isinstance(found, Track) else Track()


def _hush_findings() -> None:
    """Leave findings to the summary: a command's user has no line of code that a warning could point to."""
    from nightshift.trainer.checks.telling import FindingWarning

    warnings.simplefilter("ignore", FindingWarning)


def _trained(
    file: Path, job: TableJob, told: dict[str, Any], hands: Hands | None
) -> tuple[TrainResult | CVResult, SearchResult | None]:
    """Search, cross-validate or train once, as the job says.

    Raises:
        UsageError: for a run folder of a search, which keeps itself.
    """
    from nightshift.trainer.api import train_from_config, with_params
    from nightshift.trainer.batches import train_from_parquet
    from nightshift.trainer.config import asked_of

    if job.run_dir or job.resume:
        told |= {"run_dir": job.run_dir or None, "resume": job.resume}
    if not job.search and told.get("cv") in (None, False) and is_parquet(file):
        from nightshift.trainer.inputs.parquet import source_of

        y = source_of(file, job.target, (job.groups, job.times)).column(job.target)
        model, told = with_params(str(told["model"]), told.get("params") or {}, y), _single(told)
        return train_from_parquet(model, file, job.target, groups=job.groups, times=job.times, **told), None
    if not job.search:
        rows = rows_of(file, job, asked_of({"limits": told.get("limits")}, {}).settings.limits)
        config = {"model": told.pop("model"), "params": told.pop("params", None) or {}}
        return train_from_config(config, rows.X, rows.y, **rows.beside, **told), None
    from nightshift.trainer.search.run import search_model

    given, keywords = _search(file, job, told)
    found = search_model(*given, hands=hands, **keywords)
    return found.result, found


def _search(file: Path, job: TableJob, told: dict[str, Any]) -> tuple[tuple[Any, Any, Any, Any], dict[str, Any]]:
    """Return what `search_model` is called with: model, table and space, and its keywords."""
    from nightshift.trainer.api import with_params
    from nightshift.trainer.config import asked_of

    rows = rows_of(file, job, asked_of({"limits": told.get("limits")}, {}).settings.limits)
    model = with_params(str(told.pop("model")), told.pop("params", None) or {}, rows.y)
    if told.get("cv") in (None, False):
        told.pop("cv", None)
    name = f"{job.called}.{job.target}.{type(model).__name__}"
    kept = {"trials": job.search, "storage": job.storage, "name": name}
    return (model, rows.X, rows.y, job.space or None), {**rows.beside, **told, **kept}


def _single(told: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of a training without folds."""
    left = {key: value for key, value in told.items() if key not in ("model", "params", "cv", "strategy")}
    return left if told.get("strategy") is None else {"split": told["strategy"], **left}


def _kept(
    result: TrainResult | CVResult, saving: _Saving
) -> tuple[TrainResult | CVResult, tuple[NightshiftError, ...]]:
    if not saving.wanted:
        return result, ()
    told = replace(result, settings=result.settings.model_copy(update={"save_path": saving.path}))
    try:
        return replace(told, saved=told.save()), ()
    except UsageError as error:
        return result, (UsageError(f"the model was not saved: {error.what}", hint=error.hint),)
    except NightshiftError as error:
        return result, (NightshiftError(f"the model was not saved: {error.what}", hint=error.hint),)
    except (OSError, ImportError) as error:
        hint = f"Give another save_path; {disk_full(error)}." if disk_full(error) else "Give another save_path."
        return result, (NightshiftError(f"the model was not saved: {first_line(error)}.", hint=hint),)


def _logged(
    home: Home, result: TrainResult | CVResult, track: Track | None, job: TableJob, found: SearchResult | None
) -> tuple[str, tuple[NightshiftError, ...]]:
    from nightshift.tracking.estimator_runs import log_run

    if track is None:
        return "", ()
    try:
        return log_run(result, track, home, job.called, found), ()
    except (TransientError, ServiceError) as error:
        return "", (ServiceError(f"the run was not logged: {error.what}", hint=error.hint),)
