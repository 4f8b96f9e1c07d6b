"""`nightshift-edge run|bench|verify`: what a device does with a bundle, on the base install."""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import EXIT_CELL_FAILED, EXIT_OK, BundleError, NightshiftError

if TYPE_CHECKING:
    from nightshift.edge.manifest import BundleManifest
    from nightshift.edge.rows import Rows
    from nightshift.edge.runtime import Model

Cells = list[Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.act(arguments))
    except NightshiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def predict(
    bundle: Path | str,
    rows: Path | str,
    output: Path | str | None = None,
    *,
    every_row: bool = False,
    variant: str = "",
) -> int:
    """Answer the rows of a CSV file as CSV, on the terminal or into a file, and return how many were answered.

    A forecast is made from the last row of the file alone unless `every_row`; every other model answers each row.
    `variant` names another form of the model that the bundle holds; see `Model.load`.

    Raises:
        BundleError: when the bundle or the rows cannot be used; then no file is written.
    """
    from nightshift.edge.rows import read_csv
    from nightshift.edge.runtime import Model

    model = Model.load(bundle, variant=variant)
    table = read_csv(Path(rows), model.manifest)
    n_rows = len(table.values)
    forecast = bool(model.interface.sensors)
    ends = np.arange(n_rows - 1 if forecast and not every_row else 0, n_rows)
    answers = [model.run(inputs) for inputs in model.windows(table, ends)]
    whole = {name: np.concatenate([part[name] for part in answers]) for name in answers[0]}
    lines = _forecast_lines(model, table, ends, whole) if forecast else _row_lines(model, table, ends, whole)
    with _sink(output) as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    return len(ends)


def _row_lines(model: Model, table: Rows, ends: NDArray[np.intp], answers: dict[str, NDArray[Any]]) -> Iterator[Cells]:
    """Yield one line a row: its run and time as written, then every output, spread over its columns."""
    names: list[str] = []
    columns: list[list[str]] = []
    face = model.interface
    spread = {"probability": face.classes, "score": face.members, "action": face.actions}
    for name, values in answers.items():
        flat = values.reshape(len(values), -1)
        labels = spread.get(name) or [str(i) for i in range(flat.shape[1])]
        names += [name] if flat.shape[1] == 1 and name not in spread else [f"{name}_{label}" for label in labels]
        columns += [_cells(flat[:, i]) for i in range(flat.shape[1])]
    kept = _kept(table)
    yield [*kept, *names]
    for i, row in enumerate(ends):
        yield [*(values[row] for values in kept.values()), *(column[i] for column in columns)]


def _forecast_lines(
    model: Model, table: Rows, ends: NDArray[np.intp], answers: dict[str, NDArray[Any]]
) -> Iterator[Cells]:
    """Yield one line per forecast time and sensor; times are the machine's own wall clock."""
    interface = model.interface
    kept = {name: values for name, values in _kept(table).items() if name == "run"}
    yield [*kept, "time", "sensor", *answers]
    for i, row in enumerate(ends):
        lead = [values[row] for values in kept.values()]
        origin = 0 if table.civil_s is None else int(table.civil_s[row])
        for step in range(interface.steps or 0):
            at = _at(origin, (step + 1) * (interface.step_s or 0.0))
            for k, sensor in enumerate(interface.sensors):
                yield [*lead, at, sensor, *(_cells(values[i, step, k : k + 1])[0] for values in answers.values())]


def _at(origin_s: int, ahead_s: float) -> str:
    try:
        return datetime.fromtimestamp(origin_s + round(ahead_s), UTC).replace(tzinfo=None).isoformat()
    except (ValueError, OverflowError, OSError):
        raise BundleError(
            f"the forecast ends {ahead_s:g} s after its row, which no calendar reaches.", hint="Check the row's `time`."
        ) from None


def _kept(table: Rows) -> dict[str, Sequence[str]]:
    return {name: values for name, values in (("run", table.runs), ("time", table.time)) if values}


def _cells(values: NDArray[Any]) -> list[str]:
    if np.issubdtype(values.dtype, np.integer):
        return [str(v) for v in values.tolist()]
    return ["" if np.isnan(v) else f"{v:.7g}" for v in values.tolist()]


