"""Unity ML-Agents as a program beside this one: its config is written, it is run, and its results are brought home.

Its run looks like any other of `nightshift driving`, with `run.json`, `train.log`, `metrics.jsonl` and `status.json`;
its curves (TensorBoard events) and its ONNX go to MLflow. Nothing of ML-Agents is imported.

Source: ML-Agents toolkit, docs/Training-Configuration-File.md (names and defaults of the trainer's settings).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.driving.learn.recorder import LOG_FILE, METRICS_FILE, RUN_FILE, STATUS_FILE, metrics_line
from nightshift.driving.runs import MetricsRow, RunFile, RunFolder, RunStatus, State, stamp
from nightshift.errors import NightshiftError, UsageError
from nightshift.files import read_yaml, sha256_file, write_atomic, write_first
from nightshift.settings import Home
from nightshift.tracking.driving_runs import read_run, refuse_taken

if TYPE_CHECKING:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PROGRAM, VARIABLE = "mlagents-learn", "NIGHTSHIFT_MLAGENTS"
ALGORITHM, EXPERIMENT = "mlagents", "mlagents"
TOTAL_STEPS = 500_000
_STOP_S, _BEAT_S = 60.0, 5.0
_INSTALL = (
    "It needs a Python environment of its own, since its pins clash with this one's: `conda create -n mlagents "
    "python=3.10 && conda run -n mlagents pip install mlagents`, then set "
    f"{VARIABLE} to that environment's bin/{PROGRAM}."
)
#: Tags of ML-Agents' curves -> names of ours; all others keep their own.
_FIGURES = {
    "Environment/Cumulative Reward": "mean_reward",
    "Losses/Policy Loss": "loss",
    "Losses/Value Loss": "value_loss",
    "Policy/Entropy": "entropy",
    "Policy/Learning Rate": "learning_rate",
}


@dataclass(frozen=True)
class Asked:
    """What is to be trained.

    Attributes:
        environment: the built Unity environment.
        config: the user's trainer config; one is written where it is None.
        total_steps: of the config that is written.
        graphics: whether the environment draws.
    """

    home: Home
    environment: Path
    run_id: str
    config: Path | None = None
    total_steps: int | None = None
    num_envs: int = 1
    seed: int = 42
    resume: bool = False
    graphics: bool = False

    @property
    def results(self) -> Path:
        """Where ML-Agents writes; it adds the run's id."""
        return self.home.root / "experiments" / "mlagents"

    @property
    def folder(self) -> RunFolder:
        """Of the run."""
        return RunFolder(self.home, self.run_id)


@dataclass(frozen=True)
class Done:
    """How a training by ML-Agents ended.

    Attributes:
        rows: of figures that were brought home.
        models: ONNX files.
        mlflow_run: "" where MLflow was away; `why_not` says why.
    """

    state: State
    rows: int
    models: tuple[Path, ...]
    mlflow_run: str = ""
    why_not: str = ""


def program() -> str:
    """Return where the trainer is installed.

    Raises:
        UsageError: when it is not; says how to install it.
    """
    named = os.environ.get(VARIABLE, "")
    found = shutil.which(named or PROGRAM)
    if found is None:
        where = f"{VARIABLE} names '{named}', which is no program" if named else f"'{PROGRAM}' is not on the PATH"
        raise UsageError(f"Unity ML-Agents is not installed: {where}.", hint=_INSTALL)
    return found


def trainer_config(total_steps: int) -> dict[str, Any]:
    """Return the trainer's settings for every behaviour of an environment: PPO, as this project's own is set.

    `batch_size` is a minibatch of the update, `buffer_size` what is gathered before one.
    """
    return {
        "default_settings": {
            "trainer_type": "ppo",
            "hyperparameters": {
                "batch_size": 2048,
                "buffer_size": 20480,
                "learning_rate": 3.0e-4,
                "learning_rate_schedule": "linear",
                "beta": 5.0e-3,
                "epsilon": 0.2,
                "lambd": 0.95,
                "num_epoch": 3,
            },
            "network_settings": {"normalize": True, "hidden_units": 256, "num_layers": 2},
            "reward_signals": {"extrinsic": {"gamma": 0.99, "strength": 1.0}},
            "max_steps": total_steps,
            "time_horizon": 1000,
            "summary_freq": 10_000,
            "checkpoint_interval": 100_000,
            "keep_checkpoints": 5,
        }
    }


