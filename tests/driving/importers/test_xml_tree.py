from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.driving.importers.xml_tree import read_tree
from nightshift.errors import DataError


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_plain_file_becomes_a_tree(tmp_path: Path) -> None:
    tree = read_tree(written(tmp_path, "<a x='1'><b>two &amp; three</b><b/></a>"))
    assert (tree.tag, tree.get("x"), tree.findtext("b"), len(tree)) == ("a", "1", "two & three", 2)


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd">',
    ],
    ids=["that grow", "of other files", "fetched"],
)
def test_entities_are_refused(tmp_path: Path, head: str) -> None:
    with pytest.raises(DataError, match="declares a document type"):
        read_tree(written(tmp_path, f"{head}<a>&x;</a>"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<a><b></a>", "no whole XML file"),
        ("<a><b/>", "no whole XML file"),
        ("", "no whole XML file"),
        (b"\x00\x01\x02", "no whole XML file"),
        ("<?xml version='1.0' encoding='klingon'?><a/>", "no whole XML file|encoding"),
        ("<a>" * 100 + "</a>" * 100, "nested deeper"),
    ],
)
def test_what_is_no_xml_is_told_in_one_line(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        read_tree(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_tree(tmp_path / "none.xml")
