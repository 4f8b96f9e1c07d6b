"""`dlc`: holds an ONNX file against the rules of a DSP's converter, mends what can be mended, and converts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.extras import need
from nightshift.cli.parser import add_command
from nightshift.errors import EXIT_CELL_FAILED, EXIT_OK, UsageError, first_line

if TYPE_CHECKING:
    import onnx

#: Findings of one rule that are shown; the rest is counted.
_SHOWN = 3


def add_dlc(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "dlc",
        "what a DSP's converter would say of an ONNX file, and what can be mended",
        about="Hold an ONNX file against the rules of Qualcomm's converter to DLC; exit code 0 when it is ready. "
        "A bundle of a vehicle's network holds a form that is: dsp.onnx.",
        examples=(
            "nightshift dlc models/tcn/carla_synthetic/vehicle/v1/dsp.onnx",
            "nightshift dlc model.onnx --fix mended.onnx --convert model.dlc",
        ),
    )
    parser.add_argument("file", metavar="FILE.onnx")
    parser.add_argument("--fix", metavar="OUT.onnx", help="write the file with all mended that can be")
    parser.add_argument("--convert", metavar="OUT.dlc", help="convert it where a converter is installed")
    parser.set_defaults(run=_dlc)


def _dlc(arguments: argparse.Namespace) -> int:
    need("train", "dlc")
    from nightshift.settings import use_home

    use_home()  # before onnxruntime, which would write into the user's cache
    from nightshift.graphs import dlc

    path = Path(arguments.file)
    model = _read(path)
    remarks = dlc.lint(model)
    print(f"{path.name}: {dlc.verdict(remarks)}")
    _show(remarks)
    if arguments.fix and remarks:
        path, model = _mended(model, Path(arguments.fix))
        remarks = dlc.lint(model)
        print(f"{path.name}: {dlc.verdict(remarks)}")
    if arguments.convert:
        done = dlc.convert(path, Path(arguments.convert))
        print(done.said)
        return EXIT_OK if done.file else EXIT_CELL_FAILED
    return EXIT_CELL_FAILED if remarks else EXIT_OK


def _show(remarks: list[Any]) -> None:
    from nightshift.cli.show import table

    rules: dict[str, list[Any]] = {}
    for remark in remarks:
        rules.setdefault(remark.rule, []).append(remark)
    rows = []
    for rule, found in rules.items():
        rows += [(rule, r.node, r.what, r.then, "--fix" if r.fixable else "") for r in found[:_SHOWN]]
        if len(found) > _SHOWN:
            rows.append((rule, f"and {len(found) - _SHOWN} more", "", "", ""))
    if rows:
        print(table(("rule", "node", "what", "fix or reason", ""), rows))


def _read(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", hint="Give an ONNX file.") from error
    # onnx tells a foreign operator too; the linter says it better.
    except (DecodeError, onnx.checker.ValidationError) as error:
        if isinstance(error, DecodeError) or not model.graph.node:
            raise UsageError(f"{path} is no ONNX model: {first_line(error, 200)}.") from error
    return model


def _mended(model: onnx.ModelProto, out: Path) -> tuple[Path, onnx.ModelProto]:
    from nightshift.files import write_atomic
    from nightshift.graphs.dlc_fix import fix

    mended = fix(model)
    write_atomic(out, mended.SerializeToString(deterministic=True))
    return out, mended
