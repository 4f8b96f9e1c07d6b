"""A result of `train_model` or `train_with_cv` as a run of MLflow, and of Weights & Biases where that is asked for."""

from __future__ import annotations

import json
import re
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.errors import NightshiftError, ServiceError, first_line
from nightshift.settings import Home, home
from nightshift.tracking.mlflow_store import Store, open_store, retried, told_apart
from nightshift.trainer.options import Track, described
from nightshift.trainer.results.result import CVResult, TrainResult

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from nightshift.trainer.search.run import SearchResult

Result = TrainResult | CVResult

#: Artifacts of a run.
SUMMARY_FILE, FINDINGS_FILE, PROVENANCE_FILE, SCORES_FILE = (
    "summary.txt",
    "findings.json",
    "provenance.json",
    "scores.csv",
)
TRIALS_FILE = "trials.csv"
MODEL_FOLDER, PICTURES_FOLDER = "model", "pictures"
# MLflow refuses longer values, other characters in names, and larger batches.
_MAX_VALUE, _MAX_NAME, _BATCH_PARAMS, _BATCH_METRICS = 6000, 250, 100, 900
_MAX_TAG = 5000
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")


def log_result(result: Result, track: Track) -> None:
    """Log a result; what cannot be logged is warned of, and costs no result."""
    try:
        log_run(result, track)
    except NightshiftError as error:
        warnings.warn(f"the result was not logged: {error}", stacklevel=2)


def log_run(
    result: Result, track: Track, place: Home | None = None, name: str = "", found: SearchResult | None = None
) -> str:
    """Log a result where `track` says, and return the id of its MLflow run; "" where none was asked for.

    Args:
        place: whose store; None: the home's.
        name: of the run; "" takes the estimator's.
        found: by the search that the result comes from.

    Raises:
        TransientError: when MLflow cannot be reached.
        ServiceError: when it refuses, or Weights & Biases is asked for and is not installed or refuses.
    """
    place = place or home()
    run_id = retried(lambda: _log_mlflow(open_store(place), result, track, name, found)) if track.mlflow else ""
    if track.wandb_project:
        _log_wandb(place, result, track, name)
    return run_id


def params_of(result: Result) -> dict[str, str]:
    """Return what the training was told and what it trained: settings, the estimator's parameters, the table."""
    about, settings = result.about, result.settings
    told: dict[str, Any] = {
        "estimator": about.name,
        "task": about.task,
        "rows": about.n_rows,
        "columns": len(about.columns),
        "target": about.y_name,
        "strategy": result.split.strategy,
        "seed": settings.seed,
        **described(settings),
        "model": _own_params(result.model),
    }
    return {_name(k): v[:_MAX_VALUE] for k, v in _flat(told)}


def metrics_of(result: Result) -> dict[str, float]:
    """Return every figure but those of folds and rounds: `test/f1`, `mean/f1`, `spread/f1`, seconds, memory."""
    found: dict[str, float | None] = {
        f"{part}/{name}": value for part, scores in result.scores.items() for name, value in scores.items()
    }
    cv = result if isinstance(result, CVResult) else result.cv
    if cv is not None:
        found |= {f"mean/{name}": value for name, value in cv.mean.items()}
        found |= {f"spread/{name}": value for name, value in cv.spread.items()}
    made = result.provenance
    found |= {"wall_s": made.wall_s, "peak_mb": made.peak_mb, "gpu_mb": made.gpu_mb, "fit_s": result.fitted.seconds}
    return {_name(name): float(value) for name, value in found.items() if value is not None}


def stepped_of(result: Result) -> Iterator[tuple[str, float, int]]:
    """Yield (name, figure, step) of folds (`fold/f1`, step = its number) and of rounds (`round/train_loss`)."""
    cv = result if isinstance(result, CVResult) else result.cv
    for fold in cv.folds if cv is not None else ():
        for name, value in (*fold.scores.items(), ("seconds", fold.seconds)):
            if value is not None:
                yield _name(f"fold/{name}"), float(value), fold.number
    for one in result.history:
        for name, value in one.metrics.items():
            yield _name(f"round/{name}"), float(value), one.number


def tags_of(result: Result) -> dict[str, str]:
    """Return what a run is found by: the table's fingerprint, the commit, and each finding under its code."""
    made = result.provenance
    codes = sorted({finding.code for finding in result.findings})
    tags = {
        "nightshift.data": made.data,
        "nightshift.config": made.config,
        "nightshift.findings": " ".join(codes),
        "nightshift.model": str(result.saved or ""),
        "mlflow.source.name": "nightshift",
        "mlflow.source.git.commit": made.commit or "",
        "nightshift.uncommitted_changes": str(made.uncommitted).lower() if made.commit else "",
        "mlflow.note.content": f"{result.about.name} on {result.about.n_rows:,} rows, {made.started_at}",
    }
    for code in codes:
        tags[f"finding.{code}"] = " ".join(f.what for f in result.findings if f.code == code)
    return {name: value[:_MAX_TAG] for name, value in tags.items() if value}


