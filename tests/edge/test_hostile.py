"""Whatever bytes a bundle is made of: the loader refuses with one of its own errors, or the bundle can be used.

A crash or another exception is a failure, and so is an answer where a digest tells that something was altered.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.bundles import parity, sum_check, sum_graph, write_bundle

from nightshift.edge.bench import middle_row
from nightshift.edge.check import compare
from nightshift.edge.check_rows import read_check
from nightshift.edge.manifest import CHECK_FILE, MANIFEST_FILE, MODEL_FILE, SIGNATURE_FILE, sha256_bytes
from nightshift.edge.runtime import Model
from nightshift.edge.session import open_session
from nightshift.edge.signature import KEY_VARIABLE, sign
from nightshift.edge.wire import check_self_contained
from nightshift.errors import BundleError, SignatureError

KEY = b"a key of sixteen bytes and more"
FILES = (MODEL_FILE, MANIFEST_FILE, CHECK_FILE, SIGNATURE_FILE)
few = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


#: Where every example goes all the way to the answers.
fewer = settings(few, max_examples=60)


@dataclass(frozen=True)
class Pristine:
    """A whole bundle's files, and a folder to put altered ones into."""

    files: dict[str, bytes] = field(repr=False)
    place: Path
    bundle_id: str

    def write(self, **changes: bytes) -> Path:
        for name, content in {**self.files, **changes}.items():
            (self.place / name).write_bytes(content)
        return self.place


@pytest.fixture(scope="module")
def pristine() -> Iterator[Pristine]:
    # In memory where there is one: thousands of small files are written.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as scratch:
        folder = write_bundle(Path(scratch) / "v1", check=sum_check(), parity=parity(value=1e-5))
        (folder / SIGNATURE_FILE).write_bytes(sign((folder / MANIFEST_FILE).read_bytes(), KEY))
        files = {name: (folder / name).read_bytes() for name in FILES}
        place = Path(scratch) / "altered"
        place.mkdir()
        yield Pristine(files, place, Model.load(folder).bundle_id)
        shutil.rmtree(folder)


def refused(folder: Path, kind: type[BundleError] = BundleError) -> None:
    with pytest.raises(kind) as caught:
        Model.load(folder)
    said = str(caught.value)
    assert said
    assert "\n" not in said


@few
@given(name=st.sampled_from(FILES), at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused(pristine: Pristine, name: str, at: float, bit: int) -> None:
    raw = bytearray(pristine.files[name])
    raw[int(at * len(raw))] ^= 1 << bit
    if name == SIGNATURE_FILE:
        # Its keyed line means nothing to a device without the key.
        refused_with_key(pristine.write(**{name: bytes(raw)}))
    else:
        refused(pristine.write(**{name: bytes(raw)}))


def refused_with_key(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, KEY.decode())
        refused(folder)


@few
@given(name=st.sampled_from(FILES[:3]), size=st.floats(0, 1, exclude_max=True), tail=st.binary(max_size=20))
def test_a_cut_or_continued_file_is_refused(pristine: Pristine, name: str, size: float, tail: bytes) -> None:
    raw = pristine.files[name]
    refused(pristine.write(**{name: raw[: int(size * len(raw))]}))
    refused(pristine.write(**{name: raw + b"\x00" + tail}))


@few
@given(names=st.permutations(FILES).filter(lambda order: tuple(order) != FILES))
def test_swapped_files_are_refused(pristine: Pristine, names: list[str]) -> None:
    refused(pristine.write(**{name: pristine.files[other] for name, other in zip(FILES, names, strict=True)}))


@few
@given(name=st.sampled_from(FILES[:3]), content=st.binary(max_size=300))
def test_random_bytes_are_refused(pristine: Pristine, name: str, content: bytes) -> None:
    refused(pristine.write(**{name: content}))


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.just("../model.onnx"),
    st.just("a\0b"),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field of a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*before, key)
        yield from paths(inner, (*before, key))


def changed(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> bytes:
    copy = json.loads(json.dumps(document))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])
    return json.dumps(copy).encode()


@few
@given(data=st.data())
def test_a_manifest_with_another_field_never_answers_as_the_one_asked_for(
    pristine: Pristine, data: st.DataObject
) -> None:
    """Without digests, as old bundles are: refused, or another bundle with another id that runs without a fault."""
    document = json.loads(pristine.files[MANIFEST_FILE])
    path = data.draw(st.sampled_from(list(paths(document))))
    value = data.draw(st.one_of(st.just(...), VALUES))

    def change(parent: Any, key: Any) -> None:
        if value is ...:
            del parent[key]
        else:
            parent[key] = value

    raw = changed(document, path, change)
    folder = pristine.write(**{MANIFEST_FILE: raw})
    refused(folder)
    refused_with_key(folder)
    (folder / SIGNATURE_FILE).unlink()
    with pytest.raises(BundleError):
        Model.load(folder, bundle_id=pristine.bundle_id)
    used(folder)


def used(folder: Path) -> None:
    """Use a bundle as a device does: refused, or answered; nothing else may come out of it."""
    with suppress(BundleError):
        model = Model.load(folder)
        model.run(middle_row(model))
        inputs, want = read_check(folder, model.manifest)
        told = compare(want, model.run(inputs), model.manifest.parity.tolerance)
        assert told.rows == len(inputs["window"])
        assert model.bundle_id == sha256_bytes((folder / MANIFEST_FILE).read_bytes())


