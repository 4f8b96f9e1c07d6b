"""Which split fits the data, and why."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.errors import TableError, UsageError
from nightshift.findings import Finding, Severity, finding
from nightshift.trainer.contract import Choice, Column, Table
from nightshift.trainer.options import Split, Strategy
from nightshift.trainer.split.cut import cannot_stratify
from nightshift.trainer.split.held import Held, held_together
from nightshift.trainer.split.rows import groups_of, times_of

#: Rows below which a part of them says little.
TINY = 50
_STRATIFIED = ("stratified", "grouped_stratified")
_GROUPED = ("grouped", "grouped_stratified")


def choose(table: Table, split: Split, columns: Sequence[Column]) -> Choice:
    """Decide how rows are parted: as told, or by what the data are.

    In this order: groups that were given, times that were given, rows that were not to be shuffled, a column that
    holds rows together (see `held_together`; T023 names it), classes, and rows drawn at random.

    Raises:
        UsageError: for settings that contradict each other.
        TableError: for a strategy that needs groups, times or classes that are not there.
    """
    _refuse(table, split)
    choice = _auto(table, split, columns) if split.strategy == "auto" else _asked(table, split, columns)
    if choice.strategy in _GROUPED:
        groups_of(table, choice)
    if choice.strategy == "time":
        times_of(table)
    return Choice(choice.strategy, choice.why + _advice(table, choice, columns), choice.groups, choice.findings)


def _refuse(table: Table, split: Split) -> None:
    strategy, stratify = split.strategy, split.stratify
    if stratify and strategy in ("random", "time", "leave_one_out"):
        raise UsageError(
            f"stratify=True and strategy='{strategy}' contradict each other. Expected strategy='stratified', 'grouped' "
            "or 'auto' with it.",
            hint="Give one of the two.",
        )
    if stratify is False and strategy in _STRATIFIED:
        raise UsageError(
            f"stratify=False and strategy='{strategy}' contradict each other.", hint="Give one of the two."
        )
    if (stratify or strategy in _STRATIFIED) and not table.classes:
        raise TableError(
            "Supported target types to stratify by are: ('binary', 'multiclass'). Got 'continuous' instead.",
            hint="Leave stratify= and strategy= out for a number.",
        )
    shuffled = stratify or strategy in (*_STRATIFIED, "grouped") or (strategy == "auto" and table.groups is not None)
    if not split.shuffle and shuffled:
        raise UsageError(
            "Stratified and grouped splits are not implemented for shuffle=False. Expected strategy='random' or 'time' "
            "with it.",
            hint="Leave shuffle=False out.",
        )


def _auto(table: Table, split: Split, columns: Sequence[Column]) -> Choice:
    if table.groups is not None:
        also = "; times= is only looked at for overlap" if table.times is not None else ""
        return Choice(_whole_groups(table, split), f"groups were given: none is in two parts{also}")
    if table.times is not None:
        return Choice("time", "times were given: what comes later is judged by what came before")
    if not split.shuffle:
        return Choice("random", "rows were not to be shuffled: parts follow their order")
    held = held_together(table, columns)
    if held is not None:
        return _by_column(table, split, held)
    if split.stratify is False:
        return Choice("random", "stratify=False: rows are drawn at random")
    if not table.classes:
        return Choice("random", "y is a number, and neither groups nor times were given: rows are drawn at random")
    cannot = "" if split.stratify else cannot_stratify(table, split)
    if cannot:
        return Choice("random", f"{cannot}: rows are drawn at random, and classes do not keep their shares")
    return Choice("stratified", f"y has {len(table.classes)} classes: each part has their shares")


def _asked(table: Table, split: Split, columns: Sequence[Column]) -> Choice:
    strategy, why = split.strategy, f"strategy='{split.strategy}' was asked for"
    if strategy == "grouped" and split.stratify:
        strategy = "grouped_stratified"
    if table.groups is not None or strategy == "time":
        return Choice(strategy, why)
    held = held_together(table, columns, by_name=strategy in _GROUPED)
    if held is None:
        return Choice(strategy, why)
    if strategy in _GROUPED:
        return Choice(strategy, f"{why}: by column '{held.name}' ({held.values} values)", held.groups)
    return Choice(strategy, why, findings=(_torn_apart(held),))


def _whole_groups(table: Table, split: Split) -> Strategy:
    return "grouped_stratified" if table.classes and split.stratify is not False else "grouped"


def _by_column(table: Table, split: Split, held: Held) -> Choice:
    """Part by the column that was found, and say so as a tip: nothing is left to mend."""
    reason = (
        f"the label is the same in all rows of each of the {held.values} values of '{held.name}'"
        if held.decides
        else f"'{held.name}' names what rows belong to, by its name ({held.values} values)"
    )
    told = finding(
        "T023",
        f"{reason}: parts are cut by whole values, since single rows would give the answer away.",
        severity=Severity.TIP,
        remedy=f"Give groups= to say so yourself, and leave '{held.name}' out of X: it says nothing of a new one. "
        "strategy='stratified' or 'random' parts single rows.",
        columns=(held.name,),
    )
    return Choice(_whole_groups(table, split), f"{reason}: none is in two parts", held.groups, (told,))


def _torn_apart(held: Held) -> Finding:
    return finding(
        "T023",
        f"the label is the same in all rows of each of the {held.values} values of '{held.name}', and rows of one "
        "value lie in several parts.",
        remedy=f"Give groups= that column, or strategy='grouped', and leave '{held.name}' out of X.",
        columns=(held.name,),
    )


def _advice(table: Table, choice: Choice, columns: Sequence[Column]) -> str:
    """Return what else may fit, in words that follow the reason."""
    if choice.strategy in ("time", *_GROUPED, "leave_one_out"):
        return ""
    said = []
    if table.n_rows < TINY:
        said.append(f"; with {table.n_rows} rows, strategy='leave_one_out' in cross-validation says more")
    dates = [column.name for column in columns if column.role == "datetime" and not column.constant]
    if dates:
        said.append(f"; give times= ('{dates[0]}' holds dates) where what comes later is to be predicted")
    return "".join(said)
