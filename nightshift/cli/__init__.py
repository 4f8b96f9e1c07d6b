"""The command: `nightshift`. The composition root, which may import flows, deployments and Prefect, at use."""

from nightshift.cli.app import main

__all__ = ["main"]