def command_of(asked: Asked, trainer: str, config: Path) -> list[str]:
    """Return the command line of a training."""
    named = [f"--run-id={asked.run_id}", f"--env={asked.environment}", f"--results-dir={asked.results}"]
    named += [f"--num-envs={asked.num_envs}", f"--seed={asked.seed}"]
    switches = [*([] if asked.graphics else ["--no-graphics"]), *(["--resume"] if asked.resume else [])]
    return [trainer, str(config), *named, *switches]


def run(asked: Asked, *, say: Callable[[str], None] = lambda _line: None) -> Done:
    """Run the trainer until it ends, and bring its results home.

    Ctrl-C goes to the trainer, which writes its checkpoint and its ONNX before it ends.

    Args:
        asked: what to train.
        say: told each line of the trainer.

    Raises:
        UsageError: when the trainer is not installed, a path is wrong, or the run id is taken (or, to go on, is not).
        NightshiftError: when the trainer fails; names its log.
    """
    trainer = program()
    _hold(asked)
    config = _config_of(asked)
    status = _begin(asked, config)
    try:
        with _beating(asked, status):
            code, stopped = _follow(command_of(asked, trainer, config), asked.folder.logs / LOG_FILE, say)
    except BaseException:
        _end(asked, status, "failed", "its process could not be followed", [])
        raise
    rows = list(_rows(asked))
    state: State = "stopped" if stopped else "completed" if code == 0 else "failed"
    error = f"{PROGRAM} ended with exit code {code}" if state == "failed" else ""
    _end(asked, status, state, error, rows)
    models = tuple(sorted((asked.results / asked.run_id).glob("*.onnx")))
    if state == "failed":
        raise NightshiftError(f"{error}.", hint=f"`nightshift driving logs {asked.run_id}` shows what it said.")
    try:
        return Done(state, len(rows), models, _to_mlflow(asked, config, models))
    except NightshiftError as problem:
        return Done(state, len(rows), models, why_not=f"not in MLflow: {problem.what}")


def _hold(asked: Asked) -> None:
    if not asked.environment.exists():
        raise UsageError(f"--env {asked.environment} is not there.", hint="Give the Unity environment that you built.")
    if asked.config is not None and asked.total_steps is not None:
        raise UsageError("--total-steps and --config say both how long.", hint="Set max_steps in your file.")
    if asked.num_envs < 1:
        raise UsageError(f"--num-envs is {asked.num_envs}, expected 1 or more.")
    if not asked.resume:
        refuse_taken(asked.home, asked.run_id)
        return
    if read_run(asked.home, asked.run_id).algorithm != ALGORITHM:
        raise UsageError(
            f"run '{asked.run_id}' is none of ML-Agents.", hint=f"nightshift driving resume {asked.run_id}."
        )


def _config_of(asked: Asked) -> Path:
    """Return the trainer's config: the user's, checked to be one, or one that is written."""
    kept = asked.folder.checkpoints / "trainer_config.yaml"
    if asked.config is not None:
        if not {"behaviors", "default_settings"} & set(read_yaml(asked.config)):
            raise UsageError(
                f"{asked.config.name} is no config of ML-Agents: it has neither 'behaviors' nor 'default_settings'.",
                hint="See docs/Training-Configuration-File.md of ML-Agents, or leave --config out.",
            )
        write_atomic(kept, asked.config.read_bytes())
    elif not (asked.resume and kept.is_file()):
        import yaml

        steps = asked.total_steps or TOTAL_STEPS
        write_atomic(kept, yaml.safe_dump(trainer_config(steps), sort_keys=False).encode())
    return kept


def _begin(asked: Asked, config: Path) -> RunStatus:
    """Write what the run is, and that it is at work."""
    import socket

    settings = read_yaml(config)
    file = RunFile(
        run_id=asked.run_id,
        algorithm=ALGORITHM,
        subject=asked.environment.stem,
        dataset="",
        cell="",
        config=settings,
        observation="",
        started_at=stamp(),
    )
    place = asked.folder.checkpoints / RUN_FILE
    if not write_first(place, file.model_dump_json(indent=1).encode()) and not asked.resume:
        # Begun by somebody else since it was looked for.
        refuse_taken(asked.home, asked.run_id)
    status = RunStatus(
        run_id=asked.run_id,
        algorithm=ALGORITHM,
        subject=asked.environment.stem,
        state="running",
        pid=os.getpid(),
        host=socket.gethostname(),
        total_steps=int((settings.get("default_settings") or {}).get("max_steps") or 0),
        updated_at=stamp(),
    )
    _write_status(asked, status)
    return status


