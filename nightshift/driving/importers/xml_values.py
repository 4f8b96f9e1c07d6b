"""Numbers and points out of CommonRoad's elements; what is no number is an error that names the place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.errors import DataError

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

#: Points of one line; a road's bound has hundreds.
_MOST_POINTS = 100_000


def number(text: str | None, where: str, what: str) -> float:
    """Return a number, which may be NaN: that is refused where its car and moment are known.

    Raises:
        DataError: when the text is none.
    """
    try:
        return float(text or "")
    except ValueError:
        raise DataError(
            f"{where}: {what} is '{(text or '').strip()[:40]}'; expected a number.", hint="Mend the file."
        ) from None


def value(element: ET.Element | None, where: str, what: str) -> float | None:
    """Return an exact value, or the middle of an interval; None where there is no such element.

    Raises:
        DataError: when it is neither.
    """
    if element is None:
        return None
    exact = element.findtext("exact")
    if exact is not None:
        return number(exact, where, what)
    begin, end = element.findtext("intervalStart"), element.findtext("intervalEnd")
    return (number(begin, where, what) + number(end, where, what)) / 2


def point(element: ET.Element | None, where: str, what: str) -> tuple[float, float]:
    """Return x and y; a third coordinate is left out.

    Raises:
        DataError: when one is missing or no number.
    """
    if element is None:
        raise DataError(f"{where} has no {what}.", hint="Mend the file, or leave it out.")
    return number(element.findtext("x"), where, f"x of {what}"), number(element.findtext("y"), where, f"y of {what}")


def points(element: ET.Element | None, where: str, what: str) -> list[tuple[float, float]]:
    """Return the points of a line.

    Raises:
        DataError: when there are fewer than two.
    """
    found = [] if element is None else element.findall("point")
    if not 2 <= len(found) <= _MOST_POINTS:
        raise DataError(f"{where}: its {what} has {len(found)} points; expected at least 2.", hint="Mend the file.")
    return [point(p, where, what) for p in found]


def place(position: ET.Element | None, where: str) -> tuple[float, float]:
    """Return where a state is: its point, or the middle of the area that it is known to lie in.

    Raises:
        DataError: when it tells neither.
    """
    if position is None:
        raise DataError(f"{where} has no position.", hint="Mend the file, or leave it out.")
    exact = position.find("point")
    if exact is not None:
        return point(exact, where, "position")
    area = next((a for a in position if a.tag in ("rectangle", "circle")), None)
    if area is not None:
        return point(area.find("center"), where, "position")
    corners = position.find("polygon")
    if corners is None:
        raise DataError(f"{where}: its position is neither a point nor an area.", hint="Mend the file.")
    outline = points(corners, where, "position")
    return sum(p[0] for p in outline) / len(outline), sum(p[1] for p in outline) / len(outline)


def words(element: ET.Element, tag: str) -> list[str]:
    """Return the texts of all children of a name."""
    return [(e.text or "").strip() for e in element.iterfind(tag)]


def flag(element: ET.Element, tag: str) -> str:
    """Return one child's text, "" where there is none."""
    return (element.findtext(tag) or "").strip()
