"""export: the fitted model as one verified graph, with everything a device and a person need beside it.

The bundle is made in a folder of its own and renamed to `models/.staging/<cell_key>/`: it is there whole or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.dataset import Dataset
from nightshift.data.schema import TimeKind
from nightshift.data.store import open_dataset
from nightshift.edge import probe
from nightshift.edge.bench import measure
from nightshift.edge.check_rows import make_check
from nightshift.edge.faces import COLUMNS_KEY, columns_note
from nightshift.edge.manifest import (
    CARD_FILE,
    CHECK_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    SIGNATURE_FILE,
    BundleManifest,
    Fingerprints,
    Footprint,
    Latency,
    Parity,
    sha256_bytes,
)
from nightshift.edge.runtime import Model
from nightshift.edge.session import open_session
from nightshift.edge.signature import bundle_key, sign
from nightshift.edge.wire import OLDEST_RUNTIME, check_self_contained
from nightshift.errors import BundleError, ExportError
from nightshift.family import Family, Limits, RunContext
from nightshift.files import write_atomic
from nightshift.findings import Finding, cost_remedy, finding
from nightshift.graphs.parity import CasedInputs, compare
from nightshift.plan.cell import Cell
from nightshift.problems.evaluation import Evaluation, Member
from nightshift.stages import optimise
from nightshift.stages.chain import StageContext, StageResult, config_of, family_of, fitted_of, limits_of, run_context
from nightshift.stages.evaluate import read_evaluation
from nightshift.stages.model_card import model_card
from nightshift.tracking.gate import differences

_MEGABYTE = 1e6
#: Rows on which one-row latency is measured, and at most this long on the training library.
_LATENCY_ROWS = 100
_LIBRARY_CALLS, _LIBRARY_S = 10, 3.0
#: Config keys that size and latency follow.
_COST_KEYS = re.compile(
    r"(^|_)(trees|estimators|rounds?|iterations|leaf_nodes|leaves|depth|bag_folds|bag_sets|stack_levels|"
    r"reference_rows|window_rows|n_neighbors|epochs|hidden|layers|changepoints)$"
)
_PROVENANCE = ("numpy", "onnx", "onnxruntime")
_FILES = (MODEL_FILE, MANIFEST_FILE, CARD_FILE, CHECK_FILE, SIGNATURE_FILE)
_UNMEASURED = Latency(p50_ms=0, p99_ms=0, runs=0)


@dataclass(frozen=True)
class Exported:
    """A graph, and what was measured on it; `check` is the content of `check.npz`."""

    graph: bytes
    opset: int
    parity: Parity
    latency: Latency = _UNMEASURED
    footprint: Footprint | None = None
    check: bytes = b""

    @property
    def size_bytes(self) -> int:
        """Of `model.onnx`."""
        return len(self.graph)


def run(cell: Cell, ctx: StageContext) -> StageResult:
    """Export, verify, measure and stage the bundle.

    Raises:
        ExportError: when the model has no faithful graph, or the graph does not load as a device loads it.
    """
    family, data, fitted = family_of(cell), open_dataset(ctx.home, cell.subject, cell.dataset), fitted_of(cell, ctx)
    evaluation, given, limits = read_evaluation(cell, ctx), run_context(cell, ctx, "export"), limits_of(cell)
    given.step(0, 4, "graph")
    graph, opset = _graph(family, fitted, given)
    given.step(1, 4, "parity")
    inputs = family.parity_inputs(fitted, data, given)
    library = _Library(family, fitted)
    parity = compare(graph, library, inputs, family.tolerances(fitted))
    if not parity.ok:
        rejected = ctx.work(cell) / "rejected.onnx"
        write_atomic(rejected, graph)
        return _blocked(_parity_finding(parity), f"The graph is kept as {rejected.relative_to(ctx.home.root)}.", given)
    if len(graph) > limits.size_hard_mb * _MEGABYTE:
        return _blocked(_too_large(cell, evaluation, len(graph), limits), "", given)
    given.step(2, 4, "latency", rows=float(parity.rows))
    place = ctx.home.models / ".staging" / cell.key
    with _fresh_folder(place) as folder:
        write_atomic(folder / MODEL_FILE, graph)
        first = Exported(graph, opset, parity)
        _write_described(folder, _manifest(cell, data, family, fitted, evaluation, first), evaluation)
        exported = _measured(folder, first, family, fitted, inputs, library)
        write_atomic(folder / CHECK_FILE, exported.check)
        manifest = _manifest(cell, data, family, fitted, evaluation, exported)
        forms = optimise.Optimised()
        # What a policy is worth shows in closed loop alone, where forms of it would be other policies.
        if cell.target == optimise.TARGET and family.problem != "control":
            forms = optimise.run(family, fitted, data, config_of(cell), given, graph, manifest)
            manifest = _with_forms(folder, manifest, forms)
        _write_described(folder, manifest, evaluation)
        given.step(3, 4, "files")
        _copy_native(ctx.work(cell) / "native", folder / "native")
    given.note(*_remarks(cell, evaluation, exported, limits))
    files = tuple(place / name for name in (*_FILES, *forms.files))
    summary = {**_summary(exported), **forms.summary}
    return StageResult(files=files, summary=summary, findings=tuple(given.findings))


def _graph(family: Family, fitted: Any, given: RunContext) -> tuple[bytes, int]:
    model = family.export(fitted, given)
    # The graph tells its own columns: a manifest of other columns, units or order is refused where it is loaded.
    model.metadata_props.add(key=COLUMNS_KEY, value=columns_note(fitted.interface))
    graph: bytes = model.SerializeToString(deterministic=True)
    try:
        beyond = check_self_contained(graph).beyond(OLDEST_RUNTIME)
        open_session(graph)
    except BundleError as error:
        raise ExportError(f"the exported graph cannot be served: {error.what}", hint=error.hint) from error
    if beyond:
        raise ExportError(f"the exported graph is newer than onnxruntime 1.22 loads: {', '.join(beyond)}.")
    return graph, next((o.version for o in model.opset_import if not o.domain), 0)


def _with_forms(folder: Path, manifest: BundleManifest, forms: optimise.Optimised) -> BundleManifest:
    """Write the forms that are kept beside the model, and list them."""
    for name, content in forms.files.items():
        write_atomic(folder / name, content)
    hashes = {name: sha256_bytes(content) for name, content in forms.files.items()}
    return manifest.model_copy(update={"variants": forms.variants, "hashes": {**manifest.hashes, **hashes}})


def _measured(
    folder: Path, first: Exported, family: Family, fitted: Any, inputs: Mapping[str, NDArray[Any]], library: _Library
) -> Exported:
    """Measure the bundle in `folder` in a fresh process and here, and choose the rows that it is shipped with.

    Raises:
        ExportError: when a fresh process cannot serve it.
    """
    cases = inputs.case if isinstance(inputs, CasedInputs) else None
    running = probe.start(folder)
    try:
        check = make_check(inputs, library.answers([output.name for output in fitted.interface.outputs]), cases=cases)
        footprint = running.result()
    except BundleError as error:
        raise ExportError(f"the exported graph cannot be served: {error.what}", hint=error.hint) from error
    finally:
        running.stop()
    latency = _latency(Model.load(folder), family, fitted, inputs)
    return replace(first, latency=latency, footprint=footprint, check=check)


class _Library:
    """The training library, which keeps what it has answered: asked of all rows once, as parity does, in slices."""

    def __init__(self, family: Family, fitted: Any) -> None:
        self._family, self._fitted = family, fitted
        self._said: list[dict[str, NDArray[Any]]] = []

    def __call__(self, rows: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        said = self._family.predict(self._fitted, rows)
        self._said.append(said)
        return said

    def answers(self, outputs: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Return all answers so far, by output name."""
        return {name: np.concatenate([np.asarray(said[name]) for said in self._said]) for name in outputs}


