"""MODEL_CARD.md: what a bundle is, how good it is, and what it must not be taken for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nightshift.edge.manifest import CHECK_FILE, BundleManifest
from nightshift.graphs.parity import BATCH_SHARE
from nightshift.problems.evaluation import Evaluation
from nightshift.tracking import variants

_ANSWERS = {
    "classification": "whether it will fail within the label's horizon",
    "regression": "how much useful life is left",
    "anomaly": "whether it is behaving oddly now",
    "forecast": "what its sensors will read",
    "control": "which acceleration and steering follow its route without a collision",
}
#: Families of other groups than machines say what they answer themselves.
_OWN_ANSWERS = {
    "tcn": "how much fuel it uses",
    "lstm_ae": "whether it behaves oddly now",
    "behaviour": "what kind of driving it sees",
    "carbon": "how much CO2 it emits",
}
_TABLES = {"classifier": "which class a row is of", "regressor": "which number belongs to a row"}
_LABELS = {
    "given": "Labels were given with the data.",
    "from_rul": "Labels follow from the remaining useful life and the horizon.",
    "thresholds": "Labels were made from sensor thresholds: the model has only learnt that rule.",
    "absent": "The data has no labels.",
}


def model_card(manifest: BundleManifest, evaluation: Evaluation) -> str:
    """Return the card as Markdown."""
    return "\n".join(_lines(manifest, evaluation)) + "\n"


def _lines(manifest: BundleManifest, evaluation: Evaluation) -> Iterator[str]:
    own = {**_OWN_ANSWERS, **_TABLES}
    answer = own.get(manifest.family) or _ANSWERS.get(manifest.problem, manifest.problem)
    kind = _kind(manifest)
    yield f"# {manifest.subject}: {manifest.family} for {manifest.target}"
    yield ""
    yield f"Answers, for the {kind} `{manifest.subject}`: {answer}."
    yield f"Made on {manifest.created_at} by Nightshift from dataset `{manifest.fingerprints.dataset[:12]}`."
    if manifest.trained_until:
        yield f"Nothing later than {manifest.trained_until} was used to train it."
    if kind == "machine":
        yield _LABELS.get(manifest.label_source, "")
    yield ""
    yield from _metrics(manifest, evaluation)
    yield from _interface(manifest)
    yield from _served(manifest)
    yield from _variants(manifest)
    yield from _limits(manifest, evaluation)


def _kind(manifest: BundleManifest) -> str:
    if manifest.problem == "control":
        return "scenarios"
    if manifest.family in _TABLES:
        return "table"
    return "vehicle" if manifest.family in _OWN_ANSWERS else "machine"


def _metrics(manifest: BundleManifest, evaluation: Evaluation) -> Iterator[str]:
    """Yield the table of the model beside its baselines, on the part that counts."""
    head = evaluation.headline_part
    rows = [(r.who, r.kind, r.metrics) for r in evaluation.rows if r.part == head]
    names = list(dict.fromkeys(name for _, _, metrics in rows for name in metrics))
    better = "higher" if manifest.higher_is_better else "lower"
    yield f"## Quality on `{head}`"
    yield ""
    yield f"What counts is `{manifest.primary}` ({better} is better)."
    yield ""
    yield from _table(["", "kind", *names], [[who, kind, *_figures(metrics, names)] for who, kind, metrics in rows])
    other = {part: metrics for part, metrics in manifest.metrics.items() if part != head}
    if other:
        yield "The model on the other parts:"
        yield ""
        yield from _table(["part", *names], [[part, *_figures(metrics, names)] for part, metrics in other.items()])


def _interface(manifest: BundleManifest) -> Iterator[str]:
    face = manifest.interface
    yield "## Inputs and outputs"
    yield ""
    if face.takes == "observation":
        yield f"`observation` float32 (batch, {len(face.columns)}): what is seen now, scaled as below; nothing missing."
    else:
        yield (
            f"`window` float32 (batch, {face.window_rows}, {len(face.columns)}): rows oldest first, NaN or infinite "
            "= missing, short history padded in front with NaN."
        )
    if face.uses_time:
        yield f"`time_s` int64 (batch,): wall clock of the last row in {manifest.timezone}, in seconds as if UTC."
    yield ""
    columns = [[str(i), f"`{c.name}`", c.unit, ", ".join(c.categories)] for i, c in enumerate(face.columns)]
    yield from _table(["", "column", "unit", "categories by code"], columns)
    outputs = [[f"`{o.name}`", o.dtype, str(list(o.shape)), o.unit, o.meaning] for o in face.outputs]
    yield from _table(["output", "type", "shape", "unit", "meaning"], outputs)
    for name, value in face.thresholds.items():
        yield f"Threshold `{name}` = {value:.6g}, already applied in the graph."
    if face.thresholds:
        yield ""


def _served(manifest: BundleManifest) -> Iterator[str]:
    parity, latency = manifest.parity, manifest.latency
    deltas = ", ".join(f"`{name}` {delta:.2g}" for name, delta in parity.max_abs.items()) or "no float output"
    yield "## Served"
    yield ""
    yield f"- One ONNX file of {manifest.size_bytes / 1e6:.2f} MB, onnxruntime {manifest.oldest_onnxruntime} or newer."
    yield (
        f"- Against its training library on {parity.rows:,} rows, real and adversarial: largest difference {deltas}; "
        f"{parity.flips} labels differ."
    )
    if parity.cases:
        yield f"- Those rows: {', '.join(f'{rows:,} {name}' for name, rows in parity.cases.items())}."
    if parity.batches:
        sizes = ", ".join(f"{size:,}" for size in parity.batches)
        yield f"- The same labels, and scores to {BATCH_SHARE:g} of themselves, in batches of {sizes} rows."
    if latency.runs:
        yield f"- One row, one thread, where it was exported: p50 {latency.p50_ms:.3g} ms, p99 {latency.p99_ms:.3g} ms."
    held = manifest.footprint
    if held is not None:
        yield (
            f"- A fresh process that has loaded it and answered one row: {held.memory_mb:.0f} MB resident at most, "
            f"Python included; {held.start_s:.2g} s from its start, where it was exported."
        )
    if CHECK_FILE in manifest.hashes:
        yield f"- `{CHECK_FILE}` holds rows with the training library's answers: `nightshift-edge verify` on a device."
    yield ""
    yield "```python"
    yield "from nightshift.edge.runtime import Model"
    yield 'model = Model.load("this folder")'
    time_s = ', "time_s": time_s' if manifest.interface.uses_time else ""
    takes = manifest.interface.takes
    yield f'answer = model.predict({{"{takes}": {takes}{time_s}}})'
    yield "```"
    yield ""


def _variants(manifest: BundleManifest) -> Iterator[str]:
    if manifest.variants:
        yield "## Other forms"
        yield ""
        yield f"Quality is `{variants.metric(manifest)}`. {variants.STAND_IN}"
        yield ""
        yield from _table(list(variants.HEADER), variants.rows(manifest))


def _limits(manifest: BundleManifest, evaluation: Evaluation) -> Iterator[str]:
    yield "## Limits"
    yield ""
    if manifest.problem == "control":
        yield "- Scored in closed loop in simulation; nothing is claimed for a real vehicle, nor for other scenarios."
    else:
        of = "one table" if manifest.family in _TABLES else "one machine's data"
        yield f"- Trained on {of}; nothing is claimed for another than `{manifest.subject}`."
    yield "- The files under `native/` are the training library's own; serving needs none of them."
    for note in manifest.notes:
        yield f"- {note}"
    for found in evaluation.findings:
        yield f"- {found.code}: {found.what}"


def _figures(metrics: Mapping[str, float | None], names: list[str]) -> list[str]:
    return ["" if (value := metrics.get(name)) is None else f"{value:.4g}" for name in names]


def _table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    for row in (header, ["---"] * len(header), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""
