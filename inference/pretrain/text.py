"""Read the corpus, split off the held-out documents, train the tokenizer, encode."""

import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
BOS_ID, EOS_ID, PAD_ID = 0, 1, 2
DOCUMENT_BREAK = "\f\n"
HELD_OUT_EVERY = 100  # documents; the corpus file is in hash order, so this is a random hundredth


@dataclass(frozen=True, slots=True)
class Split:
    """Hold the corpus' documents, those trained on and those held out."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]


def read_corpus(path: Path) -> Split:
    """Read a compressed corpus; every hundredth document is held out."""
    documents = lzma.decompress(path.read_bytes()).decode().split(DOCUMENT_BREAK)
    return Split(
        train=tuple(d for i, d in enumerate(documents) if i % HELD_OUT_EVERY),
        held_out=tuple(documents[::HELD_OUT_EVERY]),
    )


def train_tokenizer(documents: tuple[str, ...], vocabulary: int) -> Tokenizer:
    """Train a byte-level BPE that round-trips any text; its template puts <s> before a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, BOS_ID)]
    )
    return tokenizer


def encode_stream(tokenizer: Tokenizer, documents: tuple[str, ...]) -> Tensor:
    """Return int32 [tokens]: the documents one after the other, each between <s> and </s>."""
    pieces: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = []
    for start in range(0, len(documents), 512):
        batch = list(documents[start : start + 512])
        pieces.extend(
            np.array([BOS_ID, *encoded.ids, EOS_ID], dtype=np.int32)
            for encoded in tokenizer.encode_batch(batch, add_special_tokens=False)
        )
    return torch.from_numpy(np.concatenate(pieces))


class Batches:
    """Cut a token stream into windows; batch i is the same whenever it is asked for.

    Each window is <s> and `context` tokens of the stream. Every epoch starts at another offset and
    visits the windows in another order, both drawn from the seed and the epoch's number.
    """

    def __init__(self, stream: Tensor, context: int, rows: int, seed: int) -> None:
        self.stream, self.context, self.rows, self.seed = stream, context, rows, seed
        self.per_epoch = (len(stream) // context - 1) // rows
        self._epoch = -1
        self._starts = torch.empty(0, dtype=torch.int64)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, int64 [rows, context], of a step."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            source = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            offset = int(torch.randint(self.context, (1,), generator=source))
            order = torch.randperm(len(self.stream) // self.context - 1, generator=source)
            self._epoch, self._starts = epoch, order * self.context + offset
        starts = self._starts[place * self.rows : (place + 1) * self.rows]
        targets = torch.stack([self.stream[s : s + self.context] for s in starts.tolist()]).long()
        inputs = torch.cat((torch.full((len(starts), 1), BOS_ID), targets[:, :-1]), dim=1)
        return inputs, targets


def held_out_windows(stream: Tensor, context: int, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets that cover a stream once; the last partial window is left out."""
    count = len(stream) // context
    targets = stream[: count * context].view(count, context).long()
    inputs = torch.cat((torch.full((count, 1), BOS_ID), targets[:, :-1]), dim=1)
    for start in range(0, count, rows):
        yield inputs[start : start + rows], targets[start : start + rows]
