"""Recompute a committed answer, all positions at once, and judge it.

The cached pass gives a position the same bits whether it is decoded alone or computed with its
neighbours, so on a like machine the digest is equal. On an unlike one, each committed token must
still win, or nearly win, the draw that its seed defines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference.backbone.batch import KvCache, Piece
from inference.backbone.incremental import IncrementalPass
from inference.backbone.model import Backbone
from inference.backbone.packed import PackedAdapter
from inference.blocks import blocks_for
from inference.digest import LogitsDigest
from inference.request import Request, check_request
from inference.sampling import SamplingParams, margin

CHUNK = 256
FP32_MARGIN = 0.01
"""Logits by which a token may lose its draw between float32 machines."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What the replay saw.

    Attributes:
        logits_digest: digest of the recomputed logits.
        margins: per output id, by how many logits it lost its draw (0: it won).
    """

    logits_digest: bytes
    margins: tuple[float, ...]

    def agrees(self, committed_digest: bytes, tolerance: float = FP32_MARGIN) -> bool:
        """Whether the answer stands: each id won, or came within tolerance on an unlike machine."""
        if committed_digest == self.logits_digest:
            return not any(self.margins)
        return all(lost <= tolerance for lost in self.margins)


def replay(
    backbone: Backbone,
    adapter: PackedAdapter | None,
    prompt_ids: Sequence[int],
    output_ids: Sequence[int],
    sampling: SamplingParams,
) -> Replay:
    """Replay an answer teacher-forced; raises RequestRefused for ids that no answer can have."""
    ids = (*prompt_ids, *output_ids)
    config = backbone.config
    check_request(
        Request(tuple(prompt_ids), max(1, len(output_ids))),
        context=config.max_position_embeddings,
        vocabulary=config.vocab_size,
        blocks=config.max_position_embeddings,
    )
    check_request(
        Request(ids, 1),
        context=len(ids) + 1,
        vocabulary=config.vocab_size,
        blocks=len(ids) + 1,
    )
    digest = LogitsDigest()
    margins: list[float] = []
    cache = KvCache(config, blocks_for(len(ids)))
    blocks = range(blocks_for(len(ids)))
    step = IncrementalPass(backbone.decoder).step
    first = len(prompt_ids) - 1
    for start in range(0, len(ids) - 1, CHUNK):
        tokens = ids[start : min(start + CHUNK, len(ids) - 1)]
        wanted = min(max(first - start, 0), len(tokens))
        logits = step([Piece(tokens, start, blocks, adapter, wanted)], cache).numpy()
        for row in logits:
            index = len(margins)
            digest.update(row)
            margins.append(margin(row, sampling, index, output_ids[index]))
    return Replay(digest.digest(), tuple(margins))
