"""The runtime's metadata as the decoders of other projects read it, without a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime import executive
from runtime.construct import PALLETS
from runtime.frame import pallet as declared
from runtime.frame.metadata import VERSIONS
from runtime.frame.metadata_extrinsic import EXTENSIONS
from runtime.frame.metadata_schema import MetadataV16, decode_metadata
from tests.clients.conftest import HERE, flow, node_program

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the metadata in each version as hex."""
    folder = tmp_path_factory.mktemp("metadata")
    for version in VERSIONS:
        blob = executive.metadata(version) or b""
        (folder / f"v{version}.hex").write_text(f"0x{blob.hex()}")
    return folder


@pytest.fixture(scope="module")
def latest() -> MetadataV16:
    found = decode_metadata(executive.metadata(16) or b"")
    assert isinstance(found, MetadataV16)
    return found


@pytest.fixture(scope="module")
def read(folder: Path, javascript: Path) -> dict[str, Any]:
    """Read all versions with all JavaScript decoders."""
    return flow([node_program(), str(HERE / "js" / "metadata.mjs"), str(folder)], javascript)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("client", ["polkadot", "papi"])
def test_a_javascript_client_reads_every_version(
    read: dict[str, Any], latest: MetadataV16, client: str, version: int
) -> None:
    told = read[client][str(version)]
    assert told["pallets"] == [p.name for p in latest.pallets]
    assert told["extensions"] == [e.name for e in EXTENSIONS]
    described = decode_metadata(executive.metadata(version) or b"")
    assert told["types"] == len(described.types)
    apis = {api.name: [m.name for m in api.methods] for api in latest.apis}
    assert told["apis"] == ({} if version == 14 else apis)


@pytest.mark.parametrize("version", VERSIONS)
def test_polkadot_js_writes_the_same_bytes_again(read: dict[str, Any], version: int) -> None:
    told = read["polkadot"][str(version)]
    assert told["version"] == version
    assert told["same"]
    assert told["undocumented"] == []


def test_scalecodec_reads_the_version_that_it_knows(folder: Path, python_client: Path) -> None:
    script = str(HERE / "py" / "read_metadata.py")
    told = flow([str(python_client), script, str(folder / "v14.hex")], folder)
    described = decode_metadata(executive.metadata(14) or b"")
    assert told["version"] == "V14"
    assert told["left"] == 0
    assert told["types"] == len(described.types)
    assert told["extensions"] == [e.name for e in EXTENSIONS]
    assert told["calls"] == {
        cls.NAME: [c.name for c in declared.calls(cls).values()]
        for cls in PALLETS
        if declared.calls(cls)
    }
