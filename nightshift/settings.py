"""Where everything is kept, and the environment that every process of Nightshift runs in.

`use_home()` must run before any heavy library is imported: Prefect, MLflow, DVC and matplotlib read their
locations and telemetry switches at import.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from nightshift.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import SecretStr

HOME_VARIABLE = "NIGHTSHIFT_HOME"
#: Where datasets, bundles and records are kept for all machines: a folder, or `s3://bucket/prefix`.
STORE_VARIABLE = "NIGHTSHIFT_STORE_URL"
#: MLflow's database, e.g. `postgresql://user:password@host/mlflow`; a secret.
MLFLOW_DB_VARIABLE = "NIGHTSHIFT_MLFLOW_DB"
#: The database of searches' studies, of the same form; a secret too.
STUDY_DB_VARIABLE = "NIGHTSHIFT_STUDY_DB"
#: Where MLflow keeps artifacts of new experiments.
MLFLOW_ARTIFACTS_VARIABLE = "NIGHTSHIFT_MLFLOW_ARTIFACTS"
#: Who has one of them may act in the dashboard, or look; secrets.
OPERATOR_TOKEN_VARIABLE = "NIGHTSHIFT_DASHBOARD_OPERATOR_TOKEN"
VIEWER_TOKEN_VARIABLE = "NIGHTSHIFT_DASHBOARD_VIEWER_TOKEN"
#: A folder of files named like variables, as Docker and Kubernetes mount secrets.
SECRETS_VARIABLE = "NIGHTSHIFT_SECRETS_DIR"
#: Names this machine among a pool's workers; the slots of its GPU are the concurrency limit `gpu:<name>`.
WORKER_VARIABLE = "NIGHTSHIFT_WORKER"

#: Variables that a file of the secrets' folder may stand for; what the environment says comes first.
SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    MLFLOW_DB_VARIABLE,
    OPERATOR_TOKEN_VARIABLE,
    VIEWER_TOKEN_VARIABLE,
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    STUDY_DB_VARIABLE,
)

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
    def mlflow_backend(self) -> str:
        """MLflow's database: `NIGHTSHIFT_MLFLOW_DB` when set, else the SQLite file.

        It may hold a password: a process gets it by its environment (`MLFLOW_BACKEND_STORE_URI` of `mlflow server`),
        never by its command line, which everybody can read.
        """
        return _database(MLFLOW_DB_VARIABLE, self.mlflow_db)

    @property
    def studies(self) -> str:
        """The database of searches' studies: `NIGHTSHIFT_STUDY_DB` when set, else a SQLite file."""
        return _database(STUDY_DB_VARIABLE, self.root / "experiments" / "searches" / "studies.db")

    @property
    def mlflow_uri(self) -> str:
        """The tracking URI: `MLFLOW_TRACKING_URI` when set, else the database itself."""
        return os.environ.get("MLFLOW_TRACKING_URI") or self.mlflow_backend

    @property
    def mlflow_artifacts(self) -> str:
        """Where MLflow keeps artifacts of new experiments, as a URL; beside the datasets when those are shared."""
        given = os.environ.get(MLFLOW_ARTIFACTS_VARIABLE)
        return given or (f"{self.store_url}/mlflow" if self.store_url else self.artifacts.as_uri())

    @property
    def store_url(self) -> str:
        """Where datasets, bundles and records of all machines are kept; "" when this home stands alone."""
        given = os.environ.get(STORE_VARIABLE, "").rstrip("/")
        return given if not given or "://" in given else Path(given).expanduser().resolve().as_uri()

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
            # In the server's memory a restart would lose them, and a run ends itself when its slot's is gone.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            # The least that Prefect takes; a run that is silent for three of them has crashed.
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            # A minute is the default: runs that died with their server, as by a power cut, would be forgotten.
            "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P7D",
            # Artifacts of runs that `prune` has deleted go too; by default only events do.
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
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


