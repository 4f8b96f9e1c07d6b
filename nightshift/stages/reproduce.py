"""Trains again what an MLflow run recorded, in a home of its own, and compares figures and answers.

Data, config and seed are the recorded ones. `reproduce` uses the code that runs now; where the run recorded another,
the command first lays out the recorded commit (`commit_to_use`) and runs there. The result names what differs still.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.store import folder_of, open_dataset
from nightshift.errors import NightshiftError, ServiceError, UnknownNameError
from nightshift.plan.cell import Cell
from nightshift.plan.code import code_fingerprint
from nightshift.plan.records import STAGES
from nightshift.problems.evaluation import Evaluation
from nightshift.progress import Sink
from nightshift.settings import Home
from nightshift.stages.chain import StageContext, family_of, fitted_of, forget_fitted, run_stage
from nightshift.stages.evaluate import read_evaluation
from nightshift.tracking import runs, versioning
from nightshift.tracking.champion import answers, samples_of
from nightshift.tracking.finished import EVALUATION_FILE, read_bundle
from nightshift.tracking.mlflow_store import Store, told_apart
from nightshift.tracking.text import number

_UNTIL = STAGES[: STAGES.index("export")]

# Figures are sums over rows in double precision; what is below this is their rounding.
_RELATIVE = 1e-6
_DIGITS = 6


@dataclass(frozen=True)
class Recorded:
    """What a run recorded.

    Attributes:
        run_id: of MLflow.
        cell: its cell.
        environment: see `tracking.runs.environment`.
        evaluation: how the model was judged.
    """

    run_id: str
    cell: Cell
    environment: Mapping[str, Any]
    evaluation: Evaluation


@dataclass(frozen=True)
class Figure:
    """One metric of the model, then and now."""

    part: str
    metric: str
    then: float | None
    now: float | None

    @property
    def same(self) -> bool:
        """Whether both agree but for rounding."""
        if self.then is None or self.now is None:
            return self.then is self.now
        return math.isclose(self.then, self.now, rel_tol=_RELATIVE, abs_tol=_RELATIVE)


@dataclass(frozen=True)
class Answers:
    """One output on the test part: the recorded bundle against the new model.

    Attributes:
        output: its name.
        rows: compared.
        largest: largest |difference| of a float output; of an integer one, the share of rows that differ.
        accepted: what parity allows.
    """

    output: str
    rows: int
    largest: float
    accepted: float

    @property
    def same(self) -> bool:
        """Whether the difference is within what parity allows."""
        return self.largest <= self.accepted


@dataclass(frozen=True)
class Reproduction:
    """How a second training compares.

    Attributes:
        recorded: what was repeated.
        changed: what is another than it was: code, commit, Python, libraries.
        figures: metrics of the model.
        answers: outputs on the test part.
        seconds: wall time.
    """

    recorded: Recorded
    changed: tuple[str, ...]
    figures: tuple[Figure, ...]
    answers: tuple[Answers, ...]
    seconds: float

    @property
    def same(self) -> bool:
        """Whether figures and answers agree."""
        return all(f.same for f in self.figures) and all(a.same for a in self.answers)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        cell = self.recorded.cell
        verdict = "reproduced" if self.same else "NOT reproduced"
        yield f"{cell.name}, run {self.recorded.run_id}: {verdict} in {self.seconds:.0f} s"
        for line in self.changed:
            yield f"  changed since: {line}"
        for figure in self.figures:
            mark = "" if figure.same else "  differs"
            then, now = number(figure.then, _DIGITS), number(figure.now, _DIGITS)
            yield f"  {figure.part:<9} {figure.metric:<28} {then:>12} {now:>12}{mark}"
        for answer in self.answers:
            mark = "" if answer.same else "  differs"
            yield f"  answers   {answer.output:<28} {answer.rows} rows, largest difference {answer.largest:.3g}{mark}"


def reproduce(store: Store, recorded: Recorded, progress: Sink = lambda _event: None, threads: int = 2) -> Reproduction:
    """Train again what a run recorded and compare; nothing in the store's home changes.

    Args:
        store: where the run was recorded.
        recorded: what it recorded; see `read_recorded`.
        progress: takes progress events.
        threads: that training may use.

    Raises:
        ServiceError: when MLflow or DVC cannot be used.
        NightshiftError: when training fails.
    """
    started = time.perf_counter()
    with _scratch_home(store.home, recorded.cell) as scratch:
        ctx = StageContext(home=scratch, progress=progress, threads=threads, live=False)
        for stage in _UNTIL:
            record = run_stage(stage, recorded.cell, ctx)
            if record.status != "done":
                raise NightshiftError(f"{stage}: {record.error}", hint=record.hint)
        now = read_evaluation(recorded.cell, ctx)
        compared = _compare_answers(store, recorded, ctx)
        forget_fitted()
    return Reproduction(
        recorded=recorded,
        changed=tuple(_changes(recorded)),
        figures=tuple(_figures(recorded.evaluation, now)),
        answers=tuple(compared),
        seconds=time.perf_counter() - started,
    )


def commit_to_use(recorded: Recorded) -> str | None:
    """Return the commit whose code a run recorded, where that is other code than runs now and a checkout has git."""
    commit = recorded.environment.get("commit")
    here, _ = runs.git_state()
    return str(commit) if commit and here and code_fingerprint(recorded.cell.family) != recorded.cell.code else None


def read_recorded(store: Store, run_id: str) -> Recorded:
    """Read what a run recorded.

    Raises:
        UnknownNameError: when there is no such run; names the nearest.
        ServiceError: when it holds no cell of Nightshift's.
    """
    _find_run(store, run_id)
    try:
        cell = Cell.model_validate_json(runs.read_artifact(store, run_id, runs.CELL_FILE))
        environment = json.loads(runs.read_artifact(store, run_id, runs.ENVIRONMENT_FILE))
        evaluation = Evaluation.model_validate_json(runs.read_artifact(store, run_id, EVALUATION_FILE))
    except (ValueError, ServiceError) as error:
        raise ServiceError(f"run {run_id} holds no whole cell of Nightshift's.") from error
    return Recorded(run_id, cell.model_copy(update={"forced": ""}), environment, evaluation)


def _find_run(store: Store, run_id: str) -> None:
    from mlflow.exceptions import MlflowException

    with told_apart(store.uri):
        try:
            store.client.get_run(run_id)
            return
        except MlflowException as error:
            if str(error.error_code) not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
        experiments = [e.experiment_id for e in store.client.search_experiments()]
        known = [str(run.info.run_id) for run in store.client.search_runs(experiments, max_results=1000)]
    raise UnknownNameError("MLflow run", run_id, known)


def _changes(recorded: Recorded) -> Iterator[str]:
    now = runs.environment(recorded.cell)
    code = code_fingerprint(recorded.cell.family)
    if code != recorded.cell.code:
        commit = recorded.environment.get("commit")
        exact = f"; for an exact repetition `git checkout {commit}`" if commit else ""
        yield f"code {recorded.cell.code[:12]} -> {code[:12]}{exact}"
    if recorded.environment.get("uncommitted_changes"):
        yield "the recorded code had changes that were not committed"
    for name in ("python", "machine"):
        if recorded.environment.get(name) != now[name]:
            yield f"{name} {recorded.environment.get(name)} -> {now[name]}"
    then: Mapping[str, str] = recorded.environment.get("libraries", {})
    for name, version in now["libraries"].items():
        if then.get(name) != version:
            yield f"{name} {then.get(name, 'not recorded')} -> {version}"


def _figures(then: Evaluation, now: Evaluation) -> Iterator[Figure]:
    found = {row.part: row.metrics for row in now.rows if row.kind == "model"}
    for row in then.rows:
        if row.kind == "model":
            for metric, value in row.metrics.items():
                yield Figure(row.part, metric, value, found.get(row.part, {}).get(metric))


def _compare_answers(store: Store, recorded: Recorded, ctx: StageContext) -> list[Answers]:
    data = open_dataset(ctx.home, recorded.cell.subject, recorded.cell.dataset)
    with tempfile.TemporaryDirectory(dir=ctx.home.root) as folder:
        with told_apart(store.uri):
            bundle = Path(store.client.download_artifacts(recorded.run_id, runs.MODEL_FOLDER, folder))
            bundle_id = store.client.get_run(recorded.run_id).data.tags.get(runs.BUNDLE_ID, "")
        manifest, _ = read_bundle(bundle)
        samples = samples_of(data, manifest)
        then = answers(bundle, samples, bundle_id)
    now = family_of(recorded.cell).predict(fitted_of(recorded.cell, ctx), samples.inputs)
    accepted = manifest.parity.tolerance
    return [_difference(name, values, now[name], accepted.get(name, 0.0)) for name, values in then.items()]


def _difference(name: str, then: NDArray[Any], now: NDArray[Any], accepted: float) -> Answers:
    if then.shape != now.shape:
        return Answers(name, len(then), math.inf, accepted)
    if then.dtype.kind != "f":
        return Answers(name, len(then), float(np.mean(then != now)) if then.size else 0.0, 0.0)
    with np.errstate(invalid="ignore"):
        apart = np.abs(then.astype(np.float64) - now.astype(np.float64))
    apart[(then == now) | (np.isnan(then) & np.isnan(now))] = 0.0
    apart[np.isnan(apart)] = np.inf
    return Answers(name, len(then), float(apart.max(initial=0.0)), accepted)


@contextmanager
def _scratch_home(home: Home, cell: Cell) -> Iterator[Home]:
    """A home with the recorded dataset alone: linked where it is stored, else checked out of DVC."""
    home.tmp.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.tmp, prefix="reproduce-") as root:
        scratch = Home(Path(root))
        place = folder_of(scratch, cell.subject, cell.dataset)
        place.parent.mkdir(parents=True)
        stored = folder_of(home, cell.subject, cell.dataset)
        if stored.is_dir():
            place.symlink_to(stored)
        else:
            versioning.checkout(home, "datasets", cell.dataset, place)
        yield scratch
