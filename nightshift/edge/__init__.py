"""The device's side: opens and runs a bundle with numpy, onnxruntime and nothing else."""

import os

# onnxruntime reads this once, at its import: unset, it writes a device id to the user's cache and sends events.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
