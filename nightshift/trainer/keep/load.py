"""Reading a saved model back: its manifest, its versions and its hashes are looked at before the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightshift.findings import Finding
from nightshift.trainer.answers import predicted, probabilities, rows_like
from nightshift.trainer.keep import joblib_file, manifest, native, save, trust
from nightshift.trainer.keep.manifest import Manifest
from nightshift.trainer.records import Values


@dataclass(frozen=True)
class TrainedModel:
    """A model that was read back.

    Attributes:
        model: takes rows like those that it was trained on.
        findings: libraries that differ by a patch.
    """

    model: Any
    manifest: Manifest
    path: Path
    findings: tuple[Finding, ...] = ()

    def predict(self, X: Any) -> Values:
        """Return classes or values `(n,)`; a frame's columns may stand in any order.

        Raises:
            TableError: for rows that do not fit; see `answers.rows_like`.
        """
        return predicted(self.model, X, self.manifest)

    def predict_proba(self, X: Any) -> Values:
        """Return probabilities `(n, classes)`.

        Raises:
            TableError: for rows that do not fit.
            AttributeError: by scikit-learn's custom, when the estimator tells none.
        """
        return probabilities(self.model, X, self.manifest)

    def to_onnx(self, X: Any, path: str | Path | None = None) -> Any:
        """Return the model as ONNX, checked on some rows; write it when a path is given.

        Args:
            X: rows like those trained on, which are not saved with a model.

        Raises:
            TableError: for rows that do not fit.
            ExportError: when it has no ONNX form, or the graph answers otherwise.
        """
        from nightshift.trainer.keep.onnx_out import exported

        return exported(self.model, rows_like(X, self.manifest), path)


def load(path: str | Path, *, trusted: bool = False, module: Any = None) -> TrainedModel:
    """Read a model that `save()` wrote.

    Args:
        path: its folder.
        trusted: that a model saved by joblib may run code; it must also have been saved in this home.
        module: class of the torch module (or of a layer of Keras) that a net was made of: a net is saved without code.

    Raises:
        BundleError: when there is no saved model, or a library has another version.
        UntrustedError: for types that are not trusted, and for joblib's files of elsewhere.
        CorruptFileError: when a file is not what was saved.
    """
    folder = Path(path).expanduser()
    told = manifest.read(folder)
    if told.layout == "joblib":
        joblib_file.require_trust(folder, trusted=trusted)
    found = manifest.check_versions(told, folder)
    manifest.verified(folder, told)
    return TrainedModel(_model(folder, told, trusted=trusted, module=module), told, folder, found)


def _model(folder: Path, told: Manifest, *, trusted: bool, module: Any) -> Any:
    if told.layout == "joblib":
        data = manifest.hashed(folder, told, joblib_file.FILE)
        return joblib_file.loads(data, folder / joblib_file.FILE, trusted=trusted)
    if told.layout == "skops":
        return trust.read(manifest.hashed(folder, told, save.SKOPS), str(folder / save.SKOPS))
    front = None
    if told.steps:
        front = trust.read(manifest.hashed(folder, told, native.FRONT), str(folder / native.FRONT))
    estimator = native.read(folder, told.kind, module)
    return native.put_together(estimator, front, told.steps, told.threshold)
