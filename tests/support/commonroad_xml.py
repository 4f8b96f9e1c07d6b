"""CommonRoad files made for tests: two straight lanes side by side, and cars that drive along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LENGTH_M, WIDTH_M = 200, 3.5


@dataclass(frozen=True)
class Car:
    """A car that begins `x_m` along the road, `y_m` to the left of its right lane's middle, at constant speed."""

    name: int
    x_m: float
    y_m: float = 0.0
    speed_mps: float = 10.0
    turn: float = 0.0
    steps: int = 60
    length_m: float = 4.6
    kind: str = "car"


def write_file(
    path: Path,
    cars: Sequence[Car] = (Car(1, 30.0), Car(2, 60.0), Car(3, 40.0, WIDTH_M)),
    *,
    benchmark: str = "TST_Road-1_1_T-1",
    version: str = "2020a",
    head: str = "",
    spoil: tuple[str, str] = ("", ""),
) -> Path:
    """Write a file.

    Args:
        path: the file.
        cars: on the road.
        benchmark: its name.
        version: of the format.
        head: put before the root.
        spoil: text and what stands there instead, once.
    """
    body = "".join((_lane(1, 0), _lane(2, 1), _SIGN, *(_car(car) for car in cars)))
    text = (
        f'<?xml version="1.0" encoding="utf-8"?>\n{head}<commonRoad commonRoadVersion="{version}" '
        f'benchmarkID="{benchmark}" timeStepSize="0.1" source="made for a test"><scenarioTags><highway/></scenarioTags>'
        f"{body}</commonRoad>"
    )
    assert spoil[0] in text
    path.write_text(text.replace(*spoil, 1) if spoil[0] else text, encoding="utf-8")
    return path


_SIGN = (
    '<trafficSign id="900"><trafficSignElement><trafficSignID>274</trafficSignID>'
    "<additionalValue>15.5</additionalValue></trafficSignElement></trafficSign>"
)


def _lane(name: int, side: int) -> str:
    low, high = (side - 0.5) * WIDTH_M, (side + 0.5) * WIDTH_M
    beside = ("Left", 2) if side == 0 else ("Right", 1)
    sign = '<trafficSignRef ref="900"/>' if side == 0 else ""
    return (
        f'<lanelet id="{name}"><leftBound>{_line(high)}</leftBound><rightBound>{_line(low)}</rightBound>'
        f'<successor ref="777"/><adjacent{beside[0]} ref="{beside[1]}" drivingDir="same"/>{sign}</lanelet>'
    )


def _line(y: float) -> str:
    return "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x in range(0, LENGTH_M + 1, 50))


def _car(car: Car) -> str:
    first, *later = (_state(car, step) for step in range(car.steps + 1))
    states = "".join(f"<state>{s}</state>" for s in later)
    return (
        f'<dynamicObstacle id="{car.name}"><type>{car.kind}</type><shape><rectangle><length>{car.length_m}</length>'
        f"<width>1.9</width></rectangle></shape><initialState>{first}</initialState>"
        f"<trajectory>{states}</trajectory></dynamicObstacle>"
    )


def _state(car: Car, step: int) -> str:
    x = car.x_m + car.speed_mps * step * 0.1
    return (
        f"<position><point><x>{x:.4f}</x><y>{car.y_m + car.turn * (x - car.x_m):.4f}</y></point></position>"
        f"<orientation><exact>{car.turn}</exact></orientation><time><exact>{step}</exact></time>"
        f"<velocity><exact>{car.speed_mps}</exact></velocity>"
    )
