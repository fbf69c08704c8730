from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.frame.metadata_schema import decode_v14, encode_v14

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize("chain", ["kusama", "polkadot", "substrate", "substrate-contracts-node"])
def test_the_metadata_of_a_live_chain_survives_a_round_trip(javascript: Path, chain: str) -> None:
    folder = javascript / "node_modules" / "@polkadot" / "types-support" / "metadata" / "v14"
    found = re.search(r"0x([0-9a-f]+)", (folder / f"{chain}-hex.js").read_text())
    assert found is not None
    blob = bytes.fromhex(found[1])
    assert len(blob) > 50_000
    metadata = decode_v14(blob)
    assert encode_v14(metadata) == blob
    assert metadata.pallets[0].name == "System"