def _end(asked: Asked, status: RunStatus, state: State, error: str, rows: list[MetricsRow]) -> None:
    write_atomic(asked.folder.logs / METRICS_FILE, b"".join(metrics_line(row) for row in rows))
    latest = rows[-1] if rows else None
    told = {"state": state, "error": error, "latest": latest, "step": latest.step if latest else 0}
    _write_status(asked, status.model_copy(update={**told, "updated_at": stamp()}))


@contextmanager
def _beating(asked: Asked, status: RunStatus) -> Iterator[None]:
    """Say every few seconds that the run is at work: the trainer itself may be quiet for minutes."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(_BEAT_S):
            with suppress(OSError):
                _write_status(asked, status.model_copy(update={"updated_at": stamp()}))

    thread = threading.Thread(target=beat, name="mlagents-status", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(command: list[str], log: Path, say: Callable[[str], None]) -> tuple[int, bool]:
    """Run a command, keep and pass on its lines; returns (exit code, whether it was asked to stop)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    stopped = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True
        # What Ctrl-C is to it: it saves, exports and ends.
        process.send_signal(signal.SIGINT)

    # A group of its own, so that a Ctrl-C reaches it once.
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for line in process.stdout or ():
                file.write(line)
                file.flush()
                say(line.rstrip("\n"))
            return process.wait(timeout=_STOP_S), stopped
        except subprocess.TimeoutExpired:
            say(f"{PROGRAM} has closed its output and not ended within {_STOP_S:g} s: it is killed")
            process.kill()
            return process.wait(), stopped
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if process.poll() is None:
                process.kill()


def _rows(asked: Asked) -> Iterator[MetricsRow]:
    """Yield the rows of all behaviours' curves, by step; of several behaviours each figure has its behaviour's name."""
    curves = dict(_curves(asked))
    several = len(curves) > 1
    steps: dict[int, tuple[float, dict[str, float]]] = {}
    for behaviour, events in curves.items():
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                name = _FIGURES.get(tag, tag)
                at, figures = steps.setdefault(int(event.step), (event.wall_time, {}))
                figures[f"{behaviour}/{name}" if several else name] = float(event.value)
    for step, (at, figures) in sorted(steps.items()):
        own = {name: figures.pop(name) for name in ("mean_reward", "loss") if name in figures}
        yield MetricsRow(step=step, at=stamp(at), **own, more=figures)


def _curves(asked: Asked) -> Iterator[tuple[str, EventAccumulator]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for folder in sorted({p.parent for p in (asked.results / asked.run_id).rglob("events.out.tfevents.*")}):
        # 0: all of them, where the default keeps some.
        yield folder.name, EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def _to_mlflow(asked: Asked, config: Path, models: tuple[Path, ...]) -> str:
    """Log curves, settings and ONNX as one run, and return its id.

    Raises:
        TransientError, ServiceError: when MLflow is away, or refuses.
    """
    from nightshift.tracking.driving_others import RUN
    from nightshift.tracking.mlflow_store import open_store, told_apart
    from nightshift.tracking.runs import flattened

    store = open_store(asked.home)
    with told_apart(store.uri):
        from mlflow.entities import Metric, Param

        tags = {RUN: asked.run_id, "nightshift.family": ALGORITHM, "mlflow.source.name": PROGRAM}
        tags |= {f"nightshift.sha256.{m.name}": sha256_file(m) for m in models}
        made = store.client.create_run(store.experiment(EXPERIMENT), run_name=asked.run_id, tags=tags)
        run_id = str(made.info.run_id)
        params = [Param(name[:250], value[:6000]) for name, value in flattened(read_yaml(config)).items()]
        store.client.log_batch(run_id, params=params[:100])
        points = [
            Metric(name.replace("(", "_").replace(")", "_")[:250], value, int(_moment_ms(row)), row.step)
            for row in _rows(asked)
            for name, value in _named(row).items()
        ]
        for start in range(0, len(points), 1000):
            store.client.log_batch(run_id, metrics=points[start : start + 1000])
        for path in (config, *models):
            store.client.log_artifact(run_id, str(path))
        store.client.set_terminated(run_id, status="FINISHED")
    return run_id


def _named(row: MetricsRow) -> dict[str, float]:
    own = {"mean_reward": row.mean_reward, "loss": row.loss}
    return {**{name: value for name, value in own.items() if value is not None}, **row.more}


def _moment_ms(row: MetricsRow) -> float:
    return datetime.fromisoformat(row.at).timestamp() * 1000


def _write_status(asked: Asked, status: RunStatus) -> None:
    write_atomic(asked.folder.logs / STATUS_FILE, status.model_dump_json(indent=1).encode())
