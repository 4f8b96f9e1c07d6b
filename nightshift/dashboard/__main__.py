"""The server: `python -m nightshift.dashboard --port N`."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from nightshift.errors import ConfigError, NightshiftError, without_credentials
from nightshift.settings import SECRETS, secret, use_home

#: What open streams of logs have to end, once it is told to.
_GRACE_S = 3
#: Connections at once; whoever comes on top is told to come again. A process may have 1,024 files open on many systems.
_AT_ONCE = 500
#: Shorter ones may be a part of any word.
_SECRET_LENGTH = 8


class Shown(logging.Formatter):
    """Lines without what nobody may read: a traceback may quote an address with its password."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        values = (kept.get_secret_value() for name in SECRETS if (kept := secret(name)))
        self._secrets = [value for value in values if len(value) >= _SECRET_LENGTH]

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        said = super().format(record)
        for value in self._secrets:
            said = said.replace(value, "…")
        return without_credentials(said)


def _serve(port: int) -> None:
    home = use_home()
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        raise ConfigError("PREFECT_API_URL is not set.", hint="`nightshift up` starts the dashboard and its servers.")
    handler = logging.StreamHandler()
    handler.setFormatter(Shown())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    import uvicorn

    from nightshift.dashboard.app import create_app
    from nightshift.dashboard.config import load_config

    config = load_config(home)
    # Requests are not logged: their addresses are nobody's business. Whose headers are believed is the guard's to say.
    uvicorn.run(
        create_app(home, config, url),
        host=config.host,
        port=port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_AT_ONCE,
        timeout_graceful_shutdown=_GRACE_S,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    try:
        _serve(parser.parse_args().port)
    except NightshiftError as error:
        print(error, file=sys.stderr)  # noqa: T201 - into its log, which whoever waits for it quotes
        sys.exit(error.exit_code)
