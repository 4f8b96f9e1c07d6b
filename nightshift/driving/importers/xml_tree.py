"""XML from strangers as a tree: no document type, so no entities and nothing fetched; bounded size and depth."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

from nightshift.errors import DataError
from nightshift.files import read_plain

_MOST_BYTES = 200_000_000
_DEEPEST = 64


def read_tree(path: Path) -> ET.Element:
    """Parse an XML file.

    A document type is refused altogether: CommonRoad has none, and entities that grow or that fetch live there.

    Raises:
        DataError: when the file cannot be read, is too big or nested too deeply, is no XML, or holds a document type.
    """
    try:
        data = read_plain(path, _MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.", hint="Check the path.") from error
    if len(data) > _MOST_BYTES:
        raise DataError(f"{path.name} is larger than {_MOST_BYTES:,} bytes.", hint="Check that it is the right file.")
    reader = _Reader(path.name)
    try:
        return reader.read(data)
    except expat.ExpatError as error:
        raise DataError(f"{path.name} is no whole XML file: {error}.", hint="Fetch it again.") from error
    except (LookupError, ValueError) as error:
        raise DataError(
            f"{path.name} has an encoding that cannot be read: {error}.", hint="Save it as UTF-8."
        ) from None


class _Reader:
    """Drives expat by hand, since ElementTree's own parser hides the switches."""

    def __init__(self, name: str) -> None:
        self.name, self.depth, self.builder = name, 0, ET.TreeBuilder()
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.ExternalEntityRefHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self.builder.data

    def read(self, data: bytes) -> ET.Element:
        self.parser.Parse(data, True)
        return self.builder.close()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise DataError(f"{self.name} is nested deeper than {_DEEPEST} elements.", hint="It is no scenario.")
        self.builder.start(tag, attributes)

    def _end(self, tag: str) -> None:
        self.depth -= 1
        self.builder.end(tag)

    def _refuse(self, *_: object) -> int:
        raise DataError(
            f"{self.name} declares a document type or entities, which a scenario has no use for.",
            hint="Remove the <!DOCTYPE …> part.",
        )
