"""train_estimator: any estimator on any table; search_estimator: trials of a search that another run waits for."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import State, flow
from prefect.states import Cancelled
from pydantic import Field

from nightshift.errors import InterruptedTraining
from nightshift.plan.table import TableOptions, TableOutcome
from tasks.estimator import fit_table, job_of, search_table
from tasks.version import version

File = Annotated[str, Field(title="File", examples=["tables/data.parquet"])]
Column = Annotated[str, Field(title="Target", examples=["y"])]
Model = Annotated[str, Field(title="Model", examples=["lightgbm", "random_forest", "ridge"])]
StoreKey = Annotated[str, Field(title="Store key")]


@flow(name="train-estimator", flow_run_name="{target}.{model}", persist_result=True, result_serializer="json")
def train_estimator(
    file: File, target: Column, model: Model = "lightgbm", options: TableOptions = TableOptions()
) -> TableOutcome | State[Any]:
    """Train an estimator on a table: parted without leaks, prepared in its folds, saved, logged, registered.

    Args:
        file: CSV or Parquet on the machine that trains; relative to its home.
        target: the column to be answered.
        model: a name such as lightgbm; a model in the settings takes its place.
        options: everything else.

    Returns:
        Its scores and where the model lies; a `Cancelled` state when it was stopped on request.

    Raises:
        DataError: for a file or a table that nothing can be trained on.
        UsageError: for a column or a setting that is not there.
        NightshiftError: when the training fails, or its model cannot be saved.
    """
    job = job_of(file, target, model, options)
    try:
        outcome = fit_table(job)
    except InterruptedTraining:
        return Cancelled(message="Stopped on request.")
    if outcome.registered:
        version(outcome.subject)
    return outcome


@flow(name="search-estimator", persist_result=True, result_serializer="json")
def search_estimator(
    file: File,
    target: Column,
    model: Model = "lightgbm",
    options: TableOptions = TableOptions(),
    store_key: StoreKey = "",
) -> int | State[Any]:
    """Do trials of a search beside other runs, until it has as many as it wants; who asked for them fits the best.

    Asked for by a search with a work pool. Started by hand for the same search, it helps.

    Args:
        file: CSV or Parquet on the machine that runs this; relative to its home.
        target: the column to be answered.
        model: a name such as lightgbm; a model in the settings takes its place.
        options: the search's; its storage holds the study already.
        store_key: of the table in the shared store, for a machine that has no such file; empty = none.

    Returns:
        How many trials ended here; a `Cancelled` state when it was stopped on request.

    Raises:
        ConfigError: where the study is not in the storage as seen from here, or searches otherwise.
        NightshiftError: when the table cannot be read, or trials keep failing.
    """
    job = job_of(file, target, model, options)
    try:
        return search_table(job, store_key)
    except InterruptedTraining:
        return Cancelled(message="Stopped on request.")
