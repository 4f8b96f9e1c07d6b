"""Which optional packages a command needs, said before anything fails on a missing import."""

from __future__ import annotations

from importlib.util import find_spec

from nightshift.errors import UsageError

#: extra -> one top-level module of each library whose absence means that the extra is not installed.
EXTRAS = {
    "train": ("yaml", "pandas", "pyarrow", "autogluon", "mlflow", "onnx", "jinja2", "prefect"),
    "driving": ("yaml", "gymnasium", "stable_baselines3", "optuna", "tensorboard"),
    "worker": ("prefect",),
}


def need(extra: str, command: str) -> None:
    """Check that an extra is installed.

    Raises:
        UsageError: names the extra and how to install it.
    """
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"`nightshift {command}` needs the extra '{extra}', and '{missing[0]}' is not installed.",
            hint=f"pip install 'nightshift[{extra}]' (`nightshift predict` and `nightshift-edge` need no extra).",
        )