def _parity_finding(parity: Parity) -> Finding:
    return finding("E001", f"On {parity.rows} rows the graph is not the model: {differences(parity)}.")


def _too_large(cell: Cell, evaluation: Evaluation, size_bytes: int, limits: Limits) -> Finding:
    return finding(
        "E004",
        f"model.onnx has {size_bytes / _MEGABYTE:.1f} MB, '{cell.target}' takes at most {limits.size_hard_mb:g} MB.",
        remedy=_remedy(cell, evaluation.members, "size"),
    )


def _blocked(found: Finding, hint: str, given: RunContext) -> StageResult:
    return StageResult(
        status="blocked",
        findings=(*given.findings, found),
        error=f"{found.code} {found.what}",
        hint=hint or found.remedy,
    )


def _remarks(cell: Cell, evaluation: Evaluation, exported: Exported, limits: Limits) -> Iterator[Finding]:
    """Yield what is above the target's wishes without being above its hard limits."""
    size_mb = exported.size_bytes / _MEGABYTE
    if size_mb > limits.size_mb:
        yield finding(
            "E002",
            f"model.onnx has {size_mb:.1f} MB, '{cell.target}' wants at most {limits.size_mb:g} MB.",
            remedy=_remedy(cell, evaluation.members, "size"),
        )
    if exported.latency.p99_ms > limits.latency_ms:
        yield finding(
            "E003",
            f"one row takes {exported.latency.p99_ms:.1f} ms (p99, here), '{cell.target}' wants at most "
            f"{limits.latency_ms:g} ms.",
            remedy=_remedy(cell, evaluation.members, "latency"),
        )
    held = exported.footprint
    if held is not None and limits.memory_mb is not None and held.memory_mb > limits.memory_mb:
        yield finding(
            "E005",
            f"a process that has loaded it and answered holds {held.memory_mb:.0f} MB, '{cell.target}' wants at most "
            f"{limits.memory_mb:g} MB.",
            remedy=_remedy(cell, evaluation.members, "size"),
        )


