"""Part of export where the target is a vehicle: other forms of the model, each judged and measured, the best one kept.

A family that offers `variants` gives the forms. Each is judged on windows of val's second half, by which is chosen: the
first one has stopped trainings, a pruned form's too. Its loss on test is told, and remarked where it is too large. Its
latency is that of one row on one thread here, which stands in for the vehicle's own computer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from nightshift.data.dataset import Dataset
from nightshift.edge.bench import measure
from nightshift.edge.faces import COLUMNS_KEY, columns_note
from nightshift.edge.manifest import DLC_FILE, DSP_FILE, MODEL_FILE, OPTIMISED_FILE, BundleManifest, Variant
from nightshift.edge.one_row import FILL_KEY
from nightshift.edge.runtime import Model
from nightshift.edge.session import open_session
from nightshift.edge.wire import CONTRIB_OPS, OLDEST_RUNTIME, check_self_contained
from nightshift.errors import BundleError, ExportError
from nightshift.family import Family, GraphVariant, Optimisable, RunContext
from nightshift.files import write_atomic
from nightshift.findings import Finding, finding
from nightshift.graphs import dlc
from nightshift.problems import problem as problems
from nightshift.problems.problem import Problem, Samples

TARGET = "vehicle"
#: Windows of a part that forms are judged on, at most, evenly, and how many of them are answered at once.
_JUDGED, _AT_ONCE = 2_000, 256
#: Forms this near to the fastest count as equally fast: the smallest of them is taken.
_AS_FAST = 1.05
_ROUNDS = 3
_TREES = "trees compare numbers and multiply none: there is nothing to quantise, and a DSP has no operator for them"
_NO_FORMS = "the family offers no other form"


@dataclass(frozen=True)
class Optimised:
    """What was tried.

    Attributes:
        variants: for the manifest, `fp32` first.
        files: name in the bundle -> bytes.
    """

    variants: tuple[Variant, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, str | int | float | bool | None]:
        """What the stage's record keeps."""
        chosen = next((v for v in self.variants if v.chosen), None)
        if chosen is None:
            return {}
        figures = {"optimised_loss": chosen.loss, "optimised_loss_on_test": chosen.loss_on_test}
        return {"optimised": chosen.name, **figures}


@dataclass(frozen=True)
class _Tried:
    """A form with what was found of it."""

    offer: GraphVariant
    graph: bytes
    found: Variant


def run(
    family: Family, fitted: Any, data: Dataset, config: Any, ctx: RunContext, graph: bytes, manifest: BundleManifest
) -> Optimised:
    """Try the forms of a model.

    Args:
        family: of the model.
        fitted: the model.
        data: that it was trained on.
        config: of the family.
        ctx: of the stage.
        graph: `model.onnx`.
        manifest: of that.

    Raises:
        ExportError: when a form cannot be loaded as a device loads it.
    """
    judge = _Judge(family, data, manifest)
    base = judge.tried(GraphVariant("fp32", "the model itself", onnx.load_model_from_string(graph)), graph, None)
    forms: list[_Tried] = []
    missing: list[Variant] = []
    for offer in family.variants(fitted, data, config, ctx) if isinstance(family, Optimisable) else ():
        ctx.step(2, 4, f"variant {offer.name}")
        if offer.model is None:
            missing.append(Variant(name=offer.name, how=offer.how))
        else:
            forms.append(judge.tried(offer, _bytes_of(offer, manifest), base.found))
    if not forms:
        missing.append(_no_form(graph))
    base, *forms = judge.timed([base, *forms])
    kept = _kept(base, forms, missing, config.max_quality_loss, ctx.work)
    ctx.note(*_remarks(kept.variants, config.max_quality_loss))
    return kept


def _no_form(graph: bytes) -> Variant:
    """Say why a model has one form alone."""
    trees = any(remark.rule == "tree" for remark in dlc.lint(onnx.load_model_from_string(graph)))
    return Variant(name="int8", how=f"not made: {_TREES if trees else _NO_FORMS}")


