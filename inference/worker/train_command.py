"""`openledger train`: from a published Datanet version to an artifact that can be registered."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import trio

from inference.adapters.adapter import LoraAdapter
from inference.attribution.attribution import AttributionConfig, build_attribution
from inference.attribution.curvature import FitOptions
from inference.attribution.parts import HERE, Parts
from inference.backbone.model import Backbone
from inference.cluster.connection import joined
from inference.training.config import TrainingConfig
from inference.training.receipt import TrainingReceipt
from inference.training.train import Progress, train
from inference.worker.artifact import ArtifactParts, build_artifact, read_artifact
from inference.worker.artifact_folder import Losses, write_folder
from inference.worker.chain_view import ChainError, ChainReason, ChainView
from inference.worker.dataset import Dataset, fetch_dataset
from inference.worker.failures import exit_status
from inference.worker.node_view import NodeView
from inference.worker.progress import Meter, open_meter, sparkline
from inference.worker.secrets_file import key_from_option
from node.client.rpc import NodeClient
from node.client.signing import KeyPair
from runtime.construct import encode_call
from runtime.pallets.models.types import Stage
from runtime.primitives.hashing import blake2_256


@dataclass(frozen=True, slots=True)
class Trained:
    """What came out of a run, as one blob and decoded."""

    adapter: LoraAdapter
    receipt: TrainingReceipt
    parts: ArtifactParts
    blob: bytes
    losses: Losses


def run_train(arguments: argparse.Namespace) -> int:
    """Train and write; returns the exit status."""
    return exit_status(partial(_train, arguments))


def _train(arguments: argparse.Namespace) -> None:
    key = None
    if arguments.submit is not None:
        key = key_from_option(arguments.key_uri or "")
    with joined(arguments.ray):
        trio.run(_run, arguments, Backbone.load(arguments.base), key)


async def _run(arguments: argparse.Namespace, backbone: Backbone, key: KeyPair | None) -> None:
    async with NodeClient.connect(arguments.node) as client:
        view = NodeView(client)
        with open_meter() as meter:
            datasets = [
                await fetch_dataset(
                    view, datanet, version, partial(meter.show, f"Datanet {datanet}: batches")
                )
                for datanet, version in sorted(arguments.datanet)
            ]
            trained = await trio.to_thread.run_sync(
                train_and_index, backbone, datasets, arguments, meter
            )
        write_folder(
            arguments.out, trained.blob, trained.adapter, trained.losses, str(arguments.base)
        )
        _summarise(arguments, trained)
        if key is not None:
            await submit(view, arguments.submit, trained, key)
            sys.stdout.write(f"registered for model {arguments.submit}; its blob is uploaded\n")


def train_and_index(
    backbone: Backbone, datasets: Sequence[Dataset], arguments: argparse.Namespace, meter: Meter
) -> Trained:
    """Fine-tune on all records, then index them; raises TrainingRefused, ArtifactRefused."""
    losses = Losses()

    def show(progress: Progress) -> None:
        losses.add(progress)
        held = "" if progress.held_out is None else f" held out {progress.held_out:.3f}"
        note = f"epoch {progress.epoch + 1} loss {progress.loss:.3f}{held}"
        meter.show("training", progress.step, progress.steps, note)

    config = TrainingConfig(
        rank=arguments.rank,
        alpha=arguments.alpha or 2.0 * arguments.rank,
        epochs=arguments.epochs,
        batch_records=arguments.batch,
        learning_rate=arguments.learning_rate,
        held_out=arguments.held_out,
        seed=arguments.seed,
    )
    adapter, receipt = train(
        backbone,
        [record for dataset in datasets for record in dataset.records],
        config,
        show,
        dataset_root=joint_root(datasets),
        workers=arguments.threads,
    )
    losses.close(receipt)
    indexing = AttributionConfig(
        fit=FitOptions(coordinates=arguments.coordinates, seed=arguments.seed),
        layers=arguments.layers,
        span_tokens=arguments.span_tokens,
    )
    attribution = build_attribution(
        backbone,
        adapter,
        [entry for dataset in datasets for entry in dataset.numbered()],
        indexing,
        progress=lambda stage, done, total: meter.show(f"indexing: {stage}", done, total),
        parts=_parts(arguments),
    )
    blob = build_artifact(arguments.name, adapter, receipt, attribution, indexing, datasets)
    return Trained(adapter, receipt, read_artifact(blob), blob, losses)


def _parts(arguments: argparse.Namespace) -> Parts:
    """Return what computes the parts of the index."""
    if arguments.ray is None:
        return HERE
    from inference.cluster.index_parts import RayParts

    return RayParts()


def joint_root(datasets: Sequence[Dataset]) -> bytes:
    """Return the version's root; of several versions, the hash of their roots in order."""
    if len(datasets) == 1:
        return datasets[0].root
    return blake2_256(b"".join(dataset.root for dataset in datasets))


async def submit(view: ChainView, model: int, trained: Trained, key: KeyPair) -> None:
    """Register the artifact for a proposal and upload it; picks up where an earlier try stopped."""
    declared = trained.parts.declared()
    found = await view.storage("Models", "Models", model)
    if found is None:
        raise ChainError(ChainReason.FAILED, f"there is no model {model}: propose it first")
    if found.stage == Stage.PROPOSED:
        call = encode_call("Models", "submit_artifact", model=model, artifact=declared)
        await view.submit(call, key)
    elif found.artifact != declared:
        raise ChainError(ChainReason.FAILED, f"model {model} has another artifact already")
    await view.put_blob(trained.blob)


def _summarise(arguments: argparse.Namespace, trained: Trained) -> None:
    receipt = trained.receipt
    held = receipt.held_out_losses
    lines = [
        f"loss         {sparkline([loss for _, loss in trained.losses.train])}",
        f"per epoch    {' '.join(f'{loss:.3f}' for loss in receipt.losses)}",
        f"held out     {' '.join(f'{loss:.3f}' for loss in held) or 'nothing'}",
        f"adapter      0x{trained.adapter.content_hash.hex()}",
        f"manifest     0x{trained.parts.blob_hash.hex()}",
        f"size         {len(trained.blob)} bytes in {arguments.out}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
