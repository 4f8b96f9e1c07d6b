"""What is loaded ahead is what the code would import, and what is not there costs nothing but time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from nightshift.settings import Home
from nightshift.stages.batch_preload import _libraries


def test_imports_within_functions_count_and_the_standard_library_does_not() -> None:
    found = set(_libraries("nightshift.tracking.mlflow_store"))
    assert "mlflow" in found
    assert not found & {"os", "sqlite3", "typing", "nightshift"}
    assert list(_libraries("nightshift.there_is_none")) == []


def test_libraries_are_loaded_and_the_store_is_open_for_forked_processes_that_share_no_connection(
    home: Home, migrated_db: Path
) -> None:
    shutil.copyfile(migrated_db, home.mlflow_db)
    code = (
        "import gc, os, sys; from nightshift.settings import use_home; place = use_home()\n"
        "from nightshift.stages.batch_preload import preload; preload(['anomaly'], place)\n"
        "wanted = {'nightshift.families.anomaly', 'nightshift.stages.register', 'pyod.models.lof', 'mlflow'}\n"
        "wanted |= {'pandera.backends.pandas.builtin_checks', 'matplotlib.backends.backend_svg'}\n"
        "assert not wanted - set(sys.modules), wanted - set(sys.modules)\n"
        "assert 'prophet' not in sys.modules and 'autogluon.tabular' not in sys.modules\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 100_000\n"
        "files = [os.path.realpath(f'/proc/self/fd/{name}') for name in os.listdir('/proc/self/fd')]\n"
        "assert str(place.mlflow_db.resolve()) not in files, files\n"
        "pid = os.fork()\n"
        "import mlflow.store.db.utils as utils; utils._verify_schema = None  # it has been looked at\n"
        "from nightshift.tracking.mlflow_store import open_store\n"
        "assert open_store(place).experiment('here' if pid else 'there')\n"
        "assert not pid or os.waitpid(pid, 0)[1] == 0\n"
        "assert not pid or open_store(place).client.get_experiment_by_name('there')\n"
    )
    environment = {**os.environ, **home.environment()}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "could not be" not in done.stderr
