"""An artifact as a folder: the blob for the chain, and its parts for people and other tools.

``artifact.blob`` is what the chain declares and workers fetch; ``artifact.json`` the value of
``Models.submit_artifact``; ``adapter/`` a PEFT folder; the rest are the blob's files and the curve.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from inference.adapters.adapter import LoraAdapter
from inference.adapters.peft import save_peft
from inference.pretrain.curve import draw_losses
from inference.training.receipt import TrainingReceipt
from inference.training.train import Progress
from inference.worker.archive import ArtifactReason, ArtifactRefused, unpack
from inference.worker.artifact import ADAPTER, ArtifactParts, read_artifact
from runtime.pallets.models.types import Artifact, Roots
from runtime.primitives.scale import encode

BLOB, MANIFEST, DECLARED = "artifact.blob", "manifest.msgpack", "artifact.json"
PEFT, CURVE = "adapter", "loss.svg"


@dataclass(slots=True)
class Losses:
    """The curves of a run: (step, nats per token)."""

    train: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    _steps: int = 0

    def add(self, progress: Progress) -> None:
        """Take a step's loss."""
        self.train.append((progress.step, progress.loss))
        self._steps = progress.steps

    def close(self, receipt: TrainingReceipt) -> None:
        """Take the held-out losses: before training and after each epoch."""
        epochs = max(1, len(receipt.losses))
        self.held_out = [
            (self._steps * at // epochs, loss) for at, loss in enumerate(receipt.held_out_losses)
        ]


def write_folder(
    folder: Path, blob: bytes, adapter: LoraAdapter, losses: Losses, base_name: str
) -> None:
    """Write everything; the blob comes last, so a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest, files = unpack(blob)
    save_peft(adapter, folder / PEFT, base_name)
    for name, data in files.items():
        if name != ADAPTER:  # it stands in the PEFT folder
            (folder / name).write_bytes(data)
    (folder / MANIFEST).write_bytes(msgpack.packb(manifest))
    declared = declared_json(read_artifact(blob).declared())
    (folder / DECLARED).write_text(json.dumps(declared, indent=2) + "\n", "utf-8")
    draw_losses(losses.train, losses.held_out, folder / CURVE)
    partial = folder / f"{BLOB}.part"
    partial.write_bytes(blob)
    partial.replace(folder / BLOB)


def read_folder(folder: Path) -> ArtifactParts:
    """Read and check an artifact's blob; raises ArtifactRefused."""
    try:
        blob = (folder / BLOB).read_bytes()
    except OSError as error:
        raise ArtifactRefused(ArtifactReason.MISSING_FOLDER, str(error)) from error
    return read_artifact(blob)


def declared_json(declared: Artifact) -> dict[str, Any]:
    """Return an artifact's value for people, and its SCALE bytes for tools."""
    return {
        "manifest": f"0x{declared.manifest.hex()}",
        "manifest_bytes": declared.manifest_bytes,
        "training_receipt": f"0x{declared.training_receipt.hex()}",
        "roots": {
            name: f"0x{getattr(declared.roots, name).hex()}" for name in Roots.__dataclass_fields__
        },
        "layout": list(declared.layout),
        "evaluation": declared.evaluation,
        "scale": f"0x{encode(Artifact, declared).hex()}",
    }
