"""`bundle.sig`: digests of `bundle.json`, and with it of every file whose digest `bundle.json` lists.

Two lines: `sha256 HEX`, which finds an altered byte, and, where a key was set at export, `hmac-sha256 HEX`.

What the second proves: whoever made the bundle held the key `NIGHTSHIFT_BUNDLE_KEY` (a variable, or a file of that
name in `NIGHTSHIFT_SECRETS_DIR`), and no file listed in `bundle.json` has changed since. What it does not prove: which
of the holders made it, since every device that checks can also sign; that the model is good; that it is the newest, as
an older signed bundle stays valid; nothing at all about `native/`, which no device opens.

Source:
    RFC 2104 (HMAC).
"""

from __future__ import annotations

import os
from pathlib import Path

from nightshift.edge.manifest import SIGNATURE_FILE, sha256_bytes
from nightshift.errors import ConfigError, CorruptFileError, SignatureError

KEY_VARIABLE = "NIGHTSHIFT_BUNDLE_KEY"
#: As `settings.SECRETS_VARIABLE`: a device has no settings.
_FOLDER_VARIABLE = "NIGHTSHIFT_SECRETS_DIR"
#: A shorter key could be guessed: a signature lets anybody try keys as fast as they can hash.
_LEAST_BYTES = 16
_PLAIN, _KEYED = "sha256", "hmac-sha256"
_AGAIN = "Fetch the bundle again."


def bundle_key() -> bytes | None:
    """Return this machine's key, None where none is set.

    Raises:
        ConfigError: when it is too short, or its file cannot be read.
    """
    key = os.fsencode(os.environ.get(KEY_VARIABLE, "")) or _key_file()
    if not key:
        return None
    if len(key) < _LEAST_BYTES:
        raise ConfigError(
            f"{KEY_VARIABLE} has {len(key)} bytes, expected {_LEAST_BYTES} or more.",
            hint="Make one: `python -c 'import secrets; print(secrets.token_hex(32))'`.",
        )
    return key


def _key_file() -> bytes:
    folder = os.environ.get(_FOLDER_VARIABLE)
    if not folder:
        return b""
    try:
        return (Path(folder).expanduser() / KEY_VARIABLE).read_bytes().strip()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError(
            f"the secret {KEY_VARIABLE} in {_FOLDER_VARIABLE} cannot be read: {error.strerror}.",
            hint="Let the user that runs Nightshift read the file.",
        ) from None


def sign(manifest: bytes, key: bytes | None) -> bytes:
    """Return the content of `bundle.sig` for the bytes of a `bundle.json`."""
    lines = [f"{_PLAIN} {sha256_bytes(manifest)}"]
    if key is not None:
        lines.append(f"{_KEYED} {_keyed(manifest, key)}")
    return ("\n".join(lines) + "\n").encode()


def verify(folder: Path, manifest: bytes, key: bytes | None) -> bool:
    """Hold the bytes of `bundle.json` against `bundle.sig`, and return whether a signature was checked.

    Without a key a bundle may come without the file, as older ones do.

    Raises:
        SignatureError: when a key is set and the bundle is not signed with it.
        CorruptFileError: when `bundle.json` or `bundle.sig` has changed.
    """
    digests = _read(folder / SIGNATURE_FILE)
    if key is not None:
        import hmac

        given = digests.get(_KEYED)
        if given is None:
            raise SignatureError(
                f"the bundle is not signed, and this device takes signed ones alone ({KEY_VARIABLE} is set).",
                hint="Export it where the same key is set.",
            )
        if not hmac.compare_digest(given, _keyed(manifest, key)):
            raise SignatureError(
                "the bundle is signed with another key, or has changed since.", hint="Fetch it again, or compare keys."
            )
    if digests and digests.get(_PLAIN) != sha256_bytes(manifest):
        raise CorruptFileError(f"bundle.json of the bundle is not what {SIGNATURE_FILE} says.", hint=_AGAIN)
    return key is not None


def _keyed(manifest: bytes, key: bytes) -> str:
    # Here, and not above: with them comes OpenSSL, which a device without a key does not need.
    import hashlib
    import hmac

    return hmac.new(key, manifest, hashlib.sha256).hexdigest()


def _read(path: Path) -> dict[str, str]:
    """Return digest by algorithm, empty without a file.

    Raises:
        CorruptFileError: when the file holds anything else.
    """
    try:
        lines = path.read_bytes().decode("ascii").split("\n")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path.name} of the bundle cannot be read.", hint=_AGAIN) from error
    found = dict(line.split(" ", 1) for line in lines if line.count(" ") == 1)
    if lines[-1] or len(found) != len(lines) - 1 or not {_PLAIN} <= set(found) <= {_PLAIN, _KEYED}:
        raise CorruptFileError(f"{path.name} of the bundle is damaged.", hint=_AGAIN)
    return found
