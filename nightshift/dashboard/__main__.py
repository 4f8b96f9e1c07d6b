"""The server: `python -m nightshift.dashboard --port N`."""

from __future__ import annotations

import argparse
import os
import sys

from nightshift.errors import NightshiftError
from nightshift.settings import use_home

_CLOSING_S = 2


def _serve(port: int) -> None:
    home = use_home()
    import uvicorn

    from nightshift.dashboard.app import create_app
    from nightshift.dashboard.config import load_config

    config = load_config(home)
    app = create_app(home, config, os.environ["PREFECT_API_URL"])
    # Open streams would keep it from ending; whoever reads one comes back by himself.
    uvicorn.run(
        app, host=config.host, port=port, log_level="warning", server_header=False, timeout_graceful_shutdown=_CLOSING_S
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    try:
        _serve(parser.parse_args().port)
    except NightshiftError as error:
        print(error, file=sys.stderr)  # noqa: T201 - into its log, which whoever waits for it quotes
        sys.exit(error.exit_code)
