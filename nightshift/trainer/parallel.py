"""Runs jobs one after the other or side by side in processes, and hands each back as it ends."""

from __future__ import annotations

import importlib
import os
import secrets
import socket
import tempfile
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from nightshift.errors import ConfigError, NightshiftError, ServiceError, TrainingError, first_line, without_credentials
from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import Done, Job, Teller
from nightshift.trainer.options import Limits

Backend = Literal["loky", "dask", "ray"]

#: How long a scheduler, or its first worker, is waited for.
_CONNECT_S = 10.0

#: Threads of what a worker computes with, read by its libraries when they load.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

#: What Dask and Ray say of a worker that is gone; they are not loaded where they are not used.
_DEAD = frozenset(
    {
        "KilledWorker",
        "FutureCancelledError",
        "FuturesCancelledError",
        "ActorDiedError",
        "RayActorError",
        "WorkerCrashedError",
    }
)

#: A job whose worker died would be tried on three others, and one that waited for it be taken for dead with it.
_ONE_TRY = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 1.0}


class Fitter(Protocol):
    """Does one job; it is sent to other processes, and so holds nothing that cannot be pickled."""

    def __call__(self, job: Job, tell: Teller) -> Done:
        """Return how the job ended."""


@dataclass(frozen=True)
class _Ended:
    """What comes back of a worker: a teller cannot go there, so its events come here."""

    done: Done
    events: tuple[ProgressEvent, ...]


def run(
    jobs: Sequence[Job],
    fitter: Fitter,
    n_jobs: int = 1,
    backend: Backend = "loky",
    address: str = "",
    tell: Teller = lambda _event: None,
    *,
    threads: int | None = None,
) -> Generator[Done, None, None]:
    """Do jobs, the heaviest first, and yield each as it ends.

    Take it by `contextlib.closing`: workers end at once when its reader does, by Ctrl-C or an error.

    Args:
        jobs: in the order of those that weigh the same.
        fitter: does one.
        n_jobs: processes; with one on `loky` all is done in this process. A Dask cluster that runs already decides.
        backend: what runs them.
        address: of a Dask scheduler or a Ray cluster; "" starts one on this machine, of `n_jobs` processes.
        tell: hears of each round in this process, and of a worker's rounds when its job has ended.
        threads: of each process; None: its share of the cores.

    Raises:
        TrainingError: when a worker is ended from outside (names its job), or a job cannot be sent to it.
        ConfigError: when the backend is not installed.
        ServiceError: when nothing answers at the address.
    """
    ordered = sorted(jobs, key=lambda job: -job.weight)
    if backend == "loky" and (n_jobs == 1 or len(ordered) < 2):
        for job in ordered:
            yield fitter(job, tell)
        return
    if backend == "dask":
        yield from _on_dask(ordered, fitter, address, n_jobs, tell)
        return
    from nightshift.trainer.resources import threads_for

    each = threads or threads_for(n_jobs, Limits())
    with tempfile.TemporaryDirectory(prefix="nightshift-jobs-") as place, _backend(backend, address, n_jobs, each):
        # Workers on other machines do not see this folder.
        under_way = place if backend == "loky" else ""
        with _readable(Path(place), ordered):
            yield from _side_by_side(ordered, fitter, n_jobs, under_way, tell)


def _side_by_side(jobs: Sequence[Job], fitter: Fitter, n_jobs: int, under_way: str, tell: Teller) -> Iterator[Done]:
    """Yield what ends; workers are ended with the one who reads it."""
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=n_jobs, batch_size=1, pre_dispatch=n_jobs)
    if pool._backend.supports_return_generator:
        pool = Parallel(n_jobs=n_jobs, batch_size=1, pre_dispatch=n_jobs, return_as="generator_unordered")
    ended: Iterable[_Ended] = pool(delayed(_work)(fitter, job, under_way) for job in jobs)
    try:
        for one in ended:
            for event in one.events:
                tell(event)
            yield one.done
    finally:
        if close := getattr(ended, "close", None):
            with warnings.catch_warnings():
                # That jobs were left is what was wanted.
                warnings.simplefilter("ignore")
                close()


def _work(fitter: Fitter, job: Job, under_way: str) -> _Ended:
    """Do a job in a worker; a file by its name stands there meanwhile."""
    events: list[ProgressEvent] = []
    sign = Path(under_way) / job.key if under_way else None
    if sign is not None:
        sign.touch()
    try:
        return _Ended(fitter(job, events.append), tuple(events))
    finally:
        if sign is not None:
            sign.unlink(missing_ok=True)


@contextmanager
def _readable(under_way: Path, jobs: Sequence[Job]) -> Iterator[None]:
    """Turn what a pool says when a process is gone, or a job cannot get there, into one line."""
    try:
        yield
    except (NightshiftError, KeyboardInterrupt, GeneratorExit):
        raise
    except BrokenProcessPool as error:
        raise _of_broken(error, under_way, jobs) from error
    except Exception as error:
        kind = type(error).__name__
        if kind == "PicklingError":
            raise TrainingError(
                f"the model or a setting cannot be sent to another process: {_last_line(error)}.",
                hint="Use n_jobs=1, or a model that can be pickled.",
            ) from error
        if kind in _DEAD:
            raise _dead(_listed([job.key for job in jobs])) from error
        raise


