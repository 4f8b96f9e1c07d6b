"""The forms of a model that were tried for a vehicle, as a table, as MLflow's metrics and as JSON."""

from __future__ import annotations

import json

from nightshift.edge.manifest import BundleManifest, Variant
from nightshift.tracking.text import number, size

VARIANTS_FILE = "optimise.json"
#: Columns that hold words, the last ones.
WORDS = ("for a DSP", "how")
HEADER = ("form", "val", "test", "loss on val", "loss on test", "size", "p50 ms", "p99 ms", *WORDS)
STAND_IN = (
    "Latency is that of one row on one thread of the machine that exported, which stands in for the vehicle's own. The "
    "form to serve was chosen by its loss on val, on the half of it that stopped no training; "
    '`Model.load(folder, variant="optimised")` opens it.'
)


def rows(manifest: BundleManifest) -> list[list[str]]:
    """Return the table's rows, `fp32` first; the chosen one is marked."""
    return [_row(variant) for variant in manifest.variants]


def metric(manifest: BundleManifest) -> str:
    """Return the name of the metric that the table's quality is told in."""
    return next((variant.metric for variant in manifest.variants if variant.metric), "")


def metrics(manifest: BundleManifest) -> dict[str, float | None]:
    """Return every figure as `optimise/<form>/<name>`."""
    found: dict[str, float | None] = {}
    for variant in manifest.variants:
        start, latency = f"optimise/{variant.name}", variant.latency
        found |= {f"{start}/{part}_{variant.metric}": value for part, value in variant.quality.items()}
        found[f"{start}/loss"] = variant.loss
        found[f"{start}/loss_on_test"] = variant.loss_on_test
        found[f"{start}/size_mb"] = None if variant.size_bytes is None else variant.size_bytes / 1e6
        found[f"{start}/latency_p50_ms"] = latency.p50_ms if latency else None
        found[f"{start}/latency_p99_ms"] = latency.p99_ms if latency else None
        found[f"{start}/chosen"] = float(variant.chosen)
    return found


def as_json(manifest: BundleManifest) -> str:
    """Return the forms as JSON."""
    return json.dumps([variant.model_dump() for variant in manifest.variants], indent=1, ensure_ascii=False)


def _row(variant: Variant) -> list[str]:
    latency = variant.latency
    return [
        f"{variant.name} (chosen)" if variant.chosen else variant.name,
        *("" if (value := variant.quality.get(part)) is None else number(value) for part in ("val", "test")),
        *("" if lost is None else f"{lost:.2%}" for lost in (variant.loss, variant.loss_on_test)),
        "" if variant.size_bytes is None else size(variant.size_bytes),
        f"{latency.p50_ms:.3g}" if latency else "",
        f"{latency.p99_ms:.3g}" if latency else "",
        variant.dlc,
        variant.how,
    ]
