"""Loads, ahead of the cells of a batch, every library that their families and the stages would import on the way."""

from __future__ import annotations

import ast
import gc
import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterable, Iterator

from nightshift.plan.code import closure, module_file
from nightshift.plan.records import STAGES
from nightshift.settings import Home

logger = logging.getLogger("nightshift")

#: By which LightGBM reads a table.
_NARWHALS = (
    "narwhals.stable.v2",
    "narwhals._pandas_like.dataframe",
    "narwhals._pandas_like.namespace",
    "narwhals.stable.v2._namespace",
)
#: What libraries load only when they are used: MLflow's SQLite store, pandas' parquet, and matplotlib's renderers.
_LATE = (
    *("pyarrow.parquet", "pyarrow.dataset", "pyarrow.pandas_compat", "pandas.core.arrays.arrow.extension_types"),
    *("mlflow.tracking", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_workspace_store"),
    *("mlflow.store.model_registry.sqlalchemy_workspace_store", "sqlalchemy.dialects.sqlite", "alembic.command"),
    *("alembic.config", "tzdata"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
)
#: The same by the library that does it; AutoGluon loads torch even where it trains no network.
_LATE_OF = {
    "autogluon.tabular": ("torch", "networkx", "lightgbm", "xgboost", "catboost", *_NARWHALS),
    "prophet": ("cmdstanpy",),
}


def preload(families: Iterable[str], home: Home | None = None) -> None:
    """Import all that the cells of some families need; what cannot be imported is for the cell to tell.

    Args:
        families: by name.
        home: whose store is opened too.
    """
    # There is none yet, and looking for it would be a fifth of the time.
    gc.disable()
    roots = (*(f"nightshift.stages.{name}" for name in STAGES), *(f"nightshift.families.{name}" for name in families))
    ours = tuple(dict.fromkeys(name for root in roots for name in closure(root)))
    libraries = dict.fromkeys(name for module in ours for name in _libraries(module))
    late = (name for library in libraries for name in _LATE_OF.get(library, ()))
    for name in (*ours, *libraries, *_LATE, *late):
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            continue  # an extra's, such as a database's driver
        try:
            importlib.import_module(name)
        except Exception as error:
            logger.warning("%s could not be loaded ahead: %s", name, error)
    _warm_up()
    if home is not None:
        _open_ahead(home)
    # What is loaded stays loaded: a collection in a cell need not touch, and so copy, all of it.
    gc.collect()
    gc.freeze()
    gc.enable()


def _warm_up() -> None:
    """Do once what every cell would do for the first time: fonts, templates, and what pandera checks frames with."""
    import pandas as pd
    import pandera.pandas as pa
    from sqlalchemy.orm import configure_mappers

    from nightshift.problems.charts import draw
    from nightshift.problems.evaluation import Figure, Series
    from nightshift.tracking.report import HTML_TEMPLATE, MARKDOWN_TEMPLATE, template

    try:
        pa.DataFrameSchema({"x": pa.Column("int64", checks=[pa.Check.isin([0])])}).validate(pd.DataFrame({"x": [0]}))
        points = Series(label="x", x=[0.0, 1.0], y=[0.0, 1.0])
        draw(Figure(key="x", title="x", x_label="x", y_label="x", series=[points]))
        configure_mappers()
        for name in (HTML_TEMPLATE, MARKDOWN_TEMPLATE):
            template(name)
    except Exception as error:
        logger.warning("what cells have in common could not be made ready: %s", error)


def _open_ahead(home: Home) -> None:
    """Ask once what is the same for every cell: MLflow's database, and the commit of the code that is loaded by now."""
    from nightshift.tracking.mlflow_store import open_ahead
    from nightshift.tracking.runs import git_state

    git_state()
    try:
        open_ahead(home)
    except Exception as error:
        logger.warning("MLflow could not be opened ahead: %s", error)


def _libraries(module: str) -> Iterator[str]:
    """Yield the modules of others that a module of ours imports anywhere, its functions included."""
    path = module_file(module)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8") if path else "")):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] not in {"nightshift", *sys.stdlib_module_names})
