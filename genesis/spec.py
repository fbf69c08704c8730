"""Chain specifications: the JSON file that says which chain a node is on.

Plain files name the pallets' genesis settings, `{"genesis": {"runtime": {...}}}`; raw files hold
the storage of block 0, `{"genesis": {"raw": {"top": {"0x..": "0x.."}}}}`, so that every node gets
the same genesis hash whatever version of the rules it has.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from runtime.construct import genesis_state
from runtime.primitives.errors import InvariantViolation, Refusal

RULES_SAY_NO = (Refusal, InvariantViolation)
MIN_BLOCK_INTERVAL_MS = 100
CHAIN_ID_KEY = b":chain_id"
"""Holds the chain's id in the state of block 0: chains that differ in nothing else stay apart."""
ChainId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Hex = Annotated[str, StringConstraints(pattern=r"^0x([0-9a-f]{2})*$")]


class InvalidChainSpec(Exception):
    """A chain specification that cannot be used; the text names what and where."""


class ChainType(Enum):
    """What a chain is for."""

    DEVELOPMENT = "Development"
    LOCAL = "Local"
    LIVE = "Live"


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, alias_generator=to_camel
    )


class Properties(BaseModel):
    """What wallets show; other entries are passed on as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    ss58Format: Annotated[int, Field(ge=0, lt=16384)] = 42  # noqa: N815 (the ecosystem's name)
    tokenDecimals: Annotated[int, Field(ge=0, le=30)] = 18  # noqa: N815
    tokenSymbol: str = "OPEN"  # noqa: N815


class Consensus(_Strict):
    """What is agreed on outside the state: the engine, its pace, the number of the fork.

    deltaMs: a message between honest validators takes no longer, as a rule. Too low a value costs
    views, never safety.
    """

    engine: Literal["open-simplex"] = "open-simplex"
    block_interval_ms: Annotated[int, Field(ge=MIN_BLOCK_INTERVAL_MS, le=30_000)] = 1000
    delta_ms: Annotated[int, Field(ge=1, le=30_000)] = 1000
    fork_id: Annotated[int, Field(ge=0, lt=1 << 32)] = 0


class RawStorage(_Strict):
    """Storage entries, hex to hex."""

    top: dict[Hex, Hex]


class Genesis(_Strict):
    """Exactly one of the two forms."""

    runtime: dict[str, Any] | None = None
    raw: RawStorage | None = None


class ChainSpec(_Strict):
    """A chain: its names, its parameters, its first state."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    id: ChainId
    chain_type: ChainType = ChainType.LIVE
    boot_nodes: tuple[str, ...] = ()
    properties: Properties = Properties()
    consensus: Consensus = Consensus()
    genesis: Genesis

    def genesis_entries(self) -> dict[bytes, bytes]:
        """Return the storage of block 0; raises InvalidChainSpec."""
        if self.genesis.raw is not None:
            top = self.genesis.raw.top
            return {bytes.fromhex(k[2:]): bytes.fromhex(v[2:]) for k, v in top.items()}
        try:
            return genesis_state(self.genesis.runtime or {}) | {CHAIN_ID_KEY: self.id.encode()}
        except (ValueError, LookupError, TypeError, AttributeError, *RULES_SAY_NO) as error:
            raise InvalidChainSpec(f"genesis.runtime of chain {self.id}: {error}") from error

    def to_raw(self) -> ChainSpec:
        """Return the same chain with its first state written out."""
        top = {f"0x{k.hex()}": f"0x{v.hex()}" for k, v in sorted(self.genesis_entries().items())}
        return self.model_copy(update={"genesis": Genesis(raw=RawStorage(top=top))})

    def to_json(self) -> str:
        """Write it as a file holds it."""
        return self.model_dump_json(by_alias=True, exclude_none=True, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str = "the chain specification") -> ChainSpec:
        """Read a file's text; raises InvalidChainSpec naming the fields at fault."""
        try:
            spec = cls.model_validate(json.loads(text), strict=False)
        except json.JSONDecodeError as error:
            raise InvalidChainSpec(f"{origin} is not JSON: {error}") from error
        except ValidationError as error:
            raise InvalidChainSpec(f"{origin} is not usable: {told(error)}") from error
        if (spec.genesis.runtime is None) == (spec.genesis.raw is None):
            raise InvalidChainSpec(f"{origin}: genesis needs either `runtime` or `raw`")
        return spec

    @classmethod
    def load(cls, path: Path) -> ChainSpec:
        """Read a file; raises InvalidChainSpec."""
        try:
            return cls.from_json(path.read_text(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidChainSpec(f"{path} cannot be read: {error}") from error


def told(error: ValidationError) -> str:
    """Name the fields at fault, the first five."""
    faults = error.errors(include_url=False, include_context=False)
    texts = [f"{'.'.join(map(str, f['loc'])) or 'it'}: {f['msg']}" for f in faults[:5]]
    return "; ".join(texts) + ("; ..." if len(faults) > 5 else "")
