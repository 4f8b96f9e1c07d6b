"""`train-table`: trains an estimator on a CSV or Parquet file of anybody's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.cli.parser import add_command
from nightshift.errors import ConfigError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from nightshift.trainer.search.run import SearchResult

#: Trials of a search that are printed.
_SHOWN = 10
#: Option -> key of the YAML file.
_KEYS = {"model": "model", "cv": "cross_validation", "balance": "balance", "seed": "random_state", "n_jobs": "n_jobs"}


def add_train_table(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "train-table",
        "train an estimator on a CSV or Parquet file",
        about="Train a model on any table: rows are parted without leaks, columns prepared, classes balanced in the "
        "train rows alone, every part scored, the model saved, the run logged in MLflow, the model registered as any "
        "other: judged beside baselines, exported to ONNX, held against the champion. Text, flags and few whole "
        "numbers in the target are classes, other numbers are values.",
        examples=(
            "nightshift train-table data.csv --target y --model lightgbm",
            "nightshift train-table data.csv --target y --model random_forest --cv 5 --balance smote",
            "nightshift train-table trips.parquet --target fuel --model ridge --groups car --times at",
            "nightshift train-table data.csv --target y --model lightgbm --set params.n_estimators=300 "
            "--set test_size=0.3",
            "nightshift train-table data.csv --target y --config train.yaml",
            "nightshift train-table data.csv --target y --model lightgbm --search 40      # again: goes on",
            "nightshift train-table data.csv --target y --model lightgbm --search 40 --pool gpu-pool --workers 4",
        ),
    )
    parser.add_argument("file", metavar="FILE", help="CSV (any separator), Parquet, or a folder of Parquet files")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="what is to be answered")
    parser.add_argument("--model", metavar="NAME", help="lightgbm, xgboost, catboost, random_forest, logistic, ridge …")
    parser.add_argument("--groups", metavar="COLUMN", help="rows of one value stay in one part; no input of the model")
    parser.add_argument("--times", metavar="COLUMN", help="what is later is judged by what was before; no input")
    parser.add_argument("--cv", type=int, metavar="N", help="folds; the model is then fitted on all but the test rows")
    parser.add_argument(
        "--balance", metavar="HOW", help="class_weight, smote, oversample, undersample or threshold (default: none)"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="YAML: model, params, test_size, cross_validation, early_stopping …"
    )
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", help="a key of such a file; params.NAME=VALUE is the model's own"
    )
    parser.add_argument(
        "--search", type=int, default=0, metavar="N", help="trials of a search over the model's parameters, in all"
    )
    parser.add_argument(
        "--space", metavar="FILE", help="YAML: parameter -> {low, high, log, step} or a list (default: what is usual)"
    )
    parser.add_argument(
        "--storage",
        default="",
        metavar="URL",
        help="of the search: sqlite:///… or postgresql://…; several may share it",
    )
    parser.add_argument(
        "--pool", default="", metavar="NAME", help="work pool whose workers do the search's trials, such as gpu-pool"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="runs on the pool that share the trials (default: 2)")
    parser.add_argument(
        "--id",
        default="",
        metavar="NAME",
        help="of the table in the registry and the run in MLflow (default: the file's)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the split and the fit (default: 42)")
    parser.add_argument("--n-jobs", type=int, metavar="N", help="processes that train folds (default: 1)")
    parser.add_argument("--run-dir", default="", metavar="FOLDER", help="keeps what has ended, to go on from")
    parser.add_argument("--resume", action="store_true", help="go on with what lies in --run-dir")
    parser.add_argument("--no-track", action="store_true", help="log nothing in MLflow, and register nothing")
    parser.add_argument("--no-register", action="store_true", help="keep the model out of the registry")
    parser.add_argument(
        "--device-class", default="server", metavar="NAME", help="that it is registered for (default: server)"
    )
    parser.set_defaults(run=_train_table)


def _train_table(arguments: argparse.Namespace) -> int:
    from nightshift.cli.extras import need

    need("train", "train-table")
    from nightshift.files import read_yaml
    from nightshift.plan.table import TableJob
    from nightshift.settings import use_home

    home = use_home()
    if not arguments.target:
        raise UsageError("--target is empty: expected the name of a column.", hint="For example --target y.")
    if arguments.search < 0 or ((arguments.space or arguments.storage) and not arguments.search):
        raise UsageError(
            f"--search is {arguments.search}: expected the number of trials wanted.", hint="For example --search 40."
        )
    if arguments.workers is not None and (arguments.workers < 1 or not arguments.pool):
        raise UsageError(
            f"--workers is {arguments.workers}: expected 1 or more, with --pool.", hint="For example --pool gpu-pool."
        )
    job = TableJob(
        file=str(Path(arguments.file).expanduser().absolute()),
        target=arguments.target,
        groups=arguments.groups,
        times=arguments.times,
        settings=asked(arguments),
        subject=arguments.id,
        track=not arguments.no_track,
        registry=not arguments.no_register,
        device_class=arguments.device_class,
        run_dir=arguments.run_dir,
        resume=arguments.resume,
        search=arguments.search,
        space=read_yaml(Path(arguments.space).expanduser()) if arguments.space else {},
        storage=arguments.storage,
        pool=arguments.pool,
        workers=arguments.workers or 2,
    )
    from deployments.search_pool import hands_of
    from nightshift.stages.estimator import train_table

    ended = train_table(home, job, hands=hands_of(home, job))
    if ended.found is not None:
        print_trials(ended.found)
    print(ended.result.summary())
    done = ended.registration
    if done.cell is not None and done.version:
        from nightshift.cli.closing import print_closing
        from nightshift.cli.land import keep_version

        keep_version(home, done.cell.subject)
        print_closing(home, done.cell, done.ending)
    if ended.outcome.run_id:
        print(f"\nMLflow run {ended.outcome.run_id}; `nightshift up` shows it.")
    for fault in ended.faults:
        raise fault
    return ended.outcome.exit_code


def print_trials(found: SearchResult) -> None:
    """Print the best trials of a search, and where it lies."""
    from nightshift.cli.show import bold, table

    names = list(dict.fromkeys(name for line in found.trials for name in line.params))
    rows = [
        (
            str(line.number),
            "done" if line.state == "complete" else line.state,
            "" if line.score is None else f"{line.score:.4f}",
            *(_shown(line.params.get(name)) for name in names),
        )
        for line in found.trials[:_SHOWN]
    ]
    print(bold(f"search {found.name}: {len(found.trials)} trials, in {found.storage}"))
    print(table(("trial", "", found.metric, *names), rows))
    print("The best of many figures is better than the truth; test, below, was scored once.\n")


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def asked(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the keys that a command line means: the file's, options over them, `--set` over these.

    Raises:
        ConfigError: for a file that cannot be read, or a `--set` that is not `key=value`.
        UnknownNameError: for a `--set` of a key that there is not.
    """
    from nightshift.cli.flags import given
    from nightshift.files import read_yaml
    from nightshift.plan.config import merge
    from nightshift.trainer.config import KEYS

    told = dict(read_yaml(Path(arguments.config).expanduser())) if arguments.config else {}
    options = {key: value for name, key in _KEYS.items() if (value := getattr(arguments, name)) is not None}
    if "balance" in options:
        told.pop("imbalance_handling", None)
    if isinstance(told.get("cross_validation"), dict) and "cross_validation" in options:
        options["cross_validation"] = {**told["cross_validation"], "folds": options["cross_validation"]}
    params = told.get("params")
    if params is not None and not isinstance(params, dict):
        raise ConfigError(f"params: expected a mapping of the model's parameters, got {params!r}.")
    over = given(arguments)
    for key in over:
        if key not in KEYS:
            raise UnknownNameError(
                "key", key, KEYS, hint=f"A parameter of the model is given as --set params.{key}=VALUE."
            )
    return merge(merge(told, options), over)
