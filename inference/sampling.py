"""Draw the next token: seeded, counter-based, and a function of one request alone.

The draw is Gumbel-max: `argmax(logit/T + g)`, where `g` of output index i and token id v is word v
of the Philox-4x64 stream (Salmon et al. 2011) with a key made from the seed and a counter made from
i. So any position can be drawn again on its own, and the distance of another token from winning is
a number.
"""

from __future__ import annotations

import functools
import hashlib
import math
import struct
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from runtime.primitives.errors import Refusal

TAG = b"openledger-sampling-v1"
Logits = NDArray[np.float32]


class SamplingReason(Enum):
    """Why sampling parameters are refused."""

    BAD_TEMPERATURE = "bad_temperature"
    BAD_TOP_K = "bad_top_k"
    BAD_TOP_P = "bad_top_p"
    BAD_MIN_P = "bad_min_p"
    BAD_SEED = "bad_seed"


class SamplingRefused(Refusal):
    """Sampling parameters outside their range."""

    def __init__(self, reason: SamplingReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: SamplingReason = reason


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are drawn; raises SamplingRefused.

    Attributes:
        temperature: 0 is greedy (the lowest id wins a tie).
        top_k: keep the k likeliest; 0 keeps all.
        top_p: then keep the fewest whose probabilities sum to at least p.
        min_p: keep only tokens at least min_p times as likely as the likeliest.
        seed: 0 … 2^64-1.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise SamplingRefused(SamplingReason.BAD_TEMPERATURE, "temperature must be in 0…100")
        if 0.0 < self.temperature < 1e-3:
            raise SamplingRefused(
                SamplingReason.BAD_TEMPERATURE, "temperature below 0.001; use 0 for greedy"
            )
        if not 0 <= self.top_k < 2**32:
            raise SamplingRefused(SamplingReason.BAD_TOP_K, "top_k must be 0 or positive")
        if not 0.0 < self.top_p <= 1.0:
            raise SamplingRefused(SamplingReason.BAD_TOP_P, "top_p must be in (0, 1]")
        if not 0.0 <= self.min_p <= 1.0:
            raise SamplingRefused(SamplingReason.BAD_MIN_P, "min_p must be in [0, 1]")
        if not 0 <= self.seed < 2**64:
            raise SamplingRefused(SamplingReason.BAD_SEED, "seed must fit 64 bits")

    @property
    def content_hash(self) -> bytes:
        """Hash the parameters: blake2b-256 of the tag and the five numbers, little endian."""
        packed = struct.pack(
            "<dIddQ", self.temperature, self.top_k, self.top_p, self.min_p, self.seed
        )
        return hashlib.blake2b(TAG + packed, digest_size=32).digest()


def choose(logits: Logits, params: SamplingParams, index: int) -> int:
    """Draw the token of output position `index` from float32 [vocabulary].

    Where the largest is not finite, it is taken whatever the parameters.
    """
    if params.temperature == 0.0 or not math.isfinite(logits.max()):
        return int(np.argmax(logits))
    scores = logits.astype(np.float64) / params.temperature
    kept = _kept(scores, params)
    return int(kept[np.argmax((scores + gumbel(params.seed, index, len(scores)))[kept])])


def margin(logits: Logits, params: SamplingParams, index: int, token: int) -> float:
    """Say by how much a token lost the draw, in logits; 0 for the one that `choose` returns.

    A token that the filters removed also lacks what separates it from the last one kept. Replays on
    unlike machines compare this with a tolerance (Token-DiFR, arXiv 2511.20621).
    """
    temperature = params.temperature
    if temperature == 0.0:
        return float(logits.max()) - float(logits[token])
    scores = logits.astype(np.float64) / temperature
    kept = _kept(scores, params)
    noisy = scores + gumbel(params.seed, index, len(scores))
    behind = max(0.0, float(noisy[kept].max() - noisy[token]))
    outside = max(0.0, float(scores[kept].min() - scores[token]))
    return max(behind, outside) * temperature


def gumbel(seed: int, index: int, size: int) -> NDArray[np.float64]:
    """Return the noise of one output position, float64 [size]."""
    generator = np.random.Philox(counter=[0, 0, index, 0], key=philox_key(seed))
    words = generator.random_raw(size)
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    noise: NDArray[np.float64] = -np.log(-np.log(uniform))
    return noise


@functools.lru_cache(maxsize=1024)
def philox_key(seed: int) -> int:
    """Make the 128-bit Philox key of a seed."""
    data = TAG + seed.to_bytes(8, "little")
    return int.from_bytes(hashlib.blake2b(data, digest_size=16).digest(), "little")


def _kept(scores: NDArray[np.float64], params: SamplingParams) -> NDArray[np.intp]:
    """List the ids that the filters keep, likeliest first where a filter had to sort."""
    kept = np.arange(len(scores))
    if 0 < params.top_k < len(scores):
        threshold = np.partition(scores, -params.top_k)[-params.top_k]
        kept = np.flatnonzero(scores >= threshold)
        kept = kept[np.argsort(-scores[kept], kind="stable")][: params.top_k]
    if params.top_p < 1.0:
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        weights = np.exp(scores[kept] - scores[kept[0]])
        before = np.cumsum(weights) - weights
        kept = kept[before < params.top_p * weights.sum()]
    if params.min_p > 0.0:
        kept = kept[scores[kept] >= scores[kept].max() + math.log(params.min_p)]
    return kept