def _of_broken(error: BrokenProcessPool, under_way: Path, jobs: Sequence[Job]) -> TrainingError:
    if type(error).__name__ != "TerminatedWorkerError":
        return TrainingError(
            f"a worker process cannot read its job: {_last_line(error)}.",
            hint="Use n_jobs=1, or put the model's class into a module that other processes can import.",
        )
    # The pool ends the others when it misses one, so more than one may have been at work.
    signs = {sign.name for sign in under_way.iterdir()}
    keys = [job.key for job in jobs if job.key in signs]
    return _dead(_listed(keys) if keys else "no job yet")


def _last_line(error: BaseException) -> str:
    """Return the last line of the other process's traceback, which stands there in quotes, or of the error itself."""
    lines = str(error.__cause__ or error).strip('"\n ').splitlines()
    return without_credentials(lines[-1]).rstrip(".") if lines else type(error).__name__


def _dead(what: str) -> TrainingError:
    return TrainingError(
        f"a worker process was ended from outside while it did {what}: expected an answer, got none.",
        hint="Most often the memory was used up: lower n_jobs, take fewer rows, or float32.",
    )


def _listed(keys: Sequence[str]) -> str:
    return " or ".join(keys)


@contextmanager
def _backend(backend: Backend, address: str, n_jobs: int, threads: int) -> Iterator[None]:
    """Make joblib use a backend, with a cluster of this machine where no address is given."""
    from joblib import parallel_config

    if backend == "loky":
        with parallel_config(backend="loky", inner_max_num_threads=threads):
            yield
    else:
        with _ray(address, n_jobs, threads), parallel_config(backend="ray"):
            yield


def _on_dask(jobs: Sequence[Job], fitter: Fitter, address: str, n_jobs: int, tell: Teller) -> Iterator[Done]:
    """Yield what ends on a cluster. Not by joblib, which waits for ever for a job whose worker is gone."""
    with dask_client(address, n_jobs) as client:
        # Once to each worker, not with each job.
        shared = client.scatter([fitter], broadcast=True, hash=False)[0]
        keys = {client.submit(_work, shared, job, "", pure=False): job.key for job in jobs}
        try:
            for future in importlib.import_module("distributed").as_completed(keys):
                ended = _result(future, keys[future])
                for event in ended.events:
                    tell(event)
                yield ended.done
        finally:
            client.cancel(list(keys), force=True)


def _result(future: Any, key: str) -> _Ended:
    """Return what came back of a Dask worker."""
    try:
        ended: _Ended = future.result()
    except Exception as error:
        if type(error).__name__ in _DEAD:
            raise _dead(key) from error
        raise
    return ended


@contextmanager
def dask_client(address: str, n_jobs: int) -> Iterator[Any]:
    """Yield a client of the scheduler at an address, or of one that is started here, of `n_jobs` workers.

    Raises:
        ConfigError: when Dask is not installed.
        ServiceError: when nothing answers at the address, or has no workers.
    """
    distributed = _needed("distributed", "dask", "scale")
    if not address:
        with (
            importlib.import_module("dask").config.set(_ONE_TRY),
            distributed.LocalCluster(n_workers=n_jobs, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = distributed.Client(address, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise ServiceError(
            f"no Dask scheduler answers at '{address}': {first_line(error)}.",
            hint="Start one (dask scheduler), or leave the address empty for a cluster of this machine.",
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_CONNECT_S)
        except TimeoutError:
            raise ServiceError(
                f"the Dask scheduler at '{address}' has no workers.", hint=f"Start some: dask worker {address}"
            ) from None
        yield client


@contextmanager
def _ray(address: str, n_jobs: int, threads: int) -> Iterator[None]:
    """Join a Ray cluster, or start one whose files end with it; nobody is told that it is used."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address:
        # Ray would write one into the user's home.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray = _needed("ray", "ray", "ray")
    runtime = {"env_vars": dict.fromkeys(_THREADS, str(threads))}
    with tempfile.TemporaryDirectory(prefix="nsray-") as place:
        try:
            if address:
                _reach(address)
                ray.init(address=address, log_to_driver=False, runtime_env=runtime)
            else:
                ray.init(
                    num_cpus=n_jobs,
                    include_dashboard=False,
                    log_to_driver=False,
                    _temp_dir=place,
                    runtime_env=runtime,
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise ServiceError(
                f"no Ray cluster answers at '{address or 'this machine'}': {first_line(error)}.",
                hint="Start one (ray start --head), or leave the address empty for a cluster of this machine.",
            ) from error
        try:
            importlib.import_module("ray.util.joblib").register_ray()
            yield
        finally:
            ray.shutdown()


def _reach(address: str) -> None:
    """Knock at an address: Ray itself waits for minutes.

    Raises:
        OSError: when nothing answers.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()


def _needed(module: str, backend: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(
            f"the backend '{backend}' needs {backend.capitalize()}, which is not installed.",
            hint=f"Install the extra: pip install 'nightshift[{extra}]'. Or use backend='loky'.",
        ) from None
