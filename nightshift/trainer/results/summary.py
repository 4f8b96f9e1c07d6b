"""What a person is told of a result: sections in a fixed order, shown as lines here and as a page in `html`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightshift.trainer.options import Balance
from nightshift.trainer.records import Ints, Scores
from nightshift.trainer.results.result import CVResult, SeedResult, TrainResult
from nightshift.trainer.scorers import positive_of

Result = TrainResult | CVResult

#: Classes and folds that are listed; more are only counted.
MOST_LISTED = 20
_NONE = "–"
_MEANS = "Train and held out are means of the folds."
_BALANCED = {
    "class_weight": "the rare class weighs more in the fit; no row is added or left out",
    "smote": "SMOTE made rows between neighbours, in train alone",
    "oversample": "rows of rare classes were drawn again, in train alone",
    "undersample": "rows of frequent classes were left out, in train alone",
}


@dataclass(frozen=True)
class Section:
    """Some lines of text, and a table under them.

    Attributes:
        lines: of text, one sentence each.
        head: names of the table's columns; without one there is no table.
        rows: its cells; the first of a row names it.
    """

    title: str
    lines: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def summary(result: Result) -> str:
    """Return parts, stratification, classes, scores, where the model is, and findings, as lines for a terminal."""
    return "\n".join([title(result), *(line for one in sections(result) for line in ("", *_lines(one)))])


def title(result: Result) -> str:
    """Return what was trained on what, in one line."""
    about = result.about
    kind = "regression" if about.task == "regression" else f"{len(about.classes)} classes"
    return f"{about.name} on {about.n_rows:,} rows × {len(about.columns):,} columns, {about.y_name}: {kind}"


def sections(result: Result) -> list[Section]:
    """Return what is told, in the order in which it is told."""
    made = [_parts(result), _stratification(result), _classes(result), *_scores(result)]
    if isinstance(result, TrainResult) and result.cv is not None:
        made += [_folds(result.cv, "Folds over train and validation"), _mean_of_folds(result.cv)]
    return [one for one in (*made, _seeds(result), _saved(result), _findings(result)) if one.lines or one.rows]


def number(value: float | None) -> str:
    """Return a figure with four digits that count; a dash where there is none."""
    if value is None:
        return _NONE
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def spread(mean: float | None, deviation: float | None) -> str:
    """Return `mean ± deviation`, without the latter where there is none."""
    return number(mean) if deviation is None else f"{number(mean)} ± {deviation:.2g}"


def _parts(result: Result) -> Section:
    cut, total = result.split, result.about.n_rows
    rows: list[tuple[str, Ints]] = [*cut.parts().items(), ("between parts", cut.dropped)]
    told = [(name, f"{len(index):,}", _share(len(index), total)) for name, index in rows if len(index)]
    lines: tuple[str, ...] = ()
    if isinstance(result, CVResult):
        held = [fold.rows.get("held_out", 0) for fold in result.folds]
        least, most = f"{min(held):,}", f"{max(held):,}"
        each = least if least == most else f"{least} to {most}"
        lines = (f"{len(held)} folds of the train rows, each holds out {each}; the model is fitted on all of them.",)
    return Section("Rows", lines, ("part", "rows", "per cent"), tuple(told))


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else _NONE


def _stratification(result: Result) -> Section:
    cut = result.split
    yes = "yes" if cut.stratified else "no"
    return Section("Stratification", (f"{yes}; strategy {cut.strategy}: {cut.why.rstrip('.')}.",))


def _classes(result: Result) -> Section:
    """Return each class's rows, before and after balancing of the rows that the model was fitted on."""
    about, fitted, balance = result.about, result.fitted, result.settings.balance
    if not about.classes:
        return Section("Classes")
    counts, names = about.class_counts, [str(one) for one in about.classes]
    told = [
        (
            name,
            f"{counts.get(name, 0):,}",
            _share(counts.get(name, 0), sum(counts.values())),
            f"{fitted.counts_before.get(name, 0):,}",
            f"{fitted.counts_after.get(name, 0):,}",
        )
        for name in names[:MOST_LISTED]
    ]
    positive = positive_of(about.classes)
    lines = [_balancing(balance, fitted.threshold, positive)]
    if positive is not None:
        lines.append(f"Positive: {positive}, the second in order; F1, areas and thresholds are about it.")
    if len(names) > MOST_LISTED:
        lines.append(f"{len(names) - MOST_LISTED} more classes are not listed.")
    head = ("class", "rows", "per cent", "train, before balancing", "train, after balancing")
    return Section("Classes", tuple(lines), head, tuple(told))


