"""What is loaded ahead is what the code would import, and what is not there costs nothing but time."""

from __future__ import annotations

import subprocess
import sys

from nightshift.stages.batch_preload import _libraries


def test_imports_within_functions_count_and_the_standard_library_does_not() -> None:
    found = set(_libraries("nightshift.tracking.mlflow_store"))
    assert "mlflow" in found
    assert not found & {"os", "sqlite3", "typing", "nightshift"}
    assert list(_libraries("nightshift.there_is_none")) == []


def test_a_family_and_its_libraries_are_loaded() -> None:
    code = (
        "import sys; from nightshift.stages.batch_preload import preload; preload(['anomaly'])\n"
        "wanted = {'nightshift.families.anomaly', 'nightshift.stages.register', 'pyod.models.lof', 'mlflow'}\n"
        "wanted |= {'pandera.backends.pandas.builtin_checks', 'matplotlib.backends.backend_svg'}\n"
        "assert not wanted - set(sys.modules), wanted - set(sys.modules)\n"
        "assert 'prophet' not in sys.modules and 'autogluon.tabular' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "could not be" not in done.stderr
