"""The server: `python -m nightshift.dashboard --port N`."""

from __future__ import annotations

import argparse
import os
import sys

from nightshift.errors import NightshiftError
from nightshift.settings import use_home


def _serve(port: int) -> None:
    home = use_home()
    import uvicorn

    from nightshift.dashboard.app import create_app
    from nightshift.dashboard.config import load_config

    config = load_config(home)
    app = create_app(home, config, os.environ["PREFECT_API_URL"])
    uvicorn.run(app, host=config.host, port=port, log_level="warning", server_header=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    try:
        _serve(parser.parse_args().port)
    except NightshiftError as error:
        print(error, file=sys.stderr)  # noqa: T201 - into its log, which whoever waits for it quotes
        sys.exit(error.exit_code)