@contextmanager
def _sink(output: Path | str | None) -> Iterator[TextIO]:
    """Give the terminal, or a file that appears only once it is whole."""
    if output is None:
        yield sys.stdout
        return
    path = Path(output)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise NightshiftError(f"{path} cannot be written: {error.strerror}.", hint="Choose another place.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _run(arguments: argparse.Namespace) -> int:
    predict(
        arguments.bundle, arguments.input, arguments.output, every_row=arguments.every_row, variant=arguments.variant
    )
    return EXIT_OK


def _bench(arguments: argparse.Namespace) -> int:
    from nightshift.edge import probe, words
    from nightshift.edge.bench import measure
    from nightshift.edge.bundle import file_of
    from nightshift.edge.runtime import Model

    start = time.perf_counter()
    model = Model.load(arguments.bundle, variant=arguments.variant)
    loaded_s = time.perf_counter() - start
    latency = measure(model, runs=arguments.runs)
    held = probe.footprint(arguments.bundle, arguments.variant)
    file = file_of(arguments.variant, model.manifest)
    print(f"model    {_name(model.manifest)}{f', {file}' if arguments.variant else ''}")
    print(f"size     {(Path(arguments.bundle) / file).stat().st_size / 1e6:.2f} MB")
    print(f"load     {loaded_s:.2f} s")
    print(f"latency  {words.latency(latency)}, {latency.runs} runs")
    print(f"memory   {words.memory(held)}")
    return EXIT_OK


def _verify(arguments: argparse.Namespace) -> int:
    """Check the bundle here, print what was found, and return a failure where the answers do not agree."""
    from nightshift.edge import check, signature, words
    from nightshift.edge.bundle import read_manifest

    found = check.check_bundle(
        arguments.bundle, architecture=arguments.architecture, runs=arguments.runs, variant=arguments.variant
    )
    if arguments.json:
        print(found.model_dump_json(indent=1))
        return EXIT_OK if found.parity.ok else EXIT_CELL_FAILED
    manifest, _ = read_manifest(Path(arguments.bundle))
    signed = "signed with this device's key" if signature.bundle_key() else "no key set here, no signature checked"
    rows = [
        ("bundle", found.bundle_id),
        ("model", _name(manifest)),
        ("files", f"{len(manifest.hashes)} as listed, {signed}"),
        *words.lines(found),
    ]
    for label, text in rows:
        print(f"{label:<11}{text}")
    return EXIT_OK if found.parity.ok else EXIT_CELL_FAILED


def _name(manifest: BundleManifest) -> str:
    return f"{manifest.subject}.{manifest.family}.{manifest.target}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nightshift-edge",
        description="Run, measure or check a bundle on a device. Exit codes: 0 done, 1 the answers do not agree "
        "(verify), 2 the bundle or the rows cannot be used.",
        epilog="Where NIGHTSHIFT_BUNDLE_KEY is set (or a file of that name in NIGHTSHIFT_SECRETS_DIR), only bundles "
        "that were signed with it are used.",
    )
    commands = parser.add_subparsers(required=True, metavar="run|bench|verify")
    run = _command(commands, "run", _run, "answer the rows of a CSV file")
    run.add_argument("--input", required=True, help="CSV with a header: the bundle's columns by name, `time`, `run`")
    run.add_argument("--output", help="write here instead of to the terminal")
    run.add_argument("--every-row", action="store_true", help="forecast from every row, not from the last alone")
    bench = _command(commands, "bench", _bench, "measure load time, latency of one row, memory and cold start")
    verify = _command(
        commands,
        "verify",
        _verify,
        "check hashes, signature and graph, compare with the training library's answers that the bundle carries, and "
        "measure latency, memory, temperature and throttling",
    )
    for command in (bench, verify):
        command.add_argument(
            "--runs",
            type=_positive,
            default=300,
            help="calls a round, of up to five (default 300)",
        )
    for command in (run, bench, verify):
        command.add_argument(
            "--variant",
            default="",
            metavar="NAME",
            help="another form that the bundle holds: optimised, or dsp (default: model.onnx)",
        )
    verify.add_argument(
        "--architecture", default="", metavar="NAME", help="of the target's devices, as aarch64; says so on another"
    )
    verify.add_argument("--json", action="store_true", help="print the whole record as JSON")
    return parser


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got '{text}'") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value


def _command(commands: Any, name: str, act: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("bundle", help="folder that holds bundle.json")
    parser.set_defaults(act=act)
    return parser


if __name__ == "__main__":
    sys.exit(main())
