"""Read the JSON files of a model folder, whatever they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inference.backbone.errors import ModelReason, UnsupportedModel

MOST_BYTES = 64 << 20


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object of at most MOST_BYTES; raises MISSING_FILE or UNREADABLE_CONFIG."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UnsupportedModel(
                ModelReason.UNREADABLE_CONFIG, f"{path} has more than {MOST_BYTES} bytes"
            )
        fields = json.loads(data)
    except FileNotFoundError as error:
        raise UnsupportedModel(
            ModelReason.MISSING_FILE, f"{path} does not exist; give a Hugging Face model folder"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UnsupportedModel(ModelReason.UNREADABLE_CONFIG, f"{path}: {error}") from error
    if not isinstance(fields, dict):
        raise UnsupportedModel(ModelReason.UNREADABLE_CONFIG, f"{path} is not a JSON object")
    return fields
