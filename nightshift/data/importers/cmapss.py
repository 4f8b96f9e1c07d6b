"""NASA C-MAPSS turbofan run-to-failure files.

Source: Saxena, Goebel, Simon, Eklund, "Damage propagation modeling for aircraft engine run-to-failure simulation",
PHM 2008. Columns as in the data's readme.txt: engine, cycle, three settings, 21 sensors.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import Check, land_parts, refuse_blockers
from nightshift.data.schema import LABEL, RUL, RUN, TIME, LabelSource, Metadata, Provenance, Sensor, TimeKind
from nightshift.data.splits import split_train_val
from nightshift.errors import DataError, nearest
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

#: name -> unit, in file order. Source: Saxena et al., table 2.
SETTINGS = {"altitude_setting": "kft", "mach_setting": "", "throttle_setting": "%"}
SENSORS = {
    "T2": "degR",
    "T24": "degR",
    "T30": "degR",
    "T50": "degR",
    "P2": "psia",
    "P15": "psia",
    "P30": "psia",
    "Nf": "rpm",
    "Nc": "rpm",
    "epr": "",
    "Ps30": "psia",
    "phi": "pps/psi",
    "NRf": "rpm",
    "NRc": "rpm",
    "BPR": "",
    "farB": "",
    "htBleed": "",
    "Nf_dmd": "rpm",
    "PCNfR_dmd": "rpm",
    "W31": "lbm/s",
    "W32": "lbm/s",
}
#: The fourteen that vary at one operating point; the others are constant in FD001.
CRITICAL = ("T24", "T30", "T50", "P30", "Nf", "Nc", "Ps30", "phi", "NRf", "NRc", "BPR", "htBleed", "W31", "W32")
HORIZON_CYCLES = 30.0
#: The cycle counter that an engine carries, as an input beside its sensors.
AGE = "age_cycles"


def import_cmapss(
    home: Home,
    path: Path,
    subject: str | None = None,
    *,
    subset: str | None = None,
    seed: int = 0,
    event: bool = True,
    check: Check | None = refuse_blockers,
) -> Dataset:
    """Land one C-MAPSS subset: train and val from its training file by whole engines, test as published.

    Args:
        home: where to land.
        path: the folder that holds `train_FD00x.txt`, `test_FD00x.txt` and `RUL_FD00x.txt`, or its training file.
        subject: id to land under; `cmapss_fd001` and so on by default.
        subset: `FD001`..`FD004`; needed only when the folder holds several.
        seed: of the draw of validation engines.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        BlockedError: when the checks find a blocker.
        DataError: when a file is missing, ragged, or does not fit the others.
    """
    folder, name = _find(path, subset)
    train = _read(folder / f"train_{name}.txt")
    test = _read(folder / f"test_{name}.txt")
    left = _read_left(folder / f"RUL_{name}.txt", test)
    train[RUL] = train.groupby(RUN)[TIME].transform("max") - train[TIME]
    test[RUL] = test.groupby(RUN)[TIME].transform("max") - test[TIME] + test[RUN].map(left)
    # Engine 1 of the test file is another engine than engine 1 of the training file.
    test[RUN] += int(train[RUN].max())
    for frame in (train, test):
        frame[LABEL] = (frame[RUL] <= HORIZON_CYCLES).astype("int8")
        frame[AGE] = frame[TIME].astype("float32")
    parts = {**split_train_val(train, seed=seed), "test": test}
    described = _metadata(subject or f"cmapss_{name.lower()}", name, seed)
    return land_parts(home, parts, described, event=event, check=check)


def _metadata(subject: str, name: str, seed: int) -> Metadata:
    settings = tuple(Sensor(name=n, unit=u, role="setting") for n, u in SETTINGS.items())
    sensors = tuple(Sensor(name=n, unit=u, critical=n in CRITICAL) for n, u in SENSORS.items())
    numbered = {f"setting {i + 1}": n for i, n in enumerate(SETTINGS)}
    numbered |= {f"sensor {i + 1}": n for i, n in enumerate(SENSORS)}
    return Metadata(
        subject=subject,
        title=f"NASA C-MAPSS turbofan engines, {name}",
        time_kind=TimeKind.CYCLES,
        time_unit="cycles",
        horizon=HORIZON_CYCLES,
        sensors=(*settings, *sensors, Sensor(name=AGE, unit="cycles", role="age", minimum=0)),
        label_source=LabelSource.FROM_RUL,
        has_rul=True,
        official_test=True,
        provenance=Provenance(
            kind="import",
            source=f"train_{name}.txt, test_{name}.txt, RUL_{name}.txt (NASA C-MAPSS, US government work)",
            mapping={"unit number": RUN, "time, in cycles": f"{TIME} and {AGE}", **numbered},
            details={"importer": "cmapss", "seed": seed, "test_run_offset": "last engine of the training file"},
        ),
    )


def _find(path: Path, subset: str | None) -> tuple[Path, str]:
    folder = path if path.is_dir() else path.parent
    found = sorted(m[1] for p in folder.glob("train_*.txt") if (m := re.fullmatch(r"train_(\w+)\.txt", p.name)))
    if path.is_file() and (match := re.fullmatch(r"\w+_(\w+)\.txt", path.name)):
        subset = subset or match[1]
    if not found:
        raise DataError(
            f"there is no train_FD00x.txt in {folder.name}/.",
            hint="Give the folder that the C-MAPSS archive unpacks to.",
        )
    if subset is None and len(found) > 1:
        raise DataError(f"{folder.name}/ holds {', '.join(found)}.", hint="Choose one, e.g. `--subset FD001`.")
    name = (subset or found[0]).upper()
    if name not in found:
        raise DataError(f"there is no train_{name}.txt in {folder.name}/.", hint=nearest(name, found))
    return folder, name


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    names = [RUN, TIME, *SETTINGS, *SENSORS]
    try:
        frame = pd.read_csv(path, sep=r"\s+", header=None, engine="c")
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing.", hint="All three files of a subset are needed.") from error
    except (OSError, ValueError) as error:  # pandas' ParserError is a ValueError
        raise DataError(f"{path.name} cannot be read: {error}.", hint="Fetch the file again.") from error
    if frame.shape[1] != len(names):
        raise DataError(
            f"{path.name} has {frame.shape[1]} columns, C-MAPSS files have {len(names)}.", hint="Fetch the file again."
        )
    if frame.isna().any().any() or not all(pd.api.types.is_numeric_dtype(t) for t in frame.dtypes):
        raise DataError(f"{path.name} is cut short or holds text.", hint="Fetch the file again.")
    frame.columns = pd.Index(names)
    return frame.astype({RUN: "int64", TIME: "int64"})


def _read_left(path: Path, test: pd.DataFrame) -> dict[int, float]:
    try:
        left = [float(line) for line in path.read_text(encoding="ascii").split()]
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing.", hint="All three files of a subset are needed.") from error
    except ValueError as error:
        raise DataError(f"{path.name} holds something else than numbers.", hint="Fetch the file again.") from error
    runs = sorted(test[RUN].unique())
    if len(left) != len(runs):
        raise DataError(
            f"{path.name} has {len(left)} lines, the test file has {len(runs)} engines.", hint="Fetch the files again."
        )
    return dict(zip((int(r) for r in runs), left, strict=True))