def _kept(base: _Tried, forms: list[_Tried], missing: list[Variant], max_loss: float, work: Path) -> Optimised:
    best = _best([base, *forms], max_loss)
    files: dict[str, bytes] = {}
    told: list[Variant] = []
    for tried in (base, *forms):
        found = tried.found.model_copy(update={"chosen": tried is best, "file": MODEL_FILE if tried is base else ""})
        if tried.offer.dsp:
            files[DSP_FILE] = tried.graph
            said, converted = _converted(tried.graph, work)
            files |= converted
            found = found.model_copy(update={"file": DSP_FILE, "dlc": f"{found.dlc}; {said}"})
        elif tried is best and tried is not base:
            files[OPTIMISED_FILE] = tried.graph
            found = found.model_copy(update={"file": OPTIMISED_FILE})
        told.append(found)
    return Optimised((*told, *missing), files)


def _remarks(variants: tuple[Variant, ...], max_loss: float) -> list[Finding]:
    """Say it where the form that validation has chosen loses more on test than it may."""
    chosen = next(v for v in variants if v.chosen)
    lost, now, before = chosen.loss_on_test, chosen.quality.get("test"), variants[0].quality.get("test")
    if lost is None or lost <= max_loss or now is None or before is None:
        return []
    return [
        finding(
            "E006",
            f"'{chosen.name}' was chosen on validation, where it loses {chosen.loss or 0.0:.1%}; on test its "
            f"{chosen.metric} is {now:.4g}, that of model.onnx {before:.4g}: it loses {lost:.1%}, more than "
            f"max_quality_loss allows ({max_loss:.1%}).",
        )
    ]


def _best(tried: list[_Tried], max_loss: float) -> _Tried:
    """Return the fastest form that loses no more than is allowed; the smallest of those that are as fast."""
    base = tried[0]
    fit = [t for t in tried if t is base or (not t.offer.dsp and t.found.loss is not None and t.found.loss <= max_loss)]
    fastest = min(_p50_ms(t) for t in fit)
    return min((t for t in fit if _p50_ms(t) <= fastest * _AS_FAST), key=lambda t: len(t.graph))


def _p50_ms(tried: _Tried) -> float:
    latency = tried.found.latency
    return latency.p50_ms if latency else float("inf")


def _converted(graph: bytes, work: Path) -> tuple[str, dict[str, bytes]]:
    """Convert the DSP's graph where a converter is installed; return what was said, and the file by name."""
    source, out = work / DSP_FILE, work / DLC_FILE
    write_atomic(source, graph)
    try:
        done = dlc.convert(source, out)
        return done.said, {DLC_FILE: done.file.read_bytes()} if done.file else {}
    finally:
        source.unlink(missing_ok=True)
        out.unlink(missing_ok=True)


def _bytes_of(offer: GraphVariant, manifest: BundleManifest) -> bytes:
    """Return a form as a file that tells its own columns; see `model.onnx`.

    Raises:
        ExportError: when it could not be served.
    """
    model: Any = offer.model
    del model.metadata_props[:]
    model.metadata_props.add(key=COLUMNS_KEY, value=columns_note(manifest.interface))
    if offer.fill is not None:
        model.metadata_props.add(key=FILL_KEY, value=str([round(float(v), 6) for v in offer.fill]))
    graph: bytes = model.SerializeToString(deterministic=True)
    try:
        beyond = check_self_contained(graph, CONTRIB_OPS).beyond(OLDEST_RUNTIME)
    except BundleError as error:
        raise ExportError(f"variant '{offer.name}' cannot be served: {error.what}", hint=error.hint) from error
    if beyond:
        raise ExportError(f"variant '{offer.name}' is newer than onnxruntime 1.22 loads: {', '.join(beyond)}.")
    return graph


