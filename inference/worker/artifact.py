"""What a trained adapter consists of, as the chain declares it and as a worker serves it.

Files of the archive: ``adapter.safetensors`` (canonical image), ``training.msgpack`` (receipt),
``index.olarray`` (influence codes, curvature, coordinates) and ``corpus.olarray`` (the records in
the model's token ids, with the field of each token). The span index follows from the corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from inference.adapters.adapter import LoraAdapter, image_of
from inference.attribution.attribution import Attribution, AttributionConfig, open_attribution
from inference.attribution.container import ContainerRefused
from inference.attribution.corpus import corpus_root
from inference.attribution.datanet import token_corpus
from inference.attribution.index import IndexedRecord, InfluenceIndex
from inference.attribution.storage import decode_index, index_bytes
from inference.backbone.model import Backbone
from inference.training.errors import TrainingRefused
from inference.training.receipt import TrainingReceipt
from inference.worker.archive import ArtifactReason, ArtifactRefused, pack, unpack
from inference.worker.corpus_file import decode_corpus, encode_corpus
from inference.worker.dataset import Dataset
from runtime.pallets.models.types import Artifact, Roots
from runtime.primitives.hashing import blake2_256

ADAPTER, TRAINING = "adapter.safetensors", "training.msgpack"
INDEX, CORPUS = "index.olarray", "corpus.olarray"
FILES = (ADAPTER, TRAINING, INDEX, CORPUS)
MICRO = 1_000_000
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class ArtifactParts:
    """An artifact's content, decoded; every file is the one that the manifest names."""

    blob_hash: bytes
    blob_bytes: int
    manifest: Mapping[str, Any]
    image: bytes
    training: TrainingReceipt
    index: InfluenceIndex
    records: tuple[IndexedRecord, ...]

    @property
    def fields_of(self) -> dict[int, tuple[str, ...]]:
        """Return the schema of each Datanet that the model was trained on, by Datanet."""
        return {int(d["datanet"]): tuple(d["schema"]) for d in self.manifest["datasets"]}

    @property
    def config(self) -> AttributionConfig:
        """Return how the index was built, as far as queries depend on it."""
        stated = self.manifest["attribution"]
        return AttributionConfig(
            layers=stated["layers"],
            span_tokens=stated["span_tokens"],
            precision=PRECISIONS[stated["precision"]],
        )

    def roots(self) -> Roots:
        """Compute the commitments from the parts themselves."""
        return Roots(
            model=blake2_256(self.image),
            index=self.index.index_root(),
            corpus=corpus_root(token_corpus(self.records)),
            curvature=self.index.curvature_root(),
            coordinates=self.index.coordinates_root(),
        )

    def declared(self) -> Artifact:
        """Return the value of ``Models.submit_artifact``."""
        return Artifact(
            manifest=self.blob_hash,
            manifest_bytes=self.blob_bytes,
            training_receipt=self.training.content_hash,
            roots=self.roots(),
            layout=self.index.layout,
            evaluation=evaluation(self.training),
        )


def evaluation(training: TrainingReceipt) -> int:
    """Return the last held-out loss (the last training loss where none) in millionths of a nat."""
    losses = training.held_out_losses or training.losses
    return min(2**32 - 1, round(losses[-1] * MICRO))


def build_artifact(
    name: str,
    adapter: LoraAdapter,
    training: TrainingReceipt,
    attribution: Attribution,
    config: AttributionConfig,
    datasets: Sequence[Dataset],
) -> bytes:
    """Encode everything as one blob, whose blake2b-256 the chain declares."""
    index = attribution.querier.index
    files = {
        ADAPTER: image_of(adapter),
        TRAINING: training.encode(),
        INDEX: index_bytes(index),
        CORPUS: encode_corpus(attribution.records),
    }
    fields = {
        "name": name,
        "base": adapter.base_hash,
        "adapter": {
            "hash": adapter.content_hash,
            "rank": adapter.spec.rank,
            "alpha": float(adapter.spec.alpha),
            "targets": sorted(adapter.spec.targets),
        },
        "template": training.template,
        "datasets": [dataset.manifest_entry() for dataset in datasets],
        "training_receipt": training.content_hash,
        "evaluation": evaluation(training),
        "layout": list(index.layout),
        "roots": {
            "index": index.index_root(),
            "corpus": corpus_root(token_corpus(attribution.records)),
            "curvature": index.curvature_root(),
            "coordinates": index.coordinates_root(),
        },
        "attribution": {
            "layers": config.layers,
            "span_tokens": config.span_tokens,
            "precision": str(config.precision).removeprefix("torch."),
            "coordinates": config.fit.coordinates,
            "damping": config.fit.damping,
            "seed": config.fit.seed,
        },
    }
    return pack(fields, files)


def read_artifact(blob: bytes, expected: bytes | None = None) -> ArtifactParts:
    """Unpack and decode an artifact; raises ArtifactRefused."""
    manifest, files = unpack(blob, expected)
    if tuple(files) != FILES:
        raise ArtifactRefused(ArtifactReason.BAD_FILE, f"files {sorted(files)}")
    try:
        parts = ArtifactParts(
            blob_hash=blake2_256(blob),
            blob_bytes=len(blob),
            manifest=manifest,
            image=files[ADAPTER],
            training=TrainingReceipt.decode(files[TRAINING]),
            index=(index := decode_index(files[INDEX])),
            records=decode_corpus(files[CORPUS], index.content_hashes),
        )
        stated = (manifest["training_receipt"], manifest["adapter"]["hash"])
        known = parts.config.span_tokens > 0 and bool(parts.fields_of)
    except (ContainerRefused, TrainingRefused, KeyError, TypeError, ValueError) as error:
        raise ArtifactRefused(ArtifactReason.MALFORMED, str(error)) from error
    if not known or stated != (parts.training.content_hash, blake2_256(parts.image)):
        raise ArtifactRefused(ArtifactReason.BAD_FILE, "the manifest contradicts its files")
    return parts


def check_declared(parts: ArtifactParts, declared: Artifact) -> None:
    """Refuse (WRONG_ROOTS) parts that do not lead to everything that the chain declares."""
    found = parts.declared()
    for name in Artifact.__dataclass_fields__:
        if getattr(found, name) != getattr(declared, name):
            raise ArtifactRefused(ArtifactReason.WRONG_ROOTS, name)


def open_parts(parts: ArtifactParts, backbone: Backbone, adapter: LoraAdapter) -> Attribution:
    """Put an artifact's attribution to work; raises ArtifactRefused WRONG_BASE, MALFORMED."""
    if parts.manifest["base"] != backbone.content_hash:
        raise ArtifactRefused(
            ArtifactReason.WRONG_BASE,
            f"made for 0x{parts.manifest['base'].hex()}, this is 0x{backbone.content_hash.hex()}",
        )
    try:
        return open_attribution(backbone, adapter, parts.index, parts.records, parts.config)
    except ValueError as error:
        raise ArtifactRefused(ArtifactReason.MALFORMED, str(error)) from error
