"""One MLflow run per cell and bundle: everything that made the model, everything that judged it, and the graph.

A run is found again by its tags, so that an attempt that was cut short is continued, not doubled.
"""

from __future__ import annotations

import json
import platform
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift import families
from nightshift.plan.cell import Cell
from nightshift.plan.code import installed_version
from nightshift.settings import git_state as git_state
from nightshift.tracking import epochs, variants
from nightshift.tracking.driving_pictures import episodes_of
from nightshift.tracking.finished import EVALUATION_FILE, Finished
from nightshift.tracking.mlflow_store import Store, told_apart
from nightshift.tracking.model_folder import write_model_folder
from nightshift.tracking.variants import VARIANTS_FILE

if TYPE_CHECKING:
    from mlflow.entities import Run

#: Names of tags, on runs and on model versions alike.
CELL_KEY, BUNDLE_ID, DATASET = "nightshift.cell_key", "nightshift.bundle_sha256", "nightshift.dataset"
COMPLETE = "nightshift.complete"

#: Artifacts of a run.
CELL_FILE, FINDINGS_FILE, ENVIRONMENT_FILE, GATE_FILE = "cell.json", "findings.json", "environment.json", "gate.json"
MODEL_FOLDER, PICTURES_FOLDER = "model", "episodes"

# MLflow refuses longer values, other characters in names, and larger batches.
_MAX_VALUE, _MAX_NAME, _BATCH_PARAMS, _BATCH_METRICS = 6000, 250, 100, 1000
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")

_ALWAYS = ("nightshift", "numpy", "onnx", "onnxruntime", "pandas")


def log_run(store: Store, finished: Finished) -> str:
    """Log a finished cell and return its run id; a run of the same bundle is continued or, when whole, kept.

    Raises:
        TransientError: when MLflow cannot be reached.
        ServiceError: when it refuses.
    """
    with told_apart(store.uri):
        experiment = store.experiment(finished.cell.subject)
        run = _find(store, experiment, finished) or _create(store, experiment, finished)
        run_id = str(run.info.run_id)
        if run.data.tags.get(COMPLETE) == "true":
            return run_id
        _log_figures(store, run, finished)
        _log_epochs(store, run, finished)
        _log_dataset(store, run_id, finished)
        with _scratch(store) as folder:
            _write_artifacts(folder, finished)
            episodes_of(store.home, finished.cell, folder / PICTURES_FOLDER)
            store.client.log_artifacts(run_id, str(folder))
        store.client.set_tag(run_id, COMPLETE, "true")
        store.client.set_terminated(run_id, status="FINISHED")
    return run_id


def log_gate(store: Store, run_id: str, decision_json: str) -> None:
    """Keep the gate's decision with the run; a later one replaces it."""
    with told_apart(store.uri):
        store.client.log_text(run_id, decision_json, GATE_FILE)


def read_artifact(store: Store, run_id: str, name: str) -> bytes:
    """Return a run's artifact.

    Raises:
        ServiceError: when the run or the artifact is not there.
        TransientError: when MLflow cannot be reached.
    """
    with told_apart(store.uri), _scratch(store) as folder:
        return Path(store.client.download_artifacts(run_id, name, str(folder))).read_bytes()


def environment(cell: Cell) -> dict[str, Any]:
    """Return what besides data and config decides a result: commit, code fingerprint, Python, library versions."""
    names = sorted({*_ALWAYS, *families.get(cell.family).libraries})
    commit, dirty = git_state()
    return {
        "code": cell.code,
        "commit": commit,
        "uncommitted_changes": dirty,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "libraries": {name: installed_version(name) for name in names},
    }


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as `a.b.c -> text`; lists as JSON."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{name}.")
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return flat


def params_of(finished: Finished) -> dict[str, str]:
    """Return all hyperparameters: the resolved config, the target's limits, and what training chose."""
    train = finished.records.get("train")
    chosen = {f"fitted.{k}": v for k, v in (train.summary if train else {}).items()}
    return {_name(k): v[:_MAX_VALUE] for k, v in flattened({**finished.cell.config, **chosen}).items()}


def metrics_of(finished: Finished) -> dict[str, float]:
    """Return every figure of the table: `test/f1` of the model, `baseline/<who>/test/f1`, `member/<who>/…`."""
    found: dict[str, float | None] = {}
    for row in finished.evaluation.rows:
        start = row.part if row.kind == "model" else f"{row.kind}/{row.who}/{row.part}"
        found |= {f"{start}/{name}": value for name, value in row.metrics.items()}
    manifest = finished.manifest
    found |= {
        "bundle/size_mb": manifest.size_bytes / 1e6,
        "bundle/latency_p50_ms": manifest.latency.p50_ms,
        "bundle/latency_p99_ms": manifest.latency.p99_ms,
        "bundle/parity_flips": float(manifest.parity.flips),
    }
    if manifest.footprint:
        found |= {"bundle/memory_mb": manifest.footprint.memory_mb, "bundle/start_s": manifest.footprint.start_s}
    found |= {f"bundle/parity_max_abs/{name}": value for name, value in manifest.parity.max_abs.items()}
    found |= variants.metrics(manifest)
    found |= {f"seconds/{stage}": record.seconds for stage, record in finished.records.items()}
    return {_name(k): float(v) for k, v in found.items() if v is not None}


