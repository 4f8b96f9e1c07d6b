"""Runs a command in the settings of `NIGHTSHIFT_HOME`, as `nightshift up` would start it: in_home.py COMMAND ...

They hold Prefect, MLflow and the rest to the home, switch telemetry off, and bring the secrets of
`NIGHTSHIFT_SECRETS_DIR` along.
"""

from __future__ import annotations

import os
import sys

from nightshift.errors import NightshiftError
from nightshift.settings import use_home

if __name__ == "__main__":
    try:
        use_home()
    except NightshiftError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: the home cannot be written, {error.filename}: {error.strerror}")
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        sys.exit(f"error: {sys.argv[1]}: {error.strerror}")