class _Judge:
    """Judges and measures forms of one model on the same rows."""

    def __init__(self, family: Family, data: Dataset, manifest: BundleManifest) -> None:
        self._problem: Problem = problems.get(family.problem)
        self._manifest = manifest
        self._models: dict[str, Model] = {}
        window_rows = manifest.interface.window_rows
        self._val, test = (family.samples(manifest.interface, data, part) for part in ("val", "test"))
        self._samples = {"val": _some(_second_half(self._val, data, window_rows)), "test": _some(test)}

    def tried(self, offer: GraphVariant, graph: bytes, base: Variant | None) -> _Tried:
        """Judge and measure one form.

        Raises:
            ExportError: when it cannot be loaded.
        """
        try:
            model = Model(self._manifest, "", open_session(graph))
        except BundleError as error:
            raise ExportError(f"variant '{offer.name}' cannot be served: {error.what}", hint=error.hint) from error
        self._models[offer.name] = model
        quality = {part: self._figure(model, samples) for part, samples in self._samples.items()}
        if base is None and quality["val"] is None:
            # Nothing odd in that half, say: the whole part may still tell forms apart.
            self._samples["val"] = _some(self._val)
            quality["val"] = self._figure(model, self._samples["val"])
        lost = {part: self._loss(base.quality[part] if base else now, now) for part, now in quality.items()}
        found = Variant(
            name=offer.name,
            how=offer.how,
            metric=self._problem.primary,
            quality=quality,
            loss=lost["val"],
            loss_on_test=lost["test"],
            size_bytes=len(graph),
            dlc=dlc.verdict(dlc.lint(onnx.load_model_from_string(graph))),
        )
        return _Tried(replace(offer, model=None), graph, found)

    def timed(self, forms: list[_Tried]) -> list[_Tried]:
        """Measure forms in turn, round after round, and keep each one's calmest: what else runs here meets all."""
        rows = {name: values[:100] for name, values in self._samples["val"].inputs.items()}
        rounds = [[measure(self._models[tried.found.name], rows) for tried in forms] for _ in range(_ROUNDS)]
        calmest = [min(of, key=lambda latency: latency.p50_ms) for of in zip(*rounds, strict=True)]
        return [
            replace(tried, found=tried.found.model_copy(update={"latency": latency}))
            for tried, latency in zip(forms, calmest, strict=True)
        ]

    def _figure(self, model: Model, samples: Samples) -> float | None:
        """Return the problem's primary metric of a form's answers; None where it is undefined."""
        starts = range(0, len(samples.unit), _AT_ONCE)
        parts = [model.run({name: v[i : i + _AT_ONCE] for name, v in samples.inputs.items()}) for i in starts]
        answers = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        sums = np.asarray(self._problem.statistics(answers, samples).values, np.float64).sum(axis=0)
        figure = float(self._problem.from_sums(sums))
        return figure if np.isfinite(figure) else None

    def _loss(self, before: float | None, now: float | None) -> float | None:
        """Return the share of quality that was lost, below 0 for a gain; None where it is undefined."""
        if before is None or now is None:
            return None
        lost = before - now if self._problem.higher_is_better else now - before
        return lost / abs(before) if before else (0.0 if lost <= 0 else None)


def _second_half(val: Samples, data: Dataset, window_rows: int) -> Samples:
    """Return the windows of val by which no training was stopped; all of them where there is none.

    Args:
        val: windows, each with the time of its last row.
        data: that they are of.
        window_rows: of a window.
    """
    second, units = data.validation_halves()[1], data.units("val")
    own = np.setdiff1d(units[second], units[~second])
    if len(own):
        kept = np.isin(val.unit, own)
    else:
        # One trip, cut in the middle: a window of the second half begins behind the cut.
        ends = data.times_s("val")[second][window_rows - 1 :]
        kept = val.time >= ends[0] if len(ends) else np.zeros(len(val.unit), np.bool_)
    return val.select(kept) if kept.any() else val


def _some(samples: Samples) -> Samples:
    """Return every so many-th row."""
    n_rows = len(samples.unit)
    return samples if n_rows <= _JUDGED else samples.select(np.linspace(0, n_rows - 1, _JUDGED).astype(np.intp))
