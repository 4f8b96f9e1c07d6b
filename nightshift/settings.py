"""Where everything is kept, and the environment that every process of Nightshift runs in.

`use_home()` must run before any heavy library is imported: Prefect, MLflow, DVC and matplotlib read their
locations and telemetry switches at import.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "NIGHTSHIFT_HOME"

NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}


_BESIDE = Path(__file__).resolve().parents[1] / "configs"


@dataclass(frozen=True)
class Home:
    """The folder that everything is written under; see CONTRACTS "Home"."""

    root: Path

    @property
    def data(self) -> Path:
        """Datasets: `store`, `current`, and the views for people."""
        return self.root / "data"

    @property
    def models(self) -> Path:
        """Bundles: `<family>/<subject>/<target>/v<version>`."""
        return self.root / "models"

    @property
    def reports(self) -> Path:
        """Training reports per subject."""
        return self.root / "reports"

    @property
    def configs(self) -> Path:
        """User configs; they override the packaged ones by name."""
        return self.root / "configs"

    @property
    def machinery(self) -> Path:
        """State that is not for people."""
        return self.root / ".nightshift"

    @property
    def work(self) -> Path:
        """Stage records and checkpoints, by cell key."""
        return self.machinery / "work"

    @property
    def prefect(self) -> Path:
        """Prefect's own home: database, results, profile."""
        return self.machinery / "prefect"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's SQLite store."""
        return self.machinery / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.machinery / "artifacts"

    @property
    def dvc(self) -> Path:
        """The DVC repository (without git)."""
        return self.machinery / "dvc"

    @property
    def locks(self) -> Path:
        """Lock files."""
        return self.machinery / "locks"

    @property
    def run(self) -> Path:
        """Records of the processes that `up` started."""
        return self.machinery / "run"

    @property
    def logs(self) -> Path:
        """Log files of those processes."""
        return self.machinery / "logs"

    @property
    def tmp(self) -> Path:
        """TMPDIR of every process."""
        return self.machinery / "tmp"

    @property
    def mlflow_uri(self) -> str:
        """The tracking URI: `MLFLOW_TRACKING_URI` when set, else the SQLite file."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.mlflow_db}"

    def environment(self) -> dict[str, str]:
        """Variables that hold every library to this home and switch telemetry off."""
        return {
            HOME_VARIABLE: str(self.root),
            "PREFECT_HOME": str(self.prefect),
            # With an sqlite home of its own a fresh server needs no profile; the ephemeral one is never wanted.
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "nightshift",
            # Our logger also speaks outside of flow runs, where Prefect would warn at every line.
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            "DVC_SITE_CACHE_DIR": str(self.machinery / "dvc-site"),
            # Its bars would stand between ours.
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MPLCONFIGDIR": str(self.machinery / "matplotlib"),
            "MPLBACKEND": "Agg",
            "TMPDIR": str(self.tmp),
            # OpenMP threads that wait must sleep, not spin: beside other busy processes boosting took ten times longer.
            "OMP_WAIT_POLICY": "PASSIVE",
            **NO_TELEMETRY,
        }


def checkout() -> Path | None:
    """Return the source checkout that this package runs from, or None when it is installed."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "prefect.yaml").is_file() and (root / "pyproject.toml").is_file() else None


def home() -> Home:
    """Return the home: `NIGHTSHIFT_HOME`, else the checkout, else `~/nightshift`."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Home(Path(chosen).expanduser().resolve() if chosen else checkout() or Path.home() / "nightshift")


def use_home(root: Path | None = None) -> Home:
    """Set this process's (and its children's) environment for a home, and return it.

    A value that the user set is kept only where it names a service (`PREFECT_API_URL`, `MLFLOW_TRACKING_URI`).
    """
    place = Home(root.resolve()) if root is not None else home()
    place.tmp.mkdir(parents=True, exist_ok=True)
    os.environ.update(place.environment())
    return place


def packaged_configs() -> Path:
    """Return the folder of the shipped configs: beside the packages, else the wheel's data."""
    return _BESIDE if _BESIDE.is_dir() else Path(sys.prefix) / "share" / "nightshift" / "configs"


def find_config(home: Home, kind: str, name: str) -> Path | None:
    """Return `configs/<kind>/<name>.yaml`, the user's before the shipped one; None when there is neither."""
    for folder in (home.configs, packaged_configs()):
        path = folder / kind / f"{name}.yaml"
        if path.is_file():
            return path
    return None
