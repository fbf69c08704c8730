"""A Datanet of planted facts and a small model that was fine-tuned on it, built once."""

from dataclasses import dataclass

import numpy as np
import torch

from inference.attribution.curvature import FitOptions
from inference.attribution.gradients import Passage, TracedModel, traced_model
from inference.attribution.index import IndexedRecord, InfluenceIndex, build_index
from inference.backbone.config import LlamaConfig
from inference.backbone.lora import LoraPair
from inference.backbone.model import Backbone
from inference.backbone.sites import LoraSite, lora_sites, site_shape
from inference.backbone.weights import expected_shapes
from runtime.primitives.hashing import blake2_256
from runtime.protocols.ids import RecordId

VOCABULARY = 160
BOS, EOS = 0, 1
ENTITIES = range(10, 40)
VALUES = range(40, 100)
RELATIONS = range(100, 104)
TEMPLATES = ((110, 111), (112, 113, 114), (115,))
FILLER = range(120, 160)


@dataclass(frozen=True)
class PlantedRecord:
    """One record: two fields of tokens, who gave it, and the fact that it states, if any."""

    fields: tuple[tuple[int, ...], tuple[int, ...]]
    contributor: int
    fact: tuple[int, int] | None

    @property
    def tokens(self) -> tuple[int, ...]:
        """Join the fields as they are trained on."""
        return (BOS, *self.fields[0], *self.fields[1], EOS)


@dataclass(frozen=True)
class PlantedWorld:
    """Records, the facts that they state, and the model that learned them."""

    records: tuple[PlantedRecord, ...]
    facts: dict[tuple[int, int], int]
    model: TracedModel
    backbone: Backbone
    pairs: dict[LoraSite, LoraPair]
    indexed: tuple[IndexedRecord, ...]
    index: InfluenceIndex
    losses: tuple[float, float]


def passage(tokens: tuple[int, ...]) -> Passage:
    """Score every token but the first."""
    return Passage(tokens, (False,) + (True,) * (len(tokens) - 1))


def field_of(record: PlantedRecord) -> tuple[int, ...]:
    """Name the field of each token; the first and last token are the template's."""
    return (-1, *[0] * len(record.fields[0]), *[1] * len(record.fields[1]), -1)


def prompt_for(fact: tuple[int, int], template: int = 0) -> tuple[int, ...]:
    """Ask for a fact in one of the phrasings of the records."""
    entity, relation = fact
    return (BOS, *TEMPLATES[template], relation, entity)


def plant_records(seed: int = 7) -> tuple[tuple[PlantedRecord, ...], dict[tuple[int, int], int]]:
    """Write 40 facts into two or three records each, by six contributors, and 30 of filler."""
    rng = np.random.default_rng(seed)
    pairs = [(entity, relation) for entity in ENTITIES for relation in RELATIONS]
    chosen = [pairs[at] for at in rng.permutation(len(pairs))[:40]]
    facts = {fact: int(rng.choice(VALUES)) for fact in chosen}
    records = []
    for fact, value in facts.items():
        for template in rng.permutation(3)[: int(rng.integers(2, 4))]:
            noise = tuple(int(t) for t in rng.choice(FILLER, int(rng.integers(1, 4))))
            question = prompt_for(fact, int(template))[1:]
            records.append(PlantedRecord((question, (value, *noise)), int(rng.integers(6)), fact))
    for _ in range(30):
        words = tuple(int(t) for t in rng.choice(FILLER, 9))
        records.append(PlantedRecord((words[:5], words[5:]), int(rng.integers(6)), None))
    return tuple(records[at] for at in rng.permutation(len(records))), facts


def small_backbone(seed: int = 1) -> Backbone:
    """Build a random decoder of two layers."""
    config = LlamaConfig.from_fields(
        {
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
        }
    )
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.ones(shape)
        if "norm" in name
        else torch.randn(shape, generator=generator) * (1.0 if "embed" in name else 0.08)
        for name, shape in expected_shapes(config).items()
    }
    return Backbone.from_tensors(config, tensors)


def fine_tune(
    backbone: Backbone, rows: list[tuple[int, ...]], steps: int, rank: int = 8, seed: int = 3
) -> tuple[dict[LoraSite, LoraPair], tuple[float, float]]:
    """Train LoRA on all sites with Adam; returns the factors and the first and last loss."""
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for site in lora_sites(backbone.config):
        outputs, inputs = site_shape(backbone.config, site)
        a = torch.randn(rank, inputs, generator=generator) / inputs**0.5
        pairs[site] = LoraPair(a.requires_grad_(), torch.zeros(outputs, rank).requires_grad_(), 2.0)
    optimizer = torch.optim.Adam([t for pair in pairs.values() for t in (pair.a, pair.b)], lr=5e-3)
    length = max(map(len, rows))
    ids = torch.tensor([row + (EOS,) * (length - len(row)) for row in rows])
    inside = torch.arange(length - 1)[None] < torch.tensor([len(row) - 1 for row in rows])[:, None]
    losses = []
    for _ in range(steps):
        pick = torch.randperm(len(rows), generator=generator)[:32]
        logits = backbone.forward(ids[pick], pairs)[:, :-1].log_softmax(-1)
        each = -logits.gather(2, ids[pick, 1:, None])[:, :, 0]
        loss = each[inside[pick]].mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    frozen = {s: LoraPair(p.a.detach(), p.b.detach(), p.scale) for s, p in pairs.items()}
    return frozen, (losses[0], losses[-1])


def plant_world() -> PlantedWorld:
    """Plant, fine-tune and index."""
    records, facts = plant_records()
    backbone = small_backbone()
    pairs, losses = fine_tune(backbone, [record.tokens for record in records], 400)
    model = traced_model(backbone, pairs)
    indexed = [
        IndexedRecord(
            RecordId(4, at),
            blake2_256(bytes(record.tokens)),
            passage(record.tokens),
            field_of(record),
        )
        for at, record in enumerate(records)
    ]
    index = build_index(model, indexed, FitOptions(coordinates=4096))
    return PlantedWorld(records, facts, model, backbone, pairs, tuple(indexed), index, losses)