def _balancing(balance: Balance, threshold: float | None, positive: Any) -> str:
    if balance.method == "none":
        return "Balancing: none."
    if balance.method == "threshold":
        at = number(threshold)
        return f"Balancing: threshold; class {positive} is said from a probability of {at} on, by {balance.metric}."
    return f"Balancing: {balance.method}; {_BALANCED[balance.method]}."


def _scores(result: Result) -> Iterator[Section]:
    """Yield each fold's score and seconds, the means, then the parts' figures."""
    if isinstance(result, CVResult):
        yield _folds(result, "Folds")
        yield _mean_of_folds(result)
        yield _learning_curve(result)
    yield _figures("Scores", _fit_words(result), result.scores)


def _figures(name: str, lines: tuple[str, ...], scores: Mapping[str, Scores]) -> Section:
    names = tuple(dict.fromkeys(metric for one in scores.values() for metric in one))
    told = [(part.replace("_", " "), *(number(one.get(metric)) for metric in names)) for part, one in scores.items()]
    return Section(name, lines, ("part", *names), tuple(told))


def _fit_words(result: Result) -> tuple[str, ...]:
    fitted = result.fitted
    told = [f"Fitted in {fitted.seconds:.3g} s with seed {fitted.seed}."]
    if fitted.best_round is not None:
        told.append(f"Best round: {fitted.best_round}.")
    if fitted.tried:
        told.append(f"Diverged before with seed {', '.join(str(one) for one in fitted.tried)}.")
    if isinstance(result, CVResult):
        one_by_one = not result.spread  # folds of one row
        told.append("Train is the folds' mean, held out of all their answers." if one_by_one else _MEANS)
        told += ["Test is scored once, by the refit."] if "test" in result.scores else []
    return (" ".join(told),)


def _folds(result: CVResult, name: str) -> Section:
    names = tuple(result.mean)
    head = (
        "fold",
        *names,
        "seconds",
        *(("best round",) if any(f.best_round is not None for f in result.folds) else ()),
    )
    told = [
        (
            str(fold.number),
            *(number(fold.scores.get(metric)) for metric in names),
            f"{fold.seconds:.3g}",
            *((number(fold.best_round),) if len(head) > len(names) + 2 else ()),
        )
        for fold in result.folds[:MOST_LISTED]
    ]
    left = len(result.folds) - len(told)
    return Section(name, (f"{left} more folds are in to_frame().",) if left else (), head, tuple(told))


def _mean_of_folds(result: CVResult) -> Section:
    told = [(name, spread(value, result.spread.get(name))) for name, value in result.mean.items()]
    # Folds of one row have no figure of their own: theirs is that of all answers together.
    head = "mean ± spread" if result.spread else "of all held-out rows"
    return Section("Over the folds", (), ("metric", head), tuple(told))


def _learning_curve(result: CVResult) -> Section:
    told = [
        (f"{one.rows:,}", number(one.train), spread(one.held_out, one.spread), f"{100 * one.share:.0f} %")
        for one in result.learning_curve
    ]
    return Section("Learning curve", (), ("train rows", "train", "held out", "share"), tuple(told))


def _seeds(result: Result) -> Section:
    by_seed: tuple[SeedResult, ...] = result.by_seed
    if not by_seed:
        return Section("Seeds")
    part, primary = ("held_out" if isinstance(result, CVResult) else "test"), result.about.primary
    part = part if part in by_seed[0].scores else "validation"
    told = [(str(one.seed), number(one.scores.get(part, {}).get(primary)), f"{one.seconds:.3g}") for one in by_seed]
    if isinstance(result, CVResult):
        mean, deviation = result.mean.get(primary), result.seed_spread.get(primary)
    else:
        mean, deviation = (each.get(part, {}).get(primary) for each in (result.mean, result.spread))
    lines = (f"{len(by_seed)} seeds, {primary} on {part.replace('_', ' ')}: {spread(mean, deviation)}.",)
    return Section("Seeds", lines, ("seed", primary, "seconds"), tuple(told))


def _saved(result: Result) -> Section:
    if result.saved is not None:
        where = str(result.saved)
        return Section("Model", (f"Saved in {where}; nightshift.trainer.load({where!r}) reads it.",))
    return Section("Model", ("Not saved; result.save() writes it, result.save('folder') to a place of yours.",))


def _findings(result: Result) -> Section:
    told = [one.line() for one in result.findings]
    if told:
        told.append(f"To mute one: checks=Checks(mute=('{result.findings[0].code}',)).")
    return Section("Findings", tuple(told) or ("None.",))


def _lines(section: Section) -> Iterator[str]:
    yield section.title
    yield from (f"  {line}" for line in section.lines)
    if section.rows:
        yield from (f"  {line}" for line in _table(section.head, section.rows))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield lines of equal columns: names to the left, figures to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    for row in (head, *rows):
        cells: list[Any] = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join(cells).rstrip()
