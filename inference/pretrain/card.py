"""Say what a training run gave: its figures, and the model card that states them."""

import math
from dataclasses import dataclass
from typing import Any

from inference.pretrain.decoder import DecoderConfig
from inference.pretrain.train import Recipe


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Hold a held-out loss, computed in float32 from the weights as they are stored."""

    tokens: int
    bytes: int
    nats_per_token: float
    bits_per_byte: float


@dataclass(frozen=True, slots=True)
class Report:
    """Hold the figures of a finished or paused training run."""

    parameters: int
    steps: int
    tokens_seen: int
    corpus_tokens: int
    weights_bytes: int
    whole: HeldOut
    slice: HeldOut

    def summary(self) -> str:
        """Say the main figures on one line."""
        return (
            f"{self.parameters:,} parameters, {self.tokens_seen:,} tokens seen, held-out "
            f"{self.whole.nats_per_token:.4f} nats per token = {self.whole.bits_per_byte:.4f} bits "
            f"per byte, {self.weights_bytes:,} bytes of weights"
        )


_CARD = """\
# {name}

A small language model of English technical documentation, trained from scratch. It is the base
model of the development chain: adapters of every model there are trained on top of it. It writes
recognisable technical English and continues it for some words; it knows no facts to rely on.

| | |
| --- | --- |
| architecture | Llama decoder: {layers} layers, hidden {hidden}, {heads} query heads \
and {kv_heads} key/value heads of {head_dim}, SwiGLU {intermediate}, RMSNorm (eps {eps:g}), \
rotary positions (theta {theta:g}), embedding and output tied, no biases |
| parameters | {parameters:,} |
| context | {context} tokens |
| tokenizer | byte-level BPE, {vocabulary} ids; `<s>` 0, `</s>` 1, `<pad>` 2; any text round-trips |
| weights | bfloat16, {megabytes:.1f} MB; widened to float32 on loading, which is exact |
| licence of the weights | Apache-2.0 |

Begin every prompt with `<s>`: the tokenizer's template adds it, and every training window had it.

## Training

| | |
| --- | --- |
| text | `genesis/data/corpus/corpus.txt.xz`: documentation of PostgreSQL, SQLite, Rust, FreeBSD, \
Node.js, Django, Flask, SQLAlchemy, attrs, Erlang/OTP, LLVM, libbsd and sudo, under PostgreSQL, \
public-domain, MIT, Apache-2.0, BSD and ISC terms; packages, versions and notices are in the \
`NOTICE` beside it. It holds no passage of 12 words of the example Datanets' sources |
| tokens | {corpus_tokens:,} in the corpus, {tokens_seen:,} seen ({epochs:.2f} epochs) |
| steps | {steps:,} of {rows} windows of {window} tokens |
| optimiser | Muon for the layers' matrices (lr {matrix_lr:g}, momentum {momentum:g}, weight decay \
{decay_rate:g}), AdamW for embedding and gains (lr {other_lr:g}, betas 0.9 and 0.95), gradients \
clipped at {clip:g} |
| schedule | {warmup} steps of warm-up, constant, half a cosine to zero over the last \
{decay} steps |
| precision | float32 weights, bfloat16 products |
| seed | {seed} |
| time | {minutes:.0f} minutes on one shared core of a Xeon (AMX), no GPU |

Every hundredth document was held out ({held_bytes:,} bytes). Loss of the stored weights, computed
in float32 over full windows of {context} tokens:

| | nats per token | bits per byte | tokens |
| --- | --- | --- | --- |
| all held-out documents | {whole_nats:.4f} | {whole_bits:.4f} | {whole_tokens:,} |
| `held-out.txt` (the beginning of one of them) | {slice_nats:.4f} | {slice_bits:.4f} | \
{slice_tokens:,} |

Perplexity is {perplexity:.1f} per token. All figures, with the loss curves, are in `training.json`.

![loss curves](loss.svg)

## Train it again

    python -m genesis.data.extract corpus       # only if the corpus shall be rebuilt as well
    python -m inference.pretrain --fresh --steps {steps} --decay {decay}

The order of batches and the first weights follow from the seed. The products' rounding differs
between processors, so another machine gives a model of the same quality, not the same bits.
"""


def model_card(
    name: str, config: DecoderConfig, recipe: Recipe, report: Report, history: dict[str, Any]
) -> str:
    """Return the model card in Markdown."""
    return _CARD.format(
        name=name,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        intermediate=config.intermediate_size,
        eps=config.rms_norm_eps,
        theta=config.rope_theta,
        parameters=report.parameters,
        context=config.max_position_embeddings,
        vocabulary=config.vocab_size,
        megabytes=report.weights_bytes / 1e6,
        corpus_tokens=report.corpus_tokens,
        tokens_seen=report.tokens_seen,
        epochs=report.tokens_seen / report.corpus_tokens,
        steps=report.steps,
        rows=recipe.rows,
        window=recipe.context,
        matrix_lr=recipe.matrix_lr,
        other_lr=recipe.other_lr,
        momentum=recipe.momentum,
        decay_rate=recipe.weight_decay,
        clip=recipe.clip,
        warmup=recipe.warmup,
        decay=recipe.decay,
        seed=recipe.seed,
        minutes=history["seconds"] / 60,
        held_bytes=report.whole.bytes,
        whole_nats=report.whole.nats_per_token,
        whole_bits=report.whole.bits_per_byte,
        whole_tokens=report.whole.tokens,
        slice_nats=report.slice.nats_per_token,
        slice_bits=report.slice.bits_per_byte,
        slice_tokens=report.slice.tokens,
        perplexity=math.exp(report.whole.nats_per_token),
    )
