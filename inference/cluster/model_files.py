"""A base model on a machine that may not have its folder: by path, else from the object store."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch

from inference.backbone.errors import UnsupportedModel
from inference.backbone.model import Backbone

PATTERNS = ("*.json", "*.jinja", "*.safetensors")
FETCH_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Names a base model by its hash and says where it may be.

    Attributes:
        files: Ray references to the contents by name; None before they were asked for.
    """

    folder: Path
    content_hash: bytes
    files: Mapping[str, Any] | None = None

    def offered(self) -> ModelFiles:
        """Put the folder's files into Ray's object store, for machines that lack them."""
        if self.files is not None:
            return self
        paths = sorted(path for pattern in PATTERNS for path in self.folder.glob(pattern))
        return replace(self, files={path.name: ray.put(path.read_bytes()) for path in paths})

    def load(self, dtype: torch.dtype = torch.float32) -> Backbone | None:
        """Return the base model that the hash names; None where it cannot be had yet.

        Raises UnsupportedModel where the files on offer are not it.
        """
        found = self._from_folder(dtype)
        if found is not None or self.files is None:
            return found
        with tempfile.TemporaryDirectory(prefix="openledger-base-") as name:
            for file, reference in self.files.items():
                (Path(name) / file).write_bytes(ray.get(reference, timeout=FETCH_SECONDS))
            backbone = Backbone.load(Path(name), dtype=dtype)
        if backbone.content_hash != self.content_hash:
            raise ValueError("the base model's files changed while they were read: start again")
        return backbone

    def _from_folder(self, dtype: torch.dtype) -> Backbone | None:
        try:
            found = Backbone.load(self.folder, dtype=dtype)
        except (UnsupportedModel, OSError):
            return None
        return found if found.content_hash == self.content_hash else None
