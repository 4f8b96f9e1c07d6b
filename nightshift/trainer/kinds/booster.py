"""What the kinds of boosters share: how a fit is heard and judged, and the file of an estimator that writes its own."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

from nightshift.errors import CorruptFileError, first_line
from nightshift.trainer.contract import FitJob, FitReport
from nightshift.trainer.kinds import fits, native


class Booster(ABC):
    """A library of trees that are fitted round by round.

    Attributes:
        name: of the library's module.
        title: as its makers write it.
        classes: names of its estimators that can be kept in its own file.
        file: name of that file.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    file: str

    @abstractmethod
    def fitted(self, model: Any, job: FitJob) -> FitReport:
        """Fit a seeded clone; what the library warns of or raises is seen to by `fit`."""

    def fit(self, model: Any, job: FitJob) -> FitReport:
        """Fit a seeded clone; it predicts by its best round, in the caller's own labels."""
        with fits.hearing(model) as heard:
            report = self.fitted(model, job)
        return replace(report, findings=(*report.findings, *heard.findings()))

    def diverged(self, model: Any, job: FitJob, report: FitReport) -> str:
        """Return why the fit is of no use, "" when it is."""
        return fits.ran_away(report.model, job, report.rounds)

    def corrupt(self, path: Path, error: Exception) -> CorruptFileError:
        """Return the error for a file that the library does not read."""
        return CorruptFileError(f"{path} is no model of {self.title}: {first_line(error)}.")


class OneFile(Booster):
    """A booster whose estimators write and read their own file."""

    def save_native(self, model: Any, folder: Path) -> None:
        """Write the library's own file, and what the estimator was.

        Raises:
            UsageError: for classes that the library's estimators are not, or labels that JSON cannot hold.
        """
        inner = fits.unlabelled(model)
        native.describe(folder, model, inner, self.classes, {})
        inner.save_model(str(folder / self.file))

    def load_native(self, folder: Path, module: Any = None) -> Any:
        """Read what `save_native` wrote.

        Raises:
            CorruptFileError: when it cannot be read.
        """
        library = importlib.import_module(self.name)
        told = native.described(folder, self.classes)
        made = getattr(library, told.made_by)(**told.params)
        try:
            made.load_model(str(folder / self.file))
        except (self.refusal(library), OSError, ValueError) as error:
            raise self.corrupt(folder / self.file, error) from error
        return fits.labelled(made, told.labels if told.labelled else None)

    @abstractmethod
    def refusal(self, library: Any) -> type[Exception]:
        """Return what the library raises for a file that it cannot read."""
