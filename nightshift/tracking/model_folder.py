"""MLflow's own folder around a bundle's graph, so that `mlflow.pyfunc` loads a registered model like any other."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.edge.manifest import MODEL_FILE, BundleManifest, Interface
from nightshift.plan.code import installed_version
from nightshift.tracking.finished import LOGGED
from nightshift.tracking.mlflow_store import quiet_imports

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

# What a device needs to run the graph, and nothing else.
_RUNTIME = ("onnxruntime", "numpy")
_CONDA, _VIRTUALENV, _REQUIREMENTS, _MLMODEL = "conda.yaml", "python_env.yaml", "requirements.txt", "MLmodel"


def write_model_folder(folder: Path, bundle: Path, manifest: BundleManifest) -> None:
    """Write the folder; the bundle's own files lie in it byte for byte.

    `mlflow.onnx.save_model` writes the same, after it has looked through every installed package for versions that
    differ from the named ones, which are those installed: a second of processor time for each model.
    """
    with quiet_imports():
        import mlflow
        import onnx
        from mlflow.models import Model
        from mlflow.pyfunc import add_to_model

    folder.mkdir(parents=True)
    for name in dict.fromkeys([*LOGGED, *manifest.hashes]):
        if (bundle / name).is_file():
            shutil.copyfile(bundle / name, folder / name)
    model = Model(signature=signature_of(manifest.interface))
    environments = {"conda_env": _CONDA, "python_env": _VIRTUALENV}
    add_to_model(model, loader_module="mlflow.onnx", data=MODEL_FILE, **environments)
    model.add_flavor(
        "onnx",
        onnx_version=onnx.__version__,
        data=MODEL_FILE,
        providers=["CPUExecutionProvider"],
        onnx_session_options=None,
        code=None,
    )
    model.model_size_bytes = manifest.size_bytes
    model.save(folder / _MLMODEL)
    needed = [f"mlflow=={mlflow.__version__}", *(f"{name}=={installed_version(name)}" for name in _RUNTIME)]
    _write_environments(folder, needed)


def signature_of(interface: Interface) -> ModelSignature:
    """Return MLflow's signature of a bundle's inputs and outputs; free dimensions are -1."""
    import numpy as np

    with quiet_imports():
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

    def tensor(name: str, dtype: str, shape: tuple[int | str, ...]) -> TensorSpec:
        return TensorSpec(np.dtype(dtype), tuple(d if isinstance(d, int) else -1 for d in shape), name)

    inputs = [tensor(name, dtype, shape) for name, (dtype, shape) in interface.inputs().items()]
    outputs = [tensor(o.name, o.dtype, o.shape) for o in interface.outputs]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _write_environments(folder: Path, needed: Sequence[str]) -> None:
    """Write what MLflow makes an environment from, by conda or by virtualenv; JSON is YAML too."""
    python = platform.python_version()
    (folder / _REQUIREMENTS).write_text("\n".join(needed), encoding="utf-8")
    conda: dict[str, Any] = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": list(needed)}],
    }
    virtualenv = {
        "python": python,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": [f"-r {_REQUIREMENTS}"],
    }
    for name, content in ((_CONDA, conda), (_VIRTUALENV, virtualenv)):
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
