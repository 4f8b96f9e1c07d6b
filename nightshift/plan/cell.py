"""A cell, and the key that says whether it is the same one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from nightshift.data.schema import check_subject


class Cell(BaseModel):
    """One (subject, family, target) on one dataset with one config and one code.

    Attributes:
        dataset: the dataset's fingerprint, 64 hex digits.
        config: the resolved config, as JSON values; target limits under `limits`.
        code: code fingerprint.
        forced: why an up-to-date cell is trained again, "" when it is not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    family: str
    target: str
    dataset: str
    config: dict[str, Any]
    code: str
    forced: str = ""

    @property
    def config_fingerprint(self) -> str:
        """SHA-256 of the canonical JSON of the resolved config."""
        return sha256_json(self.config)

    @property
    def key(self) -> str:
        """The cell key, 64 hex digits."""
        return sha256_json([self.dataset, self.subject, self.family, self.target, self.config_fingerprint, self.code])

    @property
    def name(self) -> str:
        """The registry name."""
        return f"{check_subject(self.subject)}.{self.family}.{self.target}"

    @property
    def label(self) -> str:
        """What a progress bar of it is called."""
        return self.family


def sha256_json(value: object) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys, no spaces, no NaN)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