@few
@given(
    at=st.floats(0, 1, exclude_max=True),
    content=st.one_of(st.binary(max_size=6), st.sampled_from([b"1e999", b"NaN", b"null", b"-", b"{}", b'"', b"\\u"])),
    cut=st.booleans(),
)
def test_a_manifest_of_other_bytes_without_digests_is_refused_or_used(
    pristine: Pristine, at: float, content: bytes, cut: bool
) -> None:
    """The parsers of JSON and of the schema meet the bytes: no digest stands before them."""
    raw = pristine.files[MANIFEST_FILE]
    start = int(at * len(raw))
    folder = pristine.write(**{MANIFEST_FILE: raw[:start] + content + (b"" if cut else raw[start + len(content) :])})
    (folder / SIGNATURE_FILE).unlink()
    used(folder)


def rehashed(pristine: Pristine, graph: bytes | None = None, check: bytes | None = None) -> Path:
    """Write a bundle whose `bundle.json` lists the altered files as they are, as a forger does."""
    (pristine.place / SIGNATURE_FILE).unlink(missing_ok=True)
    return write_bundle(
        pristine.place, graph, check=pristine.files[CHECK_FILE] if check is None else check, parity=parity(value=1e-5)
    )


@few
@given(at=st.floats(0, 1, exclude_max=True), content=st.binary(min_size=1, max_size=4))
def test_check_rows_of_other_bytes_with_new_hashes_are_refused_or_used(
    pristine: Pristine, at: float, content: bytes
) -> None:
    raw = pristine.files[CHECK_FILE]
    start = int(at * len(raw))
    used(rehashed(pristine, check=raw[:start] + content + raw[start + len(content) :]))


@fewer
@given(member=st.sampled_from(["in_window", "out_value", "out_label"]), at=st.integers(0, 200), content=st.binary())
def test_arrays_of_other_bytes_in_a_whole_archive_are_refused_or_used(
    pristine: Pristine, member: str, at: int, content: bytes
) -> None:
    """Checksums of the archive fit: numpy reads the header and the values as they stand."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(pristine.files[CHECK_FILE])) as whole, zipfile.ZipFile(file, "w") as altered:
        for name in whole.namelist():
            raw = whole.read(name)
            mine = name.startswith(member)
            altered.writestr(name, raw[:at] + content + raw[at + len(content) :] if mine else raw)
    used(rehashed(pristine, check=file.getvalue()))


@fewer
@given(
    dtype=st.sampled_from(["f4", "f8", "i8", "i4", "?", "c8", "U1", "M8[s]"]),
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 40]), max_size=3),
    name=st.sampled_from(["in_window", "in_time_s", "in_", "out_value", "out_label", "out_", "other"]),
)
def test_arrays_that_do_not_belong_together_are_refused_or_used(
    pristine: Pristine, dtype: str, shape: list[int], name: str
) -> None:
    with np.load(io.BytesIO(pristine.files[CHECK_FILE])) as held:
        arrays = dict(held)
    file = io.BytesIO()
    np.savez(file, **{**arrays, name: np.zeros(shape, dtype)})  # type: ignore[arg-type]
    used(rehashed(pristine, check=file.getvalue()))


@few
@given(at=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_graph_of_other_bytes_with_new_hashes_is_refused_or_used(pristine: Pristine, at: float, byte: int) -> None:
    raw = bytearray(pristine.files[MODEL_FILE])
    raw[int(at * len(raw))] = byte
    used(rehashed(pristine, bytes(raw)))


@few
@given(content=st.binary(max_size=400))
def test_random_bytes_are_no_graph(content: bytes) -> None:
    with pytest.raises(BundleError):
        open_session(content)
    # Some bytes are an empty message, which onnxruntime refuses.
    with suppress(BundleError):
        check_self_contained(content)


@few
@given(at=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_an_altered_graph_with_new_hashes_is_refused_by_the_key(pristine: Pristine, at: float, byte: int) -> None:
    raw = bytearray(sum_graph())
    raw[int(at * len(raw))] = byte
    folder = write_bundle(pristine.place, bytes(raw))
    (folder / SIGNATURE_FILE).write_bytes(pristine.files[SIGNATURE_FILE])
    if (folder / MANIFEST_FILE).read_bytes() == pristine.files[MANIFEST_FILE]:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, KEY.decode())
        refused(folder, SignatureError)


def test_deep_nesting_is_refused(pristine: Pristine) -> None:
    refused(pristine.write(**{MANIFEST_FILE: b"[" * 100_000, SIGNATURE_FILE: sign(b"[" * 100_000, KEY)}))
    nested = b""
    for _ in range(3000):
        inner = b"\x32" + _size(nested) + nested  # AttributeProto.g
        node = b"\x2a" + _size(inner) + inner  # NodeProto.attribute
        nested = b"\x0a" + _size(node) + node  # GraphProto.node
    with pytest.raises(BundleError):
        check_self_contained(b"\x3a" + _size(nested) + nested + b"\x42\x00" + b"\x12\x08location")


def _size(content: bytes) -> bytes:
    value, out = len(content), bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
