"""Reads a bundle's folder: nothing of it is used before every listed file has been hashed."""

from __future__ import annotations

from pathlib import Path

from nightshift.edge import signature
from nightshift.edge.manifest import MANIFEST_FILE, MODEL_FILE, VARIANT_FILES, BundleManifest, sha256_bytes
from nightshift.edge.record import RecordError, parsed
from nightshift.edge.wire import check_self_contained
from nightshift.errors import BundleError, CorruptFileError, NewerFormatError, SwappedFileError

FORMAT = 1
_AGAIN = "Fetch the bundle again."


def read_manifest(folder: Path, *, bundle_id: str = "", require_signature: bool = True) -> tuple[BundleManifest, str]:
    """Read a bundle's `bundle.json` and return it with its id.

    Args:
        folder: of the bundle.
        bundle_id: what its id must be; any when left out.
        require_signature: whether a key that is set here counts; False takes the id for it, which must be given then.

    Raises:
        ValueError: when neither a signature nor an id is asked for.
        SignatureError: when a key is set here and the bundle is not signed with it.
        SwappedFileError: when it is another bundle than the one asked for.
        NewerFormatError: when it has a format that this runtime does not read yet.
        BundleError: when it is missing or damaged.
    """
    if not (require_signature or bundle_id):
        raise ValueError("without a signature a bundle is known by its bundle_id: give it.")
    path = folder / MANIFEST_FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(
            f"'{folder}' is no bundle: it has no {MANIFEST_FILE}.", hint="Give the folder that holds it."
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read.", hint=_AGAIN) from error
    signature.verify(folder, raw, signature.bundle_key() if require_signature else None)
    found = sha256_bytes(raw)
    if bundle_id and found != bundle_id:
        raise SwappedFileError(f"{path} is bundle {found[:12]}, asked for was {bundle_id[:12]}.", hint=_AGAIN)
    return _parsed(path, raw), found


def _parsed(path: Path, raw: bytes) -> BundleManifest:
    try:
        document = parsed(raw)
        version = document.get("format")
    except (RecordError, AttributeError) as error:
        raise CorruptFileError(f"{path} cannot be read.", hint=_AGAIN) from error
    if version != FORMAT:
        newer = isinstance(version, int) and version > FORMAT
        raise (NewerFormatError if newer else BundleError)(
            f"the bundle has format {version}, this runtime reads format {FORMAT}.",
            hint="Install a matching nightshift.",
        )
    try:
        return BundleManifest.model_validate(document)
    except RecordError as error:
        raise BundleError(f"{path}: {error}.", hint=_AGAIN) from error


def file_of(variant: str, manifest: BundleManifest) -> str:
    """Return the name of a variant's file; `optimised` is `model.onnx` itself where nothing serves better.

    Raises:
        BundleError: for a variant that the bundle does not have.
    """
    if not variant:
        return MODEL_FILE
    if VARIANT_FILES.get(variant) in manifest.hashes:
        return VARIANT_FILES[variant]
    if variant == "optimised" and any(v.chosen and v.file == MODEL_FILE for v in manifest.variants):
        return MODEL_FILE
    known = [known for known, file in VARIANT_FILES.items() if file in manifest.hashes]
    raise BundleError(
        f"the bundle has no variant '{variant}'.",
        hint=f"It has: {', '.join(known)}." if known else "It was exported without any: leave it out.",
    )


def read_graph(folder: Path, manifest: BundleManifest, name: str = MODEL_FILE) -> bytes:
    """Return a graph's bytes: those that were hashed are those that are opened.

    Raises:
        CorruptFileError: when a listed file is altered.
        SwappedFileError: when a listed file is another one.
        BundleError: when a listed file is missing or outside the folder, or the graph is not listed.
    """
    if MODEL_FILE not in manifest.hashes:
        raise BundleError(f"{MANIFEST_FILE} lists no hash of {MODEL_FILE}.", hint=_AGAIN)
    graph = b""
    for listed in manifest.hashes:
        data = read_listed(folder, listed, manifest)
        if listed == name:
            graph = data
    return graph


def read_listed(folder: Path, name: str, manifest: BundleManifest) -> bytes:
    """Return the bytes of a file that `bundle.json` lists.

    Raises:
        CorruptFileError: when it is altered.
        SwappedFileError: when it is another one.
        BundleError: when it is missing, or outside the folder.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BundleError(f"{MANIFEST_FILE} lists '{name}', which is outside the bundle.", hint=_AGAIN)
    try:
        data = (folder / name).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise BundleError(f"{name} of the bundle cannot be read.", hint=_AGAIN) from error
    found = sha256_bytes(data)
    if found != manifest.hashes[name]:
        raise _altered(name, data, found, manifest)
    return data


def _altered(name: str, data: bytes, found: str, manifest: BundleManifest) -> BundleError:
    """Return the error for a listed file with another hash: damaged, or whole and of something else."""
    other = next((listed for listed, digest in manifest.hashes.items() if digest == found), None)
    said = f"{name} of the bundle is not what {MANIFEST_FILE} says"
    if other is not None:
        return SwappedFileError(f"{said}: it is {other}.", hint=_AGAIN)
    if name == MODEL_FILE and len(data) != manifest.size_bytes and _is_graph(data):
        return SwappedFileError(f"{said}: it is another graph, of {len(data)} bytes.", hint=_AGAIN)
    return CorruptFileError(f"{said}.", hint=_AGAIN)


def _is_graph(data: bytes) -> bool:
    try:
        check_self_contained(data)
    except BundleError:
        return False
    return True
