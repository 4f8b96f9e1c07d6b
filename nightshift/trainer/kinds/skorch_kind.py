"""Torch modules and skorch nets."""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from nightshift.errors import BundleError, CorruptFileError, NightshiftError, TrainingError, first_line
from nightshift.trainer.contract import FitJob, FitReport, Wants
from nightshift.trainer.kinds import fits
from nightshift.trainer.kinds.net import NetClassifier, NetRegressor, SeededNet
from nightshift.trainer.options import Task

_FILE = "net.pt"


class SkorchKind:
    """Torch modules, their classes, and skorch nets."""

    name = "skorch"
    libraries: tuple[str, ...] = ("torch", "skorch")

    def wants(self, model: Any, task: Task) -> Wants:
        """Return what nets need: scaled numbers in single precision, and no gaps."""
        return Wants(scaled=True, refuses_nan=True, answers_gaps=True, float32=True, coded_labels=True)

    def seeded(self, model: Any, seed: int, threads: int | None, device: str) -> SeededNet:
        """Return the model and the seed, which torch is given when it is fitted.

        Raises:
            ConfigError: for a GPU that is not there.
        """
        from nightshift.trainer.kinds.skorch_net import check_device

        check_device(device)
        return SeededNet(model, seed, threads, device)

    def fit(self, model: Any, job: FitJob) -> FitReport:
        """Fit a net; goes on from its checkpoint, and ends as if it had never been cut off.

        Raises:
            TrainingError: with the first line of the library's error.
            InterruptedTraining: when asked to stop; the checkpoint holds the last whole epoch.
        """
        from nightshift.nets.device import pick, seeded
        from nightshift.trainer.kinds.skorch_net import net_of

        given = model if isinstance(model, SeededNet) else SeededNet(model, 0, None, "cpu")
        net = net_of(given.model, job.task, given.device, len(job.y))
        with ExitStack() as during:
            heard = during.enter_context(fits.hearing(net))
            during.enter_context(seeded(given.seed, pick("cuda" if str(net.device).startswith("cuda") else "cpu")))
            report = _fitted(net, given, job)
        return FitReport(report.model, report.rounds, report.best_round, heard.findings())

    def diverged(self, model: Any, job: FitJob, report: FitReport) -> str:
        """Return why the fit is of no use, "" when it is."""
        return fits.ran_away(report.model, job, report.rounds)

    def nondeterministic(self, model: Any) -> str:
        """Return the setting by which two fits may differ: a GPU, or weights that were drawn before."""
        device = str(getattr(model, "device", ""))
        if device.startswith("cuda"):
            return f"device '{device}': a GPU adds numbers up in no fixed order"
        module = getattr(model, "module", model) if not _is_module(model) else model
        if _is_module(module) and any(True for _ in module.parameters()):
            return "the module's weights were drawn where it was made; give its class to have them drawn by the seed"
        return ""

    def save_native(self, model: Any, folder: Path) -> None:
        """Write a fitted net's weights, as tensors and plain values alone."""
        from nightshift.nets import checkpoint
        from nightshift.trainer.kinds.skorch_net import Batches

        net = model.net
        meta: dict[str, Any] = {
            "net": type(net).__name__,
            "bare": net.iterator_valid is Batches,
            "columns": int(model.n_features_in_),
        }
        if isinstance(model, NetClassifier):
            classes = model.classes_
            meta |= {"classes": classes.tolist(), "dtype": classes.dtype.str}
        else:
            meta |= {"shift": float(model.shift), "scale": float(model.scale)}
        state = {name: getattr(net, f"{name}_").state_dict() for name in net._modules}
        checkpoint.save(folder / _FILE, checkpoint.Checkpoint("", len(net.history), state, meta=meta))

    def load_native(self, folder: Path, module: Any = None) -> Any:
        """Read what `save_native` wrote.

        Args:
            module: the class or an instance of the torch module, or the unfitted skorch net, that was trained.

        Raises:
            BundleError: without it, or when it is not the one that was trained.
        """
        from nightshift.nets import checkpoint

        try:
            found = checkpoint.load(folder / _FILE)
        except TrainingError as error:
            raise CorruptFileError(error.what) from error
        if found is None:
            raise BundleError(f"{folder} holds no net.", hint="Give the folder that was saved.")
        try:
            return _read(found, module)
        except BundleError:
            raise
        except (NightshiftError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            what = error.what.rstrip(".") if isinstance(error, NightshiftError) else first_line(error)
            raise BundleError(
                f"{_called(module)} is not the net that was saved: {what}.", hint="Give the module that was trained."
            ) from error


KIND = SkorchKind()


def _fitted(net: Any, given: SeededNet, job: FitJob) -> FitReport:
    from nightshift.nets.device import threads
    from nightshift.trainer.kinds import skorch_net
    from nightshift.trainer.kinds.skorch_epochs import Epochs, noticing_ctrl_c

    bare = skorch_net.is_bare(given.model)
    skorch_net.weigh_classes(net, job)
    net.set_params(verbose=0)
    net.initialize()
    rows = skorch_net.rows_of(net, job, bare=bare)
    skorch_net.stopped_by(net, rows)
    total = fits.rounds_of(job, net.max_epochs)
    patience = fits.Patience(job.stopping) if job.stopping is not None and rows.X_val is not None else None
    epochs = Epochs(job, total, patience, _keeper(net, given, job))
    net.callbacks = [*(net.callbacks or []), ("nightshift", epochs)]
    net.callbacks_ = [*net.callbacks_, ("nightshift", epochs)]
    epochs.ready(net)
    if epochs.ended:
        net.notify("on_train_begin", X=rows.X, y=rows.y)
        net.check_data(rows.X, rows.y)
    else:
        net.set_params(max_epochs=total - len(epochs.rounds))
        with noticing_ctrl_c() as pressed, threads(skorch_net.threads_for(net, rows, given.threads)):
            net.partial_fit(rows.X, rows.y)
        if pressed:
            raise KeyboardInterrupt
    best = epochs.finish(net)
    net.train_split, net.max_epochs = None, total
    model = _named(net, rows, job)
    model.n_features_in_ = rows.X.shape[1]
    return FitReport(model, tuple(epochs.rounds), best)


def _named(net: Any, rows: Any, job: FitJob) -> NetClassifier | NetRegressor:
    if job.task == "regression":
        return NetRegressor(net, rows.shift, rows.scale)
    from nightshift.trainer.kinds.skorch_net import classes_of

    return NetClassifier(net, classes_of(job))


def _keeper(net: Any, given: SeededNet, job: FitJob) -> Any:
    """Return where the state is kept: a file of the seed, as a fit that diverges is tried with others."""
    from torch.nn.parameter import is_lazy

    from nightshift.nets.checkpoint import fingerprint
    from nightshift.trainer.kinds.skorch_epochs import Keeper

    if job.checkpoint is None:
        return Keeper(None, {}, "")
    facts = {
        "training": job.fingerprint,
        "seed": given.seed,
        "rows": len(job.y),
        "batch_size": net.batch_size,
        "learning_rate": net.lr,
        "rounds": fits.rounds_of(job, net.max_epochs),
        "stopping": None if job.stopping is None else job.stopping.model_dump(),
    }
    # A counter of batch norm has no dimension, which cannot be told byte by byte.
    weights = [
        each if each.dim() else each.reshape(1) for each in net.module_.state_dict().values() if not is_lazy(each)
    ]
    path = job.checkpoint.with_name(f"{job.checkpoint.stem}-{given.seed}{job.checkpoint.suffix}")
    return Keeper(path, facts, fingerprint(facts, weights))


def _read(found: Any, module: Any) -> NetClassifier | NetRegressor:
    """Make a fitted net of saved weights.

    Raises:
        BundleError: when no module is given, or a bare one where a net was trained.
    """
    from nightshift.trainer.kinds.skorch_net import is_bare, net_of

    meta = found.meta
    wanted = "the class of the torch module" if meta["bare"] else f"the unfitted {meta['net']}"
    if module is None or (is_bare(module) and not meta["bare"]):
        raise BundleError(
            f"a net is saved without its code: expected {wanted} that was trained, got {_called(module)}.",
            hint="Give it: load(path, module=…).",
        )
    classifies = "classes" in meta
    net = net_of(module, "binary" if classifies else "regression", "cpu")
    net.set_params(verbose=0, train_split=None)
    net.initialize()
    for name in net._modules:
        getattr(net, f"{name}_").load_state_dict(found.model[name])
    if classifies:
        classes = np.array(meta["classes"], dtype=np.dtype(meta["dtype"]))
        net.classes_inferred_ = np.arange(len(classes))
        model: NetClassifier | NetRegressor = NetClassifier(net, classes)
    else:
        model = NetRegressor(net, meta["shift"], meta["scale"])
    model.n_features_in_ = meta["columns"]
    return model


def _called(module: Any) -> str:
    if module is None:
        return "none"
    return str(module.__name__) if inspect.isclass(module) else type(module).__name__


def _is_module(model: Any) -> bool:
    return hasattr(model, "state_dict") and hasattr(model, "parameters") and not inspect.isclass(model)