def _remedy(cell: Cell, members: list[Member], what: str) -> str:
    """Name the config keys to lower with their present values, and the member that costs most."""
    unit = "MB" if what == "size" else "s to predict"
    costs = {m.name: m.size_mb if what == "size" else m.predict_s for m in members if m.weight is None or m.weight > 0}
    return cost_remedy(dict(_cost_keys(cell.config.get("config", {}))), costs, unit)


def _cost_keys(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _cost_keys(value, f"{prefix}{key}.")
        elif _COST_KEYS.search(key) and isinstance(value, (int, float)) and not isinstance(value, bool) and value:
            yield f"{prefix}{key}", float(value)


class _fresh_folder:  # noqa: N801 - reads as a statement: `with _fresh_folder(place) as folder:`
    """A folder to fill; it takes its place by one rename when all went well, and is deleted otherwise."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._folder = place.with_name(f".{place.name}.{os.getpid()}")

    def __enter__(self) -> Path:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return self._folder

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        if kind is None:
            shutil.rmtree(self._place, ignore_errors=True)
            self._folder.rename(self._place)
        else:
            shutil.rmtree(self._folder, ignore_errors=True)


def _latency(model: Model, family: Family, fitted: Any, inputs: Mapping[str, NDArray[Any]]) -> Latency:
    """Measure the bundle and the training library on the same real rows, one at a time."""
    rows = {name: values[:_LATENCY_ROWS] for name, values in inputs.items()}
    graph = measure(model, rows)
    n_rows = len(next(iter(rows.values())))
    seconds: list[float] = []
    began = time.perf_counter()
    # The first call of a library loads and compiles: it is not counted.
    for call in range(_LIBRARY_CALLS + 1):
        one = {name: values[call % n_rows : call % n_rows + 1] for name, values in rows.items()}
        start = time.perf_counter()
        family.predict(fitted, one)
        seconds.append(time.perf_counter() - start)
        if time.perf_counter() - began > _LIBRARY_S and len(seconds) > 1:
            break
    return graph.model_copy(update={"library_p50_ms": float(np.median(seconds[1:])) * 1e3})


def _manifest(
    cell: Cell, data: Dataset, family: Family, fitted: Any, evaluation: Evaluation, exported: Exported
) -> BundleManifest:
    metadata = data.metadata
    head = evaluation.headline_part
    baselines = {r.who: r.metrics for r in evaluation.rows if r.kind == "baseline" and r.part == head}
    return BundleManifest(
        subject=cell.subject,
        family=cell.family,
        target=cell.target,
        problem=family.problem,
        interface=fitted.interface,
        time_kind=metadata.time_kind.value,
        time_unit=metadata.time_unit,
        sampling_s=metadata.sampling_s,
        timezone=metadata.timezone,
        trained_until=_trained_until(data, evaluation),
        label_source=metadata.label_source.value,
        metrics={r.part: r.metrics for r in evaluation.rows if r.kind == "model"},
        baselines=baselines,
        primary=evaluation.primary,
        higher_is_better=evaluation.higher_is_better,
        fingerprints=Fingerprints(
            dataset=cell.dataset, config=cell.config_fingerprint, code=cell.code, cell_key=cell.key
        ),
        hashes={
            MODEL_FILE: sha256_bytes(exported.graph),
            **({CHECK_FILE: sha256_bytes(exported.check)} if exported.check else {}),
        },
        size_bytes=exported.size_bytes,
        parity=exported.parity,
        latency=exported.latency,
        footprint=exported.footprint,
        libraries=_versions(family),
        opset=exported.opset,
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        notes=tuple(evaluation.notes),
    )


def _trained_until(data: Dataset, evaluation: Evaluation) -> str | None:
    """Return the newest time that training saw: validation chose weights and thresholds.

    A backtested model is refitted on every row before it ships.
    """
    if data.metadata.time_kind is not TimeKind.CALENDAR:
        return None
    seen = data.parts if evaluation.headline_part == "backtest" else ("train", "val")
    times = [s.last for part in seen if (s := data.metadata.parts.get(part)) and s.last]
    return max(times, default=None)


def _versions(family: Family) -> dict[str, str]:
    found = {}
    for name in sorted({*family.libraries, *_PROVENANCE}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _write_described(folder: Path, manifest: BundleManifest, evaluation: Evaluation) -> None:
    """Write card, manifest and its digests; the manifest lists the card's hash, so the card comes first."""
    card = model_card(manifest, evaluation).encode()
    write_atomic(folder / CARD_FILE, card)
    listed = manifest.model_copy(update={"hashes": {**manifest.hashes, CARD_FILE: sha256_bytes(card)}})
    raw = (listed.model_dump_json(indent=1) + "\n").encode()
    write_atomic(folder / MANIFEST_FILE, raw)
    write_atomic(folder / SIGNATURE_FILE, sign(raw, bundle_key()))


def _copy_native(source: Path, place: Path) -> None:
    """Put the training library's own files beside the graph; as links where the disk allows, since none changes."""
    shutil.copytree(source, place, copy_function=_link_or_copy)


def _link_or_copy(source: str, place: str) -> str:
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)
    return place


def _summary(exported: Exported) -> dict[str, str | int | float | bool | None]:
    return {
        "size_mb": round(exported.size_bytes / _MEGABYTE, 3),
        "parity_rows": exported.parity.rows,
        "parity_flips": exported.parity.flips,
        **{f"parity_{name}": delta for name, delta in exported.parity.max_abs.items()},
        "latency_p50_ms": exported.latency.p50_ms,
        "latency_p99_ms": exported.latency.p99_ms,
        "library_p50_ms": exported.latency.library_p50_ms,
        "memory_mb": exported.footprint.memory_mb if exported.footprint else None,
        "start_s": exported.footprint.start_s if exported.footprint else None,
        "sha256": sha256_bytes(exported.graph),
    }
