from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.frame.metadata_schema import decode_metadata, encode_metadata
from runtime.primitives.scale import decode, encode

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CHAINS = (
    *((14, name) for name in ("kusama", "polkadot", "substrate", "substrate-contracts-node")),
    *((15, name) for name in ("kusama", "polkadot", "substrate")),
    *((15, f"asset-hub-{name}") for name in ("kusama", "polkadot")),
    (16, "substrate"),
)


@pytest.mark.parametrize(("version", "chain"), CHAINS)
def test_the_metadata_of_a_live_chain_survives_a_round_trip(
    javascript: Path, version: int, chain: str
) -> None:
    support = javascript / "node_modules" / "@polkadot" / "types-support" / "metadata"
    text = (support / f"v{version}" / f"{chain}-hex.js").read_text()
    found = re.search(r"0x([0-9a-f]+)", text)
    assert found is not None
    published = bytes.fromhex(found[1])
    blob = published if version == 14 else decode(bytes | None, published)
    assert len(blob) > 50_000
    metadata = decode_metadata(blob)
    assert version == metadata.VERSION
    assert metadata.pallets[0].name == "System"
    again = encode_metadata(metadata)
    assert (again if version == 14 else encode(bytes | None, again)) == published