def write_artifacts(result: Result, folder: Path) -> None:
    """Write summary, findings, provenance, scores and pictures into a folder."""
    from nightshift.problems.charts import draw

    (folder / SUMMARY_FILE).write_text(f"{result.summary()}\n", encoding="utf-8")
    found = [finding.model_dump(mode="json") | {"why": finding.why} for finding in result.findings]
    (folder / FINDINGS_FILE).write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
    made = {**vars(result.provenance), "settings": result.settings.model_dump(mode="json")}
    (folder / PROVENANCE_FILE).write_text(json.dumps(made, indent=1, default=str), encoding="utf-8")
    result.to_frame().to_csv(folder / SCORES_FILE, index=False)
    pictures = folder / PICTURES_FOLDER
    pictures.mkdir()
    for figure in result.figures():
        (pictures / f"{_NOT_IN_NAMES.sub('_', figure.key).replace('/', '_')}.svg").write_text(
            draw(figure), encoding="utf-8"
        )


def _log_mlflow(store: Store, result: Result, track: Track, name: str, found: SearchResult | None) -> str:
    with told_apart(store.uri):
        run = store.client.create_run(
            store.experiment(track.experiment), run_name=name or result.about.name, tags=tags_of(result)
        )
        run_id = str(run.info.run_id)
        try:
            _log_all(store, run_id, result, found)
        except BaseException:
            store.client.set_terminated(run_id, status="FAILED")
            raise
        store.client.set_terminated(run_id, status="FINISHED")
    return run_id


def _log_all(store: Store, run_id: str, result: Result, found: SearchResult | None) -> None:
    from mlflow.entities import Param

    params = [Param(name, value) for name, value in params_of(result).items()]
    for at in range(0, len(params), _BATCH_PARAMS):
        store.client.log_batch(run_id, params=params[at : at + _BATCH_PARAMS])
    metrics = list(_mlflow_metrics(result))
    for at in range(0, len(metrics), _BATCH_METRICS):
        store.client.log_batch(run_id, metrics=metrics[at : at + _BATCH_METRICS])
    _log_dataset(store, run_id, result)
    store.home.tmp.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.home.tmp) as folder:
        write_artifacts(result, Path(folder))
        if found is not None:
            found.to_frame().to_csv(Path(folder) / TRIALS_FILE, index=False)
            store.client.log_metric(run_id, "search/trials", len(found.trials))
            store.client.log_metric(run_id, _name(f"search/{found.metric}"), found.score)
        store.client.log_artifacts(run_id, folder)
    if result.saved is not None:
        store.client.log_artifacts(run_id, str(result.saved), MODEL_FOLDER)


def _mlflow_metrics(result: Result) -> Iterator[Metric]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for name, value in metrics_of(result).items():
        yield Metric(name, value, now, 0)
    for name, value, step in stepped_of(result):
        yield Metric(name, value, now, step)


def _log_dataset(store: Store, run_id: str, result: Result) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    made = result.provenance
    # MLflow's digest holds 36 characters; the whole fingerprint stands in the tag.
    source = json.dumps({"reference": f"tables/{made.data}"})
    dataset = Dataset(name=result.about.y_name, digest=made.data[:12], source_type="nightshift", source=source)
    store.client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _log_wandb(place: Home, result: Result, track: Track, name: str) -> None:
    """Log to Weights & Biases as its own settings say: its server, or `WANDB_MODE=offline` into the home.

    Raises:
        ServiceError: when it is not installed, or refuses.
    """
    if find_spec("wandb") is None:
        raise ServiceError(
            "Weights & Biases is asked for, and 'wandb' is not installed.", hint="pip install 'nightshift[wandb]'"
        )
    folder = place.machinery / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import wandb

        run = wandb.init(
            project=track.wandb_project,
            name=name or result.about.name,
            config=params_of(result),
            tags=sorted({finding.code for finding in result.findings}),
            dir=str(folder),
        )
        for step_name, value, step in stepped_of(result):
            run.log({step_name: value, f"{step_name.partition('/')[0]}_number": step})
        run.summary.update(metrics_of(result))
        run.finish()
    except Exception as error:
        raise ServiceError(f"Weights & Biases refused: {first_line(error)}.") from error


def _own_params(model: Any) -> dict[str, Any]:
    """Return the estimator's parameters; of a Pipeline, those of what stands last in it."""
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    try:
        return dict(last.get_params(deep=False))
    except (AttributeError, TypeError, RuntimeError):
        return {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, str | int | float | bool) or value is None:
            yield f"{prefix}{key}", str(value)
        else:
            yield f"{prefix}{key}", json.dumps(value, default=repr)


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text)[:_MAX_NAME]