def _database(variable: str, file: Path) -> str:
    """Return the address that a secret holds, else that of a SQLite file."""
    given = secret(variable)
    if given is None:
        return f"sqlite:///{file}"
    # Which driver a bare `postgresql:` means is SQLAlchemy's to say, and has changed; the extra brings this one.
    return re.sub("^postgres(ql)?://", "postgresql+psycopg2://", given.get_secret_value())


def checkout() -> Path | None:
    """Return the source checkout that this package runs from, or None when it is installed."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "prefect.yaml").is_file() and (root / "pyproject.toml").is_file() else None


@cache
def git_state() -> tuple[str | None, bool]:
    """Return (commit, whether files differ from it) of the checkout that runs; (None, False) without git.

    Asked once in a process: what it has loaded does not change either.
    """
    root = checkout()
    commit = _git(root, "rev-parse", "HEAD") if root else None
    if root is None or commit is None:
        return None, False
    return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))


def _git(root: Path, *arguments: str) -> str | None:
    import subprocess

    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def home() -> Home:
    """Return the home: `NIGHTSHIFT_HOME`, else the checkout, else `~/nightshift`."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Home(Path(chosen).expanduser().resolve() if chosen else checkout() or Path.home() / "nightshift")


def worker_name() -> str:
    """Return how this machine is called among a pool's workers."""
    return os.environ.get(WORKER_VARIABLE) or "local"


def secret(name: str) -> SecretStr | None:
    """Return a secret from the environment, else from the file of its name in `NIGHTSHIFT_SECRETS_DIR`.

    None where neither holds it.

    Raises:
        ConfigError: when the file is there and cannot be read.
    """
    from pydantic import SecretStr

    value = os.environ.get(name, "")
    folder = os.environ.get(SECRETS_VARIABLE)
    if not value and folder:
        try:
            value = (Path(folder).expanduser() / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            said = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(
                f"the secret {name} in {SECRETS_VARIABLE} cannot be read: {said}.",
                hint="Let the user that runs Nightshift read the file.",
            ) from None
    return SecretStr(value) if value else None


def use_home(root: Path | None = None) -> Home:
    """Set this process's (and its children's) environment for a home, and return it.

    A value that the user set is kept only where it names a service (`PREFECT_API_URL`, `MLFLOW_TRACKING_URI`).
    Libraries read their secrets from the environment: what lies in `NIGHTSHIFT_SECRETS_DIR` is put there.
    """
    place = Home(root.resolve()) if root is not None else home()
    place.tmp.mkdir(parents=True, exist_ok=True)
    os.environ.update(place.environment())
    if os.environ.get(SECRETS_VARIABLE):
        os.environ.update({name: kept.get_secret_value() for name in SECRETS if (kept := secret(name))})
    return place


def packaged_configs() -> Path:
    """Return the folder of the shipped configs: beside the packages, else the wheel's data."""
    return _BESIDE if _BESIDE.is_dir() else Path(sys.prefix) / "share" / "nightshift" / "configs"


def without_places(home: Home, text: str) -> str:
    """Return a text with files named by where they lie in the home, or among what is shipped, not on this machine."""
    if "/" not in text:
        return text
    shipped, root = packaged_configs(), home.root
    found = text if home.configs == shipped else text.replace(f"{shipped}/", "shipped configs/")
    for place in (str(root), quote(str(root))):
        found = re.sub(rf"{re.escape(place)}(?![\w-])", f"${HOME_VARIABLE}", found)
    return found


def is_own_file(address: str) -> bool:
    """Whether an address is a file of the machine that names it: no address for whoever reads it elsewhere."""
    return address.startswith(("/", "file:", "sqlite:"))


def find_config(home: Home, kind: str, name: str) -> Path | None:
    """Return `configs/<kind>/<name>.yaml`, the user's before the shipped one; None when there is neither."""
    for folder in (home.configs, packaged_configs()):
        path = folder / kind / f"{name}.yaml"
        if path.is_file():
            return path
    return None