def tags_of(finished: Finished) -> dict[str, str]:
    """Return what a run or a version is found by."""
    found = " ".join(sorted({f.code for f in finished.findings}))
    tags = {**tags_of_cell(finished.cell), BUNDLE_ID: finished.bundle_id, "nightshift.findings": found}
    return {k: v for k, v in tags.items() if v}


def tags_of_cell(cell: Cell) -> dict[str, str]:
    """Return what a run of a cell is found by before there is a model."""
    commit, dirty = git_state()
    tags = {
        CELL_KEY: cell.key,
        DATASET: cell.dataset,
        "nightshift.subject": cell.subject,
        "nightshift.family": cell.family,
        "nightshift.target": cell.target,
        "nightshift.config": cell.config_fingerprint,
        "nightshift.code": cell.code,
        "nightshift.version": installed_version("nightshift"),
        "nightshift.reason": cell.forced,
        "mlflow.source.git.commit": commit or "",
        "nightshift.uncommitted_changes": str(dirty).lower() if commit else "",
    }
    return {k: v for k, v in tags.items() if v}


def _find(store: Store, experiment: str, finished: Finished) -> Run | None:
    """Return the run of this bundle, else the one that has shown its training; what a crash left open is closed."""
    found = store.client.search_runs([experiment], f"tags.`{CELL_KEY}` = '{finished.cell.key}'")
    same = next((run for run in found if run.data.tags.get(BUNDLE_ID) == finished.bundle_id), None)
    if same is None:
        same = epochs.open_run(store, finished.cell)
        if same is not None and BUNDLE_ID in same.data.tags:
            same = None
        if same is not None:
            _add_tags(store, same, finished)
    for run in found:
        if run.info.status == "RUNNING" and not (same and run.info.run_id == same.info.run_id):
            store.client.set_terminated(run.info.run_id, status="KILLED")
    return same


def _add_tags(store: Store, run: Run, finished: Finished) -> None:
    from mlflow.entities import RunTag

    tags = {**tags_of(finished), **_described(finished)}
    store.client.log_batch(run.info.run_id, tags=[RunTag(k, v) for k, v in tags.items()])


def _log_epochs(store: Store, run: Run, finished: Finished) -> None:
    known = epochs.sent(store, run)
    left = [e for n, e in epochs.told(store.home, finished.cell).items() if n not in known]
    epochs.log(store, str(run.info.run_id), left)


def _create(store: Store, experiment: str, finished: Finished) -> Run:
    tags = {**tags_of(finished), **_described(finished)}
    return store.client.create_run(experiment, run_name=finished.cell.name, tags=tags)


def _described(finished: Finished) -> dict[str, str]:
    """Return what people read of a run."""
    train = finished.records.get("train")
    note = f"{finished.cell.name}, trained {train.started_at}" if train else finished.cell.name
    return {"mlflow.note.content": note, "mlflow.source.name": "nightshift"}


def _log_figures(store: Store, run: Run, finished: Finished) -> None:
    """Log parameters and metrics in as few calls as MLflow allows; logging a parameter twice changes nothing."""
    from mlflow.entities import Metric, Param

    run_id, now = str(run.info.run_id), int(time.time() * 1000)
    params = [Param(k, v) for k, v in params_of(finished).items()]
    metrics = [Metric(k, v, now, 0) for k, v in metrics_of(finished).items() if k not in run.data.metrics]
    while params or metrics:
        some, params = params[:_BATCH_PARAMS], params[_BATCH_PARAMS:]
        room = _BATCH_METRICS - len(some)
        store.client.log_batch(run_id, metrics=metrics[:room], params=some)
        metrics = metrics[room:]


def _log_dataset(store: Store, run_id: str, finished: Finished) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    cell = finished.cell
    source = json.dumps({"reference": f"datasets/{cell.subject}/{cell.dataset}"})
    # MLflow's digest holds 36 characters; the whole fingerprint stands in the tag.
    dataset = Dataset(name=cell.subject, digest=cell.dataset[:12], source_type="nightshift", source=source)
    store.client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _write_artifacts(folder: Path, finished: Finished) -> None:
    (folder / CELL_FILE).write_text(finished.cell.model_dump_json(indent=1), encoding="utf-8")
    (folder / EVALUATION_FILE).write_text(finished.evaluation.model_dump_json(), encoding="utf-8")
    (folder / ENVIRONMENT_FILE).write_text(json.dumps(environment(finished.cell), indent=1), encoding="utf-8")
    findings = [f.model_dump(mode="json") | {"why": f.why} for f in finished.findings]
    (folder / FINDINGS_FILE).write_text(json.dumps(findings, indent=1, ensure_ascii=False), encoding="utf-8")
    if finished.manifest.variants:
        (folder / VARIANTS_FILE).write_text(variants.as_json(finished.manifest), encoding="utf-8")
    write_model_folder(folder / MODEL_FOLDER, finished.bundle, finished.manifest)


@contextmanager
def _scratch(store: Store) -> Iterator[Path]:
    store.home.tmp.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.home.tmp) as folder:
        yield Path(folder)


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text)[:_MAX_NAME]
