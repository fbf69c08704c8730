"""The linear layers that an adapter may change: seven per decoder layer, always in this order."""

from __future__ import annotations

from typing import NamedTuple

from inference.backbone.config import LlamaConfig

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
MODULES = ATTENTION + FEED_FORWARD


class LoraSite(NamedTuple):
    """One linear layer; sites are ordered layer-major, modules in the order of MODULES."""

    layer: int
    module: str

    @property
    def path(self) -> str:
        """Name of the module in a Hugging Face checkpoint."""
        block = "self_attn" if self.module in ATTENTION else "mlp"
        return f"model.layers.{self.layer}.{block}.{self.module}"


def lora_sites(config: LlamaConfig) -> tuple[LoraSite, ...]:
    """List every site of a model in canonical order."""
    return tuple(
        LoraSite(layer, module) for layer in range(config.num_hidden_layers) for module in MODULES
    )


def site_shape(config: LlamaConfig, site: LoraSite) -> tuple[int, int]:
    """Return (outputs, inputs) of the linear layer."""
    hidden, inner = config.hidden_size, config.intermediate_size
    query, key_value = config.query_size, config.key_value_size
    shapes = {
        "q_proj": (query, hidden),
        "k_proj": (key_value, hidden),
        "v_proj": (key_value, hidden),
        "o_proj": (hidden, query),
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
    }
    return shapes[site.module]
