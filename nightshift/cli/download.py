"""`download`: a registered model as one file to hand on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_OK


def add_download(commands: Any) -> None:
    """Add `download`."""
    parser = add_command(
        commands,
        "download",
        "write a registered model as one file, named by what it answers and its version",
        about="Write a model's ONNX file into a folder: the champion, else the newest version, as "
        "tcn_fuel_v1.4.0.onnx. It is held against the hashes that were registered first; where the bundle is gone or "
        "altered here, DVC's copy is taken.",
        examples=(
            "nightshift download carla_synthetic tcn --to build/",
            "nightshift download carla_synthetic tcn --version 4 --variant optimised",
        ),
    )
    parser.add_argument("machine", metavar="SUBJECT", help="the machine's or vehicle's id")
    parser.add_argument("family", metavar="FAMILY", help="the model's family")
    parser.add_argument("--target", metavar="NAME", help="device class (default: pi, of a vehicle vehicle)")
    parser.add_argument("--version", type=int, metavar="N", help="another than the champion")
    parser.add_argument(
        "--variant", default="", metavar="NAME", help="a form made for the device: optimised, or dsp (default: fp32)"
    )
    parser.add_argument("--to", default=".", metavar="FOLDER", help="where it goes (default: here)")
    parser.add_argument("--force", action="store_true", help="replace another file of its name")
    parser.set_defaults(run=_download)


def _download(arguments: argparse.Namespace) -> int:
    from nightshift.cli.promote import opened
    from nightshift.cli.show import bold
    from nightshift.tracking.download import read_model
    from nightshift.tracking.text import size

    home, store, name = opened(arguments)
    found = read_model(home, store, name, arguments.version, arguments.variant)
    path, new = found.save(Path(arguments.to).expanduser(), force=arguments.force)
    standing = "champion" if found.champion else "not the champion"
    there = "" if new else ", was there already"
    print(f"{bold(str(path))}  {size(len(found.content))}, version {found.version} of {name} ({standing}){there}")
    print(f"sha256 {found.sha256}")
    return EXIT_OK
